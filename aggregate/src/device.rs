//! The device under an aggregate: a few operations, and what they promise.
