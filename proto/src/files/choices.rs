//! Choices by number.

use baton_types::Result;
use baton_types::call::{Allocate, SetXattr};

use super::shapes::bad;

pub fn allocate_number(how: Allocate) -> u32 {
    match how {
        Allocate::Extend => 1,
        Allocate::KeepSize => 2,
        Allocate::PunchHole => 3,
        Allocate::Zero => 4,
    }
}

pub fn allocate(number: u32) -> Result<Allocate> {
    match number {
        1 => Ok(Allocate::Extend),
        2 => Ok(Allocate::KeepSize),
        3 => Ok(Allocate::PunchHole),
        4 => Ok(Allocate::Zero),
        other => Err(bad("kind of fallocate", other)),
    }
}

pub fn set_xattr_number(how: SetXattr) -> u32 {
    match how {
        SetXattr::Always => 0,
        SetXattr::Create => 1,
        SetXattr::Replace => 2,
    }
}

pub fn set_xattr(number: u32) -> Result<SetXattr> {
    match number {
        0 => Ok(SetXattr::Always),
        1 => Ok(SetXattr::Create),
        2 => Ok(SetXattr::Replace),
        other => Err(bad("kind of setxattr", other)),
    }
}
