//! The cache manager. Nothing is here yet.
