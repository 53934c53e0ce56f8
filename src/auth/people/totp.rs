//! The second factor: codes of an authenticator app (RFC 6238), and recovery codes.
//!
//! Codes are six digits of HMAC-SHA1 over steps of 30 seconds, the one parameter set every app
//! knows; the step before and after are taken too, for clocks that differ. A step works once. The
//! shared secret is sealed in the database; recovery codes hold 80 random bits, are kept as
//! hashes, and work once.

use rand::TryRng;
use rand::rngs::SysRng;
use totp_rs::{Algorithm, Builder, Secret as Shared, Totp};
use zeroize::Zeroizing;

use super::{People, PeopleError, hash_of, to_its_end};
use crate::access::audit::Action;
use crate::access::people::{SecondFactor, TokenHash, TotpRecord};
use crate::access::token::NoRandomness;
use crate::auth::{AuthError, Caller};
use crate::db::DbError;
use crate::id::AccountId;
use crate::secret::Secret;

/// Bytes of a shared secret: what RFC 4226 section 4 recommends.
const SECRET_LEN: usize = 20;
/// Digits of a code.
const DIGITS: u8 = 6;
/// Seconds of a step.
const STEP_S: u64 = 30;
/// Recovery codes that are given.
const RECOVERY_CODES: usize = 10;
/// Random bytes of one.
const RECOVERY_LEN: usize = 10;
/// The name apps show above the code.
const ISSUER: &str = "Pagewire";

/// A second factor that waits for its first code.
#[derive(Clone, Debug)]
pub struct TotpSetup {
    /// The shared secret in base 32, to be typed into an app.
    pub secret: Secret<String>,
    /// The same as an `otpauth://` address, to be shown as a QR code.
    pub uri: Secret<String>,
}

/// A code as somebody entered it.
pub(super) struct Code {
    /// Without spaces and dashes, in lower case.
    text: Secret<String>,
}

impl Code {
    pub(super) fn new(entered: &Secret<String>) -> Self {
        let plain = entered.reveal().chars().filter(|c| !c.is_whitespace() && *c != '-');
        Self { text: Secret::new(plain.flat_map(char::to_lowercase).collect()) }
    }
}

