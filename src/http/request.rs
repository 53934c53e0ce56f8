//! Requests that cannot be read before somebody was let in.
//!
//! Owns: authorisation by type. A handler gets a [`Request`], which shows nothing; it becomes
//! readable only through [`Request::permit`] with the scope it needs. The one way round is spelled
//! [`Request::unchecked`] and gives no body. Refuses: to read a single body byte before that.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;
use warp::http::header::AUTHORIZATION;

use super::body::Body;
use super::error::{ApiError, INVALID_KEY, INVALID_REQUEST, NO_KEY, NO_SCOPE};
use crate::access::audit::{Action, Context, Snapshot, Target};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::auth::{Caller, Refusal};
use crate::id::RequestId;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// A TCP client.
    Tcp(SocketAddr),
    /// A process on this machine, over the admin socket: the system vouches for its user.
    Local {
        /// Unix user id.
        uid: u32,
    },
}

impl Peer {
    /// The address, of a TCP client.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Local { .. } => None,
        }
    }

    /// Whether nobody can read along: passwords and cookies are taken from such peers only.
    pub fn is_confidential(self) -> bool {
        self.ip().is_none_or(|address| address.is_loopback())
    }
}

/// What the accept loop knows of a request, handed through warp as an extension.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) peer: Peer,
    pub(super) request_id: RequestId,
    pub(super) body: Arc<Mutex<Option<Body>>>,
}

impl Arrival {
    pub(super) fn new(peer: Peer, request_id: RequestId, incoming: Incoming) -> Self {
        Self { peer, request_id, body: Arc::new(Mutex::new(Some(Body::new(incoming)))) }
    }

    pub(super) fn take_body(&self) -> Option<Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request nobody has been let in for yet.
pub(super) struct Request {
    app: App,
    headers: HeaderMap,
    query: String,
    arrival: Arrival,
}

/// A filter that extracts the [`Request`].
pub(super) fn request(app: &App) -> BoxedFilter<(Request,)> {
    let app = app.clone();
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::header::headers_cloned()
        .and(query)
        .and(warp::ext::get::<Arrival>())
        .map(move |headers, query, arrival| Request { app: app.clone(), headers, query, arrival })
        .boxed()
}

/// A request whose sender was let in.
pub(super) struct Permitted {
    /// The appliance.
    pub(super) app: App,
    /// Who sent it, with the rights that hold for this request.
    pub(super) caller: Caller,
    /// All headers.
    pub(super) headers: HeaderMap,
    query: String,
    arrival: Arrival,
}

impl Permitted {
    /// The raw query string.
    pub(super) fn query(&self) -> &str {
        &self.query
    }

    /// Who it is, by which way and from where, for the audit log.
    pub(super) fn audit_context(&self) -> Context {
        self.caller.audit_context()
    }

    /// Writes down that the sender is about to see this content; `shown` says which part and how.
    /// Nothing may be shown when this fails.
    pub(super) async fn viewed(&self, target: impl Into<Target>, shown: Snapshot) -> Result<(), ApiError> {
        let now = self.app.clock().now();
        let event = self.audit_context().event(Action::ContentViewed, target, now).after(shown);
        self.app.db().audited(event).record().await.map_err(|error| {
            log::error!("a view was refused, because it could not be written to the audit log: {error:?}");
            ApiError::busy("The audit log cannot be written at this moment, so nothing is shown.", 10)
        })
    }

    /// The body, once.
    pub(super) fn body(&self) -> Result<Body, ApiError> {
        self.arrival.take_body().ok_or_else(|| ApiError::new(&INVALID_REQUEST, "The body was already read."))
    }
}

impl Request {
    /// Lets the sender in when it holds `scope`.
    pub(super) async fn permit(self, scope: Scope) -> Result<Permitted, ApiError> {
        let caller = self.authenticate(scope).await?;
        require(&caller, scope)?;
        let caller = caller.arrived(self.arrival.peer.ip(), self.arrival.request_id);
        Ok(Permitted {
            app: self.app,
            caller,
            headers: self.headers,
            query: self.query,
            arrival: self.arrival,
        })
    }

