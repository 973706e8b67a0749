//! What is asked of the door, and what was answered: the words that policy and audit share.

use std::fmt;

/// One kind of operation.
///
/// The number is part of the audit format: a number is never used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum Action {
    /// The system started, or a log was taken over after a crash. Written by the host.
    SystemStart = 1,
    /// The system stopped in order.
    SystemStop = 2,
    /// A log that a crash left unfinished was repaired.
    AuditRecovered = 3,
    /// Denials were counted instead of recorded one by one: there were too many.
    AuditSuppressed = 4,
    /// Another policy was put in place.
    SystemReload = 5,
    /// Other code was put in the place of a part of the system.
    SystemUpgrade = 6,
    /// A message that was given up was sent again or thrown away.
    SystemDeadLetter = 7,
    /// Open a granted directory.
    FsOpenRoot = 16,
    /// Open a file or a directory.
    FsOpen = 17,
    /// Read from a file.
    FsRead = 18,
    /// Write to a file.
    FsWrite = 19,
    /// List a directory.
    FsList = 20,
    /// Read an object's metadata.
    FsMetadata = 21,
    /// Create a directory.
    FsCreateDir = 22,
    /// Remove a file or a link.
    FsRemoveFile = 23,
    /// Remove an empty directory.
    FsRemoveDir = 24,
    /// Rename a file or a directory.
    FsRename = 25,
    /// Change the length of a file.
    FsSetLen = 26,
    /// Replace a file as a whole.
    FsReplace = 27,
    /// Flush a file to its device.
    FsSync = 28,
    /// Set the times of an object.
    FsSetTimes = 29,
    /// Create a symbolic link.
    FsSymlink = 30,
    /// Read where a symbolic link points.
    FsReadLink = 31,
    /// Create a hard link.
    FsHardLink = 32,
    /// Remove a directory and all beneath it.
    FsRemoveTree = 33,
    /// Copy a file.
    FsCopy = 34,
    /// Set the permission bits of an object.
    FsSetPermissions = 35,
    /// Lock a file.
    FsLock = 36,
    /// Watch a directory for changes.
    FsWatch = 37,
    /// Connect to an address.
    NetConnect = 48,
    /// Bind or listen on an address.
    NetListen = 49,
    /// Send a datagram.
    NetSend = 50,
    /// Resolve a host name.
    NetResolve = 51,
    /// Accept a connection.
    NetAccept = 52,
    /// Close a connection or a socket: the record has all bytes that went through it.
    NetClose = 53,
    /// Agree with a peer on encryption, and on who it is.
    NetTls = 54,
    /// Trust certificates as roots.
    NetTrust = 55,
    /// Send a request over HTTP, or answer one.
    NetHttp = 56,
    /// Start a program.
    ProcessSpawn = 64,
    /// Open a granted program.
    ProcessOpen = 65,
    /// Send a signal to a program that was started, or kill it.
    ProcessSignal = 66,
    /// A program ended: how, and what it used.
    ProcessExit = 67,
    /// Read environment variables.
    EnvRead = 80,
    /// Use a clock.
    ClockRead = 81,
    /// Use random bytes.
    RandomRead = 82,
    /// To ask about the machine: its processors, its memory, its name.
    SystemRead = 83,
    /// Send a message to another actor.
    ActorSend = 96,
    /// An actor ended before its time: how. Written by the host.
    ActorExit = 97,
    /// A message to an actor was given up: why. Written by the host.
    ActorDeadLetter = 98,
    /// Publish a message under a topic.
    ActorPublish = 99,
    /// Subscribe to topics.
    ActorSubscribe = 100,
    /// Open a bucket of keys and values.
    KeyvalueOpen = 112,
    /// Read from a bucket.
    KeyvalueRead = 113,
    /// Change what is in a bucket.
    KeyvalueWrite = 114,
}

