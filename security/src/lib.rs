//! Who is calling: the cell's authority, TLS between machines, and logins inside it.
//!
//! The life of a login, in ten lines:
//!
//! 1. A client dials ([`ClientTls`]); the server admits its address, or does not ([`listen`]).
//! 2. TLS 1.3: the server shows a machine's certificate of the cell's authority ([`Anchor`]), for the name that
//!    the location database has for it; a client that is a machine shows its own.
//! 3. Both ends compute the same [`ChannelBinding`], known to nobody else.
//! 4. The client's half of a mechanism ([`auth::Initiator`]) makes a token from it, for one user.
//! 5. The server's half ([`auth::Acceptor`]) judges the token, and tells an [`auth::Identity`].
//! 6. The registry is asked whether that principal may log in at all (the caller's `admit`).
//! 7. The connection's table XX gives it a handle: a number that means nothing elsewhere.
//! 8. Each operation carries the handle; finding the identity again costs no cryptography.
//! 9. The handle ends with the proof, after ten hours, when the principal is disabled, or with the connection.
//! 10. Then the client logs in once more and asks again: the operation had not run.
//!
//! Nothing here decides what an identity may do, and nothing here is secret in the source: keys are made where
//! they are used and stay there.

mod anchor;
pub mod auth;
mod authority;
pub mod callers;
mod credential;
pub mod files;
pub mod invitation;
mod key;
pub mod listen;
mod names;
mod pem;
#[cfg(test)]
mod testing;
mod tls;
mod validity;

pub use anchor::Anchor;
pub use authority::{Authority, Subject};
pub use credential::{Credential, Place};
pub use key::{Fingerprint, Key, Request};
pub use names::Names;
pub use pem::{read_certificate, write_certificate};
pub use tls::{Channel, ChannelBinding, ClientTls, Dialled, HostTls, Wire, explain, explain_io, explain_source};
pub use validity::{SKEW_SECONDS, Validity, date};
