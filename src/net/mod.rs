//! Who this machine is on the network, how it proves that, and how it calls others.
//!
//! Owns: the machine's names and addresses, the local certificate authority, the certificate that
//! HTTPS clients see and its renewal; the only resolver, calls to web servers of others, messages to the mail
//! server, and when what was not taken is tried again.
//! Refuses: to vouch for anything but this machine and private networks, to give the authority's
//! private key to anybody, and to call addresses nobody allowed.

pub mod authority;
pub mod client;
pub mod dns;
pub mod http_client;
pub mod names;
pub mod reach;
pub mod schedule;
pub mod smtp;
pub mod tls;
