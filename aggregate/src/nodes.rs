//! Verified blocks of the device, by way of one cache.
