//! What each change does, what it refuses, and with which words.
