//! Every limit of Baton, each with its reason. A limit is checked before anything is allocated.

/// DFS kept fileset names in 112 bytes, of which ten are for `.readonly` or `.backup`.
pub const FILESET_NAME_BYTES_MAX: usize = 102;
/// DFS's length of an aggregate name; server entries take the same.
pub const ENTRY_NAME_BYTES_MAX: usize = 31;
/// A cell's name is a DNS domain: 253 is DNS's own limit (RFC 1035 §2.3.4).
pub const CELL_NAME_BYTES_MAX: usize = 253;
/// Kerberos names may be longer, but nothing sensible is, and an audit line must stay readable.
pub const PRINCIPAL_NAME_BYTES_MAX: usize = 256;
/// Groups are typed by people and printed in tables.
pub const GROUP_NAME_BYTES_MAX: usize = 64;
/// `NAME_MAX` of Linux.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// `PATH_MAX` of Linux, less the NUL at its end.
pub const SYMLINK_BYTES_MAX: usize = 4_095;
/// Names of one file, or directories in one directory: ext4's own limit, which tools are used to.
pub const LINKS_MAX: u32 = 65_000;
/// `XATTR_NAME_MAX` of Linux.
pub const XATTR_NAME_BYTES_MAX: usize = 255;
/// `XATTR_SIZE_MAX` of Linux.
pub const XATTR_VALUE_BYTES_MAX: usize = 64 << 10;
/// All extended attributes of one file, names included: sixteen of the largest.
pub const XATTRS_BYTES_MAX: usize = 1 << 20;
/// An ACL with its initial ones: three times 500 entries of 8 bytes, what the kernel can show, and room.
pub const ACL_BYTES_MAX: usize = 16 << 10;
/// Directories above one that is moved: far beyond what a path can name, and walked in a few milliseconds.
pub const DEPTH_MAX: usize = 10_000;
/// A host name of 253 bytes, or an IPv6 address in brackets, and a port.
pub const ADDRESS_BYTES_MAX: usize = 260;
/// DFS had 4 addresses a server; two NICs on two networks in two families already need 8.
pub const ADDRESSES_MAX: usize = 16;
/// Sites of one fileset: DFS's own limit.
pub const FILESET_SITES_MAX: usize = 16;
/// Servers that may be attached to one aggregate: what a shared cloud disk allows (16), no more is known to exist.
pub const ATTACHED_MAX: usize = 16;
/// Slots of epochs on an aggregate: a ring, which the store's geometry has as a constant of the format.
pub const EPOCH_SLOTS: u64 = 8;
/// Between two beats of a file server: three may be late or lost before it is suspected, five before it is judged.
pub const BEAT_MICROS: u64 = 200_000;
/// Between two beats of an owner on its disk.
pub const DISK_BEAT_MICROS: u64 = 500_000;
/// Between two looks at the slots of a disk by each port: twice between two beats on it.
pub const PORT_LOOK_MICROS: u64 = 250_000;
/// Servers that one server asks whether they live: those attached to an aggregate of its own.
pub const BUDDIES_MAX: usize = 64;
/// Machines whose clients are heard on one server: more would say nothing new.
pub const REPORTERS_MAX: usize = 4_096;
/// As many machines must complain of a server before anything moves: fewer have trouble of their own.
pub const COMPLAINTS_MIN: usize = 3;
/// Aggregates in one decision about owners: every disk of a large server room, in an entry of 64 KiB.
pub const JUDGED_AGGREGATES_MAX: usize = 1_024;
/// Servers that one decision of the arbiter is about.
pub const JUDGED_SERVERS_MAX: usize = 64;
/// Owners of an aggregate that are remembered: a night of trouble, seen in the morning.
pub const TENURES_MAX: usize = 16;
/// Groups one principal may be in: a token check walks them all.
pub const GROUPS_OF_PRINCIPAL_MAX: usize = 1_024;
/// People and groups in one change of an import: 10,000 people are forty entries of the log, each applied in milliseconds.
pub const IMPORT_ROWS_MAX: usize = 256;
/// Names in the records that such a change leaves behind: one person in all the groups there may be, and half of what a
/// message to a watcher may hold.
pub const IMPORT_BYTES_MAX: usize = 128 << 10;
/// Free text a person gives (a reason, a description): it is replicated and printed on one line.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// Vnode numbers stay below this, so that one and an instance of 23 bits fit an inode number (63 bits).
pub const VNODE_END: u64 = 1 << 40;

