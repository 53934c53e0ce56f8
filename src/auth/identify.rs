//! Whose is this token? For who found one where it should not be.
//!
//! Refuses: to be asked by anybody but an administrator, and more than [`Identifications`] allows;
//! to count as a use of the key. argon2 runs here under the same conditions as for a request.

use std::num::NonZeroU32;

use governor::clock::Clock as _;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use nonzero_ext::nonzero;

use super::caller::Actor;
use super::check::Proof;
use super::keys::{KeyRing, KeyView};
use super::{AuthError, Refusal};
use crate::access::audit::{Action, Snapshot};
use crate::access::token::{InvalidToken, Presented};

/// Tokens identified in a minute, by all who ask: plenty for the findings of a secret scanner.
const PER_MINUTE: NonZeroU32 = nonzero!(30_u32);

/// What a found token is.
#[derive(Clone, Debug)]
pub struct Identified {
    /// Whether it has the form of a token, and why not.
    pub form: Result<(), InvalidToken>,
    /// The key of this appliance it names, if there is one.
    pub key: Option<KeyView>,
    /// Whether its secret is that key's, so that it works or worked.
    pub secret_matches: bool,
}

const TOO_OFTEN: &str = "Tokens can be identified some thirty times a minute.";

/// How often tokens may be identified.
pub(super) struct Identifications(DefaultDirectRateLimiter);

impl Identifications {
    pub(super) fn new() -> Self {
        Self(RateLimiter::direct(Quota::per_minute(PER_MINUTE)))
    }

    fn take(&self) -> Result<(), AuthError> {
        self.0.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(self.0.clock().now());
            AuthError::TooOften { what: TOO_OFTEN, retry_after_s: wait.as_secs() + 1 }
        })
    }
}

impl KeyRing {
    /// What this token is, for an administrator. Who asked about which key stands in the audit log
    /// before the answer is given.
    pub async fn identify(&self, text: &str, by: &Actor) -> Result<Identified, AuthError> {
        if !by.administrates() {
            return Err(AuthError::Forbidden("only administrators can ask whose a token is".into()));
        }
        self.parts.identifications.take()?;
        let token = match Presented::parse(text.trim()) {
            Ok(token) => token,
            Err(error) => return Ok(Identified { form: Err(error), key: None, secret_matches: false }),
        };
        let id = token.id();
        let secret_matches = match self.find(id) {
            Some(found) => {
                let tags = &self.parts.tags;
                let now = self.parts.clock.now();
                let is_candidate = !found.entry.candidates(&tags.prefilter(&token), tags, now).is_empty();
                is_candidate && proved(self.prove(Proof::new(&token, tags, None)).await)?
            }
            None => false,
        };
        let key = self.get(&id);
        // Told before it is answered: that a leak became known is part of its story.
        let found = Snapshot::new()
            .with("ours", key.is_some())
            .with("secret_matches", secret_matches)
            .with("status", key.as_ref().map(|key| key.status.to_string()));
        let asked = by.audit_context().event(Action::ApiKeyIdentified, id, self.parts.clock.now());
        self.parts.db.audited(asked.after(found)).record().await?;
        Ok(Identified { form: Ok(()), key, secret_matches })
    }
}

fn proved<T>(result: Result<T, Refusal>) -> Result<bool, AuthError> {
    match result {
        Ok(_) => Ok(true),
        Err(Refusal::Overloaded) => Err(AuthError::Overloaded),
        Err(Refusal::Flood { retry_after_s }) => Err(AuthError::TooOften { what: TOO_OFTEN, retry_after_s }),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::{CLI, Fixture, another_secret_for, named};
    use super::*;
    use crate::access::records::Standing;
    use crate::auth::Revocation;

    #[tokio::test]
    async fn tells_whose_a_token_is_without_using_it() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        let (ended, ended_id) = fixture.make(named("b")).await;
        fixture.ring.revoke(&ended_id, Revocation::default(), &CLI).await.unwrap();
        fixture.restart().await;
        let identify = async |text: &str| fixture.ring.identify(text, &CLI).await.unwrap();

        let found = identify(&format!(" {token}\n")).await;
        let key = found.key.unwrap();
        assert_eq!((found.secret_matches, key.record.id, key.status), (true, id, Standing::Active));
        assert_eq!(key.record.use_count, 0);
        let found = identify(&ended).await;
        assert!(found.secret_matches);
        assert_eq!(found.key.unwrap().status, Standing::Revoked);
        let runs = fixture.ring.argon2_runs();
        let found = identify(&another_secret_for(id)).await;
        assert!(!found.secret_matches && found.key.is_some());
        let found = identify(&another_secret_for("ffffffffffff".parse().unwrap())).await;
        assert!(!found.secret_matches && found.key.is_none() && found.form.is_ok());
        assert_eq!(identify("hello").await.form, Err(InvalidToken::Malformed));
        assert_eq!(fixture.ring.argon2_runs(), runs, "no argon2 for what is wrong");
    }

    #[tokio::test]
    async fn is_for_administrators_and_not_too_often() {
        let fixture = Fixture::new().await;
        let (token, _) = fixture.make(named("a")).await;
        let caller = fixture.ring.verify(&token, None).await.unwrap().caller;
        let refused = fixture.ring.identify(&token, &Actor::Caller(caller)).await;
        assert!(matches!(refused, Err(AuthError::Forbidden(_))));
        let mut answers = Vec::new();
        for _ in 0..PER_MINUTE.get() + 5 {
            answers.push(fixture.ring.identify("hello", &CLI).await);
        }
        assert!(answers[..PER_MINUTE.get() as usize].iter().all(Result::is_ok));
        assert!(matches!(answers.pop(), Some(Err(AuthError::TooOften { retry_after_s: 1..=60, .. }))));
    }
}
