//! The route that reaches nobody.
//!
//! Owns: numbers with a scripted end, offline, with the states, events, traces and timing of a real
//! line. What varies (dial time, page time) is the same for the same attempt. Refuses: to touch a
//! network or the inbox.
//!
//! | number | what happens |
//! |---|---|
//! | +15005550000, and any other | delivered |
//! | +15005550001 | busy in the first call, then delivered |
//! | +15005550002 | nobody answers |
//! | +15005550003 | a person answers |
//! | +15005550004 | the number is bad |
//! | +15005550005 | hangs up during page 2 of the first call (page 1 if it is the only one), then delivered |
//! | +15005550006 | never agrees on a speed, whatever way is tried |
//! | +15005550007 | never confirms the last page |
//! | +15005550008 | delivered, each page taking 30 s |
//! | +15005550009 | the provider is out of service; that of the further simulators delivers |
//! | +15005550010 | delivered; its machine calls itself differently once it is known from a delivery |
//! | +15005550011 | takes pages of standard resolution alone |

use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::clock::Work;
use crate::codec::compatible::is_compatible;
use crate::fax::attempt::{self, CallEnd, Carriage, Direction, PageConfirmation};
use crate::fax::ladder::Wishes;
use crate::fax::number::FaxNumber;
use crate::fax::outcome::{Class, Detail, Fault};
use crate::id::AttemptId;
use crate::route::{BoxFuture, Call, EndEarly, NotRecorded, Route, Settled};

/// Name of the one that faxes of test keys take.
pub const NAME: &str = "simulator";
/// Names of the simulators: the others stand for further lines, to see what becomes of a fax whose
/// line fails.
const NAMES: [&str; 4] = [NAME, "simulator:2", "simulator:3", "simulator:4"];
/// What all scripted numbers begin with; two digits follow.
const SCRIPTED: &str = "+150055500";
/// The last of them.
const LAST_SCRIPTED: u8 = 11;
/// What the simulated machine calls itself.
const STATION_ID: &str = "PAGEWIRE SIMULATOR";
/// The same of a machine that took the place of another one.
const OTHER_STATION_ID: &str = "ANOTHER SIMULATOR";

/// From dialling to the first answer.
const DIAL_MS: Range<u64> = 1000..3000;
/// From the first bit of a page to its last.
const PAGE_MS: Range<u64> = 800..1200;
/// The same for the slow number.
const SLOW_PAGE_MS: u64 = 30_000;
/// Tones, identification, DCS and TCF (1.5 s of TCF, T.30 5.3.6.1.1).
const HANDSHAKE_MS: u64 = 2200;
/// From the end of a page to its answer.
const ANSWER_MS: u64 = 250;
/// Wait for the answer to a command before it is repeated (T4, T.30 5.4.3.1).
const T4_MS: u64 = 3000;
/// A command is sent three times at most (T.30 5.4.2).
const COMMANDS: u32 = 3;
/// Speeds tried one after the other, in bit/s.
const SPEEDS: [u32; 4] = [14_400, 9600, 4800, 2400];

/// A simulator. It has no state.
#[derive(Clone, Copy, Debug)]
pub struct Simulator {
    name: &'static str,
}

impl Simulator {
    /// The one that faxes of test keys take.
    pub const FIRST: Self = Self { name: NAME };

    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|name| Self { name })
    }
}

/// Whether this is a simulator beside the first one, there for who wants several lines.
pub fn is_further(name: &str) -> bool {
    name != NAME && is_one(name)
}

/// Whether a simulator has this name.
pub fn is_one(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether this number has an end of its own on the simulator and on loopback.
pub fn is_scripted(to: &FaxNumber) -> bool {
    script_number(to).is_some()
}

impl Route for Simulator {
    fn name(&self) -> &str {
        self.name
    }

    fn spends(&self) -> bool {
        false
    }

    fn call<'a>(&'a self, call: Call, work: &'a mut Work) -> BoxFuture<'a, CallEnd> {
        let random = StdRng::seed_from_u64(attempt::seed(call.attempt));
        let script = Script::of(self.name, &call.to, call.attempt_number, call.last_page());
        let mut line = Line { script, call, work, random };
        Box::pin(async move {
            match line.run().await {
                Ok(()) => CallEnd::Delivered,
                Err(Ending::Fault(fault)) => CallEnd::Failed(fault),
                Err(Ending::Early(why)) => {
                    line.sent("DCN");
                    why.into()
                }
            }
        })
    }

    fn settle(&self, _attempt: AttemptId, _to: &FaxNumber) -> Settled {
        Settled::Unknown
    }
}

fn script_number(to: &FaxNumber) -> Option<u8> {
    let digits = to.as_e164().strip_prefix(SCRIPTED).filter(|digits| digits.len() == 2)?;
    digits.parse().ok().filter(|number| *number <= LAST_SCRIPTED)
}

/// What the other end does in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Deliver,
    DeliverSlowly,
    Busy,
    NoAnswer,
    Person,
    NumberBad,
    HangUpDuring(u32),
    NeverTrain,
    NeverConfirm(u32),
    Outage,
    BecomeAnother,
    TakeStandardAlone,
}