/// Snapshots that are kept of one fileset: each hour of a month and each day of nine years. All are in its server's
/// memory, some 100 bytes each.
pub const SNAPSHOTS_PER_FILESET_MAX: usize = 4_096;
/// Snapshots in one answer about them: with the longest names still less than a message may have.
pub const SNAPSHOTS_PIECE: usize = 512;
/// Differences in one answer about them: full at so many bytes, with room for the last one besides.
pub const DIFFERENCES_PIECE_BYTES: usize = 64 << 10;
/// A path in such an answer: 16 times what a program can name at once, and a message has room for two.
pub const DIFFERENCE_PATH_BYTES_MAX: usize = 64 << 10;

/// A frame's metadata: names and attributes only, never data.
pub const FRAME_META_BYTES_MAX: u32 = 64 << 10;
/// A frame's payload: what a FUSE request carries by default (256 pages).
pub const FRAME_PAYLOAD_BYTES_MAX: u32 = 1 << 20;

/// What is copied at once within a fileset: were each block an extent by itself, its record would still be a small one.
pub const COPY_BYTES_MAX: u64 = 2 << 20;

/// A login message: the largest Kerberos tokens with group data are just under 64 KiB.
pub const AUTH_TOKEN_BYTES_MAX: usize = 64 << 10;
/// Any other message to the location database.
pub const FLDB_MESSAGE_BYTES_MAX: usize = 256 << 10;
/// A message between members: a batch of entries, each at most [`FLDB_MESSAGE_BYTES_MAX`].
pub const RAFT_MESSAGE_BYTES_MAX: usize = 8 << 20;
/// A piece of a snapshot on its way between members, or of a list on its way to a client.
pub const CHUNK_BYTES_MAX: usize = 64 << 10;

/// A message over a local socket: the files of an identity, each a few kilobytes.
pub const LOCAL_MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Descriptors with one such message: a mount's device and the memory it shares with its guard.
pub const LOCAL_DESCRIPTORS_MAX: usize = 2;

/// Failed logins on one connection before it takes no more: a person errs thrice, a daemon's users a few times.
pub const LOGIN_FAILURES_MAX: u32 = 16;
/// Login conversations open at once on one connection: one per user who is just logging in.
pub const CONVERSATIONS_MAX: usize = 8;
/// Seconds from the first to the last token of a login: a slow KDC answers within ten.
pub const CONVERSATION_SECONDS_MAX: u64 = 30;
/// Callers on one connection: users logged in on one client machine.
pub const CALLERS_MAX: usize = 1_024;
/// Seconds a caller's handle is good at most: a working day, and the usual life of a Kerberos ticket.
pub const CALLER_SECONDS_MAX: u64 = 10 * 3_600;
/// TLS handshakes under way at once: each costs a third of a millisecond of CPU, and so bounds what a flood takes.
pub const HANDSHAKES_MAX: usize = 256;
/// Seconds a handshake, and the Hello after it, may take.
pub const HANDSHAKE_SECONDS_MAX: u64 = 5;
/// Connections at once from one address, by default: behind NAT one address is a whole site.
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = 200;
/// New connections a minute from one address, by default: three times the above, for a site that comes back at once.
pub const CONNECTS_PER_MINUTE_MAX: u32 = 600;
/// Seconds an address that came too often is shut out.
pub const CONNECT_DENY_SECONDS: u64 = 60;
/// Addresses remembered for those counts: 6 MiB; a flood from more of them is turned away unseen.
pub const CONNECT_SOURCES_MAX: usize = 65_536;

