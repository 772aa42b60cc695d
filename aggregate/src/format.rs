//! What lies on the disk, byte by byte: each structure once, each decoder total.
