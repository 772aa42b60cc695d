//! A change being made to one fileset, and its place in history.
