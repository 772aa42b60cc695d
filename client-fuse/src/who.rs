//! Who asks: the kernel says user, group and thread; the other groups are in `/proc`.
//!
//! Reading them for each request costs a few microseconds; so the file of each thread is kept open, and read again
//! from its start. One that belonged to a thread which is gone fails, whoever has its number now.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use baton_rpc::sessions::Who;
use parking_lot::Mutex;

/// Threads whose file is kept open.
const OPEN_MAX: usize = 512;
/// The text is under 2 KiB, but for the groups: 11 characters each.
const TEXT_BYTES: usize = 16 << 10;

/// The files that are open.
#[derive(Default)]
pub struct Threads {
    open: Mutex<HashMap<u32, Arc<File>>>,
}

impl Threads {
    /// Who the thread `pid` of `uid` and `gid` is.
    pub fn who(&self, uid: u32, gid: u32, pid: u32) -> Arc<Who> {
        // Root is asked for no groups: it is either above the rules or nobody.
        let groups = match (uid, pid) {
            (0, _) | (_, 0) => Vec::new(),
            _ => self.groups(pid),
        };
        Arc::new(Who { uid, gid, groups, pid })
    }

    fn groups(&self, pid: u32) -> Vec<u32> {
        let mut text = vec![0; TEXT_BYTES];
        let kept = self.open.lock().get(&pid).cloned();
        if let Some(len) = kept.and_then(|file| read(&file, &mut text)) {
            return parse(&text[..len]);
        }
        let Ok(file) = File::open(format!("/proc/{pid}/status")) else {
            return Vec::new();
        };
        let len = read(&file, &mut text).unwrap_or(0);
        let mut open = self.open.lock();
        if open.len() >= OPEN_MAX {
            open.clear();
        }
        open.insert(pid, Arc::new(file));
        parse(&text[..len])
    }
}

/// `None` if its thread is gone.
fn read(file: &File, text: &mut [u8]) -> Option<usize> {
    file.read_at(text, 0).ok().filter(|len| *len > 0)
}

fn parse(status: &[u8]) -> Vec<u32> {
    let line = status
        .split(|b| *b == b'\n')
        .find_map(|line| line.strip_prefix(b"Groups:"));
    let words = line.and_then(|line| std::str::from_utf8(line).ok()).unwrap_or("");
    let mut groups: Vec<u32> = words.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_in_order_and_once() {
        let status = b"Name:\tcat\nUid:\t1000\t1000\t1000\t1000\nGroups:\t1000 4 27 4 \nNStgid:\t7\n";
        assert_eq!(parse(status), [4, 27, 1000]);
        assert!(parse(b"Groups:\t\n").is_empty());
        assert!(parse(b"Name:\tx\n").is_empty());
    }

    #[test]
    fn a_thread_that_is_gone_has_none_and_the_next_one_its_own() {
        let threads = Threads::default();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let own = parse(&std::fs::read("/proc/self/status").unwrap());
        assert_eq!(threads.who(1, 1, pid).groups, own);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(threads.who(1, 1, pid).groups.is_empty());
        assert_eq!(threads.who(1, 1, std::process::id()).groups, own);
    }
}
