//! Kinds of key: presets and labels.
//!
//! Owns: what a kind sets by default. Only `development` changes behaviour: its keys are test keys.

use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Longest life of an admin key; it opens everything, so it must be looked at four times a year.
pub const ADMIN_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);

named! {
    /// The kind of a key.
    "kind of key" Kind {
        /// For trying out: its faxes go to the simulator, never to a line.
        Development = "development",
        /// For programs at work.
        Production = "production",
        /// Bounded by resources, addresses or a near end; may stand in a browser application.
        Restricted = "restricted",
        /// Opens everything, for 90 days at most.
        Admin = "admin",
        /// The one key of the appliance as a whole.
        Account = "account",
    }
}

impl Default for Kind {
    /// Production, as keys are that name no kind.
    fn default() -> Self {
        Self::Production
    }
}

impl Kind {
    /// Whether its keys reach real routes.
    pub const fn mode(self) -> Mode {
        match self {
            Self::Development => Mode::Test,
            Self::Production | Self::Restricted | Self::Admin | Self::Account => Mode::Live,
        }
    }

    /// The request limits of a key of this kind that has none of its own.
    pub const fn limits(self) -> Limits {
        let (per_minute, per_hour) = match self {
            Self::Development | Self::Restricted => (60, 1_000),
            Self::Production | Self::Admin | Self::Account => (600, 10_000),
        };
        Limits {
            per_minute: Some(per_minute),
            per_hour: Some(per_hour),
            pages_per_day: Some(200),
            new_destinations_per_day: Some(20),
        }
    }
}

named! {
    /// Which keys may be shown again after they were made.
    "reveal policy" RevealPolicy {
        /// None.
        Never = "never",
        /// The account key alone.
        Account = "account",
        /// The account key, and each key that was made recoverable.
        PerKey = "per_key",
    }
}

impl Default for RevealPolicy {
    /// As each key was made.
    fn default() -> Self {
        Self::PerKey
    }
}

impl RevealPolicy {
    /// Whether keys of this kind may be made so that they can be shown again.
    pub fn allows(self, kind: Kind) -> bool {
        match self {
            Self::Never => false,
            Self::Account => kind == Kind::Account,
            Self::PerKey => true,
        }
    }
}

/// Whether a key is for real faxes or for trying out; visible in the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `fbk_live_…`: faxes take the configured route.
    Live,
    /// `fbk_test_…`: faxes go to the simulator, whatever the request says.
    Test,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Test => "test",
        })
    }
}

/// Limits of one key; what is `None` is as the key's kind has it ([`Kind::limits`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests in an aligned minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    /// Requests in an aligned hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u32>,
    /// Pages dialled on real lines in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages_per_day: Option<u32>,
    /// Numbers never dialled before, in a day, on real lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_destinations_per_day: Option<u32>,
}

impl Limits {
    /// Names of the limits, in the order of [`Limits::values`].
    pub const NAMES: [&'static str; 4] =
        ["per_minute", "per_hour", "pages_per_day", "new_destinations_per_day"];

    /// The limits in order.
    pub fn values(&self) -> [Option<u32>; 4] {
        [self.per_minute, self.per_hour, self.pages_per_day, self.new_destinations_per_day]
    }

    /// The limits with these values, in the order of [`Limits::NAMES`].
    pub fn of_values(
        [per_minute, per_hour, pages_per_day, new_destinations_per_day]: [Option<u32>; 4],
    ) -> Self {
        Self { per_minute, per_hour, pages_per_day, new_destinations_per_day }
    }

    /// These limits, and those of `others` where there is none.
    pub fn or(&self, others: &Self) -> Self {
        let others = others.values();
        let mut values = self.values();
        for (value, other) in values.iter_mut().zip(others) {
            *value = value.or(other);
        }
        Self::of_values(values)
    }

    /// The first limit that is higher than that of `others`, with the highest value allowed; a
    /// limit that is not there is higher than any.
    pub fn beyond(&self, others: &Self) -> Option<(&'static str, u32)> {
        self.values().into_iter().zip(others.values()).zip(Self::NAMES).find_map(|((own, other), name)| {
            let most = other?;
            own.is_none_or(|own| own > most).then_some((name, most))
        })
    }

    /// Whether no limit is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_development_keys_are_test_keys() {
        for kind in Kind::ALL {
            assert_eq!(kind.mode() == Mode::Test, *kind == Kind::Development, "{kind}");
            assert_eq!(kind.as_str().parse::<Kind>().unwrap(), *kind);
        }
    }

    #[test]
    fn limits_compare_one_by_one() {
        let limits = |values: [Option<u32>; 4]| Limits::of_values(values);
        let outer = limits([Some(10), Some(100), None, Some(5)]);
        let cases = [
            (limits([Some(10), Some(100), Some(9_999), Some(5)]), None),
            (limits([Some(11), Some(100), None, Some(5)]), Some(("per_minute", 10))),
            (limits([Some(1), None, None, Some(5)]), Some(("per_hour", 100))),
            (limits([Some(1), Some(1), Some(1), Some(6)]), Some(("new_destinations_per_day", 5))),
        ];
        for (inner, expected) in cases {
            assert_eq!(inner.beyond(&outer), expected, "{inner:?}");
            assert_eq!(
                inner.or(&outer).values(),
                [0, 1, 2, 3].map(|n| inner.values()[n].or(outer.values()[n]))
            );
        }
        assert_eq!(outer.beyond(&Limits::default()), None);
    }

    #[test]
    fn the_policy_bounds_what_may_be_shown_again() {
        let cases = [
            (RevealPolicy::Never, false, false),
            (RevealPolicy::Account, true, false),
            (RevealPolicy::PerKey, true, true),
        ];
        for (policy, account, others) in cases {
            for kind in Kind::ALL {
                let expected = if *kind == Kind::Account { account } else { others };
                assert_eq!(policy.allows(*kind), expected, "{policy} {kind}");
            }
        }
    }

    #[test]
    fn says_what_is_allowed() {
        let error = "prodution".parse::<Kind>().unwrap_err().to_string();
        assert_eq!(
            error,
            "'prodution' is not a kind of key; allowed: development, production, restricted, admin, account"
        );
        assert!("x".repeat(5000).parse::<Kind>().unwrap_err().to_string().len() < 200);
    }
}
