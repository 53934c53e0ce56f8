//! What access to the appliance is made of, without the doing: tokens, scopes, roles, kinds of key,
//! what a key may reach, the records kept of keys and accounts, and the rows of the audit log.
//!
//! Owns: the vocabulary of rights and its rules of containment. Refuses: I/O, time and hashing; who
//! presents a credential is decided in `auth`. Invariant: a set, a network or a list of prefixes
//! that this module calls *within* another never permits what the other does not.

/// Defines an enum whose values have names in the API and the database, in one place.
macro_rules! named {
    ($(#[$doc:meta])+ $what:literal $name:ident { $($(#[$variant_doc:meta])+ $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])+ $variant,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// Their names, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// Its name in the API and the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::access::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(crate::access::UnknownName::new($what, text, Self::NAMES)),
                }
            }
        }
    };
}
pub(crate) use named;

pub mod audit;
pub mod cidr;
pub mod kind;
pub mod origin;
pub mod outcome;
pub mod people;
pub mod records;
pub mod resources;
pub mod rights;
pub mod roles;
pub mod scopes;
pub mod token;

/// Characters of an unknown name that are repeated to who sent it.
const SHOWN_CHARS: usize = 40;

/// A name that is none of those allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{given}' is not a {what}; allowed: {}", .allowed.join(", "))]
pub struct UnknownName {
    what: &'static str,
    given: String,
    allowed: &'static [&'static str],
}

impl UnknownName {
    pub(crate) fn new(what: &'static str, given: &str, allowed: &'static [&'static str]) -> Self {
        Self { what, given: given.chars().take(SHOWN_CHARS).collect(), allowed }
    }
}
