//! The check every request goes through.
//!
//! Steps, cheapest first: form and checksum; look-up by id (an unknown id is compared with nobody's
//! fingerprints, so that it takes the path and the time of a wrong secret); the tag of an earlier
//! proof; the peppered prefilter; argon2id, once per key and boot. What a key may do is decided
//! after its secret proved right, from the entry as it stands *then*.
//!
//! Invariants: no lock is held across an await but the one that makes argon2 run once per key;
//! argon2 runs only for a secret whose prefilter fits, or under a strict limit per address while
//! the prefilter is unknown.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::entry::{Entry, Which};
use super::hashing::HashError;
use super::imported::ImportedHash;
use super::keys::{KeyRing, Parts, State};
use super::tags::{Prefilter, Tag, Tags};
use super::{AuthError, Caller, Refusal, minting};
use crate::access::records::{AccountRecord, AccountStatus, Standing};
use crate::access::token::{KeyId, Presented};
use crate::secret::Secret;

/// An accepted credential.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Who presented it.
    pub caller: Caller,
    /// When it was looked at, for the windows it is counted in.
    pub at: Timestamp,
}

/// What a look at a token comes to.
enum Looked {
    /// It proved itself before; whether it is let in.
    Proved(Result<Caller, Refusal>),
    /// It is no token of ours.
    Refused(Refusal),
    /// Argon2 has to tell.
    Candidate,
}

/// A key and the account it belongs to, as they stood together.
pub(super) struct Found {
    pub(super) entry: Arc<Entry>,
    owner: Arc<AccountRecord>,
}

impl KeyRing {
    /// Who presents this credential, from this address (`None`: unknown, which no address list
    /// contains).
    pub async fn verify(&self, credential: &str, peer: Option<IpAddr>) -> Result<Verified, Refusal> {
        let peer = peer.map(|address| address.to_canonical());
        let at = self.parts.clock.now();
        match self.check(credential, peer, at).await {
            Ok(caller) => Ok(Verified { caller, at }),
            Err(refusal) if refusal.is_secret_right() || refusal == Refusal::Overloaded => Err(refusal),
            // Counted after the fact, so that a flood never keeps a good key of its address out.
            Err(refusal) => Err(match self.parts.failures.count(peer) {
                Some(retry_after_s) => Refusal::Flood { retry_after_s },
                None => refusal,
            }),
        }
    }

    /// A person acting as a key they may manage: what both may. The use counts as the key's.
    pub fn act_as(&self, person: &Caller, key: KeyId, peer: Option<IpAddr>) -> Result<Caller, AuthError> {
        let found = self.find(key).ok_or(AuthError::NotFound)?;
        if !person.sees(found.owner.id) {
            return Err(AuthError::NotFound);
        }
        minting::check_management(&found.entry.record, &found.owner, &person.actor())?;
        let now = self.parts.clock.now();
        let peer = peer.map(|address| address.to_canonical());
        let acting = found
            .admit(Which::Current, peer, now)
            .map_err(|refusal| AuthError::invalid("as_key", refusal.to_string()))?;
        Ok(person.acting_as(acting))
    }

    /// Whether a caller that was let in earlier, and is being answered still, would be let in now with
    /// the same rights. Any change of its key or of its account's role ends that; of a session its
    /// account only is looked at here.
    pub fn still_stands(&self, caller: &Caller) -> bool {
        let is_bootstrap = || {
            let bootstrap = self.parts.bootstrap.as_ref();
            bootstrap.is_some_and(|key| key.admit(self.state().has_administrator()).is_ok())
        };
        match caller.key_id {
            Some(id) => self.find(id).is_some_and(|found| {
                let (record, now) = (&found.entry.record, self.parts.clock.now());
                caller.record().is_some_and(|known| known.generation == record.generation)
                    && record.standing(&found.owner, now) == Standing::Active
                    && found.owner.role == caller.role
            }),
            None if caller.is_bootstrap() => is_bootstrap(),
            None => self.account(caller.owner).is_some_and(|account| {
                account.status == AccountStatus::Active && account.role == caller.role
            }),
        }
    }

