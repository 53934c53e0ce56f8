//! Requests that cannot be read before somebody was let in.
//!
//! Owns: authorisation by type. A handler gets a [`Request`], which shows nothing; it becomes
//! readable only through [`Request::permit`] with the scope it needs. The one way round is spelled
//! [`Request::unchecked`] and gives no body; a link to one document lets its bearer in as who made it. Signing in cannot come after having been let in:
//! [`Request::visit`] gives its small body, over connections nobody can read along. Refuses: to
//! read a single body byte before that.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, Method};

use super::accounting::Seen;
use super::body::Body;
use super::error::{ApiError, INVALID_KEY, INVALID_REQUEST, NO_KEY, NO_SCOPE, NO_SESSION};
use super::sender::Sender;
use super::{cors, credential, session};
use crate::access::audit::{Action, Context, Snapshot, Target};
use crate::access::kind::Kind;
use crate::access::outcome::Outcome;
use crate::access::scopes::Scope;
use crate::access::token::Presented;
use crate::app::App;
use crate::auth::limits::{Charge, Limit, Limited};
use crate::auth::{Actor, AuthError, Caller, Refusal, Verified};
use crate::id::{JobId, RequestId};
use crate::secret::Secret;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// A TCP client in the clear.
    Tcp(SocketAddr),
    /// A TCP client over TLS.
    Tls(SocketAddr),
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
            Self::Tcp(address) | Self::Tls(address) => Some(address.ip().to_canonical()),
            Self::Local { .. } => None,
        }
    }

    /// Whether nobody can read along: passwords and cookies are taken from such peers only.
    pub fn is_confidential(self) -> bool {
        matches!(self, Self::Tls(_)) || self.ip().is_none_or(|address| address.is_loopback())
    }
}

/// What the accept loop knows of a request, handed through warp as an extension.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) peer: Peer,
    pub(super) request_id: RequestId,
    /// The host the client named.
    pub(super) host: Option<Arc<str>>,
    /// What was sent beside the body; not in warp's own request, where each look would be at a copy.
    pub(super) headers: Arc<HeaderMap>,
    pub(super) body: Arc<Mutex<Option<Body>>>,
    /// What was found out about the sender, once somebody asked.
    pub(super) seen: Arc<OnceLock<Seen>>,
}

impl Arrival {
    pub(super) fn new(
        peer: Peer,
        request_id: RequestId,
        host: Option<Arc<str>>,
        headers: HeaderMap,
        body: Body,
    ) -> Self {
        let (headers, body) = (Arc::new(headers), Arc::new(Mutex::new(Some(body))));
        Self { peer, request_id, host, headers, body, seen: Arc::default() }
    }

    pub(super) fn take_body(&self) -> Option<Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request nobody has been let in for yet.
pub(super) struct Request {
    app: App,
    method: Method,
    query: String,
    sender: Sender,
    arrival: Arrival,
    /// `MAX_REQUESTS_PER_MINUTE` as it holds for this request.
    ceiling: u32,
}

/// A filter that extracts the [`Request`].
pub(super) fn request(app: &App) -> BoxedFilter<(Request,)> {
    let app = app.clone();
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(query)
        .and(warp::ext::get::<Arrival>())
        .map(move |method, query, arrival: Arrival| {
            let host = arrival.host.clone();
            let (sender, ceiling) = app.in_config(|config| {
                let sender = Sender::new(arrival.peer, host, &arrival.headers, &config.trusted_proxies);
                (sender, config.max_requests_per_minute)
            });
            Request { app: app.clone(), method, query, sender, arrival, ceiling }
        })
        .boxed()
}

/// A request whose sender was let in.
pub(super) struct Permitted {
    /// The appliance.
    pub(super) app: App,
    /// Who sent it, with the rights that hold for this request.
    pub(super) caller: Caller,
    /// Who is at the other end.
    pub(super) sender: Sender,
    query: String,
    arrival: Arrival,
}

/// A request of somebody who wants to sign in.
pub(super) struct Visit {
    /// The appliance.
    pub(super) app: App,
    /// Who is at the other end.
    pub(super) sender: Sender,
    arrival: Arrival,
}

impl Visit {
    /// The body, once.
    pub(super) fn body(&self) -> Result<Body, ApiError> {
        self.arrival.take_body().ok_or_else(|| ApiError::new(&INVALID_REQUEST, "The body was already read."))
    }

    /// A process of this machine, which the system vouches for, as one who makes changes.
    pub(super) fn local_actor(&self) -> Option<Actor> {
        match self.arrival.peer {
            Peer::Local { uid } => Some(Actor::Cli { uid, request_id: Some(self.arrival.request_id) }),
            Peer::Tcp(_) | Peer::Tls(_) => None,
        }
    }

