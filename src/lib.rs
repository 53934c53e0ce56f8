//! Pagewire: a fax appliance in one binary.
//!
//! The modules in reading order, floor by floor; a module imports only from lower floors or its
//! own folder (ARCHITECTURE.md has the map, `tests/it/tidy.rs` the guard).

// Floor 0: the ground. Imports nothing of ours.
pub mod clock;
pub mod crash;
pub mod fs;
pub mod id;
pub mod limits;
pub mod log;
pub mod secret;

// Floor 1: the domain, pure: no tokio, no files, no SQL.
pub mod access;
pub mod codec;
pub mod fax;

// Floor 2: storage.
pub mod db;
pub mod net;
pub mod seal;
pub mod spool;

// Floor 3: services.
pub mod audit;
pub mod auth;
pub mod convert;
pub mod events;
pub mod inbound;
pub mod sealing;

// Floor 4: ways a fax can take, where one can come from, and who is told of it.
pub mod import;
pub mod mail;
pub mod route;
pub mod webhooks;

// Floor 5: the queue.
pub mod queue;

// Floor 6: HTTP.
pub mod http;

// Outside the floors: composition and commands.
pub mod app;
pub mod cli;
pub mod config;
pub mod serve;