    async fn check(&self, credential: &str, peer: Option<IpAddr>, now: Timestamp) -> Result<Caller, Refusal> {
        let Parts { tags, clock, .. } = &*self.parts;
        let token = match Presented::parse(credential) {
            Ok(token) => token,
            Err(error) => return self.bootstrap_or(credential, error.into()),
        };
        match self.look(&token, peer, now) {
            Looked::Proved(result) => return result,
            Looked::Refused(refusal) => return self.bootstrap_or(credential, refusal),
            Looked::Candidate => {}
        }
        let proof = Proof::new(&token, tags, peer);
        // On a task of its own: a client that hangs up does not make the next one start over.
        let ring = self.clone();
        let proving = tokio::spawn(async move { ring.prove(proof).await });
        let (found, which) = proving.await.map_err(|_| Refusal::Overloaded)??;
        found.admit(which, peer, clock.now())
    }

    /// What is known of a token without argon2. Under the lock of the map and without a copy of what
    /// stands there: nearly every request ends here.
    fn look(&self, token: &Presented<'_>, peer: Option<IpAddr>, now: Timestamp) -> Looked {
        let Parts { tags, decoy, anonymous, .. } = &*self.parts;
        let tag = tags.tag(token);
        let state = self.state();
        let known = state.keys.get(&token.id()).and_then(|entry| Some((entry, state.owner_of(entry)?)));
        let is_known = known.is_some();
        // Takes as long as finding a key.
        let (entry, owner) = known.unwrap_or_else(|| (decoy, state.owner_of(decoy).unwrap_or(anonymous)));
        if let Some(which) = entry.with_tag(&tag, tags, now)
            && is_known
        {
            return Looked::Proved(entry.admit(owner, which, peer, now));
        }
        let prefilter = tags.prefilter(token);
        let is_candidate = !entry.candidates(&prefilter, tags, now).is_empty();
        match (is_known, is_candidate) {
            (true, true) => Looked::Candidate,
            (true, false) => Looked::Refused(Refusal::BadSecret),
            (false, _) => Looked::Refused(Refusal::UnknownId),
        }
    }

    /// Lets in who presents the bootstrap key; refuses everybody else. Asked last, so that the
    /// requests of ordinary keys do not pay for its digest.
    fn bootstrap_or(&self, credential: &str, refusal: Refusal) -> Result<Caller, Refusal> {
        match self.parts.bootstrap.as_ref().filter(|bootstrap| bootstrap.matches(credential)) {
            Some(bootstrap) => {
                let account = bootstrap.admit(self.state().has_administrator())?;
                Ok(Caller::bootstrap(&account))
            }
            None => Err(refusal),
        }
    }

    /// Proves a secret by argon2, one at a time for each key, and remembers it.
    pub(super) async fn prove(&self, proof: Proof) -> Result<(Found, Which), Refusal> {
        let Parts { tags, clock, hasher, unfiltered, db, .. } = &*self.parts;
        let life = self.find(proof.id).ok_or(Refusal::UnknownId)?.entry.life().clone();
        let _flight = life.flight.lock().await;
        let now = clock.now();
        let found = self.find(proof.id).ok_or(Refusal::UnknownId)?;
        if let Some(which) = found.entry.with_tag(&proof.tag, tags, now) {
            return Ok((found, which));
        }
        for which in found.entry.candidates(&proof.prefilter, tags, now) {
            let Some(slot) = found.entry.slot(which, now) else { continue };
            let has_prefilter = slot.prefilter().is_some();
            if !has_prefilter {
                unfiltered.take(proof.peer).map_err(|retry_after_s| Refusal::Flood { retry_after_s })?;
            }
            if !hasher.proves(proof.secret.clone(), slot.phc.clone()).await.map_err(unproved)? {
                continue;
            }
            if !has_prefilter
                && let Some(prefilter) = tags.lasting(Some(proof.prefilter))
                && let Err(error) = db.store_prefilter(proof.id, slot.phc.clone(), prefilter).await
            {
                log::warn!("the prefilter of key {} was not stored: {error:?}", proof.id);
            }
            let phc = self.rehashed(&proof, slot.phc.clone()).await;
            // The key may have been revoked or rotated while argon2 ran: what counts is how it
            // stands now, and a proof for an earlier generation is not remembered.
            let newest = self.find(proof.id).ok_or(Refusal::UnknownId)?;
            let now = clock.now();
            let which = newest.entry.with_phc(&phc, now).ok_or(Refusal::BadSecret)?;
            if newest.entry.generation() == found.entry.generation()
                && let Some(slot) = newest.entry.slot(which, now)
            {
                slot.remember(proof.tag, proof.prefilter);
            }
            return Ok((newest, which));
        }
        Err(Refusal::BadSecret)
    }

