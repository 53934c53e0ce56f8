//! In which way a call is tried, after others went badly.
//!
//! Owns: the ladder (the other transport, then 9,600 bit/s, then no error correction), and where on
//! it a call stands, as a pure function of what is remembered of its number and of the fax's own
//! calls there. Refuses: to climb. Within one fax each way is a step further down from the one
//! before, or the same; what worked is where the next fax begins.

use super::attempt::Carriage;
use super::destination::Memory;
use super::outcome::Class;

/// The highest speed of V.17, in bit/s.
const V17: u32 = 14_400;
/// The highest speed without V.17, in bit/s: V.29 trains on lines that V.17 does not.
const V29: u32 = 9600;

/// What carries the pages between us and the telephone network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Fax data in packets (T.38).
    #[default]
    T38,
    /// The tones themselves (G.711).
    Audio,
}

impl Transport {
    /// The word of records and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::T38 => "t38",
            Self::Audio => "audio",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::T38 => Self::Audio,
            Self::Audio => Self::T38,
        }
    }
}

/// The way in which a call is to be tried. A route that has only one transport takes that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// What is to carry the pages.
    pub transport: Transport,
    /// The highest speed to be agreed on, in bit/s; 9,600 leaves V.17 out.
    pub max_bit_rate: u32,
    /// Whether error correction (T.30 Annex A) may be used.
    pub ecm: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { transport: Transport::default(), max_bit_rate: V17, ecm: true }
    }
}

impl Wishes {
    /// The way for the next call of a fax. `memory` is what is remembered of its number from before
    /// its own first call there; `own` is how its calls there ended, in order.
    pub fn next(memory: &Memory, own: &[Class]) -> Self {
        let steps = Self::as_worked(memory).steps();
        let newer = memory.calls.iter().take_while(|call| call.class != Class::Delivered);
        let failed_before = newer.filter(|call| leads_down(call.class)).count();
        // Where not even the last step helped, the fault was no matter of the way.
        let first = failed_before % steps.len();
        let down = own.iter().filter(|class| leads_down(**class)).count();
        steps[(first + down).min(steps.len() - 1)]
    }

    /// The same as of calls that carried pages so.
    fn as_worked(memory: &Memory) -> Self {
        let Some(Carriage { transport, bit_rate, ecm }) = memory.worked().map(|call| &call.carriage) else {
            return Self::default();
        };
        let is_audio = transport.as_deref() == Some(Transport::Audio.as_str());
        Self {
            transport: if is_audio { Transport::Audio } else { Transport::T38 },
            max_bit_rate: if bit_rate.is_some_and(|rate| rate <= V29) { V29 } else { V17 },
            ecm: *ecm != Some(false),
        }
    }

    /// This way and those below it, each with one more thing given up.
    fn steps(self) -> Vec<Self> {
        let swapped = Self { transport: self.transport.other(), ..self };
        let slow = Self { max_bit_rate: V29, ..swapped };
        let plain = Self { ecm: false, ..slow };
        let mut steps = vec![self, swapped, slow, plain];
        steps.dedup();
        steps
    }
}

/// Whether another way may do better than one in which a call ended so.
fn leads_down(class: Class) -> bool {
    matches!(class, Class::TrainingFailed | Class::EcmFailed | Class::MediaLost | Class::Protocol)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::fax::destination::PastCall;

    fn past(class: Class, transport: &str, bit_rate: u32, ecm: bool) -> PastCall {
        PastCall {
            at: Timestamp::UNIX_EPOCH,
            route: "line".into(),
            class,
            pages: 1,
            remote_station_id: None,
            carriage: Carriage {
                transport: Some(transport.into()),
                bit_rate: Some(bit_rate),
                ecm: Some(ecm),
            },
        }
    }

    fn wishes(transport: Transport, max_bit_rate: u32, ecm: bool) -> Wishes {
        Wishes { transport, max_bit_rate, ecm }
    }

    #[test]
    fn each_step_gives_up_one_thing_more() {
        use Transport::{Audio, T38};
        let none = Memory::default();
        let steps = [
            wishes(T38, V17, true),
            wishes(Audio, V17, true),
            wishes(Audio, V29, true),
            wishes(Audio, V29, false),
            wishes(Audio, V29, false),
        ];
        let bad = [Class::TrainingFailed, Class::EcmFailed, Class::MediaLost, Class::Protocol];
        for (count, expected) in steps.into_iter().enumerate() {
            assert_eq!(Wishes::next(&none, &bad[..count]), expected, "after {count}");
        }
        let harmless =
            [Class::Busy, Class::RemoteHungUp, Class::NoAnswer, Class::Network, Class::PageNotConfirmed];
        assert_eq!(Wishes::next(&none, &harmless), steps[0]);

        // What worked last is where it begins.
        let slow = Memory { calls: vec![past(Class::Delivered, "audio", 7200, true)] };
        assert_eq!(Wishes::next(&slow, &[]), wishes(Audio, V29, true));
        assert_eq!(Wishes::next(&slow, &bad[..1]), wishes(T38, V29, true));
        assert_eq!(Wishes::next(&slow, &bad[..2]), wishes(T38, V29, false));
        // What failed since counts, until nothing was left to give up.
        let failed = |count| {
            let mut calls = vec![past(Class::TrainingFailed, "audio", 7200, true); count];
            calls.push(past(Class::Busy, "", 0, true));
            calls.push(past(Class::Delivered, "t38", 14_400, true));
            calls.push(past(Class::Protocol, "t38", 14_400, true));
            Memory { calls }
        };
        assert_eq!(Wishes::next(&failed(0), &[]), steps[0]);
        assert_eq!(Wishes::next(&failed(3), &[]), steps[3]);
        assert_eq!(Wishes::next(&failed(4), &[]), steps[0]);
    }

    #[test]
    fn within_one_fax_it_only_goes_down() {
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..2000 {
            let mut any = || *Class::ALL.choose(&mut random).unwrap();
            let (remembered, own): (Vec<_>, Vec<_>) =
                ((0..6).map(|_| any()).collect(), (0..12).map(|_| any()).collect());
            let rates = [2400, 9600, 14_400];
            let calls = remembered.into_iter().map(|class| {
                let transport = *["t38", "audio", "loopback"].choose(&mut random).unwrap();
                past(class, transport, *rates.choose(&mut random).unwrap(), random.random_bool(0.5))
            });
            let memory = Memory { calls: calls.collect() };
            let mut before = Wishes::next(&memory, &[]);
            let (mut swaps, all) = (0, own.clone());
            for count in 1..=all.len() {
                let next = Wishes::next(&memory, &all[..count]);
                let is_bad = leads_down(all[count - 1]);
                assert!(next == before || is_bad, "{:?} leads down", all[count - 1]);
                assert!(next.max_bit_rate <= before.max_bit_rate && (before.ecm || !next.ecm));
                swaps += usize::from(next.transport != before.transport);
                before = next;
            }
            assert!(swaps <= 1, "{all:?}");
        }
    }
}
