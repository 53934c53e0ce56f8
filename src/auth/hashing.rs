//! Argon2id on a leash.
//!
//! Owns: the parameters, and how many runs may be under way or wait. One run takes some 19 MiB and
//! 50 to 100 ms of a core, so more than these at once would only make everything slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::Error as PasswordError;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;

use super::AuthError;
use super::imported::ImportedHash;
use crate::secret::Secret;

/// Memory of one run, KiB; with the two below the first choice of OWASP for argon2id.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Runs at once: the cores of the smallest machine we run on.
const RUNNING: usize = 2;
/// Runs that may wait; at 50 ms each the last one waits for less than a second.
const WAITING: usize = 32;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum HashError {
    /// As many as may wait are waiting.
    #[error("too many secrets are being hashed at once")]
    Overloaded,
    /// The hash cannot be made or read.
    #[error("argon2 refused")]
    Argon2(#[source] PasswordError),
    /// The thread that hashed is gone.
    #[error("the hashing was broken off")]
    BrokenOff,
}

impl From<HashError> for AuthError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Overloaded => Self::Overloaded,
            HashError::Argon2(error) => Self::Hash(error),
            HashError::BrokenOff => Self::BrokenOff,
        }
    }
}

/// Hashes secrets and proves them, a few at a time.
#[derive(Debug)]
pub(super) struct Hasher {
    admission: Arc<Semaphore>,
    running: Arc<Semaphore>,
    runs: Arc<AtomicU64>,
}

impl Hasher {
    pub(super) fn new() -> Self {
        Self::with_room(RUNNING, WAITING)
    }

    /// One of its own, for secrets that must not keep those of keys waiting.
    pub(super) fn with_room(running: usize, waiting: usize) -> Self {
        Self {
            admission: Arc::new(Semaphore::new(running + waiting)),
            running: Arc::new(Semaphore::new(running)),
            runs: Arc::default(),
        }
    }

    /// Runs so far.
    pub(super) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// A new hash of this secret, in PHC string format.
    pub(super) async fn hash(&self, secret: Secret<String>) -> Result<Secret<String>, HashError> {
        self.run(move |argon2| {
            let hash = argon2.hash_password(secret.reveal().as_bytes())?;
            Ok(Secret::new(hash.to_string()))
        })
        .await
    }

    /// Whether this secret has this hash, made by argon2id or imported.
    pub(super) async fn proves(
        &self,
        secret: Secret<String>,
        phc: Secret<String>,
    ) -> Result<bool, HashError> {
        self.run(move |argon2| {
            if let Some(imported) = ImportedHash::read(phc.reveal()) {
                return Ok(imported.proves(secret.reveal()));
            }
            let hash = PasswordHash::new(phc.reveal())?;
            match argon2.verify_password(secret.reveal().as_bytes(), &hash) {
                Ok(()) => Ok(true),
                Err(PasswordError::PasswordInvalid) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'_>) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, HashError> {
        let admitted = self.admission.clone().try_acquire_owned().map_err(|_| HashError::Overloaded)?;
        let running = self.running.clone().acquire_owned().await.map_err(|_| HashError::BrokenOff)?;
        let runs = self.runs.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            // Held by the work itself: a caller that goes away does not end it.
            let _permits = (admitted, running);
            runs.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("pagewire_argon2_runs_total").increment(1);
            work(&argon2())
        });
        hashing.await.map_err(|_| HashError::BrokenOff)?.map_err(HashError::Argon2)
    }
}

fn argon2() -> Argon2<'static> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within argon2's range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hashes_as_promised_and_proves() {
        let hasher = Hasher::new();
        let secret = Secret::new("correct horse".to_owned());
        let phc = hasher.hash(secret.clone()).await.unwrap();
        assert!(phc.reveal().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", phc.reveal());
        assert!(hasher.proves(secret.clone(), phc.clone()).await.unwrap());
        assert!(!hasher.proves(Secret::new("wrong".into()), phc).await.unwrap());
        assert!(matches!(
            hasher.proves(secret, Secret::new("no hash".into())).await,
            Err(HashError::Argon2(_))
        ));
        assert_eq!(hasher.runs(), 4);
    }

    #[tokio::test]
    async fn refuses_more_than_may_wait() {
        let hasher = Hasher::new();
        let busy = hasher.running.clone().acquire_many_owned(RUNNING as u32).await.unwrap();
        let waiting: Vec<_> = (0..RUNNING + WAITING)
            .map(|_| {
                let mut hashing = Box::pin(hasher.hash(Secret::new("x".into())));
                // Polled once, it stands in the queue.
                assert!(futures_util::FutureExt::now_or_never(hashing.as_mut()).is_none());
                hashing
            })
            .collect();
        assert!(matches!(hasher.hash(Secret::new("x".into())).await, Err(HashError::Overloaded)));
        assert_eq!(hasher.runs(), 0);
        drop((waiting, busy));
        hasher.hash(Secret::new("x".into())).await.unwrap();
    }
}
