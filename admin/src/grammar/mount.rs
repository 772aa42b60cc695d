//! `mount.baton`: as `mount(8)` calls it, with one-letter options before or after the two words.

use std::net::IpAddr;
use std::path::PathBuf;

use baton_types::{CellName, Error, Kind, Result};
use clap::{ArgAction, ArgMatches, FromArgMatches, Parser};

use super::Parsed;

/// Mounts a cell; `mount -t baton` calls it
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "mount.baton",
    disable_help_flag = true,
    max_term_width = 100,
    after_help = "Examples:\n  mount -t baton example.org /cell\n  mount -t baton -o ro,source=192.0.2.7 example.org /cell\n\n\
                  In /etc/fstab:\n  example.org  /cell  baton  defaults,_netdev  0  0"
)]
pub struct Mount {
    /// Which cell
    #[arg(value_name = "CELL")]
    pub cell: CellName,
    /// Where: a directory that is there
    #[arg(value_name = "DIRECTORY")]
    pub directory: PathBuf,
    /// Words with commas between them: ro, rw, suid, nosuid, dev, nodev, exec, noexec, hard, source=ADDRESS
    #[arg(short, value_name = "OPTIONS", action = ArgAction::Append, value_parser = MountOptions::parse)]
    options: Vec<MountOptions>,
    /// Pass over words of -o that are not known
    #[arg(short = 's')]
    pub sloppy: bool,
    /// Only look whether it could be done
    #[arg(short = 'f')]
    pub fake: bool,
    /// Say more
    #[arg(short = 'v')]
    pub verbose: bool,
    /// No effect
    #[arg(short = 'n')]
    no_mtab: bool,
    /// No effect: it is of one type
    #[arg(short = 't', value_name = "TYPE")]
    of_type: Option<String>,
    /// Print this help
    #[arg(short = 'h', long = "help", action = ArgAction::Help)]
    help: Option<bool>,
}

/// What stands after `-o`; what comes later goes before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `ro`, `rw`.
    pub read_only: Option<bool>,
    /// `suid`, `nosuid`.
    pub suid: Option<bool>,
    /// `dev`, `nodev`.
    pub dev: Option<bool>,
    /// `exec`, `noexec`.
    pub exec: Option<bool>,
    /// `source=ADDRESS`.
    pub source: Option<IpAddr>,
    unknown: Vec<String>,
}

impl MountOptions {
    /// Words for `mount(8)` or the service manager, which say nothing to us; and what is always so.
    const OF_OTHERS: [&'static str; 10] = [
        "defaults", "auto", "noauto", "nofail", "_netdev", "hard", "noatime", "async", "nouser", "relatime",
    ];

    fn parse(text: &str) -> Result<MountOptions> {
        let mut options = MountOptions::default();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            match word.split_once('=').unwrap_or((word, "")) {
                ("ro", "") => options.read_only = Some(true),
                ("rw", "") => options.read_only = Some(false),
                ("suid", "") => options.suid = Some(true),
                ("nosuid", "") => options.suid = Some(false),
                ("dev", "") => options.dev = Some(true),
                ("nodev", "") => options.dev = Some(false),
                ("exec", "") => options.exec = Some(true),
                ("noexec", "") => options.exec = Some(false),
                ("source", address) => options.source = Some(parse_source(address)?),
                (other, "") if MountOptions::OF_OTHERS.contains(&other) => {}
                (other, _) if other.starts_with("x-") || other == "comment" => {}
                (other, _) => options.unknown.push(other.to_owned()),
            }
        }
        Ok(options)
    }

    fn before(self, later: &MountOptions) -> MountOptions {
        MountOptions {
            read_only: later.read_only.or(self.read_only),
            suid: later.suid.or(self.suid),
            dev: later.dev.or(self.dev),
            exec: later.exec.or(self.exec),
            source: later.source.or(self.source),
            unknown: [self.unknown, later.unknown.clone()].concat(),
        }
    }
}

fn parse_source(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| {
        Error::new(Kind::Invalid, format!("source '{}'", text.escape_debug()))
            .because("not an address of this machine")
            .remedy("write it in numbers, for example source=192.0.2.7")
    })
}

impl Mount {
    /// All that was said with `-o`.
    ///
    /// # Errors
    /// `Unsupported` for a word that means nothing here, unless that is to be passed over.
    pub fn options(&self) -> Result<MountOptions> {
        let options = self.options.iter().fold(MountOptions::default(), MountOptions::before);
        match options.unknown.first() {
            Some(word) if !self.sloppy => Err(Error::new(Kind::Unsupported, format!("option {word}"))
                .because("not in this version")
                .remedy("there are ro, rw, suid, nosuid, dev, nodev, exec, noexec, hard and source=ADDRESS")),
            _ => Ok(options),
        }
    }
}

/// Reads what clap found.
///
/// # Errors
/// What clap says.
pub fn parse(matches: &ArgMatches) -> Result<Parsed, clap::Error> {
    Mount::from_arg_matches(matches).map(Parsed::Mount)
}
