//! What is checked before anything is asked of a mount.

use super::about::groups_of;
use super::*;

#[test]
fn groups_are_those_of_the_same_user() {
    let status = "Name:\tfts\nUid:\t4001\t4001\t4001\t4001\nGid:\t100\t100\t100\t100\nGroups:\t200 100 \n";
    assert_eq!(groups_of(status, 4_001), Some(vec![100, 200]));
    assert_eq!(groups_of(status, 0), None);
    assert_eq!(groups_of("Name:\tfts\n", 4_001), None);
    let none = "Uid:\t1\t1\t1\t1\nGroups:\t\n";
    assert_eq!(groups_of(none, 1), Some(Vec::new()));
}

#[test]
fn root_alone_mounts() {
    let peer = |uid| Peer { pid: 1, uid, gid: 1 };
    assert!(root_only(peer(0), "mount").is_ok());
    assert_eq!(
        root_only(peer(1), "mount").unwrap_err().to_string(),
        "mount: root alone may do that"
    );
}

#[test]
fn paths_and_addresses_are_checked() {
    assert_eq!(directory(b"/cell".to_vec()).unwrap(), PathBuf::from("/cell"));
    for bad in [&b"cell"[..], b"", b"/a\0b"] {
        assert_eq!(directory(bad.to_vec()).unwrap_err().kind, Kind::Invalid);
    }
    assert_eq!(address(b"127.0.0.9").unwrap().to_string(), "127.0.0.9");
    assert!(address(b"here").is_err());
}