    /// The appliance, for what everybody may know. No body, no sender.
    pub(super) fn unchecked(self) -> App {
        self.app
    }

    async fn authenticate(&self, scope: Scope) -> Result<Caller, ApiError> {
        if let Peer::Local { uid } = self.arrival.peer {
            return Ok(self.app.keys().local_caller(uid));
        }
        let Some(credential) = credential(&self.headers)? else {
            return self.anonymous(scope);
        };
        let address = self.arrival.peer.ip();
        let verified = self.app.keys().verify(credential, address).await;
        let outcome = verified.as_ref().map_or_else(Refusal::outcome, |_| "ok");
        metrics::counter!("pagewire_auth_total", "outcome" => outcome).increment(1);
        match verified {
            Ok(verified) => {
                self.app.ceiling().take(&verified.caller, self.app.clock().now()).map_err(|wait| {
                    ApiError::rate_limited(
                        "Too many requests with this key; the limit is MAX_REQUESTS_PER_MINUTE in Settings → Security.",
                        "global",
                        wait.seconds,
                    )
                })?;
                Ok(verified.caller)
            }
            Err(refusal) => Err(refused(refusal)),
        }
    }

    /// Who sends no key may do a key's everyday work only where the appliance was told so, and
    /// nothing administrative ever.
    fn anonymous(&self, scope: Scope) -> Result<Caller, ApiError> {
        let forwarded =
            ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|name| self.headers.contains_key(*name));
        let no_key = || ApiError::new(&NO_KEY, "An API key is required");
        if self.app.config().require_api_key || forwarded {
            return Err(no_key());
        }
        let caller = self.app.keys().anonymous_caller();
        if caller.may(scope) { Ok(caller) } else { Err(no_key()) }
    }
}

fn require(caller: &Caller, scope: Scope) -> Result<(), ApiError> {
    if caller.may(scope) {
        return Ok(());
    }
    Err(ApiError::new(&NO_SCOPE, format!("Insufficient scope: {scope} required")).with_reason("scope"))
}

/// The one credential of a request: `X-API-Key`, else a Bearer token; two different ones are refused.
fn credential(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let malformed = || ApiError::new(&INVALID_KEY, "Invalid API key provided");
    let mut found: Option<&str> = None;
    let from_header =
        headers.get_all("x-api-key").iter().map(|value| value.to_str().map_err(|_| malformed()));
    let from_bearer = headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let value = value.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| Ok(token.trim()))
    });
    for value in from_header.chain(from_bearer) {
        let value = value?;
        match found {
            Some(first) if first != value => {
                return Err(ApiError::new(
                    &INVALID_REQUEST,
                    "Two different API keys came with one request; send one.",
                ));
            }
            _ => found = Some(value),
        }
    }
    Ok(found.filter(|value| !value.is_empty()))
}

fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Overloaded => ApiError::busy("Too many keys are being checked at once.", 1),
        Refusal::Flood { retry_after_s } => {
            ApiError::rate_limited("Too many failed attempts from this address.", "global", retry_after_s)
        }
        // Only who holds the right secret learns more than that it does not work.
        refusal if refusal.is_secret_right() => {
            ApiError::new(&INVALID_KEY, refusal.to_string()).with_reason(refusal.outcome())
        }
        _ => ApiError::new(&INVALID_KEY, "Invalid API key provided"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_one_credential() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Result<Option<&'a str>, ()>);
        let cases: &[Case<'_>] = &[
            (&[], Ok(None)),
            (&[("x-api-key", "a")], Ok(Some("a"))),
            (&[("x-api-key", "")], Ok(None)),
            (&[("authorization", "Bearer a")], Ok(Some("a"))),
            (&[("authorization", "bearer  a")], Ok(Some("a"))),
            (&[("authorization", "Basic a")], Ok(None)),
            (&[("x-api-key", "a"), ("authorization", "Bearer a")], Ok(Some("a"))),
            (&[("x-api-key", "a"), ("authorization", "Bearer b")], Err(())),
        ];
        for (given, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in *given {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(credential(&headers).map_err(|_| ()), *expected, "{given:?}");
        }
    }
}
