//! Who this machine is on the network, and how it proves that.
//!
//! Owns: the machine's names and addresses, the local certificate authority, the certificate that
//! HTTPS clients see and its renewal. Refuses: to vouch for anything but this machine and private
//! networks, and to give the authority's private key to anybody.

pub mod authority;
pub mod client;
pub mod names;
pub mod tls;
