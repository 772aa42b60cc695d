//! What the files and the environment may say, and what is refused.

use std::collections::HashMap;
use std::ffi::OsString;
use std::time::Duration;

use baton_security::Authority;
use baton_types::{CellId, EntryName, PrincipalName, Timestamp};

use super::*;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn load(paths: &Paths, set: &[(&str, &str)]) -> Result<Config> {
    let set: HashMap<&str, &str> = set.iter().copied().collect();
    Config::load(paths, &|name: &str| set.get(name).map(OsString::from))
}

#[test]
fn environment_goes_before_file_and_file_before_default() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    assert_eq!(load(&paths, &[]).unwrap(), Config::default());

    std::fs::create_dir_all(paths.config().parent().unwrap()).unwrap();
    let text = "cell = \"example.org\"\n[flserver]\nlisten = [\"127.0.0.11\"]\n[limits]\nconnections_per_address = 7\n";
    std::fs::write(paths.config(), text).unwrap();
    let config = load(&paths, &[]).unwrap();
    assert_eq!(config.cell.as_ref().unwrap().as_str(), "example.org");
    assert_eq!(config.listen(Daemon::Flserver), [address("127.0.0.11")]);
    assert_eq!(config.source(Daemon::Flserver), "127.0.0.11".parse().ok());
    assert_eq!(config.source(Daemon::Fileserver), None, "it listens on every address");
    assert_eq!(config.limits.connections_per_address, 7);
    assert_eq!(config.limits.connections_per_minute, 600);

    let config = load(
        &paths,
        &[("BATON_LISTEN", "10.0.0.1:9, 10.0.0.2"), ("BATON_CELL", "other.org")],
    )
    .unwrap();
    assert_eq!(
        config.listen(Daemon::Fileserver),
        [address("10.0.0.1:9"), address("10.0.0.2")]
    );
    assert_eq!(config.source(Daemon::Flserver), None, "there is more than one");
    assert_eq!(config.cell.unwrap().as_str(), "other.org");
}

#[test]
fn settings_say_where_they_come_from() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    std::fs::create_dir_all(paths.config().parent().unwrap()).unwrap();
    std::fs::write(
        paths.config(),
        "cell = \"a.org\"\n[limits]\nconnections_per_address = 7\n",
    )
    .unwrap();
    let env = |name: &str| (name == "BATON_CELL").then(|| OsString::from("b.org"));
    let settings = Config::settings(&paths, &env).unwrap();
    let is = |key: &str, value: &str, origin: &Origin| {
        let setting = settings.iter().find(|setting| setting.key == key).unwrap();
        assert_eq!(
            (setting.value.as_ref().map(ToString::to_string), &setting.origin),
            (Some(value.to_owned()), origin),
            "{key}"
        );
    };
    is("cell", "\"b.org\"", &Origin::Variable("BATON_CELL"));
    is("limits.connections_per_address", "7", &Origin::File(paths.config()));
    is("limits.connections_per_minute", "600", &Origin::Default);
    is("flserver.listen", "[\"::\"]", &Origin::Default);
    assert_eq!(settings.len(), KEYS.len());
}

#[test]
fn bad_variables_are_named() {
    let paths = Paths::under("/nowhere");
    let error = load(&paths, &[("BATON_LISTEN", "a:b:c")]).unwrap_err();
    assert!(
        error.to_string().starts_with("BATON_LISTEN: address 'a:b:c'"),
        "{error}"
    );
    let error = load(&paths, &[("BATON_CELL", "a_b")]).unwrap_err();
    assert!(error.to_string().starts_with("BATON_CELL: cell name 'a_b'"), "{error}");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    let refuse = |text: &str| Config::parse("baton.toml", text).unwrap_err().to_string();
    assert_eq!(
        refuse("cell = \"example.org\"\n\n[limits]\nconnection_per_adress = 3\n"),
        "baton.toml, line 4: unknown key 'limits.connection_per_adress'; the nearest there is: \
         'limits.connections_per_address'"
    );
    assert!(refuse("[flservers]\nlisten = []").starts_with("baton.toml, line 1: unknown key 'flservers'"));
    assert!(refuse("frobnicate = 1").contains("there are: cell, flserver.listen"));
    assert!(refuse("cell = \n").starts_with("baton.toml, line 1: "));
    assert!(refuse("\ncell = \"a_b\"").starts_with("baton.toml, line 2: cell name 'a_b': not a domain name"));
    assert!(refuse("limits = 3").starts_with("baton.toml, line 1: unknown key 'limits'"));
}

#[test]
fn sizes_have_units() {
    let config = Config::parse(
        "x",
        "[fileserver]\ncache = \"1GiB\"\ndevices = [\"/dev/disk/by-id/*\"]\n",
    )
    .unwrap();
    assert_eq!(config.fileserver.cache, 1 << 30);
    assert_eq!(config.fileserver.devices, ["/dev/disk/by-id/*"]);
    assert_eq!(config.fileserver.scrub_every, Some(Duration::from_hours(14 * 24)));
    for (text, every) in [
        ("8h", Some(Duration::from_hours(8))),
        ("never", None),
        ("0", None),
        ("0s", None),
    ] {
        let text = format!("[fileserver]\nscrub_rate = \"8MiB\"\nscrub_every = \"{text}\"\nreclaim_rate = \"0\"\n");
        let config = Config::parse("x", &text).unwrap();
        assert_eq!(config.fileserver.reclaim_rate, 0);
        assert_eq!(
            (config.fileserver.scrub_rate, config.fileserver.scrub_every),
            (8 << 20, every)
        );
        assert_eq!(Config::parse("x", &config.to_text().unwrap()).unwrap(), config);
    }
    let error = Config::parse("x", "[fileserver]\ncache = \"much\"\n").unwrap_err();
    assert!(error.to_string().starts_with("x, line 2: size 'much'"), "{error}");
}