impl Script {
    fn of(simulator: &str, to: &FaxNumber, attempt_number: u32, last_page: u32) -> Self {
        let is_first_call = attempt_number == 1;
        match script_number(to) {
            Some(1) if is_first_call => Self::Busy,
            Some(2) => Self::NoAnswer,
            Some(3) => Self::Person,
            Some(4) => Self::NumberBad,
            Some(5) if is_first_call => Self::HangUpDuring(last_page.min(2)),
            Some(6) => Self::NeverTrain,
            Some(7) => Self::NeverConfirm(last_page),
            Some(8) => Self::DeliverSlowly,
            Some(9) if simulator == NAME => Self::Outage,
            Some(10) => Self::BecomeAnother,
            Some(11) => Self::TakeStandardAlone,
            _ => Self::Deliver,
        }
    }
}

/// Why a call is over before all pages are through.
enum Ending {
    Fault(Fault),
    Early(EndEarly),
}

impl From<EndEarly> for Ending {
    fn from(why: EndEarly) -> Self {
        Self::Early(why)
    }
}

impl From<NotRecorded> for Ending {
    fn from(error: NotRecorded) -> Self {
        log::warn!("a simulated call ends before its first page: {error}");
        Self::Fault(Fault::of(Class::Interrupted))
    }
}

/// One simulated call.
struct Line<'a> {
    script: Script,
    call: Call,
    work: &'a mut Work,
    random: StdRng,
}

