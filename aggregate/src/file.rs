//! A file's bytes: extents, inline files, checksums.