    /// Gives a secret that proved right against an imported hash one of argon2id, with a prefilter;
    /// answers the hash in force. Where that fails the imported one goes on working.
    async fn rehashed(&self, proof: &Proof, phc: Secret<String>) -> Secret<String> {
        let Parts { tags, hasher, db, .. } = &*self.parts;
        if !ImportedHash::is_one(phc.reveal()) {
            return phc;
        }
        let new = match hasher.hash(proof.secret.clone()).await {
            Ok(new) => new,
            Err(error) => {
                log::warn!("key {} keeps its imported hash for now: {error}", proof.id);
                return phc;
            }
        };
        let prefilter = tags.lasting(Some(proof.prefilter));
        // A rotation in between would copy the old hash into another row.
        let _changes = self.parts.changes.lock().await;
        if let Err(error) = db.replace_hash(proof.id, phc.clone(), new.clone(), prefilter).await {
            log::warn!("key {} keeps its imported hash for now: {error}", proof.id);
            return phc;
        }
        let mut state = self.state_mut();
        let Some(entry) = state.keys.get_mut(&proof.id) else { return phc };
        match entry.rehashed(&phc, &new, prefilter) {
            Some(next) => {
                *entry = Arc::new(next);
                new
            }
            None => phc,
        }
    }

    pub(super) fn find(&self, id: KeyId) -> Option<Found> {
        let state = self.state();
        Found::new(state.keys.get(&id)?, &state)
    }
}

/// A hash that does not read is ours to mend: in the log, and "try again later" for the client.
fn unproved(error: HashError) -> Refusal {
    if !matches!(error, HashError::Overloaded) {
        log::error!("an API key could not be proved: {error:?}");
    }
    Refusal::Overloaded
}

/// A secret to be proved.
pub(super) struct Proof {
    id: KeyId,
    secret: Secret<String>,
    tag: Tag,
    prefilter: Prefilter,
    peer: Option<IpAddr>,
}

impl Proof {
    pub(super) fn new(token: &Presented<'_>, tags: &Tags, peer: Option<IpAddr>) -> Self {
        Self {
            id: token.id(),
            secret: Secret::new(token.secret().to_owned()),
            tag: tags.tag(token),
            prefilter: tags.prefilter(token),
            peer,
        }
    }
}

impl Found {
    fn new(entry: &Arc<Entry>, state: &State) -> Option<Self> {
        Some(Self { entry: entry.clone(), owner: state.owner_of(entry)?.clone() })
    }

    fn admit(&self, which: Which, peer: Option<IpAddr>, now: Timestamp) -> Result<Caller, Refusal> {
        self.entry.admit(&self.owner, which, peer, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use super::super::keys::tests::{CLI, Fixture, another_secret_for, named};
    use super::*;
    use crate::access::kind::Kind;
    use crate::access::records::Status;
    use crate::access::roles::Role;
    use crate::access::scopes::Scope;
    use crate::auth::{AuthError, Bootstrap, NewKey, Revocation, Settings};

    #[tokio::test]
    async fn many_first_uses_run_argon2_once_and_later_ones_never() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        fixture.restart().await;
        let uses: Vec<_> = (0..50)
            .map(|_| {
                let (ring, token) = (fixture.ring.clone(), token.clone());
                tokio::spawn(async move { ring.verify(&token, None).await.unwrap().caller.key_id })
            })
            .collect();
        for one in uses {
            assert_eq!(one.await.unwrap(), Some(id));
        }
        fixture.ring.verify(&token, None).await.unwrap();
        assert_eq!(fixture.ring.argon2_runs(), 1);
        assert_eq!(fixture.ring.get(&id).unwrap().record.use_count, 51);
    }

    #[tokio::test]
    async fn what_is_wrong_never_reaches_argon2() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        fixture.restart().await;
        let mut mistyped = token.clone();
        mistyped.replace_range(30..31, if &token[30..31] == "a" { "b" } else { "a" });
        let cut = &token[..token.len() - 6];
        let cases = [
            (String::new(), Refusal::Malformed),
            ("hello".into(), Refusal::Malformed),
            (mistyped, Refusal::Checksum),
            (another_secret_for(id), Refusal::BadSecret),
            // Reads as an imported token; its secret is not the key's.
            (cut.to_owned(), Refusal::BadSecret),
            (another_secret_for("ffffffffffff".parse().unwrap()), Refusal::UnknownId),
        ];
        for _ in 0..20 {
            for (credential, expected) in &cases {
                assert_eq!(fixture.refusal(credential).await, *expected, "{expected:?}");
                assert!(!expected.is_secret_right());
            }
        }
        assert_eq!(fixture.ring.argon2_runs(), 0);
        assert_eq!(fixture.ring.get(&id).unwrap().record.use_count, 0);
    }