    /// The cookie it brought, if any.
    pub(super) fn cookie(&self) -> Option<&str> {
        session::cookie(self.headers(), &self.sender).ok().flatten()
    }

    /// What was sent beside the body.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.arrival.headers
    }
}

impl Permitted {
    /// What was sent beside the body.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.arrival.headers
    }

    /// The raw query string, without a key that stood in it.
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
        // Nothing opens without the seal; who asks learns what to do about it.
        self.app.sealing().seal()?;
        let now = self.app.clock().now();
        let event = self.audit_context().event(Action::ContentViewed, target, now).after(shown);
        self.app.db().audited(event).record().await.map_err(|error| {
            log::error!("a view was refused, because it could not be written to the audit log: {error:?}");
            ApiError::busy("The audit log cannot be written at this moment, so nothing is shown.", 10)
        })
    }

    /// Where links made for this sender lead: as their browser calls us, else as this machine does.
    pub(super) fn link_origin(&self) -> Option<String> {
        self.caller.session_id().and_then(|_| self.sender.origin())
    }

    /// It as the key named by `as_key` in the query, which a person may send as.
    pub(super) fn sending_as_key(self, scope: Scope) -> Result<Self, ApiError> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let Some((_, id)) = pairs.into_iter().find(|(name, _)| *name == "as_key") else { return Ok(self) };
        if self.caller.session_id().is_none() {
            return Err(ApiError::field(
                "as_key",
                "unavailable",
                "'as_key' is for sessions; a key sends as itself.",
            ));
        }
        let unknown =
            || ApiError::field("as_key", "unknown", "'as_key' is not the id of a key you may manage.");
        let id = id.parse().map_err(|_| unknown())?;
        let acting = self.app.keys().act_as(&self.caller, id, self.sender.address);
        let caller = acting.map_err(|error| match error {
            AuthError::NotFound | AuthError::Forbidden(_) => unknown(),
            error => error.into(),
        })?;
        require(&caller, scope)?;
        let keys = self.app.keys();
        let now = self.app.clock().now();
        if let Some(charge) = keys.charge(&caller, self.app.config().max_requests_per_minute, now) {
            let outcome = if charge.taken.is_ok() { Outcome::Ok } else { Outcome::RateLimited };
            keys.note(&charge, outcome, self.sender.address);
            if let Err(limited) = &charge.taken {
                return Err(too_many(limited));
            }
        }
        Ok(Self { caller: caller.arrived(self.sender.address, self.arrival.request_id), ..self })
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
        Ok(self.permitted(caller))
    }

    /// Lets in who presents any key that works, whatever its scopes.
    pub(super) async fn permit_any_key(self) -> Result<Permitted, ApiError> {
        // The scope bounds what is done without a key, and nobody holds this one without.
        let caller = self.authenticate(Scope::Admin).await?;
        Ok(self.permitted(caller))
    }

    /// Whether it brings a link's token in place of a credential.
    pub(super) fn is_by_link(&self) -> bool {
        self.link_token().is_some()
    }

    /// Lets the sender in as who made the link to this fax, for this one request.
    pub(super) fn permit_link(self, job: JobId) -> Result<Permitted, ApiError> {
        let maker =
            self.link_token().and_then(|token| self.app.links().maker(token, job, self.app.clock().now()));
        match maker.filter(|maker| still_stands(&self.app, maker)) {
            Some(caller) => Ok(self.permitted(caller)),
            None => Err(ApiError::new(
                &INVALID_KEY,
                "This link has ended; links lead to a document for five minutes.",
            )),
        }
    }

    fn link_token(&self) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix("token="))
    }

    /// Lets in who is signed in, whatever they may do; a key is no session.
    pub(super) async fn permit_session(self) -> Result<Permitted, ApiError> {
        self.sender.check_confidential()?;
        self.sender.check_host(&self.app.config().host_names)?;
        let is_with_key = credential::in_headers(self.headers())?.is_some();
        let cookie = session::cookie(self.headers(), &self.sender)?.filter(|_| !is_with_key);
        let caller = self.sign_in(cookie.ok_or_else(no_session)?)?;
        Ok(self.permitted(caller))
    }

    /// The request of somebody who wants to sign in; nobody may be able to read along, and no
    /// other site's page may make it.
    pub(super) fn visit(self) -> Result<Visit, ApiError> {
        self.sender.check_confidential()?;
        self.sender.check_host(&self.app.config().host_names)?;
        // A link typed or clicked somewhere is no page's doing; it changes nothing.
        if self.method != Method::GET {
            session::check_not_foreign(self.headers(), &self.sender)?;
        }
        Ok(Visit { app: self.app, sender: self.sender, arrival: self.arrival })
    }

    /// Whether it came under a name of ours, as a page for people has to.
    pub(super) fn check_host(&self) -> Result<(), ApiError> {
        self.sender.check_host(&self.app.config().host_names)
    }

    /// What a proxy puts before our addresses; see `server.path_prefix`.
    pub(super) fn path_prefix(&self) -> &str {
        self.app.path_prefix()
    }

    /// What was sent beside the body, for choosing a form of the same answer.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.arrival.headers
    }

    /// Who is signed in in this browser, for the page that asks for just that as its first act.
    pub(super) fn signed_in(&self) -> Option<(&App, Caller)> {
        let cookie = session::cookie(self.headers(), &self.sender).ok()??;
        Some((&self.app, self.sign_in(cookie).ok()?))
    }

    /// Whether the browser says that it keeps our cookie back, because another site's page led here.
    pub(super) fn hides_cookie(&self) -> bool {
        self.headers()
            .get_all("sec-fetch-site")
            .iter()
            .any(|site| site == "cross-site" || site == "same-site")
    }

    /// `https://name` or `http://name:port`, as the sender calls us.
    pub(super) fn origin(&self) -> Option<String> {
        self.sender.origin()
    }

    fn permitted(self, caller: Caller) -> Permitted {
        let is_key_in_query = self.arrival.seen.get().is_some_and(|seen| seen.is_in_query);
        Permitted {
            app: self.app,
            caller: caller.arrived(self.sender.address, self.arrival.request_id),
            sender: self.sender,
            query: match credential::in_query(&self.query) {
                Some((_, rest)) if is_key_in_query => rest,
                _ => self.query,
            },
            arrival: self.arrival,
        }
    }

    /// The appliance, for what everybody may know. No body, no sender.
    pub(super) fn unchecked(self) -> App {
        self.app
    }

    async fn authenticate(&self, scope: Scope) -> Result<Caller, ApiError> {
        let mut seen = Seen { address: self.sender.address, ..Seen::default() };
        let result = self.identify(scope, &mut seen).await;
        // A request is permitted once.
        let _ = self.arrival.seen.set(seen);
        result
    }

    /// Who sent it, by whatever it brings. What is found out goes into `seen` as well, for the
    /// answer and for the figures.
    async fn identify(&self, scope: Scope, seen: &mut Seen) -> Result<Caller, ApiError> {
        if let Peer::Local { uid } = self.arrival.peer {
            seen.outcome = Some(Outcome::Ok);
            return Ok(self.app.keys().local_caller(uid));
        }
        if let Some(key) = self.key_in_query(seen).await? {
            return self.caller_of(key.reveal(), seen).await;
        }
        match credential::in_headers(self.headers())
            .inspect_err(|_| seen.outcome = Some(Outcome::Malformed))?
        {
            Some(key) => self.caller_of(key, seen).await,
            None => match session::cookie(self.headers(), &self.sender)? {
                Some(cookie) => self.sign_in(cookie).inspect(|_| seen.outcome = Some(Outcome::Ok)),
                None => self.anonymous(scope, seen),
            },
        }
    }

    /// Whose session this cookie is of; a write needs more than the cookie.
    fn sign_in(&self, cookie: &str) -> Result<Caller, ApiError> {
        self.sender.check_host(&self.app.config().host_names)?;
        session::check_console(&self.method, self.headers(), &self.sender)?;
        self.app.people().session(cookie).ok_or_else(no_session)
    }

    /// The caller that presents this key, with one request taken off its quotas.
    async fn caller_of(&self, key: &str, seen: &mut Seen) -> Result<Caller, ApiError> {
        let keys = self.app.keys();
        let verified = keys.verify(key, self.sender.address).await;
        let Verified { caller, at } = verified.map_err(|refusal| self.refused(key, refusal, seen))?;
        if seen.is_in_query && caller.kind().is_none_or(|kind| kind == Kind::Admin) {
            return Err(self.exposed(&caller, seen).await);
        }
        seen.outcome = Some(Outcome::Ok);
        seen.charge = keys.charge(&caller, self.ceiling, at);
        seen.origin = cors::allowed_origin(self.headers(), &caller)?;
        if let Some(Charge { taken: Err(limited), .. }) = &seen.charge {
            seen.outcome = Some(Outcome::RateLimited);
            return Err(too_many(limited));
        }
        Ok(caller)
    }

    /// The key in the address of a request, where such keys count: only when that is switched on,
    /// only for reading. Elsewhere it is a leak: the request is refused, and a key that works is
    /// marked.
    async fn key_in_query(&self, seen: &mut Seen) -> Result<Option<Secret<String>>, ApiError> {
        let Some((mut found, _)) = credential::in_query(&self.query) else { return Ok(None) };
        found.retain(is_well_formed);
        let Some(key) = found.pop() else { return Ok(None) };
        seen.is_in_query = true;
        if self.app.config().allow_query_api_key && self.method == Method::GET {
            let in_headers = credential::in_headers(self.headers())?;
            let is_other = |other: &str| other != key.reveal();
            if in_headers.is_some_and(is_other) || found.iter().any(|other| is_other(other.reveal())) {
                return Err(credential::two_different());
            }
            return Ok(Some(key));
        }
        match self.app.keys().verify(key.reveal(), self.sender.address).await {
            Ok(verified) => Err(self.exposed(&verified.caller, seen).await),
            Err(refusal @ (Refusal::Flood { .. } | Refusal::Overloaded)) => {
                Err(self.refused(key.reveal(), refusal, seen))
            }
            Err(_) => {
                seen.outcome = Some(Outcome::InQuery);
                seen.claimed = self.app.keys().claimed_id(key.reveal());
                Err(in_address())
            }
        }
    }

    /// Marks the caller's key as one that stood in an address.
    async fn exposed(&self, caller: &Caller, seen: &mut Seen) -> ApiError {
        seen.outcome = Some(Outcome::InQuery);
        seen.claimed = caller.key_id;
        if let Err(error) = self.app.keys().note_exposure(caller, self.sender.address).await {
            log::warn!("that a key stood in an address was not stored: {error}");
        }
        in_address()
    }

    fn refused(&self, key: &str, refusal: Refusal, seen: &mut Seen) -> ApiError {
        seen.outcome = refusal.outcome();
        seen.claimed = self.app.keys().claimed_id(key);
        match refusal {
            Refusal::Overloaded => ApiError::busy("Too many keys are being checked at once.", 1),
            Refusal::Flood { retry_after_s } => flood(retry_after_s),
            // Only who holds the right secret learns more than that it does not work.
            refusal if refusal.is_secret_right() => {
                ApiError::new(&INVALID_KEY, refusal.to_string()).with_reason(refusal.reason())
            }
            _ => ApiError::new(&INVALID_KEY, "Invalid API key provided"),
        }
    }

    /// Who sends no key may do a key's everyday work only where the appliance was told so, and
    /// nothing administrative ever.
    fn anonymous(&self, scope: Scope, seen: &mut Seen) -> Result<Caller, ApiError> {
        let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip"]
            .iter()
            .any(|name| self.headers().contains_key(*name));
        if !self.app.in_config(|config| config.require_api_key) && !forwarded {
            let caller = self.app.keys().anonymous_caller();
            if caller.may(scope) {
                self.sender.check_host(&self.app.config().host_names)?;
                seen.outcome = Some(Outcome::Ok);
                return Ok(caller);
            }
        }
        match self.app.keys().count_failure(self.sender.address) {
            Some(retry_after_s) => {
                seen.outcome = Some(Outcome::RateLimited);
                Err(flood(retry_after_s))
            }
            None => {
                seen.outcome = Some(Outcome::Missing);
                Err(ApiError::new(&NO_KEY, "An API key is required"))
            }
        }
    }
}

