//! The cache manager: it mounts cells, and answers for them to the kernel.