impl Line<'_> {
    async fn run(&mut self) -> Result<(), Ending> {
        self.dial().await?;
        self.handshake().await?;
        self.call.reporter.first_data().await?;
        let sizes: Vec<_> =
            self.call.numbered_pages().map(|(page, fax)| (page, fax.strip.len() as u64)).collect();
        for (page, bytes) in sizes {
            self.page(page, bytes).await?;
        }
        self.sent("DCN");
        Ok(())
    }

    async fn dial(&mut self) -> Result<(), Ending> {
        let transport = self.call.wishes.transport;
        self.noted(Direction::Sent, "INVITE", transport.as_str());
        let dial_ms = self.random.random_range(DIAL_MS);
        self.pass(dial_ms).await?;
        let fault = match self.script {
            Script::Busy => Fault::sip(486),
            Script::NoAnswer => Fault::sip(480),
            Script::NumberBad => Fault::sip(404),
            Script::Outage => {
                let detail = Detail { provider: Some("simulated outage".into()), ..Detail::default() };
                Fault { code: "provider_unavailable".into(), detail, ..Fault::of(Class::Provider) }
            }
            _ => {
                self.received("200");
                return Ok(());
            }
        };
        match fault.detail.sip {
            Some(status) => self.received(&status.to_string()),
            None => self.noted(Direction::Received, "503", "the provider is out of service"),
        }
        Err(Ending::Fault(fault))
    }

    async fn handshake(&mut self) -> Result<(), Ending> {
        if self.script == Script::Person {
            self.noted(Direction::Received, "voice", "speech, and no fax tone");
            self.pass(HANDSHAKE_MS).await?;
            self.sent("BYE");
            return Err(Ending::Fault(Fault::t30(2)));
        }
        self.received("CED");
        let station_id = match (self.script, &self.call.watch.expected) {
            (Script::BecomeAnother, Some(_)) => OTHER_STATION_ID,
            _ => STATION_ID,
        };
        self.noted(Direction::Received, "CSI", station_id);
        self.received("DIS");
        if let Err(fault) = self.call.answered(Some(station_id)) {
            self.noted(Direction::Sent, "DCN", "another machine than the one that is known");
            return Err(Ending::Fault(fault));
        }
        let refused = self.call.numbered_pages().find(|(_, page)| !is_compatible(page)).map(|(page, _)| page);
        if let (Script::TakeStandardAlone, Some(page)) = (self.script, refused) {
            self.noted(Direction::Sent, "DCN", "it cannot receive this resolution");
            return Err(Ending::Fault(Fault::t30(11).on_page(page)));
        }
        let Wishes { transport, max_bit_rate, ecm } = self.call.wishes;
        let carriage = |speed| Carriage {
            transport: Some(transport.as_str().into()),
            bit_rate: Some(speed),
            ecm: Some(ecm),
        };
        self.call.reporter.carriage(carriage(max_bit_rate));
        let correction = if ecm { "with" } else { "without" };
        for speed in SPEEDS.into_iter().filter(|speed| *speed <= max_bit_rate) {
            let station_id = self.call.station_id.clone();
            self.noted(Direction::Sent, "TSI", &station_id);
            self.noted(Direction::Sent, "DCS", &format!("{speed} bit/s, {correction} error correction"));
            self.sent("TCF");
            self.pass(HANDSHAKE_MS).await?;
            if self.script != Script::NeverTrain {
                self.received("CFR");
                self.call.reporter.carriage(carriage(speed));
                return Ok(());
            }
            self.received("FTT");
        }
        self.sent("DCN");
        Err(Ending::Fault(Fault::t30(14)))
    }

    async fn page(&mut self, page: u32, bytes: u64) -> Result<(), Ending> {
        let page_ms = match self.script {
            Script::DeliverSlowly => SLOW_PAGE_MS,
            _ => self.random.random_range(PAGE_MS),
        };
        self.sent(&format!("page {page}"));
        if self.script == Script::HangUpDuring(page) {
            self.pass(page_ms / 2).await?;
            self.received("BYE");
            return Err(Ending::Fault(Fault::t30(49).on_page(page)));
        }
        self.pass(page_ms).await?;
        let post_message = if page == self.call.last_page() { "EOP" } else { "MPS" };
        if self.script == Script::NeverConfirm(page) {
            for _ in 0..COMMANDS {
                self.sent(post_message);
                self.pass(T4_MS).await?;
            }
            self.sent("DCN");
            return Err(Ending::Fault(Fault::t30(21).on_page(page)));
        }
        self.sent(post_message);
        self.pass(ANSWER_MS).await?;
        self.received("MCF");
        let confirmation = PageConfirmation {
            page,
            confirmed_at: self.call.clock.now(),
            bytes,
            duration_ms: page_ms + ANSWER_MS,
        };
        self.call.reporter.page_confirmed(confirmation).await;
        Ok(())
    }

    async fn pass(&mut self, ms: u64) -> Result<(), EndEarly> {
        let Self { call, work, .. } = self;
        call.hang_up.sleep(work, &call.clock, Duration::from_millis(ms)).await
    }

    fn sent(&self, frame: &str) {
        self.call.reporter.trace(Direction::Sent, frame, None);
    }

    fn received(&self, frame: &str) {
        self.call.reporter.trace(Direction::Received, frame, None);
    }

    fn noted(&self, direction: Direction, frame: &str, note: &str) {
        self.call.reporter.trace(direction, frame, Some(note));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(to: &str, attempt_number: u32, pages: u32) -> Script {
        Script::of(NAME, &to.parse().unwrap(), attempt_number, pages)
    }

    #[test]
    fn the_last_digits_write_the_script() {
        let cases = [
            ("+15005550000", 1, 3, Script::Deliver),
            ("+15005550001", 1, 3, Script::Busy),
            ("+15005550001", 2, 3, Script::Deliver),
            ("+15005550002", 9, 3, Script::NoAnswer),
            ("+15005550003", 2, 3, Script::Person),
            ("+15005550004", 1, 3, Script::NumberBad),
            ("+15005550005", 1, 3, Script::HangUpDuring(2)),
            ("+15005550005", 1, 1, Script::HangUpDuring(1)),
            ("+15005550005", 2, 3, Script::Deliver),
            ("+15005550006", 3, 3, Script::NeverTrain),
            ("+15005550007", 2, 3, Script::NeverConfirm(3)),
            ("+15005550008", 1, 3, Script::DeliverSlowly),
            ("+15005550009", 1, 3, Script::Outage),
            ("+15005550010", 1, 3, Script::BecomeAnother),
            ("+15005550011", 2, 3, Script::TakeStandardAlone),
            ("+15005550012", 1, 3, Script::Deliver),
            ("+15005550100", 1, 3, Script::Deliver),
            ("+150055500001", 1, 3, Script::Deliver),
        ];
        for (to, attempt_number, pages, expected) in cases {
            assert_eq!(script(to, attempt_number, pages), expected, "{to}, call {attempt_number}");
        }
        let other = Script::of("simulator:2", &"+15005550009".parse().unwrap(), 1, 3);
        assert_eq!(other, Script::Deliver, "another provider");
        assert!(is_scripted(&"+15005550009".parse().unwrap()));
        assert!(!is_scripted(&"+15005550012".parse().unwrap()));
    }
}
