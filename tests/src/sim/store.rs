//! The store under a seed: two servers on one disk, interleaved at every operation of its device.
//!
//! | file | is |
//! |---|---|
//! | `store/fence.rs` | who may write an aggregate: the real fence, and the adversary of the models against it |

pub mod fence;
