//! What a watcher hears.
