//! Every bound of this crate, by name, with the reason for its size.

use std::time::Duration;

/// The longest name of a principal, in bytes. It stands in every record; a component's name has to fit.
pub const PRINCIPAL_BYTES: usize = 64;

/// The longest subject or pattern of messages that are published, in bytes.
pub const TOPIC_BYTES: usize = 256;

/// The longest rule text in a record, in bytes: a place in a manifest and what the grant there lacks.
pub const RULE_BYTES: usize = 128;

/// The longest text that [`Grant::rule`](crate::policy::Grant::rule) takes, in bytes.
///
/// What is left up to [`RULE_BYTES`] holds the longest addition, `: lacks read+list+write+create+delete`.
pub const GRANT_RULE_BYTES: usize = 91;

/// The longest path that one call takes, in bytes: Linux' `PATH_MAX` without its final NUL.
pub const PATH_BYTES: usize = 4095;

/// The longest full name of a handle, in bytes: the path of its root and of each directory opened on the way to it.
/// Without a bound, opening `a/..` in a loop would grow it forever.
pub const HANDLE_NAME_BYTES: usize = 4 * PATH_BYTES;

/// The longest name of an environment variable in a grant, in bytes. Longer ones do not occur outside attacks.
pub const VARIABLE_BYTES: usize = 256;

/// The most rules that hold for one principal, its roles' included. Lists of forbidden hosts and addresses are this
/// long; what is longer is a generator's mistake.
pub const GRANTS_PER_PRINCIPAL: usize = 16_384;

/// The most rules of a whole policy, each counted for every principal that it holds for: some hundred megabytes.
pub const RULES_PER_POLICY: usize = 1_000_000;

/// The longest chain of roles, each of which has the next.
pub const ROLE_DEPTH: usize = 32;

/// How often roles are gone into for one principal. Roles that come by many ways, each with conditions of its own, are
/// gone into for each of them.
pub const ROLES_PER_PRINCIPAL: usize = 1024;

/// The longest period that a rate of a grant may have: a year.
pub const RATE_PERIOD: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The largest read that is tried on the caller's thread, and the largest write to a FIFO or a device, in bytes.
///
/// Copying this much from the page cache takes some tens of microseconds, as the hand-off to another thread does. A larger
/// copy would hold up the other tasks of the thread for longer than it saves; smaller pieces, with a look at the other tasks
/// between them, take the reader a tenth longer.
pub const INLINE_READ_BYTES: usize = 1024 * 1024;

/// The largest file that is read on the caller's thread, in bytes: [`INLINE_READ_BYTES`] at a time, with other tasks
/// between, as far as it is cached.
pub const CACHED_READ_BYTES: usize = 16 * 1024 * 1024;

/// The most bytes that one read takes from the blocking pool, or one write to a device gives it, in bytes. It bounds the
/// copy that is made there, and going on in such steps costs next to nothing.
pub const POOL_READ_BYTES: usize = 4 * 1024 * 1024;

/// How often the kernel is asked to resolve a path, where renames elsewhere on the machine keep it from being sure that
/// a `..` still leads inside. After that the path is resolved name by name, so that nobody's renames refuse a path.
pub const RESOLVE_TRIES: u32 = 64;

/// How many small files that were replaced give their space back after whoever replaced them was told. Others give it back
/// before: what a full disk still owes stays small.
pub const REMAINS: usize = 4;

/// How often a name is drawn for the temporary file of an atomic replace. A second draw is already improbable.
pub const TEMPORARY_NAME_TRIES: u32 = 8;

/// The longest table that is read about the machine, in bytes: some thousand mounts or processors.
pub const SYSTEM_TABLE_BYTES: u64 = 4 * 1024 * 1024;

/// The most random bytes that one call takes: some milliseconds of work, done on the caller's thread.
pub const RANDOM_BYTES: usize = 1024 * 1024;

/// The most carve-outs of one granted directory. Each is looked up again for every path that is opened there.
pub const CARVE_OUTS: usize = 64;

/// How many files and directories a principal may have open at a time, where no
/// [`Grant::descriptors`](crate::policy::Grant::descriptors) says otherwise. It is what most systems give to a
/// process; a host of many principals raises its own limit by
/// [`bootstrap::raise_file_limit`](crate::bootstrap::raise_file_limit).
pub const DESCRIPTORS: usize = 1024;

/// The most symbolic links in one path, as the kernel has it.
pub const SYMLINKS: u32 = 40;

/// The deepest tree that is walked or removed, in directories. Each level is some tens of bytes of memory.
pub const TREE_DEPTH: usize = 100_000;

/// The most directories that a walk has seen and not yet gone into. Each is a name in memory.
pub const TREE_PENDING: usize = 1_000_000;

/// How often a directory is emptied again, where somebody fills it while it is removed.
pub const TREE_TRIES: u32 = 64;

/// The most names that are counted beneath a directory with a quota: what opening it may take.
pub const MEASURED_NAMES: u64 = 10_000_000;

