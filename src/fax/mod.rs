//! What a fax is, what may happen to it, and what is said about it.
//!
//! Owns: the number, the job with its states and transitions, the attempt, the failure model with
//! its sentences, the retry policy, which route is taken and which is out of service, which numbers may be dialled, what all faxes may spend, how long they are
//! kept, whether what is recorded fits together, and the events and notices these give rise to. Pure: no tokio, no files, no SQL; time is passed in. Refuses: any transition that jobs of that state do not have.

pub mod accounts;
pub mod alert;
pub mod attempt;
pub mod contact;
pub mod cover;
pub mod destination;
pub mod dialling;
pub mod event;
pub mod group;
pub mod health;
pub mod hours;
pub mod job;
pub mod ladder;
pub mod notice;
pub mod notify;
pub mod number;
pub mod outcome;
pub mod places;
pub mod policy;
pub mod received;
pub mod retention;
pub mod retry;
pub mod routing;
pub mod second_look;
pub mod sentences;
pub mod station;
pub mod transition;