impl People {
    /// Makes a shared secret for the caller; it is in force once its first code was entered.
    pub async fn begin_totp(&self, caller: &Caller) -> Result<TotpSetup, PeopleError> {
        self.require_fresh_password(caller)?;
        let account = self.parts.ring.account(caller.owner).ok_or(PeopleError::NotFound)?;
        let mut shared = Zeroizing::new([0; SECRET_LEN]);
        SysRng.try_fill_bytes(shared.as_mut_slice()).map_err(NoRandomness::from)?;
        let sealed = self.parts.seal()?.seal(&sealed_name(account.id), shared.as_slice())?;
        let secret = Shared::from(*shared).to_base32();
        let label = percent_encoded(&account.name);
        let uri = format!(
            "otpauth://totp/{ISSUER}:{label}?secret={secret}&issuer={ISSUER}&algorithm=SHA1&digits={DIGITS}&period={STEP_S}"
        );
        match self.parts.db.begin_totp(account.id, sealed).await {
            Ok(()) => Ok(TotpSetup { secret: Secret::new(secret), uri: Secret::new(uri) }),
            Err(DbError::Conflict) => {
                Err(PeopleError::State("The second factor is on already; switch it off first."))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Puts the second factor in force with its first code; returns the recovery codes, once.
    pub async fn confirm_totp(
        &self,
        caller: &Caller,
        code: &Secret<String>,
    ) -> Result<Vec<Secret<String>>, PeopleError> {
        let nothing_begun =
            PeopleError::State("Begin first: there is no second factor that waits for a code.");
        let person = self.parts.db.person(caller.owner)?;
        let Some(totp) = person.totp.filter(|totp| totp.on_since.is_none()) else {
            return Err(nothing_begun);
        };
        let Some(SecondFactor::Step(step)) = self.check_code(caller.owner, &totp, &Code::new(code))? else {
            return Err(PeopleError::WrongCode);
        };
        let codes = (0..RECOVERY_CODES).map(|_| recovery_code()).collect::<Result<Vec<_>, _>>()?;
        let hashes: Vec<TokenHash> =
            codes.iter().map(|code| hash_of(Code::new(code).text.reveal())).collect();
        let (people, account, context) = (self.clone(), caller.owner, caller.audit_context());
        let stored = to_its_end(async move {
            let now = people.parts.clock.now();
            let told = context.event(Action::UserSecondFactorChanged, account, now);
            let stored = people.parts.db.audited(told);
            Ok(stored.confirm_totp(account, totp.sealed, step, hashes, now).await?)
        });
        match stored.await {
            Ok(()) => Ok(codes),
            Err(PeopleError::Auth(AuthError::Db(DbError::Conflict))) => Err(nothing_begun),
            Err(error) => Err(error),
        }
    }

    /// Switches the caller's second factor off.
    pub async fn disable_totp(&self, caller: &Caller) -> Result<(), PeopleError> {
        self.require_fresh_password(caller)?;
        let now = self.parts.clock.now();
        let told = caller.audit_context().event(Action::UserSecondFactorChanged, caller.owner, now);
        Ok(self.parts.db.audited(told).disable_totp(caller.owner).await?)
    }

    /// What this code is: of a step not used yet, or shaped like a recovery code. Whether the
    /// latter is one of the person's, and either is unused, is decided when it is used up.
    pub(super) fn check_code(
        &self,
        account: AccountId,
        totp: &TotpRecord,
        code: &Code,
    ) -> Result<Option<SecondFactor>, PeopleError> {
        let text = code.text.reveal();
        if text.len() != usize::from(DIGITS) {
            // 80 bits in base 32.
            let is_recovery_code = text.len() == RECOVERY_LEN * 8 / 5;
            return Ok(is_recovery_code.then(|| SecondFactor::RecoveryCode(hash_of(text))));
        }
        let shared = Secret::new(self.parts.seal()?.open(&sealed_name(account), &totp.sealed)?);
        let now = u64::try_from(self.parts.clock.now().as_second()).unwrap_or_default();
        let step = codes_of(shared.reveal()).and_then(|codes| codes.check(text, now));
        Ok(step.filter(|step| *step > totp.last_step).map(SecondFactor::Step))
    }
}

fn codes_of(shared: &[u8]) -> Option<Totp> {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_skew(1)
        .with_step_duration(STEP_S)
        .with_secret(shared)
        .build()
        .ok()
}

fn sealed_name(account: AccountId) -> String {
    format!("totp {account}")
}

/// Sixteen characters in groups of four.
fn recovery_code() -> Result<Secret<String>, NoRandomness> {
    let mut random = Zeroizing::new([0; RECOVERY_LEN]);
    SysRng.try_fill_bytes(random.as_mut_slice())?;
    let text = Zeroizing::new(Shared::from(random.as_slice()).to_base32().to_lowercase());
    let mut code = String::with_capacity(text.len() + 3);
    for (position, character) in text.chars().enumerate() {
        if position > 0 && position % 4 == 0 {
            code.push('-');
        }
        code.push(character);
    }
    Ok(Secret::new(code))
}

/// RFC 3986 section 2.1, for everything but its unreserved characters.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The code an app shows for this secret at this second.
    pub(in crate::auth::people) fn shown_code(secret: &Secret<String>, second: i64) -> Secret<String> {
        let shared = Shared::try_from_base32(secret.reveal()).unwrap();
        let token = codes_of(shared.as_ref()).unwrap().generate(u64::try_from(second).unwrap());
        Secret::new(token.to_string())
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238 appendix B, the last six of its eight digits.
        let cases =
            [(59, "287082"), (1_111_111_109, "081804"), (1_111_111_111, "050471"), (2_000_000_000, "279037")];
        let codes = codes_of(b"12345678901234567890").unwrap();
        for (second, code) in cases {
            assert_eq!(codes.check(code, second), Some(second / STEP_S), "{second}");
            assert_eq!(codes.check(code, second + STEP_S), Some(second / STEP_S), "a slow clock");
            assert_eq!(codes.check(code, second + 2 * STEP_S), None);
        }
    }

    #[test]
    fn codes_are_read_as_people_write_them() {
        for written in ["123 456", " 123456", "123-456"] {
            assert_eq!(Code::new(&Secret::new(written.to_owned())).text.reveal(), "123456");
        }
        let code = recovery_code().unwrap();
        assert_eq!(code.reveal().len(), 19, "{}", code.reveal());
        let again = Secret::new(code.reveal().to_uppercase().replace('-', " "));
        assert_eq!(Code::new(&again).text.reveal(), &code.reveal().replace('-', ""));
        assert_eq!(percent_encoded("Frau Müller"), "Frau%20M%C3%BCller");
    }
}
