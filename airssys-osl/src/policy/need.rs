//! What an operation needs of a policy: from its record or its request to the grants that permit it, and nothing more.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{Direction, ExecTerms, Grant, Ports, Protocol, Rights, rule};
use crate::{
    Action,
    net::{
        Cidr, Host,
        address::{embedded, special},
    },
    system::Aspect,
};

/// All that one principal needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) fs: BTreeMap<PathBuf, Rights>,
    /// Directories of which READ or LIST is needed, whichever.
    see: BTreeSet<PathBuf>,
    pub(super) env: BTreeSet<String>,
    pub(super) send: BTreeSet<String>,
    publish: BTreeSet<String>,
    subscribe: BTreeSet<String>,
    buckets: BTreeMap<String, Rights>,
    clock: bool,
    random: bool,
    aspects: BTreeSet<Aspect>,
    peers: BTreeSet<(bool, bool, String, u16)>,
    resolve: BTreeSet<String>,
    unix: BTreeSet<(bool, PathBuf)>,
    abstract_unix: BTreeSet<(bool, Vec<u8>)>,
    /// The directories of trusted certificates, and the files in each, as far as they are known.
    trust: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    trust_web: bool,
    /// Variables without names: whichever there are.
    any_env: bool,
    programs: BTreeSet<PathBuf>,
    /// From where to where something was moved: whoever holds the first must be able to do all that the second permits.
    moved: BTreeSet<(PathBuf, PathBuf)>,
}

impl Needs {
    /// Adds what an operation needs, as its record tells. `roots` are the directories that it may be beneath.
    pub(super) fn add(&mut self, action: Action, resource: &[u8], told: &str, roots: &BTreeSet<PathBuf>) {
        let (first, second) = match resource.iter().position(|byte| *byte == 0) {
            Some(at) => (resource.get(..at), resource.get(at + 1..)),
            None => (Some(resource), None),
        };
        let (first, text) = (first.unwrap_or_default(), String::from_utf8_lossy(first.unwrap_or_default()));
        match action {
            Action::EnvRead => {
                self.any_env |= text == "*";
                self.env.extend(
                    text.split(',').filter(|name| *name != "*" && !name.is_empty()).map(str::to_owned),
                );
            }
            Action::ActorSend => drop(self.send.insert(text.into_owned())),
            Action::ActorPublish => drop(self.publish.insert(text.into_owned())),
            Action::ActorSubscribe => drop(self.subscribe.insert(granted_topic(&text))),
            Action::KeyvalueOpen => drop(self.buckets.entry(text.into_owned()).or_insert(Rights::empty())),
            Action::KeyvalueRead => {
                *self.buckets.entry(text.into_owned()).or_insert(Rights::empty()) |= Rights::READ
            }
            Action::KeyvalueWrite => {
                *self.buckets.entry(text.into_owned()).or_insert(Rights::empty()) |= Rights::WRITE
            }
            Action::ClockRead => self.clock = true,
            Action::RandomRead => self.random = true,
            Action::SystemRead => {
                self.aspects.extend(Aspect::ALL.iter().find(|aspect| aspect.name() == text))
            }
            Action::ProcessOpen => self.add_program(&path(first)),
            Action::NetResolve => drop(self.resolve.insert(text.into_owned())),
            Action::NetTrust if first == b"web" => self.trust_web = true,
            Action::NetTrust => {
                within(first, roots).for_each(|root| self.add_trust(root).extend([path(first)]))
            }
            Action::NetConnect | Action::NetListen | Action::NetSend => {
                self.add_socket(action, first, second, roots);
            }
            Action::FsOpenRoot => self.add_rights(&path(first), Rights::empty()),
            _ => self.add_beneath(action, first, second, told, roots),
        }
    }

    pub(super) fn add_rights(&mut self, root: &Path, rights: Rights) {
        *self.fs.entry(root.to_path_buf()).or_insert(Rights::empty()) |= rights;
    }

    fn add_beneath(
        &mut self,
        action: Action,
        first: &[u8],
        second: Option<&[u8]>,
        told: &str,
        roots: &BTreeSet<PathBuf>,
    ) {
        let Some(usual) = usual_rights(action) else { return };
        let rights = told_rights(told).unwrap_or(usual);
        if matches!(action, Action::FsMetadata | Action::FsReadLink) {
            return self.see.extend(within(first, roots).cloned());
        }
        within(first, roots).for_each(|root| self.add_rights(root, rights));
        let Some(second) = second else { return };
        let there = match action {
            Action::FsCopy => Rights::READ,
            Action::FsRename | Action::FsHardLink => rights,
            // Where a symbolic link points to is a text.
            _ => return,
        };
        for from in within(second, roots) {
            self.add_rights(from, there);
            if action != Action::FsCopy {
                self.moved.extend(within(first, roots).map(|to| (from.clone(), to.clone())));
            }
        }
    }