/// The most bytes that one read or write of a file as a stream takes, in bytes: a write is copied, so that it can go
/// on without its caller.
pub const STREAM_BYTES: usize = 2 * 1024 * 1024;

/// How many events of a watched directory wait to be taken; the next one makes all of them one overflow.
pub const WATCH_EVENTS: usize = 1024;

/// How often a lock is tried for that somebody else holds.
pub const LOCK_RETRY: Duration = Duration::from_millis(10);

/// The longest name of a host, in bytes: 255 on the wire (RFC 1035, 3.1), which leaves 253 for the text.
pub const HOST_BYTES: usize = 253;

/// The longest label of a host's name, in bytes (RFC 1035, 3.1).
pub const LABEL_BYTES: usize = 63;

/// The longest name of a socket in the abstract namespace, in bytes: Linux' `sun_path` without its leading NUL.
pub const ABSTRACT_NAME_BYTES: usize = 107;

/// How many connections, listeners and datagram sockets a principal has open at a time, where its policy says nothing:
/// a quarter of the descriptors that a program commonly has.
pub const NET_OPEN_DEFAULT: usize = 256;

/// How long the lookup of a host may take, where the policy says nothing: as long as the C library tries by default.
pub const NET_RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connecting may take, over all addresses, where the policy says nothing.
pub const NET_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one address may take to answer. Another is tried beside it long before.
pub const NET_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// After how long without an answer the next address is tried as well (RFC 8305, 5).
pub const NET_ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long a connection may be silent while someone waits for it, where the policy says nothing.
pub const NET_IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long a connection may stay open, where the policy says nothing.
pub const NET_TOTAL_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// How many addresses of one host are looked at. The others are left out: a longer answer is a mistake or an attack.
pub const ADDRESSES_PER_HOST: usize = 16;

/// How many hosts' addresses are remembered for one principal. Beyond that the one that ends soonest is forgotten.
pub const HOSTS_REMEMBERED: usize = 256;

/// How long a host's addresses are remembered where the resolver does not say, as the system's does not.
pub const HOST_TTL: Duration = Duration::from_secs(30);

/// How long a host's addresses are remembered at most, whatever the resolver says.
pub const HOST_TTL_MOST: Duration = Duration::from_secs(10 * 60);

/// How long a host that was checked can be connected to: as long as its addresses are remembered at most.
pub const CHECKED_AGE: Duration = HOST_TTL_MOST;

/// How many lookups of one principal go on at a time. Each occupies a thread until the system answers, even when
/// nobody waits for it any more.
pub const LOOKUPS_AT_A_TIME: usize = 8;

/// How many peers a datagram socket remembers as permitted. Beyond that it forgets all, and asks again.
pub const DATAGRAM_PEERS: usize = 256;

/// The longest file with certificates or a key that is read for TLS, in bytes: some hundred roots take half of it.
pub const TLS_FILE_BYTES: u64 = 1024 * 1024;

/// How many descriptors each process of a program has open, where its grant says nothing.
pub const PROGRAM_DESCRIPTORS: u64 = 256;

/// How many bytes of output and errors are taken from a program, where its grant says nothing.
pub const PROGRAM_OUTPUT_BYTES: u64 = 64 * 1024 * 1024;

/// How many bytes a program keeps in its own `/tmp`, where its grant says nothing: they are memory.
pub const PROGRAM_TEMPORARY_BYTES: u64 = 64 * 1024 * 1024;

/// The largest program that is copied to have it hashed, in bytes.
pub const PROGRAM_BYTES: u64 = 256 * 1024 * 1024;

/// The most arguments of a program.
pub const PROGRAM_ARGUMENTS: usize = 256;

/// The longest argument or value of a variable that a caller gives, in bytes: a page, as for a path.
pub const ARGUMENT_BYTES: usize = 4096;

/// How many files are handed to a program at a time.
pub const PROGRAM_FILES: usize = 16;

/// The most directories and files that a program sees, and the most variables that it is given.
pub const PROGRAM_PLACES: usize = 64;

/// The port on the loopback of a program with a way out ([`ExecTerms::egress`](crate::policy::ExecTerms::egress)) where
/// the proxy is: the one of proxies since the first ones. The network is the program's own, so nobody else has it.
pub const EGRESS_PORT: u16 = 3128;

/// How many connections a program has through its proxy at a time; the next ones wait. A browser has some tens.
pub const EGRESS_CONNECTIONS: usize = 64;

/// The longest head of a request to the proxy, in bytes: what servers commonly take.
pub const EGRESS_HEAD_BYTES: usize = 32 * 1024;

/// How long a program may take to say to its proxy whom it wants to reach.
pub const EGRESS_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest key of a bucket, in bytes.
pub const BUCKET_KEY_BYTES: usize = 1024;

/// How many keys of a bucket are told at once: with the longest keys a megabyte.
pub const BUCKET_PAGE_KEYS: usize = 1000;