#[test]
fn every_key_is_known_and_written_back() {
    let config = Config {
        cell: CellName::parse("example.org").ok(),
        ..Config::default()
    };
    let text = config.to_text().unwrap();
    assert_eq!(Config::parse("x", &text).unwrap(), config);
    for key in KEYS {
        let last = key.rsplit('.').next().unwrap();
        assert!(text.contains(&format!("{last} = ")), "{key} is written");
    }
}

#[test]
fn places_follow_the_root_and_the_user() {
    let from = |set: &'static [(&str, &str)]| {
        Paths::from_env(&move |name: &str| {
            set.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| OsString::from(value))
        })
    };
    let cell = CellName::parse("example.org").unwrap();
    let paths = from(&[("HOME", "/home/alice")]);
    assert_eq!(paths.config().to_str(), Some("/etc/baton/baton.toml"));
    assert_eq!(
        paths.user(&cell).unwrap().to_str(),
        Some("/home/alice/.config/baton/example.org")
    );
    let paths = from(&[("HOME", "/home/alice"), ("BATON_ROOT", "/srv/x")]);
    assert_eq!(
        paths.cell(&cell).to_str(),
        Some("/srv/x/etc/baton/cells.d/example.org.toml")
    );
    assert_eq!(
        paths.socket(Daemon::Flserver).to_str(),
        Some("/srv/x/run/baton/flserver.sock")
    );
    assert_eq!(paths.user(&cell).unwrap().to_str(), Some("/srv/x/user/example.org"));
    let paths = from(&[("BATON_USER_DIR", "/u"), ("BATON_ROOT", "/srv/x")]);
    assert_eq!(paths.user(&cell).unwrap().to_str(), Some("/u/example.org"));
    assert!(
        from(&[])
            .user(&cell)
            .unwrap_err()
            .to_string()
            .contains("BATON_USER_DIR")
    );
}

fn authority(cell: &str) -> Authority {
    Authority::create(&CellName::parse(cell).unwrap(), CellId::random(), Timestamp(1 << 60)).unwrap()
}

#[test]
fn cells_are_listed_loaded_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    let error = CellFile::only(&paths).unwrap_err();
    assert!(error.to_string().contains("baton cell create NAME"), "{error}");

    let here = CellFile::new(authority("here.org").anchor(), vec![address("127.0.0.11")]);
    here.save(&paths).unwrap();
    assert_eq!(CellFile::only(&paths).unwrap(), here);
    let there = CellFile::new(authority("there.org").anchor(), vec![address("fl1:99")]);
    there.save(&paths).unwrap();
    assert_eq!(CellFile::load(&paths, &there.cell).unwrap(), there);
    assert_eq!(CellFile::list(&paths).unwrap(), [here.cell.clone(), there.cell.clone()]);
    let error = CellFile::only(&paths).unwrap_err();
    assert!(
        error.to_string().contains("here.org, there.org, and none was named"),
        "{error}"
    );

    let error = CellFile::load(&paths, &CellName::parse("nowhere.org").unwrap()).unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
    assert!(
        error.to_string().contains("this machine knows here.org, there.org"),
        "{error}"
    );

    std::fs::rename(paths.cell(&there.cell), paths.cell(&here.cell)).unwrap();
    let error = CellFile::load(&paths, &here.cell).unwrap_err();
    assert!(error.to_string().contains("it is of the cell there.org"), "{error}");
}

#[test]
fn a_cell_file_with_the_authority_of_another_cell_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    let mut file = CellFile::new(authority("there.org").anchor(), vec![address("fl1")]);
    file.cell = CellName::parse("here.org").unwrap();
    file.save(&paths).unwrap();
    let error = CellFile::load(&paths, &file.cell).unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    assert!(
        error
            .to_string()
            .contains("here.org.toml: it is the authority of there.org"),
        "{error}"
    );
}

#[test]
fn a_members_files_are_written_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    assert_eq!(MemberFile::load(&paths).unwrap_err().kind, Kind::NotFound);
    let member = MemberFile {
        number: 1,
        name: EntryName::parse("fl1").unwrap(),
        addresses: vec![address("127.0.0.11")],
        founders: vec![EntryName::parse("fl2").unwrap()],
    };
    member.save(&paths).unwrap();
    assert_eq!(MemberFile::load(&paths).unwrap(), member);
    let genesis = GenesisFile {
        cell_id: uuid::Uuid::new_v4(),
        cell: CellName::parse("example.org").unwrap(),
        administrator: PrincipalName::parse("alice").unwrap(),
        administrator_id: 1_000,
        member: member.name,
        addresses: member.addresses,
    };
    genesis.save(&paths).unwrap();
    assert_eq!(GenesisFile::load(&paths).unwrap(), genesis);
}
