//! The on-disk store of an aggregate: device, slots, log, trees, snapshots, quotas, checksums. Nothing is here yet.
