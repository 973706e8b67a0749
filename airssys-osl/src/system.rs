//! What the machine is and how it fares: processors, memory, load, disks, interfaces, and its name.
//!
//! Each aspect is a grant of its own, [`Grant::system`](crate::policy::Grant::system), and each question is decided and
//! leaves a record: what a machine has and how busy it is tells a stranger much about who else works there.
//!
//! ```
//! use airssys_osl::{Os, policy::{Grant, Policy}, system::Aspect, testing::MemorySink};
//!
//! let policy = Policy::builder().principal("meter", [Grant::system(Aspect::Cpu)]).build()?;
//! let os = Os::new(policy, MemorySink::new());
//! let meter = os.principal("meter")?;
//! assert!(meter.cpu()?.count > 0);
//! assert_eq!(meter.host_name().unwrap_err().rule(), Some("default-deny"));
//! # Ok::<(), airssys_osl::Error>(())
//! ```
//!
//! # What it does not do
//!
//! It tells of the machine as this program sees it: within a container some of that is the container's, some the
//! host's. On other systems than Linux only the count of processors is known; all else is
//! [`Unsupported`](crate::ErrorKind::Unsupported).

use std::{net::IpAddr, path::PathBuf};

use crate::{
    Action, Error, Principal,
    os::{Done, Fault, Operation, Standing, pool},
    policy::{Decision, Resource},
    sys,
};

/// One thing to ask about the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Aspect {
    /// [`Principal::cpu`].
    Cpu,
    /// [`Principal::memory`].
    Memory,
    /// [`Principal::load`].
    Load,
    /// [`Principal::disks`].
    Disks,
    /// [`Principal::interfaces`].
    Interfaces,
    /// [`Principal::host_name`].
    HostName,
}

/// The processors.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cpu {
    /// How many threads of this program can run at the same moment: at least 1.
    pub count: usize,
    /// What the maker calls the first one, where the system tells.
    pub model: Option<String>,
}

/// The main memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// All there is, in bytes.
    pub total_bytes: u64,
    /// What programs can still have without anything being swapped out, in bytes.
    pub available_bytes: u64,
    /// All swap space, in bytes.
    pub swap_total_bytes: u64,
    /// The swap space that is free, in bytes.
    pub swap_free_bytes: u64,
}

/// How many threads ran or wanted to run, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Load {
    /// Over the last minute.
    pub one: f64,
    /// Over the last five minutes.
    pub five: f64,
    /// Over the last fifteen minutes.
    pub fifteen: f64,
}

/// A mounted file system that holds something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disk {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its kind, such as `ext4`.
    pub file_system: String,
    /// Whether nothing can be written there.
    pub read_only: bool,
    /// How much it holds; `None` where a server would have to be asked, which may never answer.
    pub space: Option<Space>,
}

/// How much a file system holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Space {
    /// All of it, in bytes.
    pub total_bytes: u64,
    /// What a user without privileges can still fill, in bytes.
    pub available_bytes: u64,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it leads back to this machine.
    pub loopback: bool,
    /// The longest packet, in bytes.
    pub mtu_bytes: u32,
    /// The addresses, each with the length of its network's prefix in bits.
    pub addresses: Vec<(IpAddr, u8)>,
    /// What came in since it was made, in bytes.
    pub received_bytes: u64,
    /// What went out since it was made, in bytes.
    pub sent_bytes: u64,
}

impl Aspect {
    /// Every aspect.
    pub const ALL: &[Self] =
        &[Self::Cpu, Self::Memory, Self::Load, Self::Disks, Self::Interfaces, Self::HostName];

    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Load => "load",
            Self::Disks => "disks",
            Self::Interfaces => "interfaces",
            Self::HostName => "host-name",
        }
    }
}

impl Principal {
    /// Tells of the processors.
    ///
    /// Leaves one record, as do all questions below.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): no grant permits it.
    /// * [`Unsupported`](crate::ErrorKind::Unsupported): this system does not tell.
    /// * [`Io`](crate::ErrorKind::Io): the operating system refused, for instance because a sandbox hides `/proc`.
    pub fn cpu(&self) -> Result<Cpu, Error> {
        self.ask(Aspect::Cpu, sys::cpu)
    }

    /// Tells of the main memory.
    ///
    /// # Errors
    ///
    /// As [`cpu`](Self::cpu).
    pub fn memory(&self) -> Result<Memory, Error> {
        self.ask(Aspect::Memory, sys::memory)
    }

    /// Tells how busy the machine was.
    ///
    /// # Errors
    ///
    /// As [`cpu`](Self::cpu).
    pub fn load(&self) -> Result<Load, Error> {
        self.ask(Aspect::Load, sys::load)
    }

    /// Tells of the mounted file systems that hold something: not of those that the kernel makes up.
    ///
    /// # Errors
    ///
    /// As [`cpu`](Self::cpu), and [`LimitExceeded`](crate::ErrorKind::LimitExceeded) for a table of mounts longer than
    /// [`SYSTEM_TABLE_BYTES`](crate::limits::SYSTEM_TABLE_BYTES).
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn disks(&self) -> Result<Vec<Disk>, Error> {
        let standing = self.standing();
        let (decision, operation) = self.question(Aspect::Disks, &standing);
        // A device may have to be waited for.
        operation.run(decision, standing.epoch, async { pool(sys::disks).await.map(Done::new) }).await
    }

    /// Tells of the network interfaces and their addresses.
    ///
    /// # Errors
    ///
    /// As [`cpu`](Self::cpu).
    pub fn interfaces(&self) -> Result<Vec<Interface>, Error> {
        self.ask(Aspect::Interfaces, sys::interfaces)
    }

    /// Tells the name of the machine. What is no UTF-8 in it is replaced.
    ///
    /// # Errors
    ///
    /// As [`cpu`](Self::cpu).
    pub fn host_name(&self) -> Result<String, Error> {
        self.ask(Aspect::HostName, sys::host_name)
    }

    fn ask<T>(&self, aspect: Aspect, answer: impl FnOnce() -> Result<T, Fault>) -> Result<T, Error> {
        let standing = self.standing();
        let (decision, operation) = self.question(aspect, &standing);
        let running = operation.begin(decision, standing.epoch)?;
        running.finish(answer().map(Done::new))
    }

    fn question<'a>(&'a self, aspect: Aspect, standing: &'a Standing) -> (Decision<'a>, Operation<'a>) {
        let decision = standing.decide(Action::SystemRead, Resource::Name(aspect.name()));
        (decision, self.operation(Action::SystemRead, aspect.name().as_bytes()))
    }
}