    fn add_socket(&mut self, action: Action, first: &[u8], second: Option<&[u8]>, roots: &BTreeSet<PathBuf>) {
        let listens = action == Action::NetListen;
        if let Some(name) = first.strip_prefix(b"unix:@") {
            self.abstract_unix.insert((listens, name.to_vec()));
        } else if let Some(path) = first.strip_prefix(b"unix:") {
            for root in within(path, roots) {
                self.add_rights(root, if listens { Rights::CREATE } else { Rights::WRITE });
                self.unix.insert((listens, root.clone()));
            }
        } else if let Ok(text) = str::from_utf8(first)
            && let Some((protocol, host, port)) = parse_url(text)
        {
            let peer = second.and_then(|peer| str::from_utf8(peer).ok()?.parse::<SocketAddr>().ok());
            let (name, address) = match host {
                Host::Name(name) => (Some(name.as_str().to_owned()), peer.map(|peer| peer.ip())),
                Host::Address(address) => (None, Some(address)),
            };
            self.add_peer(listens, protocol, name, address, port);
        }
    }

    /// Adds a host and an address of it. What is special is named by itself, and so is all that is embedded.
    pub(super) fn add_peer(
        &mut self,
        listens: bool,
        protocol: Protocol,
        name: Option<String>,
        address: Option<IpAddr>,
        port: u16,
    ) {
        let is_udp = protocol == Protocol::Udp;
        let inner = address.map(embedded).into_iter().flatten().flatten().map(IpAddr::V4);
        for address in address.into_iter().chain(inner) {
            let class = special(address).map(|(class, _)| class);
            if name.is_none() || class.is_some() {
                self.peers.insert((listens, is_udp, Cidr::single(address).to_string(), port));
            }
        }
        if let Some(name) = name {
            self.peers.insert((listens, is_udp, name, port));
        }
    }

    pub(super) fn add_lookup(&mut self, host: &str) {
        self.resolve.insert(host.to_owned());
    }

    pub(super) fn add_program(&mut self, program: &Path) {
        self.programs.insert(program.to_path_buf());
    }

    /// Adds a directory of certificates; the files in it are to be named.
    pub(super) fn add_trust(&mut self, root: &Path) -> &mut BTreeSet<PathBuf> {
        self.trust.entry(root.to_path_buf()).or_default()
    }

    pub(super) fn add_unix(&mut self, listens: bool, root: &Path) {
        self.unix.insert((listens, root.to_path_buf()));
    }

    /// Settles what depends on the rest.
    pub(super) fn settle(&mut self) {
        for root in std::mem::take(&mut self.see) {
            let rights = self.fs.entry(root).or_insert(Rights::empty());
            if !rights.intersects(Rights::READ | Rights::LIST) {
                *rights |= Rights::LIST;
            }
        }
        // Something may be moved on and on: each round reaches one directory farther.
        for _ in 0..=self.moved.len() {
            for (from, to) in &self.moved {
                let there = self.fs.get(to).copied().unwrap_or(Rights::empty());
                *self.fs.entry(from.clone()).or_insert(Rights::empty()) |= there;
            }
        }
        let connected =
            |host: &String| self.peers.iter().any(|(listens, _, peer, _)| !listens && peer == host);
        let lookups = std::mem::take(&mut self.resolve);
        self.resolve = lookups.into_iter().filter(|host| !connected(host)).collect();
        // A directory that is only opened: the least right there is lets it be.
        for rights in self.fs.values_mut().filter(|rights| rights.is_empty()) {
            *rights = Rights::LIST;
        }
        for rights in self.buckets.values_mut().filter(|rights| rights.is_empty()) {
            *rights = Rights::READ;
        }
    }

    /// Whom it connected to by TCP.
    pub(super) fn tcp_peers(&self) -> Vec<String> {
        let peers = self.peers.iter().filter(|(listens, is_udp, ..)| !listens && !is_udp);
        let url = |peer: &str, port| peer_url(false, peer, port);
        let urls = peers.map(|(_, _, peer, port)| url(peer, *port));
        urls.map(|url| url.strip_prefix("tcp://").unwrap_or(&url).to_owned()).collect()
    }

