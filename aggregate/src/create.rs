//! A new aggregate.