/// Sessions whose last answer the location database keeps, so that a change sent twice is done once.
pub const CHANGE_SESSIONS_MAX: usize = 16_384;
/// Changes a member keeps for watchers that come back; one who was away longer gets the whole state.
pub const WATCH_CHANGES_MAX: usize = 65_536;
/// Messages on their way to one watcher; past that it is served from its place when it has caught up.
pub const WATCH_CREDIT: u32 = 16;
/// Events the location database keeps: a year of a quiet cell.
pub const EVENTS_MAX: usize = 10_000;
/// Invitations open at once: more would be a script gone wild.
pub const INVITATIONS_MAX: usize = 1_000;

/// Members of the location database. Five survive two failures; more only cost each commit.
pub const MEMBERS_MAX: usize = 5;

/// A client's lifetime, in microseconds: how long it relies on what it was told, from when it sent the last renewal
/// that was answered. Four renewals may be lost, and a pause of a garbage collector or a route that changes is outlived.
pub const CLIENT_LIFETIME_MICROS: u64 = 8_000_000;
/// Between two renewals of a client.
pub const CLIENT_RENEW_MICROS: u64 = 2_000_000;
/// How wrong a clock may run, in millionths: ten times worse than the quartz of a cheap board.
pub const CLOCK_RATE_PPM: u64 = 1_000;
/// Added where one clock waits for another: what a scheduler and a timer may be late.
pub const CLOCK_SLACK_MICROS: u64 = 250_000;
/// A client that was not heard of for so long relies on nothing any more, whatever its clock says: its lifetime by
/// the slowest clock there may be, seen from the fastest, and the slack. 8.27 seconds.
pub const CLIENT_SILENCE_MICROS: u64 = (CLIENT_LIFETIME_MICROS * (1_000_000 + CLOCK_RATE_PPM))
    .div_ceil(1_000_000 - CLOCK_RATE_PPM)
    .next_multiple_of(1_000)
    + CLOCK_SLACK_MICROS;
/// From a claim until clients that came back must have said everything again: 64 MiB of undurable changes take 27
/// seconds at 20 Mbit/s.
pub const RECLAIM_MICROS_MAX: u64 = 30_000_000;
/// Clients of one aggregate: a large cell's 10,000, and six times as many that are asleep and not forgotten yet.
pub const CLIENTS_MAX: usize = 65_536;
/// Filesets that one client takes part in at once, of one aggregate: every home of a large site.
pub const HOLDS_PER_CLIENT_MAX: usize = 16_384;
/// Calls of one client that wait for others: all its streams, a full ordered one, and as many looks again.
pub const PARKED_PER_CLIENT_MAX: usize = 4_096;
/// Files that one client holds open where others are: the highest count of descriptors that a daemon is usually given.
pub const OPENS_PER_CLIENT_MAX: usize = 65_536;
/// Byte-range locks of one client: an e-mail or database server has tens of thousands at most.
pub const LOCKS_PER_CLIENT_MAX: usize = 65_536;
/// Byte-range locks on one file: each request walks them all, which takes microseconds.
pub const LOCKS_PER_FILE_MAX: usize = 1_024;
/// Requests that wait for locks on one file: each release tries them all.
pub const LOCKS_WAITING_PER_FILE_MAX: usize = 256;
/// Owners that are looked at to find a deadlock: a ring of more is not found, and ends with a signal.
pub const DEADLOCK_OWNERS_MAX: usize = 128;
/// Bytes of an aggregate that a scrub reads in a second, where nobody says otherwise: a fourth of what a hard disk reads,
/// and a hundredth of what a processor hashes.
pub const SCRUB_RATE: u64 = 50 << 20;
/// Bytes that are given back in a second of what was deleted, where nobody says otherwise: files of a few blocks are
/// given back at a fifth of that by a thread that does nothing else, so it holds back the large ones.
pub const RECLAIM_RATE: u64 = 1 << 30;
