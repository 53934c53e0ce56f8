//! What of the queue's settings can be changed while it runs.
//!
//! Owns: those settings as they are at this moment. Each piece of work reads them once where it
//! begins, so that a change holds from the next call, round or question on.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::{Inner, Queue};
use crate::fax::policy::Settings;
use crate::fax::retention::Rules;

/// Settings that may change while the queue runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// What we call ourselves to other machines (TSI).
    pub station_id: String,
    /// What the configuration says about dialling.
    pub policy: Settings,
    /// How long faxes are kept, and how full the disk may get.
    pub rules: Rules,
}

impl Queue {
    /// Works by these settings from now on, and looks at what they let be dialled.
    pub fn tune(&self, tuning: Tuning) {
        let mut current = self.inner.tuning.write().unwrap_or_else(PoisonError::into_inner);
        if current.policy.hours != tuning.policy.hours {
            self.inner.hours_changed.store(true, Ordering::Release);
        }
        *current = tuning;
        drop(current);
        self.inner.call_dispatcher();
    }
}

impl Inner {
    pub(super) fn rules(&self) -> Rules {
        self.tuning.read().unwrap_or_else(PoisonError::into_inner).rules
    }

    pub(super) fn policy(&self) -> Settings {
        self.tuning.read().unwrap_or_else(PoisonError::into_inner).policy.clone()
    }

    pub(super) fn station_id(&self) -> String {
        self.tuning.read().unwrap_or_else(PoisonError::into_inner).station_id.clone()
    }
}
