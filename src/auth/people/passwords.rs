//! Passwords: which ones are taken, and their hashes.
//!
//! Refuses: short ones, the person's own name, and those every guesser tries first. Nothing else
//! is asked of them (NIST SP 800-63B 5.1.1.2): no mixture of characters, no regular change.

use super::{People, PeopleError};
use crate::secret::Secret;

/// Shortest password, in characters.
const SHORTEST: usize = 10;
/// Longest password, in bytes: beyond any passphrase, and cheap to hash.
const LONGEST: usize = 1024;
/// A hash nobody has the password of, for names nobody has: their check takes the same path and time.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$Uf1Zl3cV7mQx0S2kYtR8aA$\
    vB3xXq0nq8h7gq1T5m2r9yqkq0m3bJc6Q4lq7d2W1sE";
/// Of the most common passwords those of ten characters and more, as lists of leaked ones have
/// them, in lower case.
const COMMON: &[&str] = &[
    "0123456789",
    "0987654321",
    "1020304050",
    "1111111111",
    "11111111111",
    "1122334455",
    "123123123123",
    "1231231231",
    "1234512345",
    "123456654321",
    "1234567890",
    "12345678900",
    "12345678901",
    "123456789012",
    "1234567890123",
    "123456789a",
    "1234567891",
    "12345678910",
    "123456789q",
    "123456789z",
    "1234567899",
    "123qweasdzxc",
    "147258369a",
    "1password1",
    "1q2w3e4r5t",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "1qazxsw23edc",
    "9876543210",
    "987654321a",
    "a123456789",
    "aa12345678",
    "aaaaaaaaaa",
    "abc1234567",
    "abc123456789",
    "abcd123456",
    "abcdefghij",
    "admin12345",
    "admin123456",
    "admin@1234",
    "administrator",
    "adminadmin",
    "alexander1",
    "asdasdasdasd",
    "asdf123456",
    "asdfasdfasdf",
    "asdfghjkl1",
    "asdfghjkl;",
    "asdfghjkl;'",
    "assassin123",
    "basketball",
    "basketball1",
    "bismillah1",
    "blink182182",
    "butterfly1",
    "changeme123",
    "changemenow",
    "charlotte1",
    "chocolate1",
    "christopher",
    "computer123",
    "cricket123",
    "default123",
    "dragonball1",
    "elizabeth1",
    "facebook123",
    "faxmachine",
    "football123",
    "fuckyou123",
    "guestguest",
    "hellohello",
    "helloworld",
    "hospital123",
    "iloveyou12",
    "iloveyou123",
    "iloveyouso",
    "internet123",
    "jonathan123",
    "letmein123",
    "letmeinnow",
    "liverpool1",
    "liverpool123",
    "master1234",
    "michael123",
    "mynoob1234",
    "naruto1234",
    "pagewire123",
    "pass123456",
    "pass@12345",
    "passpasspass",
    "passw0rd123",
    "password01",
    "password10",
    "password11",
    "password12",
    "password123",
    "password1234",
    "password12345",
    "password123!",
    "password1!",
    "password99",
    "password@1",
    "password@123",
    "passwordpassword",
    "princess123",
    "q1w2e3r4t5",
    "q1w2e3r4t5y6",
    "qazwsxedcrfv",
    "qwer123456",
    "qwerty1234",
    "qwerty12345",
    "qwerty123456",
    "qwertyqwerty",
    "qwertyuiop",
    "qwertyuiop1",
    "qwertyuiop123",
    "qwertyuiop[]",
    "rootroot12",
    "samsung123",
    "secret1234",
    "sunshine123",
    "superman123",
    "superstar1",
    "temp123456",
    "test123456",
    "test1234567",
    "testtest12",
    "testtesttest",
    "trustno1234",
    "unknown123",
    "user123456",
    "welcome123",
    "welcome1234",
    "welcome@123",
    "whatever123",
    "zaq12wsxcde3",
    "zxcvbnm123",
    "zxcvbnm1234",
    "zxcvbnm,./",
];