    #[tokio::test]
    async fn the_reason_is_told_to_the_right_secret_only() {
        let fixture = Fixture::new().await;
        let end = fixture.clock.now() + SignedDuration::from_hours(2);
        let start = fixture.clock.now() + SignedDuration::from_hours(1);
        let (token, id) = fixture
            .make(NewKey {
                not_before: Some(start),
                expires_at: Some(end),
                ip_allow: vec!["192.0.2.0/24".parse().unwrap()],
                ..named("a")
            })
            .await;
        let verify = async |address: &str| {
            let address = (!address.is_empty()).then(|| address.parse().unwrap());
            fixture.ring.verify(&token, address).await.map(|verified| verified.caller.key_id)
        };
        assert_eq!(verify("192.0.2.1").await, Err(Refusal::NotYetValid));
        fixture.pass(3600).await;
        assert_eq!(verify("192.0.2.1").await, Ok(Some(id)));
        assert_eq!(verify("::ffff:192.0.2.1").await, Ok(Some(id)));
        assert_eq!(verify("192.0.3.1").await, Err(Refusal::IpDenied));
        assert_eq!(verify("").await, Err(Refusal::IpDenied));
        fixture.change_owner(id, |owner| owner.status = AccountStatus::Disabled);
        assert_eq!(verify("192.0.2.1").await, Err(Refusal::OwnerDisabled));
        assert_eq!(fixture.ring.get(&id).unwrap().status, Standing::OwnerDisabled);
        fixture.change_owner(id, |owner| owner.status = AccountStatus::Active);
        assert_eq!(verify("192.0.2.1").await, Ok(Some(id)));
        fixture.pass(3600).await;
        assert_eq!(verify("192.0.2.1").await, Err(Refusal::Expired));
        fixture.ring.revoke(&id, Revocation::default(), &CLI).await.unwrap();
        assert_eq!(verify("192.0.2.1").await, Err(Refusal::Revoked));
        assert_eq!(fixture.refusal(&another_secret_for(id)).await, Refusal::BadSecret);
    }

    #[tokio::test]
    async fn a_right_is_role_and_scopes_at_the_time_of_the_request() {
        let fixture = Fixture::new().await;
        let (token, id) = fixture.make(NewKey { owner: Some("clinic".into()), ..named("a") }).await;
        let (other, _) = fixture.make(NewKey { owner: Some("lab".into()), ..named("b") }).await;
        let clinic = fixture.ring.verify(&token, None).await.unwrap().caller;
        let lab = fixture.ring.verify(&other, None).await.unwrap().caller;
        assert!(clinic.may(Scope::FaxSend) && !clinic.may(Scope::KeysManage) && !clinic.may(Scope::Admin));
        assert!(clinic.sees(clinic.owner) && !clinic.sees(lab.owner) && !clinic.sees_everything());
        assert!(fixture.ring.local_caller(0).sees(lab.owner));
        let anonymous = fixture.ring.anonymous_caller();
        assert!(
            anonymous.may(Scope::FaxSend) && !anonymous.may(Scope::KeysRead) && !anonymous.sees(lab.owner)
        );

        fixture.change_owner(id, |owner| owner.role = Role::Viewer);
        let clinic = fixture.ring.verify(&token, None).await.unwrap().caller;
        assert!(clinic.may(Scope::FaxRead) && !clinic.may(Scope::FaxSend));
    }

