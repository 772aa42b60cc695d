//! Transcripts of this core.
