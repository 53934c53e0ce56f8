//! Which faxes wait for somebody to look at their number, and letting held ones go.
//!
//! Owns: where the guard against mis-dialled faxes stands: on routes that spend money, and on the
//! others when the configuration says so. Refuses: to ask twice about a number; who lets one fax to
//! it go lets all go that wait for the same.

use super::{Inner, Queue, QueueError};
use crate::access::audit::{Action, Context};
use crate::fax::job::{Job, State};
use crate::fax::number::FaxNumber;
use crate::fax::second_look::{Rule, SecondLook};
use crate::id::JobId;
use crate::route::simulator;

impl Queue {
    /// What is striking about a number, so that a fax to it would be held.
    pub async fn second_look(&self, route: &str, to: &FaxNumber) -> Result<Option<SecondLook>, QueueError> {
        Ok(self.second_looks(route, vec![to.clone()]).await?.pop().flatten())
    }

    /// The same for several, in their order.
    pub async fn second_looks(
        &self,
        route: &str,
        numbers: Vec<FaxNumber>,
    ) -> Result<Vec<Option<SecondLook>>, QueueError> {
        self.inner.second_looks(route, numbers).await
    }

    /// The name of this number in the address book.
    pub fn contact_name(&self, number: &str) -> Result<Option<String>, QueueError> {
        Ok(self.inner.db.contact_names(&[number])?.remove(number))
    }

    /// Lets a held job go; `Err` with the state of one that is not held. When it waited for somebody to
    /// look at its number, that is remembered, and others that wait for the same go too.
    pub async fn release(&self, id: JobId, by: &Context) -> Result<Result<Job, State>, QueueError> {
        let inner = &self.inner;
        let is_looked_at = self.get(id)?.is_some_and(|job| job.is_to_be_looked_at());
        let released = inner.release(id, by).await?;
        if let (true, Ok(job)) = (is_looked_at, &released) {
            for other in inner.db.to_look_at(&job.to)? {
                // One that was released meanwhile is gone its way already.
                let _ = inner.release(other, by).await?;
            }
        }
        Ok(released)
    }
}

impl Inner {
    async fn release(&self, id: JobId, by: &Context) -> Result<Result<Job, State>, QueueError> {
        let now = self.clock.now();
        let event = by.event(Action::FaxReleased, id, now);
        let moved = match self.db.audited(event).release_job(id, by.actor.clone(), now).await? {
            Ok(moved) => moved,
            Err(state) => return Ok(Err(state)),
        };
        self.moved(id, moved.freed()).await;
        Ok(Ok(moved.into_job()))
    }

    pub(super) async fn second_looks(
        &self,
        route: &str,
        numbers: Vec<FaxNumber>,
    ) -> Result<Vec<Option<SecondLook>>, QueueError> {
        let (settings, spends) = (self.policy().second_look, self.spends(route));
        if settings.rule == Rule::Off || !(spends || settings.everywhere) {
            return Ok(vec![None; numbers.len()]);
        }
        // What went well in the house says nothing about telephone numbers.
        let routes = match spends {
            true => self.spending_routes(),
            false => self.routes_now().into_iter().map(|route| route.name).collect(),
        };
        let found = self.db.second_looks(numbers.clone(), settings.rule, routes, self.clock.now()).await?;
        // A scripted number reaches nobody.
        let is_asked = |number: &FaxNumber| spends || !simulator::is_scripted(number);
        Ok(found.into_iter().zip(&numbers).map(|(look, number)| look.filter(|_| is_asked(number))).collect())
    }
}

#[cfg(test)]
mod tests;
