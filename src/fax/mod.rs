//! What a fax is, what may happen to it, and what is said about it.
//!
//! Owns: the number, the job with its states and transitions, the attempt, the failure model with
//! its sentences, the retry policy, and the events these give rise to. Pure: no tokio, no files,
//! no SQL; time is passed in. Refuses: any transition that jobs of that state do not have.

pub mod attempt;
pub mod event;
pub mod job;
pub mod number;
pub mod outcome;
pub mod received;
pub mod retry;
pub mod sentences;
pub mod transition;
