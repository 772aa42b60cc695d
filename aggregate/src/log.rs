//! The log: records gathered into batches, written, flushed, looked, told.
