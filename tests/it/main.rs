//! The integration tests: one binary, so that it is linked once.
//!
//! Most start the real program and speak to it over a socket, as its users do.

#![expect(clippy::unwrap_used, reason = "a test that unwraps nothing has failed, and says where")]
#![expect(unreachable_pub, reason = "nothing is outside a test binary; pub marks what its modules share")]

mod api_keys;
mod audit;
mod audit_commands;
mod bad_input;
mod command_line;
mod console_api;
mod contacts;
mod contract;
mod conversion;
mod crash;
mod crash_matrix;
mod crowd;
mod docs;
mod events;
mod faults;
mod fax_verbs;
mod groups;
mod hostile;
mod hostile_documents;
mod http_server;
mod import;
mod limits;
mod loopback;
mod mail;
mod node_client;
mod openapi;
mod people;
mod policy;
mod published_client;
mod queue;
mod revocation;
mod role_matrix;
mod routes;
mod sealing;
mod second_look;
mod secrets;
mod seed_etherfax;
mod seed_fabraix;
mod seed_faxbot;
mod seed_fonproxy;
mod simulator;
mod spending;
mod station;
mod storage;
mod support;
mod tidy;
mod tls;
mod ways;
mod webhooks;
mod webhooks_served;
