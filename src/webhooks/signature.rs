//! Signatures of the Standard Webhooks specification (1.0.0, symmetric).
//!
//! Owns: making secrets and signing messages with them. A message is its id, the time of the try and
//! the body; signed is `{id}.{timestamp}.{body}` with HMAC-SHA256, told as `v1,` and base64.

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use sha2::Sha256;

use crate::secret::Secret;

/// What a secret's text begins with, so that scanners find one that leaked.
const PREFIX: &str = "whsec_";
/// Bytes of a secret; the specification wants 24 to 64.
const SECRET_LEN: usize = 32;

/// The secret one webhook's messages are signed with.
#[derive(Clone, Debug)]
pub(super) struct SigningSecret(Secret<Vec<u8>>);

impl SigningSecret {
    /// A new one, from the system's random numbers.
    pub(super) fn generate() -> Self {
        let mut bytes = vec![0; SECRET_LEN];
        rand::rng().fill_bytes(&mut bytes);
        Self(Secret::new(bytes))
    }

    /// The one that was kept as these bytes.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Secret::new(bytes))
    }

    /// The bytes to keep.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.reveal()
    }

    /// As the receiver gets it: `whsec_` and base64.
    pub(super) fn text(&self) -> Secret<String> {
        Secret::new(format!("{PREFIX}{}", Base64::encode_string(self.bytes())))
    }

    /// The signature of a message.
    pub(super) fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.bytes()).expect("HMAC takes keys of every length");
        mac.update(format!("{id}.{timestamp_s}.").as_bytes());
        mac.update(body);
        format!("v1,{}", Base64::encode_string(&mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_the_example_of_the_specification() {
        // From the specification's reference libraries.
        let secret = Base64::decode_vec("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = SigningSecret::from_bytes(secret).sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_are_random_and_do_not_print() {
        let secret = SigningSecret::generate();
        let text = secret.text();
        let encoded = text.reveal().strip_prefix("whsec_").unwrap();
        assert_eq!(Base64::decode_vec(encoded).unwrap(), secret.bytes());
        assert_eq!(secret.bytes().len(), 32);
        assert_ne!(SigningSecret::generate().bytes(), secret.bytes());
        assert!(!format!("{secret:?}").contains(encoded));
    }
}