impl Action {
    /// Every action, for tables and for reading a log.
    pub const ALL: &[Self] = &[
        Self::SystemStart,
        Self::SystemStop,
        Self::AuditRecovered,
        Self::AuditSuppressed,
        Self::SystemReload,
        Self::SystemUpgrade,
        Self::SystemDeadLetter,
        Self::FsOpenRoot,
        Self::FsOpen,
        Self::FsRead,
        Self::FsWrite,
        Self::FsList,
        Self::FsMetadata,
        Self::FsCreateDir,
        Self::FsRemoveFile,
        Self::FsRemoveDir,
        Self::FsRename,
        Self::FsSetLen,
        Self::FsReplace,
        Self::FsSync,
        Self::FsSetTimes,
        Self::FsSymlink,
        Self::FsReadLink,
        Self::FsHardLink,
        Self::FsRemoveTree,
        Self::FsCopy,
        Self::FsSetPermissions,
        Self::FsLock,
        Self::FsWatch,
        Self::NetConnect,
        Self::NetListen,
        Self::NetSend,
        Self::NetResolve,
        Self::NetAccept,
        Self::NetClose,
        Self::NetTls,
        Self::NetTrust,
        Self::NetHttp,
        Self::ProcessSpawn,
        Self::ProcessOpen,
        Self::ProcessSignal,
        Self::ProcessExit,
        Self::EnvRead,
        Self::ClockRead,
        Self::RandomRead,
        Self::SystemRead,
        Self::ActorSend,
        Self::ActorExit,
        Self::ActorDeadLetter,
        Self::ActorPublish,
        Self::ActorSubscribe,
        Self::KeyvalueOpen,
        Self::KeyvalueRead,
        Self::KeyvalueWrite,
    ];