    #[tokio::test]
    async fn a_revocation_overtakes_the_proof_under_way() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        fixture.restart().await;
        let first = {
            let (ring, token) = (fixture.ring.clone(), token.clone());
            tokio::spawn(async move { ring.verify(&token, None).await })
        };
        while fixture.ring.argon2_runs() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Only the mark in memory, as `revoke` sets it before it waits for anything.
        let before = fixture.ring.find(id).unwrap().entry;
        let revoked = Arc::new(before.revoked(fixture.clock.now(), "test".into(), None, false));
        fixture.ring.state_mut().keys.insert(id, revoked.clone());
        assert_eq!(first.await.unwrap().unwrap_err(), Refusal::Revoked);
        assert!(revoked.generation() > before.generation());
        let parts = &fixture.ring.parts;
        let tag = parts.tags.tag(&Presented::parse(&token).unwrap());
        for entry in [&before, &revoked] {
            assert_eq!(entry.with_tag(&tag, &parts.tags, fixture.clock.now()), None);
        }
        assert_eq!(fixture.refusal(&token).await, Refusal::Revoked);
    }

    #[tokio::test]
    async fn keys_survive_a_lost_pepper() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        fixture.restart_with_another_seal().await;
        let peer = Some("192.0.2.1".parse().unwrap());
        // Without a prefilter each wrong secret costs a run, but an address has only ten a minute.
        for _ in 0..15 {
            fixture.ring.verify(&another_secret_for(id), peer).await.unwrap_err();
        }
        assert!(fixture.ring.argon2_runs() <= 11, "{}", fixture.ring.argon2_runs());
        fixture.ring.verify(&token, Some("192.0.2.2".parse().unwrap())).await.unwrap();
        let runs = fixture.ring.argon2_runs();
        assert_eq!(fixture.ring.verify(&another_secret_for(id), None).await.unwrap_err(), Refusal::BadSecret);
        assert_eq!(fixture.ring.argon2_runs(), runs, "the prefilter is back");

        fixture.restart().await;
        assert_eq!(fixture.refusal(&another_secret_for(id)).await, Refusal::BadSecret);
        assert_eq!(fixture.ring.argon2_runs(), 0, "and was stored");
        fixture.ring.verify(&token, None).await.unwrap();
    }

    #[tokio::test]
    async fn a_pepper_that_is_away_for_a_while_leaves_what_was_stored() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        let (other, other_id) = fixture.make(named("b")).await;
        fixture.restart_without_pepper().await;
        let peer = Some("192.0.2.1".parse().unwrap());
        for _ in 0..15 {
            fixture.ring.verify(&another_secret_for(id), peer).await.unwrap_err();
        }
        assert!(fixture.ring.argon2_runs() <= 11, "{}", fixture.ring.argon2_runs());
        fixture.ring.verify(&token, None).await.unwrap();
        let runs = fixture.ring.argon2_runs();
        assert_eq!(fixture.ring.verify(&another_secret_for(id), None).await.unwrap_err(), Refusal::BadSecret);
        assert_eq!(fixture.ring.argon2_runs(), runs, "a stand-in filters what was proved");
        let rotated = fixture.ring.rotate(&other_id, Duration::from_secs(3600), &CLI).await.unwrap();
        let (made, made_id) = fixture.make(named("c")).await;

        fixture.restart().await;
        assert_eq!(fixture.refusal(&another_secret_for(id)).await, Refusal::BadSecret);
        assert_eq!(fixture.ring.argon2_runs(), 0, "the old prefilter is right again");
        for text in [&token, &other, rotated.token.text().reveal(), &made] {
            fixture.ring.verify(text, None).await.unwrap();
        }
        fixture.restart().await;
        for id in [id, other_id, made_id] {
            assert_eq!(fixture.refusal(&another_secret_for(id)).await, Refusal::BadSecret);
        }
        assert_eq!(fixture.ring.argon2_runs(), 0, "and all are filtered again");
    }

    #[tokio::test]
    async fn an_imported_secret_is_hashed_anew_at_its_first_use() {
        use super::super::imported::{from_faxbot, tests as imported};
        for stored in [imported::BY_SCRYPT, imported::BY_PBKDF2] {
            let mut fixture = Fixture::new().await;
            let (_, id) = fixture.make(named("a")).await;
            fixture.put_hash(id, from_faxbot(stored).unwrap()).await;
            fixture.restart().await;
            let token = format!("fbk_live_{id}_{}", imported::SECRET);
            let wrong = format!("fbk_live_{id}_{}", imported::SECRET.replace('Z', "Y"));
            let peer = Some("192.0.2.1".parse().unwrap());
            for _ in 0..15 {
                fixture.ring.verify(&wrong, peer).await.unwrap_err();
            }
            assert!(fixture.ring.argon2_runs() <= 11, "the strict limit holds before the first use");
            assert_eq!(fixture.ring.verify(&token, None).await.unwrap().caller.key_id, Some(id));
            let runs = fixture.ring.argon2_runs();
            fixture.ring.verify(&token, None).await.unwrap();
            fixture.ring.verify(&wrong, peer).await.unwrap_err();
            assert_eq!(fixture.ring.argon2_runs(), runs);
            let stored = fixture.db.keys().await.unwrap().remove(0).current;
            assert!(stored.phc.reveal().starts_with("$argon2id$") && stored.prefilter.is_some());

            fixture.restart().await;
            fixture.ring.verify(&wrong, None).await.unwrap_err();
            assert_eq!(fixture.ring.argon2_runs(), 0);
            fixture.ring.verify(&token, None).await.unwrap();
            let rotated = fixture.ring.rotate(&id, Duration::from_secs(60), &CLI).await.unwrap();
            fixture.ring.verify(&token, None).await.unwrap();
            fixture.ring.verify(rotated.token.text().reveal(), None).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_bootstrap_key_serves_until_an_administrator_exists() {
        let mut fixture = Fixture::new().await;
        let key = "a-long-bootstrap-key";
        let bootstrap = |even_with_administrator| Settings {
            bootstrap: Some(Bootstrap { key: Secret::new(key.to_owned()), even_with_administrator }),
            ..Settings::default()
        };
        fixture.restart_with(bootstrap(false)).await;
        let caller = fixture.ring.verify(key, None).await.unwrap().caller;
        assert!(caller.may(Scope::Admin) && caller.key_id.is_none());
        assert_eq!(caller.label(), "bootstrap");
        assert_eq!(fixture.refusal("a-long-bootstrap-kez").await, Refusal::Malformed);
        fixture.ring.ensure_user("operator", Role::Operator).await.unwrap();
        fixture.ring.verify(key, None).await.unwrap();
        fixture.ring.ensure_user("chief", Role::GlobalAdmin).await.unwrap();
        let refusal = fixture.refusal(key).await;
        assert!(refusal == Refusal::BootstrapRetired && refusal.is_secret_right());
        assert!(refusal.to_string().contains("ALLOW_BOOTSTRAP_KEY=true"));
        fixture.restart_with(bootstrap(true)).await;
        fixture.ring.verify(key, None).await.unwrap();

        let short = Bootstrap { key: Secret::new("x".repeat(19)), even_with_administrator: false };
        let settings = Settings { bootstrap: Some(short), ..Settings::default() };
        let error =
            KeyRing::load(fixture.db.clone(), Ok(fixture.seal.clone()), fixture.clock.clone(), settings)
                .await
                .unwrap_err();
        assert!(matches!(error, AuthError::Invalid { field: "API_KEY", .. }), "{error}");
    }

    #[tokio::test]
    async fn a_flood_of_failures_is_slowed_but_keeps_no_good_key_out() {
        let fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        let peer = Some("192.0.2.9".parse().unwrap());
        let wrong = another_secret_for(id);
        let mut refusals = Vec::new();
        for _ in 0..80 {
            refusals.push(fixture.ring.verify(&wrong, peer).await.unwrap_err());
        }
        assert!(refusals[..60].iter().all(|refusal| *refusal == Refusal::BadSecret));
        assert!(matches!(refusals[79], Refusal::Flood { retry_after_s: 1..=2 }), "{:?}", refusals[79]);
        fixture.ring.verify(&token, peer).await.unwrap();
    }

    #[tokio::test]
    async fn nothing_prints_a_secret() {
        let fixture = Fixture::new().await;
        let (token, record) = fixture.ring.create(named("a"), &CLI).await.unwrap();
        let text = token.text().reveal();
        let verified = fixture.ring.verify(text, None).await.unwrap();
        let bootstrap = Bootstrap { key: Secret::new(text.clone()), even_with_administrator: true };
        let found = fixture.ring.find(record.id).unwrap();
        let rotated = fixture.ring.rotate(&record.id, Duration::from_secs(60), &CLI).await.unwrap();
        let stored = fixture.db.keys().await.unwrap();
        let printed = format!(
            "{token:?} {record:?} {verified:?} {:?} {:?} {bootstrap:?} {:?} {rotated:?} {stored:?} {:?}",
            verified.caller.actor(),
            fixture.ring,
            fixture.ring.list(),
            found.entry,
        );
        for secret in [&text[22..], &rotated.token.text().reveal()[22..], "$argon2id"] {
            assert!(!printed.contains(&secret[..9]), "{printed}");
        }
        assert_eq!(record.status, Status::Active);
        assert_eq!(record.kind, Kind::Production);
    }
}
