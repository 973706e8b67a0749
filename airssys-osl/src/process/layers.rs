//! What stands between a program and the machine: layers, each of the kernel's making, and the profiles of them.

use std::fmt;

bitflags::bitflags! {
    /// What the kernel holds a program to. Each is a bit, in records too.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Layers: u32 {
        /// A filter of system calls: no tracing, mounting, namespaces, keys, io_uring, foreign binaries' calls, and
        /// only the sockets of the profile.
        const SECCOMP = 1;
        /// Landlock: files only beneath what is granted, no signals and no abstract sockets to outside.
        const LANDLOCK = 1 << 1;
        /// A root directory of its own, made of what is granted, with its own `/tmp`, `/dev` and `/proc`.
        const MOUNTS = 1 << 2;
        /// Sees only its own processes, which all end with it.
        const PROCESSES = 1 << 3;
        /// No network at all, not even the machine's own loopback.
        const NETWORK = 1 << 4;
        /// System V IPC and POSIX message queues of its own.
        const IPC = 1 << 5;
        /// A host name of its own.
        const HOST_NAME = 1 << 6;
        /// A view of control groups that begins at its own.
        const CGROUP_VIEW = 1 << 7;
        /// A control group of its own, where memory and processes are counted over the whole tree.
        const CGROUP = 1 << 8;
        /// macOS' Seatbelt: files only beneath what is granted, no network but where the profile has one, few of the system's
        /// services (five on the network).
        #[cfg(any(target_os = "macos", doc))]
        const SEATBELT = 1 << 9;
        /// A job of Windows: all processes end with it, and it counts their memory, their number and their share of the processors.
        /// A bound, no sandbox: a program of our user's may open our process, and take itself out of it.
        #[cfg(any(windows, doc))]
        const JOB = 1 << 10;
        /// A token of Windows that lost all privileges, and the right of administrators to anything. As with
        /// [`JOB`](Self::JOB), it does not keep a program out of our process.
        #[cfg(any(windows, doc))]
        const TOKEN = 1 << 11;
    }
}

/// How many layers are of a system that is not Linux.
const OWN: usize =
    (if cfg!(any(target_os = "macos", doc)) { 1 } else { 0 }) + (if cfg!(any(windows, doc)) { 2 } else { 0 });

/// What a profile does not go without on this system, as far as it asks for it: what keeps a program from files that it was not
/// granted. Windows has nothing that does, and so starts what asks for no such thing.
#[cfg(not(any(target_os = "macos", windows)))]
const LEAST: Layers = Layers::SECCOMP.union(Layers::LANDLOCK);
#[cfg(target_os = "macos")]
const LEAST: Layers = Layers::SEATBELT;
#[cfg(windows)]
const LEAST: Layers = Layers::SECCOMP.union(Layers::LANDLOCK).union(Layers::JOB).union(Layers::TOKEN);

impl Layers {
    /// Every layer under the name that records, reports and manifests use.
    pub const NAMES: [(&'static str, Self); 9 + OWN] = [
        ("seccomp", Self::SECCOMP),
        ("landlock", Self::LANDLOCK),
        ("mounts", Self::MOUNTS),
        ("processes", Self::PROCESSES),
        ("network", Self::NETWORK),
        ("ipc", Self::IPC),
        ("host-name", Self::HOST_NAME),
        ("cgroup-view", Self::CGROUP_VIEW),
        ("cgroup", Self::CGROUP),
        #[cfg(any(target_os = "macos", doc))]
        ("seatbelt", Self::SEATBELT),
        #[cfg(any(windows, doc))]
        ("job", Self::JOB),
        #[cfg(any(windows, doc))]
        ("token", Self::TOKEN),
    ];

    /// The layer of a name in a manifest.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
    }
}

/// Writes the names, joined by `+`.
impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Self::NAMES.iter().filter(|(_, layer)| self.contains(*layer)).map(|(name, _)| *name);
        f.write_str(names.next().unwrap_or("nothing"))?;
        names.try_for_each(|name| write!(f, "+{name}"))
    }
}

/// A choice of layers under a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Every layer; no network; what it can write it cannot execute.
    #[default]
    Strict,
    /// As `Strict`, on the machine's network.
    Network,
    /// As `Strict`, for compilers and their like: what it writes it can execute, and `/proc` tells about the machine.
    Build,
    /// No layer. What is left: it gains no privileges, has no descriptors and no variables but those it is given, and
    /// is neither root nor has capabilities. On macOS a set-id program of the system's gains its owner's privileges there.
    None,
}