    /// The name in records, rules and queries: `fs.read`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SystemStart => "system.start",
            Self::SystemStop => "system.stop",
            Self::AuditRecovered => "audit.recovered",
            Self::AuditSuppressed => "audit.suppressed",
            Self::SystemReload => "system.reload",
            Self::SystemUpgrade => "system.upgrade",
            Self::SystemDeadLetter => "system.dead_letter",
            Self::FsOpenRoot => "fs.open_root",
            Self::FsOpen => "fs.open",
            Self::FsRead => "fs.read",
            Self::FsWrite => "fs.write",
            Self::FsList => "fs.list",
            Self::FsMetadata => "fs.metadata",
            Self::FsCreateDir => "fs.create_dir",
            Self::FsRemoveFile => "fs.remove_file",
            Self::FsRemoveDir => "fs.remove_dir",
            Self::FsRename => "fs.rename",
            Self::FsSetLen => "fs.set_len",
            Self::FsReplace => "fs.replace",
            Self::FsSync => "fs.sync",
            Self::FsSetTimes => "fs.set_times",
            Self::FsSymlink => "fs.symlink",
            Self::FsReadLink => "fs.read_link",
            Self::FsHardLink => "fs.hard_link",
            Self::FsRemoveTree => "fs.remove_tree",
            Self::FsCopy => "fs.copy",
            Self::FsSetPermissions => "fs.set_permissions",
            Self::FsLock => "fs.lock",
            Self::FsWatch => "fs.watch",
            Self::NetConnect => "net.connect",
            Self::NetListen => "net.listen",
            Self::NetSend => "net.send",
            Self::NetResolve => "net.resolve",
            Self::NetAccept => "net.accept",
            Self::NetClose => "net.close",
            Self::NetTls => "net.tls",
            Self::NetTrust => "net.trust",
            Self::NetHttp => "net.http",
            Self::ProcessSpawn => "process.spawn",
            Self::ProcessOpen => "process.open",
            Self::ProcessSignal => "process.signal",
            Self::ProcessExit => "process.exit",
            Self::EnvRead => "env.read",
            Self::ClockRead => "clock.read",
            Self::RandomRead => "random.read",
            Self::SystemRead => "system.read",
            Self::ActorSend => "actor.send",
            Self::ActorExit => "actor.exit",
            Self::ActorDeadLetter => "actor.dead_letter",
            Self::ActorPublish => "actor.publish",
            Self::ActorSubscribe => "actor.subscribe",
            Self::KeyvalueOpen => "keyvalue.open",
            Self::KeyvalueRead => "keyvalue.read",
            Self::KeyvalueWrite => "keyvalue.write",
        }
    }

    /// What stands before the resource in the sentence "cannot …" of an error.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::SystemStart => "start the system",
            Self::SystemStop => "stop the system",
            Self::AuditRecovered => "recover the log",
            Self::AuditSuppressed => "count the denials",
            Self::SystemReload => "change the policy of the system",
            Self::SystemUpgrade => "change the code of the system",
            Self::SystemDeadLetter => "dispose of the dead letter",
            Self::FsOpenRoot => "open the directory",
            Self::FsOpen => "open",
            Self::FsRead => "read",
            Self::FsWrite => "write",
            Self::FsList => "list",
            Self::FsMetadata => "read the metadata of",
            Self::FsCreateDir => "create the directory",
            Self::FsRemoveFile => "remove",
            Self::FsRemoveDir => "remove the directory",
            Self::FsRename => "rename",
            Self::FsSetLen => "change the length of",
            Self::FsReplace => "replace",
            Self::FsSync => "flush",
            Self::FsSetTimes => "set the times of",
            Self::FsSymlink => "link symbolically",
            Self::FsReadLink => "read the link",
            Self::FsHardLink => "link",
            Self::FsRemoveTree => "remove the tree",
            Self::FsCopy => "copy",
            Self::FsSetPermissions => "set the permissions of",
            Self::FsLock => "lock",
            Self::FsWatch => "watch",
            Self::NetConnect => "connect to",
            Self::NetListen => "listen on",
            Self::NetSend => "send a datagram to",
            Self::NetResolve => "resolve",
            Self::NetAccept => "accept a connection on",
            Self::NetClose => "close",
            Self::NetTls => "encrypt the connection to",
            Self::NetTrust => "trust the certificates of",
            Self::NetHttp => "request",
            Self::ProcessSpawn => "start the program",
            Self::ProcessOpen => "open the program",
            Self::ProcessSignal => "signal the program",
            Self::ProcessExit => "end the program",
            Self::EnvRead => "read the variables",
            Self::ClockRead => "use the clocks",
            Self::RandomRead => "use random bytes",
            Self::SystemRead => "ask the machine about",
            Self::ActorSend => "send a message to",
            Self::ActorExit => "note the end of the actor",
            Self::ActorDeadLetter => "note the message that was given up",
            Self::ActorPublish => "publish under",
            Self::ActorSubscribe => "subscribe to",
            Self::KeyvalueOpen => "open the bucket",
            Self::KeyvalueRead => "read the bucket",
            Self::KeyvalueWrite => "change the bucket",
        }
    }

    /// What stands between the resource and its peer, for actions whose second object is one.
    pub(crate) fn before_peer(self) -> Option<&'static str> {
        match self {
            Self::NetConnect
            | Self::NetListen
            | Self::NetSend
            | Self::NetClose
            | Self::NetTls
            | Self::NetHttp
            | Self::KeyvalueRead
            | Self::KeyvalueWrite => Some("at"),
            Self::NetAccept => Some("from"),
            Self::ProcessSpawn | Self::ProcessExit => Some("held by"),
            Self::ProcessSignal => Some("with"),
            _ => None,
        }
    }

    /// The action of a number in a log; `None` where a newer version wrote it.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| *action as u16 == number)
    }

    /// The action of a name in a query.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What policy answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// A rule permits it.
    Allow = 1,
    /// A rule forbids it, or none permits it.
    Deny = 2,
    /// As [`Deny`](Self::Deny), but the policy only watches ([`Mode`](crate::policy::Mode)): it was executed all the same.
    WouldDeny = 3,
}
