//! Segments, reserves and frees: which block may be written.
