//! Golden bytes, errors, and properties of the format.

mod errors;
mod golden;
mod properties;
