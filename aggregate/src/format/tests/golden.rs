//! The bytes of one sample of each structure, kept: whoever changes a layout changes this file, and a version.

use std::fmt::Write;
use std::path::Path;

use crate::format::{Pointer, sample};

/// Sixteen bytes a line; lines of zeros are left out, the last line is the length.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, line) in bytes
        .chunks(16)
        .enumerate()
        .filter(|(_, line)| line.iter().any(|&byte| byte != 0))
    {
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{:05x}  {}", index * 16, hex.join(" ")).unwrap();
    }
    writeln!(text, "{:05x}", bytes.len()).unwrap();
    text
}

fn check(name: &str, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/golden/{name}.hex"));
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let now = dump(bytes);
    assert!(
        kept == now,
        "{} differs from what is written now:\n{now}",
        path.display()
    );
}

#[test]
fn structures_have_their_golden_bytes() {
    check("label", &sample::label().encode());
    check("slot", &sample::slot().encode().unwrap());
    check("root", &sample::root().encode().unwrap());
    check("batch", &sample::batch());
    check("pointer", &sample::pointer().encode());
    check("no_pointer", &Pointer::encode_option(None));
}

#[test]
fn values_have_their_golden_bytes() {
    for (name, bytes) in sample::values() {
        check(name, &bytes);
    }
}

#[test]
fn sizes_are_those_of_the_page() {
    assert_eq!(crate::format::Attributes::BYTES, 112);
    assert_eq!(crate::format::BatchHeader::BYTES, 128);
    assert_eq!(crate::format::Record::HEADER_BYTES, 64);
    assert_eq!(sample::slot().encode().unwrap().len(), 512);
    assert_eq!(sample::label().encode().len(), 4_096);
    assert_eq!(sample::extent().encode().len(), 16 + 2 * 16);
}
