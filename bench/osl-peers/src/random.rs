//! Numbers that a seed decides, and policies and requests made of them.

use std::{fmt::Write as _, net::IpAddr, path::Path, time::Duration};

use airssys_osl::{
    Action, Error,
    clock::Timestamp,
    policy::{Direction, ExecTerms, Grant, Mode, Policy, PolicyBuilder, Ports, Protocol, Rights},
    system::Aspect,
};

/// A generator of numbers: xorshift64*.
pub(crate) struct Random(u64);

/// Few enough that rules meet each other and the requests.
const NAMES: &[&str] = &["A", "B", "AB", "ABC", "printer", "x*y"];
const PATTERNS: &[&str] = &["A", "AB", "A*", "AB*", "*", "printer"];
const TOPICS: &[&str] = &["a", "a.b", "a.b.c", "ab", "a.>", ">"];
const ROOTS: &[&str] = &["/", "/a", "/a/b", "/a/b/c", "/ab", "/b"];
/// Some of them as others spell them.
const SPELLINGS: &[&str] = &["//", "/a/", "/a/./b", "/a//b/c", "/ab", "/b/."];
/// UNIX sockets without a directory.
const ABSTRACT: &[&[u8]] = &[b"a", b"ab", b"/a", b"a\0\"\xff"];
const HOSTS: &[&str] = &["x", "a.x", "b.a.x", "c.y", "y"];
const PEERS: &[&str] = &[
    "*",
    "x",
    "a.x",
    "*.x",
    "*.a.x",
    "*.y",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "0.0.0.0/0",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "169.254.169.254",
    "168.63.129.16/32",
    "::/0",
    "64:ff9b::/96",
    "::ffff:0:0/96",
    "2002::/16",
    "1.0.0.0/8",
    "1.1.1.1",
    "fd00::/8",
    "126.0.0.0/7",
    "100.64.0.0/10",
    "2001::/16",
];
const LOCALS: &[&str] = &["127.0.0.1", "0.0.0.0", "10.0.0.0/8", "::1", "::/0"];
const ADDRESSES: &[&str] = &[
    "1.1.1.1",
    "1.2.3.4",
    "8.8.8.8",
    "10.0.0.1",
    "10.1.2.3",
    "127.0.0.1",
    "126.0.0.1",
    "169.254.169.254",
    "169.254.1.1",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "::1",
    "::",
    "2606:4700::1",
    "64:ff9b::808:808",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::a00:1",
    "::ffff:10.0.0.1",
    "::ffff:1.1.1.1",
    "2002:a00:1::1",
    "fd00:ec2::254",
    "fd00::1",
    "2001:0:a00:1::f5ff:fffe",
    "2a00::5efe:10.0.0.1",
    "fe80::1",
];
const WINDOWS: &[&str] = &[
    "mon-fri 09:00-17:30",
    "fri 22:00-06:00 +01:00",
    "00:00-24:00",
    "sun 00:00-00:00 -03:30",
    "tue,thu 12:00-12:01",
    "sat-mon 06:00-05:00 +14:00",
];
const ROLES: u64 = 4;
const PRINCIPALS: u64 = 3;
/// Around this second: a Monday.
const NOW: i64 = 1_795_392_000;
/// In which each rate comes in again, about.
const PERIOD: Duration = Duration::from_nanos(100);