/// Whether this can be the password of the person of this name.
pub(super) fn check(name: &str, password: &Secret<String>) -> Result<(), PeopleError> {
    let text = password.reveal();
    let refused = |why: &str| Err(PeopleError::invalid("password", why));
    if text.chars().count() < SHORTEST {
        return refused("needs at least 10 characters; a few words in a row are good");
    }
    if text.len() > LONGEST {
        return refused("takes at most 1,024 bytes");
    }
    if text.trim().eq_ignore_ascii_case(name.trim()) {
        return refused("must not be the user name");
    }
    let mut characters = text.chars();
    let first = characters.next();
    if COMMON.contains(&text.to_lowercase().as_str()) || characters.all(|character| Some(character) == first)
    {
        return refused("is one of those that are tried first; choose another");
    }
    Ok(())
}

impl People {
    /// The hash of a new password of the person of this name.
    pub(super) async fn hashed(
        &self,
        name: &str,
        password: Secret<String>,
    ) -> Result<Secret<String>, PeopleError> {
        check(name, &password)?;
        Ok(self.parts.hasher.hash(password).await?)
    }

    /// Whether this is the password with this hash; takes as long when there is none.
    pub(super) async fn proves(
        &self,
        password: Secret<String>,
        phc: Option<Secret<String>>,
    ) -> Result<bool, PeopleError> {
        // What can be no password is not hashed at length.
        let is_short = password.reveal().len() <= LONGEST;
        let password = if is_short { password } else { Secret::new(String::new()) };
        let is_known = phc.is_some() && is_short;
        let phc = phc.unwrap_or_else(|| Secret::new(NOBODYS.to_owned()));
        Ok(self.parts.hasher.proves(password, phc).await? && is_known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::AuthError;
    use crate::auth::hashing::Hasher;

    #[test]
    fn says_what_is_wrong_with_a_password() {
        let cases = [
            ("short", "needs at least 10 characters"),
            ("ninechars", "needs at least 10 characters"),
            ("Frau.Schmidt", "must not be the user name"),
            ("Password1234", "tried first"),
            ("qwertyuiop", "tried first"),
            ("zzzzzzzzzzzz", "tried first"),
            (&"x1".repeat(600), "at most 1,024 bytes"),
        ];
        for (password, expected) in cases {
            let error = check("frau.schmidt", &Secret::new(password.to_owned())).unwrap_err();
            let PeopleError::Auth(AuthError::Invalid { field: "password", message }) = &error else {
                panic!("{error:?}")
            };
            assert!(message.contains(expected), "{password}: {message}");
            assert!(!format!("{error} {error:?}").contains(password));
        }
        for good in ["correct horse", "zehn Zeich", "пароль из слов", "aaaaaaaaab"] {
            check("frau.schmidt", &Secret::new(good.to_owned())).unwrap();
        }
    }

    #[test]
    fn the_list_of_common_ones_is_worth_its_space() {
        for (position, common) in COMMON.iter().enumerate() {
            assert!(common.chars().count() >= SHORTEST, "{common} is too short anyway");
            assert_eq!(*common, common.to_lowercase());
            assert!(!COMMON[..position].contains(common), "{common} is there twice");
        }
    }

    #[tokio::test]
    async fn nobodys_hash_is_checked_like_any_other() {
        let hasher = Hasher::new();
        let own = hasher.hash(Secret::new("anything".into())).await.unwrap();
        assert_eq!(own.reveal().len(), NOBODYS.len());
        let prefix = |phc: &str| phc.rsplitn(3, '$').nth(2).map(str::to_owned);
        assert_eq!(prefix(own.reveal()), prefix(NOBODYS));
        assert!(!hasher.proves(Secret::new("anything".into()), Secret::new(NOBODYS.into())).await.unwrap());
    }
}