impl Profile {
    /// Every profile under the name that manifests use.
    pub const NAMES: [(&'static str, Self); 4] =
        [("strict", Self::Strict), ("network", Self::Network), ("build", Self::Build), ("none", Self::None)];

    /// The profile of a name in a manifest.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, profile)| *profile)
    }

    /// What it asks for.
    pub fn layers(self) -> Layers {
        match self {
            Self::Strict | Self::Build => Layers::all(),
            Self::Network => Layers::all() - Layers::NETWORK,
            Self::None => Layers::empty(),
        }
    }

    /// What it does not go without, whatever else is required: a program is not started where one of these is missing.
    pub fn least(self) -> Layers {
        self.layers() & LEAST
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, profile)| profile == self).map(|(name, _)| *name);
        f.write_str(name.unwrap_or_default())
    }
}

/// Which system calls [`Layers::SECCOMP`] lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Calls {
    /// All that the kernel had when this was written, but those that are refused to every program.
    #[default]
    AllButRefused,
    /// Those that usual programs make, for files, memory, threads, signals, time, sockets and starting others. The rest is
    /// not there: old and rare parts of the kernel, such as System V IPC, are out of reach.
    Usual,
}

/// What this machine can enforce, and why not where it cannot: see [`host`](super::host).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub(crate) layers: Vec<(Layers, Result<(), Box<str>>)>,
    pub(crate) landlock: Option<u32>,
}

impl Host {
    /// Each layer with whether it can be had, or why it cannot.
    pub fn layers(&self) -> impl Iterator<Item = (Layers, Result<(), &str>)> {
        self.layers.iter().map(|(layer, state)| (*layer, state.as_ref().map_err(|why| &**why).copied()))
    }

    /// The layers that can be had.
    pub fn available(&self) -> Layers {
        self.layers().filter(|(_, state)| state.is_ok()).map(|(layer, _)| layer).collect()
    }

    /// The version of Landlock's interface; `None` where there is none.
    pub fn landlock_version(&self) -> Option<u32> {
        self.landlock
    }

    fn why_not(&self, layer: Layers) -> &str {
        self.layers()
            .find_map(|(known, state)| state.err().filter(|_| known == layer))
            .unwrap_or("it is not known here")
    }
}

const LEFT_OUT: &str = "the grant leaves it out";
const NOT_IN_PROFILE: &str = "it is not part of the profile";

/// What really held one program: decided before it was started, and part of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcement {
    profile: Profile,
    enforced: Layers,
    landlock: Option<u32>,
    absent: Vec<(Layers, Box<str>)>,
}

impl Enforcement {
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "macos", windows)),
        allow(dead_code, reason = "no program is started there")
    )]
    /// Chooses from what was asked for what there is; or says which layer is missing that is not gone without.
    pub(crate) fn choose(
        host: &Host,
        profile: Profile,
        left_out: Layers,
        required: Layers,
        landlock_at_least: Option<u32>,
    ) -> Result<Self, (Layers, Box<str>)> {
        let wanted = profile.layers() - left_out;
        let enforced = wanted & host.available();
        let missing = (required | (profile.least() - left_out)) - enforced;
        let why_not = |layer| match () {
            () if left_out.contains(layer) => LEFT_OUT,
            () if !wanted.contains(layer) => NOT_IN_PROFILE,
            () => host.why_not(layer),
        };
        if let Some(layer) = missing.iter().next() {
            return Err((layer, why_not(layer).into()));
        }
        let landlock = host.landlock.filter(|_| enforced.contains(Layers::LANDLOCK));
        if landlock < landlock_at_least {
            let why = format!(
                "version {} is required, there is {}",
                landlock_at_least.unwrap_or_default(),
                landlock.unwrap_or_default()
            );
            return Err((Layers::LANDLOCK, why.into()));
        }
        let absent = (Layers::all() - enforced).iter().map(|layer| (layer, why_not(layer).into()));
        Ok(Self { profile, enforced, landlock, absent: absent.collect() })
    }

    /// The profile that was asked for.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// The layers that hold the program.
    pub fn enforced(&self) -> Layers {
        self.enforced
    }

    /// The version of Landlock that holds it; `None` where it does not.
    pub fn landlock_version(&self) -> Option<u32> {
        self.landlock
    }

    /// The layers that do not hold it, each with why.
    pub fn absent(&self) -> impl Iterator<Item = (Layers, &str)> {
        self.absent.iter().map(|(layer, why)| (*layer, &**why))
    }
}

