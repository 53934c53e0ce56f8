//! The route to our own inbox.
//!
//! Owns: delivering the very page bits to the inbox, at once and exactly once: the inbox is asked
//! by attempt id, so a call whose end nobody saw can be settled. The simulator's numbers keep their
//! scripted ends here too, and then nothing reaches the inbox.

use crate::clock::Work;
use crate::fax::attempt::{CallEnd, Carriage, Direction, PageConfirmation};
use crate::fax::number::FaxNumber;
use crate::fax::outcome::{Class, Detail, Fault};
use crate::id::AttemptId;
use crate::inbound::{Arrival, Inbox};
use crate::route::simulator::{self, Simulator};
use crate::route::{BoxFuture, Call, Route, Settled};

/// Name of this route.
pub const NAME: &str = "loopback";

/// The loopback route.
#[derive(Debug)]
pub struct Loopback {
    inbox: Inbox,
    simulator: Simulator,
}

impl Loopback {
    /// Delivers to this inbox.
    pub fn new(inbox: Inbox) -> Self {
        Self { inbox, simulator: Simulator::FIRST }
    }

    async fn deliver(&self, call: Call) -> CallEnd {
        if let Err(why) = call.hang_up.check() {
            return why.into();
        }
        let started = call.clock.now();
        let confirmed: Vec<_> =
            call.numbered_pages().map(|(page, fax)| (page, fax.strip.len() as u64)).collect();
        if let Err(fault) = call.answered(Some(&call.station_id)) {
            return CallEnd::Failed(fault);
        }
        call.reporter.carriage(Carriage { transport: Some(NAME.into()), ..Carriage::default() });
        for (page, _) in &confirmed {
            call.reporter.trace(Direction::Sent, format!("page {page}"), None);
        }
        let arrival = Arrival {
            from: None,
            to: Some(call.to.as_e164().into()),
            remote_station_id: Some(call.station_id),
            route: NAME.into(),
            attempt: Some(call.attempt),
            pages: call.pages,
            is_complete: true,
        };
        if let Err(error) = self.inbox.receive(arrival).await {
            log::warn!("attempt {}: the inbox did not take the fax: {error}", call.attempt);
            let detail =
                Detail { provider: Some("the inbox cannot store faxes".into()), ..Detail::default() };
            return CallEnd::Failed(Fault {
                code: "inbox_unavailable".into(),
                detail,
                ..Fault::of(Class::Provider)
            });
        }
        call.reporter.trace(Direction::Received, "MCF", Some("stored in the inbox"));
        let now = call.clock.now();
        let duration_ms = u64::try_from(now.duration_since(started).as_millis()).unwrap_or(0);
        for (page, bytes) in confirmed {
            call.reporter.confirmed_with_end(PageConfirmation {
                page,
                confirmed_at: now,
                bytes,
                duration_ms,
            });
        }
        CallEnd::Delivered
    }
}

impl Route for Loopback {
    fn name(&self) -> &str {
        NAME
    }

    fn spends(&self) -> bool {
        false
    }

    fn call<'a>(&'a self, call: Call, work: &'a mut Work) -> BoxFuture<'a, CallEnd> {
        if simulator::is_scripted(&call.to) {
            return self.simulator.call(call, work);
        }
        Box::pin(self.deliver(call))
    }

    fn settle(&self, attempt: AttemptId, to: &FaxNumber) -> Settled {
        if simulator::is_scripted(to) {
            return self.simulator.settle(attempt, to);
        }
        match self.inbox.of_attempt(attempt) {
            Ok(Some(_)) => Settled::Delivered,
            Ok(None) => Settled::NotDelivered,
            Err(error) => {
                log::warn!("attempt {attempt}: the inbox cannot tell whether it has the fax: {error}");
                Settled::Unknown
            }
        }
    }
}