/// One question.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Directory(&'static str, Rights),
    Root(&'static str),
    Name(Action, &'static str),
    Peer { action: Action, protocol: Protocol, host: Option<&'static str>, address: IpAddr, port: u16 },
    Host(&'static str),
    Unix(Action, &'static str),
    Abstract(Action, &'static [u8]),
    Trust(&'static str),
    Program(Action, &'static str),
}

/// When one asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct When {
    /// What the wall clock shows, in seconds.
    pub(crate) now: i64,
    /// What it showed before it was set back, if it was.
    pub(crate) latest: i64,
    /// Where the monotonic clock stands.
    pub(crate) monotonic: Duration,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 33) % bound.max(1)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// What one does with a UNIX socket: datagrams are sent to them, too.
    fn socket(&mut self) -> Action {
        self.one(&[Action::NetConnect, Action::NetListen, Action::NetSend])
    }

    /// A policy, and its description; an error where it says something twice or cannot be held to.
    pub(crate) fn policy(&mut self) -> (Result<Policy, Error>, String) {
        let mode = self.one(&[Mode::Enforce, Mode::Enforce, Mode::AuditOnly, Mode::Learn]);
        let (mut builder, mut told) = (Policy::builder().mode(mode), format!("{mode:?}\n"));
        let mut tell = |what: &str, name: &str, grants: &[Grant]| {
            let _ = writeln!(told, "{what} {name}: {grants:#?}");
        };
        for number in 0..ROLES {
            let grants = self.list(number + 1);
            tell("role", &format!("r{number}"), &grants);
            builder = builder.role(format!("r{number}"), grants);
        }
        for number in 0..PRINCIPALS {
            let grants = self.list(0);
            tell("principal", &format!("p{number}"), &grants);
            builder = builder.principal(format!("p{number}"), grants);
        }
        for _ in 0..self.below(3) {
            let grants = [self.grant(true)];
            let name = match self.below(3) {
                0 => "everyone".to_owned(),
                1 => format!("p{}", self.below(PRINCIPALS)),
                _ => format!("r{}", self.below(ROLES)),
            };
            tell("forbid", &name, &grants);
            builder = forbid(builder, &name, grants);
        }
        (builder.build(), told)
    }

    /// Grants, among them roles from `role` on: none has itself.
    fn list(&mut self, role: u64) -> Vec<Grant> {
        let mut grants: Vec<_> = (0..self.below(14)).map(|_| self.grant(false)).collect();
        for _ in 0..self.below(3) {
            if role < ROLES {
                let role = Grant::role(format!("r{}", role + self.below(ROLES - role)));
                grants.push(self.conditions(role, false));
            }
        }
        grants
    }

    fn grant(&mut self, forbids: bool) -> Grant {
        let protocol = self.one(&[Protocol::Tcp, Protocol::Udp]);
        let direction = self.one(&[Direction::Connect, Direction::Listen]);
        let roots = if self.below(2) == 0 { ROOTS } else { SPELLINGS };
        let spelled = self.one(roots);
        let bucket = self.one(&[Rights::READ, Rights::WRITE, Rights::READ | Rights::WRITE]);
        let grant = match self.below(17) {
            0..=1 => Grant::fs(self.one(ROOTS), self.rights(!forbids)),
            2 => Grant::fs(self.one(SPELLINGS), self.rights(!forbids)),
            3 if forbids => Grant::env(self.one(PATTERNS)),
            3 => Grant::env(self.one(&["A", "B", "ABC"])),
            4 => Grant::send(self.one(PATTERNS)),
            5 => self.one(&[Grant::clock as fn() -> Grant, Grant::random])(),
            6..=8 => Grant::connect(protocol, self.one(PEERS), self.ports(1)),
            9 => Grant::listen(protocol, self.one(LOCALS), self.ports(0)),
            10 => Grant::resolve(self.one(&["x", "*.x", "*", "c.y"])),
            11 => Grant::publish(self.one(TOPICS)),
            12 => Grant::subscribe(self.one(TOPICS)),
            13 => Grant::keyvalue(self.one(PATTERNS), bucket),
            14 => Grant::system(self.one(Aspect::ALL)),
            15 => Grant::exec(spelled, ExecTerms::new()),
            _ => match self.below(4) {
                0 => Grant::unix(direction, spelled),
                1 => Grant::trust(self.one(ROOTS)),
                2 => Grant::abstract_unix(direction, self.one(ABSTRACT)),
                _ => Grant::trust_web(),
            },
        };
        self.conditions(grant, forbids)
    }

    fn conditions(&mut self, mut grant: Grant, forbids: bool) -> Grant {
        if self.below(5) == 0 {
            let end = NOW + self.below(14 * 86_400) as i64 - 7 * 86_400;
            grant = grant.until(Timestamp { seconds: end, nanoseconds: self.one(&[0, 1]) });
        }
        for _ in 0..self.below(8).saturating_sub(5) {
            let window = self.one(WINDOWS).parse();
            grant = window.map_or(grant.clone(), |window| grant.during(window));
        }
        // What is forbidden has no rate.
        if !forbids && self.below(3) == 0 {
            grant = grant.at_most(1 + self.below(3), PERIOD);
        }
        grant
    }

    fn rights(&mut self, some: bool) -> Rights {
        match self.below(4) {
            0 => Rights::all(),
            _ => {
                let rights = Rights::from_bits_truncate(self.below(32) as u8);
                if some && rights.is_empty() { Rights::READ } else { rights }
            }
        }
    }

    fn ports(&mut self, least: u64) -> Ports {
        let first = (least + self.below(4)) as u16;
        match self.below(3) {
            0 => Ports::ALL,
            1 => Ports::from(first),
            _ => Ports::from(first..=first + self.below(3) as u16),
        }
    }

    /// Who asks: one of the principals, or nobody.
    pub(crate) fn principal(&mut self) -> String {
        format!("p{}", self.below(PRINCIPALS + 1))
    }

    /// A second within two weeks, often at the full hour; by a clock that was set back, at times. The monotonic clock goes
    /// on by itself from `before`.
    pub(crate) fn moment(&mut self, before: Duration) -> When {
        let second = NOW + self.below(14 * 86_400) as i64 - 7 * 86_400;
        let now = if self.below(3) == 0 { second - second % 3_600 } else { second };
        let back = if self.below(4) == 0 { self.below(7 * 86_400) as i64 } else { 0 };
        When { now, latest: now + back, monotonic: before + PERIOD / 4 * u32::from(self.below(8) == 0) }
    }

    /// Whether what was permitted is done, and counts.
    pub(crate) fn uses(&mut self) -> bool {
        self.below(2) == 0
    }

    pub(crate) fn ask(&mut self) -> Ask {
        let protocol = self.one(&[Protocol::Tcp, Protocol::Udp]);
        let address = self.one(ADDRESSES).parse().unwrap_or(IpAddr::from([1, 1, 1, 1]));
        let host = self.one(HOSTS);
        match self.below(17) {
            0..=2 => Ask::Directory(self.one(ROOTS), self.rights(true)),
            3 => Ask::Root(self.one(ROOTS)),
            4 => Ask::Name(self.one(&[Action::EnvRead, Action::ActorSend]), self.one(NAMES)),
            5 => Ask::Name(self.one(&[Action::ClockRead, Action::RandomRead]), ""),
            6..=8 => Ask::Peer {
                action: self.one(&[Action::NetConnect, Action::NetSend]),
                protocol,
                host: Some(host).filter(|_| self.below(2) == 0),
                address,
                port: 1 + self.below(6) as u16,
            },
            9 => Ask::Peer {
                action: Action::NetListen,
                protocol,
                host: None,
                address,
                port: self.below(5) as u16,
            },
            10 => Ask::Host(host),
            11 | 12 => Ask::Name(self.one(&[Action::ActorPublish, Action::ActorSubscribe]), self.one(TOPICS)),
            13 => {
                let actions = [Action::KeyvalueOpen, Action::KeyvalueRead, Action::KeyvalueWrite];
                Ask::Name(self.one(&actions), self.one(NAMES))
            }
            14 => Ask::Name(Action::SystemRead, self.one(Aspect::ALL).name()),
            15 => {
                let actions = [Action::ProcessOpen, Action::ProcessSpawn, Action::ProcessSignal];
                Ask::Program(self.one(&actions), self.one(ROOTS))
            }
            _ => match self.below(4) {
                0 => Ask::Unix(self.socket(), self.one(ROOTS)),
                1 => Ask::Trust(self.one(ROOTS)),
                2 => Ask::Abstract(self.socket(), self.one(ABSTRACT)),
                _ => Ask::Trust("web"),
            },
        }
    }
}

fn forbid(builder: PolicyBuilder, name: &str, grants: [Grant; 1]) -> PolicyBuilder {
    if name == "everyone" { builder.forbid_everyone(grants) } else { builder.forbid(name, grants) }
}

/// The path of a root, for a request.
pub(crate) fn path(root: &'static str) -> &'static Path {
    Path::new(root)
}
