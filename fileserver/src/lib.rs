//! The file server. So far it is known to its cell and follows it: it registers under its own
//! certificate, watches the location database, and renews its certificate. It exports nothing yet.

pub mod daemon;
