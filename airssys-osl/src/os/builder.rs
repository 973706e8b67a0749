use std::sync::{
    Arc, RwLock,
    atomic::{AtomicI64, AtomicU32},
};

use tokio::sync::watch;

use super::{Current, Os, Rooms, Shared};
use crate::{
    audit::Sink,
    keyvalue::Buckets,
    net::{Accounts, Resolve, SystemResolver},
    policy::Policy,
    process::Programs,
    random::Generator,
    sys::{self, Resolution},
};

/// Makes an [`Os`] that differs from [`Os::new`] in something.
///
/// ```
/// use airssys_osl::{Os, Resolution, policy::Policy, testing::{MemorySink, ScriptedResolver}};
///
/// let os = Os::builder(Policy::default(), MemorySink::new())
///     .resolver(ScriptedResolver::new().answer("api.test", &["127.0.0.1"]))
///     .resolution(Resolution::Steps)
///     .insecure_random(7)
///     .build();
/// ```
#[must_use]
pub struct OsBuilder {
    policy: Policy,
    sink: Box<dyn Sink>,
    resolver: Box<dyn Resolve>,
    resolution: Resolution,
    generator: Generator,
}

impl OsBuilder {
    pub(super) fn new(policy: Policy, sink: impl Sink) -> Self {
        Self {
            policy,
            sink: Box::new(sink),
            resolver: Box::new(SystemResolver),
            resolution: Resolution::default(),
            generator: Generator::Kernel,
        }
    }

    /// Has `resolver` look hosts up instead of the system.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Box::new(resolver);
        self
    }

    /// Says how paths are resolved beneath granted directories.
    pub fn resolution(mut self, resolution: Resolution) -> Self {
        self.resolution = resolution;
        self
    }

    /// Has random bytes follow from `seed` alone, so that a test can be run again: never for anything else, for whoever
    /// knows the seed knows all of them. Records say `insecure` where somebody gets hold of such bytes.
    pub fn insecure_random(mut self, seed: u64) -> Self {
        self.generator = Generator::seeded(seed);
        self
    }

    /// Puts the door in place.
    pub fn build(self) -> Os {
        let Self { policy, sink, resolver, resolution, generator } = self;
        Os(Arc::new(Shared {
            current: RwLock::new(Current { epoch: 1, policy }),
            epoch: AtomicU32::new(1),
            sink,
            resolution,
            changed: watch::Sender::new(()),
            rooms: Rooms::default(),
            resolver,
            accounts: Accounts::default(),
            programs: Programs::default(),
            buckets: Buckets::default(),
            latest: AtomicI64::new(i64::MIN),
            started_ns: sys::monotonic_ns(),
            generator,
        }))
    }
}

impl std::fmt::Debug for OsBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OsBuilder").field("resolution", &self.resolution).finish_non_exhaustive()
    }
}
