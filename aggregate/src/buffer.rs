//! Memory that a device can be read into and written from.