/// Writes what stands in records: `strict: seccomp+landlock+… (landlock 7); not cgroup (why)`, without what a profile does not
/// ask for; where nothing holds it, `none: NOT CONFINED`.
impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.enforced.is_empty() {
            write!(f, "{}: NOT CONFINED", self.profile)?;
        } else {
            write!(f, "{}: {}", self.profile, self.enforced)?;
        }
        if let Some(version) = self.landlock {
            write!(f, " (landlock {version})")?;
        }
        // Those that are missing for one reason are told together.
        let mut reasons: Vec<(Layers, &str)> = Vec::new();
        for (layer, why) in self.absent().filter(|(_, why)| *why != NOT_IN_PROFILE) {
            match reasons.iter_mut().find(|(_, known)| *known == why) {
                Some((layers, _)) => *layers |= layer,
                None => reasons.push((layer, why)),
            }
        }
        reasons.iter().try_for_each(|(layers, why)| write!(f, "; not {layers} ({why})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(absent: Layers, landlock: Option<u32>) -> Host {
        let state = |layer| if absent.contains(layer) { Err("no".into()) } else { Ok(()) };
        Host { layers: Layers::NAMES.iter().map(|(_, layer)| (*layer, state(*layer))).collect(), landlock }
    }

    #[track_caller]
    fn check(absent: Layers, profile: Profile, required: Layers, expected: Result<Layers, Layers>) {
        let chosen = Enforcement::choose(&host(absent, Some(7)), profile, Layers::empty(), required, None);
        assert_eq!(chosen.map(|chosen| chosen.enforced()).map_err(|(layer, _)| layer), expected);
    }

    const NONE: Layers = Layers::empty();

    #[test]
    fn what_there_is_is_taken() {
        check(NONE, Profile::Strict, NONE, Ok(Layers::all()));
        check(NONE, Profile::Network, NONE, Ok(Layers::all() - Layers::NETWORK));
        check(Layers::MOUNTS, Profile::Strict, NONE, Ok(Layers::all() - Layers::MOUNTS));
        check(NONE, Profile::None, NONE, Ok(NONE));
    }

    #[test]
    fn what_is_required_is_not_gone_without() {
        check(Layers::MOUNTS, Profile::Strict, Layers::MOUNTS, Err(Layers::MOUNTS));
        check(Layers::LANDLOCK, Profile::Strict, NONE, Err(Layers::LANDLOCK));
        check(Layers::SECCOMP, Profile::Build, NONE, Err(Layers::SECCOMP));
        check(NONE, Profile::None, Layers::SECCOMP, Err(Layers::SECCOMP));
        check(NONE, Profile::Network, Layers::NETWORK, Err(Layers::NETWORK));
    }

    #[test]
    fn an_old_landlock_is_not_a_new_one() {
        let strict = |host: &Host, least| {
            Enforcement::choose(host, Profile::Strict, NONE, NONE, least).map_err(|(layer, _)| layer)
        };
        assert!(strict(&host(NONE, Some(3)), Some(3)).is_ok());
        assert_eq!(strict(&host(NONE, Some(3)), Some(4)), Err(Layers::LANDLOCK));
        assert_eq!(strict(&host(Layers::LANDLOCK, None), Some(1)), Err(Layers::LANDLOCK));
    }

    #[test]
    fn records_say_what_held() {
        let chosen =
            Enforcement::choose(&host(Layers::CGROUP, Some(7)), Profile::Network, Layers::IPC, NONE, None);
        assert_eq!(
            chosen.unwrap().to_string(),
            "network: seccomp+landlock+mounts+processes+host-name+cgroup-view (landlock 7); not ipc (the grant leaves it out); not cgroup (no)"
        );
        let two = host(Layers::IPC | Layers::HOST_NAME, Some(7));
        let chosen = Enforcement::choose(&two, Profile::Strict, Layers::empty(), NONE, None);
        assert!(chosen.unwrap().to_string().ends_with("(landlock 7); not ipc+host-name (no)"));
        let chosen = Enforcement::choose(&two, Profile::None, Layers::empty(), NONE, None);
        assert_eq!(chosen.unwrap().to_string(), "none: NOT CONFINED");
    }

    #[test]
    fn the_reason_is_whose_it_is() {
        let why = |profile, left_out, required| {
            let chosen = Enforcement::choose(&host(Layers::IPC, Some(7)), profile, left_out, required, None);
            chosen.map(drop).unwrap_err().1
        };
        assert_eq!(&*why(Profile::Network, NONE, Layers::NETWORK), "it is not part of the profile");
        assert_eq!(&*why(Profile::None, NONE, Layers::SECCOMP), "it is not part of the profile");
        assert_eq!(&*why(Profile::Strict, Layers::MOUNTS, Layers::MOUNTS), "the grant leaves it out");
        assert_eq!(&*why(Profile::Strict, NONE, Layers::IPC), "no");
    }
}