    /// The grants that permit it.
    pub(super) fn grants(&self) -> Vec<Grant> {
        let direction = |listens: bool| if listens { Direction::Listen } else { Direction::Connect };
        let mut grants = Vec::new();
        grants.extend(self.fs.iter().map(|(root, rights)| Grant::fs(root, *rights)));
        grants.extend(self.env.iter().map(|name| Grant::env(name.as_str())));
        grants.extend(self.send.iter().map(|name| Grant::send(name.as_str())));
        grants.extend(self.publish.iter().map(|topic| Grant::publish(topic.as_str())));
        grants.extend(self.subscribe.iter().map(|topic| Grant::subscribe(topic.as_str())));
        grants.extend(self.buckets.iter().map(|(name, rights)| Grant::keyvalue(name.as_str(), *rights)));
        grants.extend(self.clock.then(Grant::clock));
        grants.extend(self.aspects.iter().copied().map(Grant::system));
        grants.extend(self.random.then(Grant::random));
        for (listens, is_udp, peer, port) in &self.peers {
            let protocol = if *is_udp { Protocol::Udp } else { Protocol::Tcp };
            let ports = Ports::from(*port);
            grants.push(match listens {
                true => Grant::listen(protocol, peer.as_str(), ports),
                false => Grant::connect(protocol, peer.as_str(), ports),
            });
        }
        grants.extend(self.resolve.iter().map(|host| Grant::resolve(host.as_str())));
        grants.extend(self.unix.iter().map(|(listens, root)| Grant::unix(direction(*listens), root)));
        let named = self.abstract_unix.iter();
        grants
            .extend(named.map(|(listens, name)| Grant::abstract_unix(direction(*listens), name.as_slice())));
        grants.extend(self.trust.keys().map(Grant::trust));
        grants.extend(self.trust_web.then(Grant::trust_web));
        grants.extend(self.programs.iter().map(|program| Grant::exec(program, ExecTerms::new())));
        grants
    }

    /// The same as the lines of a manifest's `grants`. What a manifest has no key for is a comment. `guest` says what the
    /// component calls a directory.
    pub(super) fn toml(&self, guest: &dyn Fn(&Path) -> Option<String>) -> String {
        let granted = self.fs.iter().filter(|(root, _)| !is_whole(root));
        let fs = granted.map(|(root, rights)| fs_line(root, *rights, guest(root)));
        let peers = |direction| {
            let peers = self.peers.iter().filter(move |(listens, ..)| *listens == direction);
            peers.map(|(_, is_udp, peer, port)| quoted(&peer_url(*is_udp, peer, *port))).collect()
        };
        let names = |names: &BTreeSet<String>| names.iter().map(|name| quoted(name)).collect();
        let buckets = self.buckets.iter().map(|(name, rights)| {
            format!("{{ bucket = {}, rights = [{}] }}", quoted(name), right_names(*rights))
        });
        let granted = self.trust.iter().filter(|(root, _)| !is_whole(root));
        let files: BTreeSet<&PathBuf> = granted.flat_map(|(_, files)| files).collect();
        let trusted = self.trust_web.then(|| quoted("web")).into_iter();
        let trusted = trusted.chain(files.into_iter().map(|file| quoted(&file.to_string_lossy())));
        let lists: [(&str, Vec<String>); 10] = [
            ("fs", fs.collect()),
            ("connect", peers(false)),
            ("listen", peers(true)),
            ("resolve", names(&self.resolve)),
            ("trust", trusted.collect()),
            ("send", names(&self.send)),
            ("publish", names(&self.publish)),
            ("subscribe", names(&self.subscribe)),
            ("env", names(&self.env)),
            ("keyvalue", buckets.collect()),
        ];
        let mut lines = String::new();
        for (key, items) in lists.into_iter().filter(|(_, items)| !items.is_empty()) {
            lines.push_str(&format!("{key} = [{}]\n", items.join(", ")));
        }
        for (key, _) in [("clock", self.clock), ("random", self.random)].iter().filter(|(_, needed)| *needed)
        {
            lines.push_str(&format!("{key} = true\n"));
        }
        for other in self.others() {
            lines.push_str(&format!("# {other}\n"));
        }
        lines
    }

    /// The lines of what components have without a grant, and this one did not need.
    pub(super) fn toml_without(&self) -> String {
        let unneeded =
            [("clock", self.clock), ("random", self.random)].into_iter().filter(|(_, needed)| !needed);
        unneeded.map(|(key, _)| format!("{key} = false\n")).collect()
    }

    /// What a manifest has no key for, in words.
    fn others(&self) -> Vec<String> {
        let verb = |listens: &bool| if *listens { "listen" } else { "connect" };
        let mut others = Vec::new();
        others.extend(self.any_env.then(|| "env = [\"NAME\"]: the variables that it is to see".to_owned()));
        let whole = self.fs.iter().filter(|(root, _)| is_whole(root));
        others.extend(whole.map(|(root, rights)| {
            let rights = right_names(*rights);
            format!("{rights} beneath {root:?}: no manifest grants that; what is needed goes into a directory of its own")
        }));
        others.extend(self.aspects.iter().map(|aspect| format!("ask the machine about {}", aspect.name())));
        others.extend(
            self.unix
                .iter()
                .map(|(listens, root)| format!("{} unix sockets beneath {root:?}", verb(listens))),
        );
        let named = self.abstract_unix.iter();
        others
            .extend(named.map(|(listens, name)| format!("{} unix @{}", verb(listens), name.escape_ascii())));
        let unnamed = self.trust.iter().filter(|(root, files)| files.is_empty() || is_whole(root));
        others.extend(unnamed.map(|(root, _)| format!("trust certificates beneath {root:?}")));
        others.extend(self.programs.iter().map(|program| format!("start {program:?}")));
        others
    }
}