/// Whether who a stream was opened for would still be let in, with the rights they had then.
pub(super) fn still_stands(app: &App, caller: &Caller) -> bool {
    let is_open = |id| app.people().sessions_of(caller.owner).iter().any(|session| session.id == id);
    app.keys().still_stands(caller) && caller.session_id().is_none_or(is_open)
}

fn no_session() -> ApiError {
    ApiError::new(&NO_SESSION, "Sign in first; the session is missing or has ended.")
}

fn require(caller: &Caller, scope: Scope) -> Result<(), ApiError> {
    if caller.may(scope) {
        return Ok(());
    }
    if caller.must_change_password() {
        return Err(ApiError::new(&NO_SCOPE, "Choose a password of your own first.")
            .with_reason("must_change_password"));
    }
    Err(ApiError::new(&NO_SCOPE, format!("Insufficient scope: {scope} required")).with_reason("scope"))
}

fn is_well_formed(key: &Secret<String>) -> bool {
    Presented::parse(key.reveal()).is_ok()
}

/// The same whether the key works or not.
fn in_address() -> ApiError {
    let detail = "The API key stands in the address of the request, where logs and browsers keep it. \
        Send it in the X-API-Key header, and rotate it.";
    ApiError::new(&INVALID_KEY, detail).with_reason("api_key_in_query")
}

fn flood(retry_after_s: u64) -> ApiError {
    let limit = Limit::Global.as_str();
    ApiError::rate_limited("Too many failed attempts from this address.", limit, retry_after_s)
}

fn too_many(limited: &Limited) -> ApiError {
    let detail = match limited.limit {
        Limit::Minute => "Too many requests with this key in this minute.",
        Limit::Hour => "Too many requests with this key in this hour.",
        Limit::Owner => "Too many requests with all keys of this owner together.",
        Limit::Global => {
            "Too many requests with this key; the limit is MAX_REQUESTS_PER_MINUTE in Settings → Security."
        }
    };
    ApiError::rate_limited(detail, limited.limit.as_str(), limited.retry_after_s.into())
}