/// A peer as manifests write it; an IPv6 address stands in brackets.
fn peer_url(is_udp: bool, peer: &str, port: u16) -> String {
    let scheme = if is_udp { "udp" } else { "tcp" };
    if peer.contains(':') {
        format!("{scheme}://[{peer}]:{port}")
    } else {
        format!("{scheme}://{peer}:{port}")
    }
}

/// Whether a directory is all there is: the system's own folders are beneath it, so a manifest must not grant it.
fn is_whole(root: &Path) -> bool {
    root.parent().is_none()
}

fn fs_line(root: &Path, rights: Rights, guest: Option<String>) -> String {
    let root = quoted(&root.to_string_lossy());
    let guest = guest.map_or_else(|| root.clone(), |guest| quoted(&guest));
    format!("{{ path = {root}, guest = {guest}, rights = [{}] }}", right_names(rights))
}

fn right_names(rights: Rights) -> String {
    let names = Rights::NAMES.iter().filter(|(_, right)| rights.contains(*right));
    names.map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// A basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(character))),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// The directories of what a record names that is beneath none of `roots`: another policy granted one of those above.
pub(super) fn homeless(action: Action, resource: &[u8], roots: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let is_file = action.name().starts_with("fs.") || action == Action::NetTrust;
    let names = resource.split(|byte| *byte == 0);
    let paths = names.filter_map(|name| if is_file { Some(name) } else { name.strip_prefix(b"unix:") });
    let lost = paths.filter(|name| name.starts_with(b"/") && within(name, roots).next().is_none()).map(path);
    let is_directory = matches!(action, Action::FsList | Action::FsWatch);
    lost.map(|path| match path.parent().filter(|_| !is_directory) {
        Some(parent) => parent.to_path_buf(),
        None => path,
    })
    .collect()
}

/// The smallest topic of a grant that is all that a pattern selects: a grant has no wildcard but at its end.
fn granted_topic(pattern: &str) -> String {
    match pattern.split('.').position(|token| token == "*") {
        Some(at) => pattern.split('.').take(at).chain([">"]).collect::<Vec<_>>().join("."),
        None => pattern.to_owned(),
    }
}

/// The directories that a recorded path is beneath, by its spelling: it was resolved beneath one of them.
fn within<'a>(path: &[u8], roots: &'a BTreeSet<PathBuf>) -> impl Iterator<Item = &'a PathBuf> {
    roots.iter().filter(move |root| {
        let root = root.as_os_str().as_encoded_bytes();
        let rest = path.strip_prefix(root);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || root.ends_with(b"/"))
    })
}

#[cfg(unix)]
fn path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

/// The rights that a rule in a record tells to be needed, or to be missing.
pub(super) fn told_rights(told: &str) -> Option<Rights> {
    let names = told.strip_prefix(rule::LEARN).or_else(|| Some(told.rsplit_once(rule::LACKS)?.1))?;
    if names == "nothing" {
        return Some(Rights::empty());
    }
    names.split('+').map(Rights::named).try_fold(Rights::empty(), |rights, right| Some(rights | right?))
}

/// What an operation on files needs where its record does not tell; `None` for all others.
fn usual_rights(action: Action) -> Option<Rights> {
    Some(match action {
        Action::FsOpen | Action::FsRead | Action::FsLock | Action::FsMetadata | Action::FsReadLink => {
            Rights::READ
        }
        Action::FsList | Action::FsWatch => Rights::LIST,
        Action::FsWrite | Action::FsSetLen | Action::FsSetTimes | Action::FsSetPermissions => Rights::WRITE,
        Action::FsCreateDir | Action::FsSymlink | Action::FsHardLink => Rights::CREATE,
        Action::FsReplace | Action::FsRename | Action::FsCopy => Rights::CREATE | Rights::WRITE,
        Action::FsRemoveFile | Action::FsRemoveDir | Action::FsRemoveTree => Rights::DELETE,
        Action::FsSync => Rights::empty(),
        _ => return None,
    })
}

/// Reads `tcp://host:port`.
fn parse_url(text: &str) -> Option<(Protocol, Host, u16)> {
    let (scheme, rest) = text.split_once("://")?;
    let protocol = match scheme {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let (host, port) = rest.rsplit_once(':')?;
    Some((protocol, Host::read(host).ok()?, port.parse().ok()?))
}
