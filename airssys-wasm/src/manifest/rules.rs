//! `grants`, `forbid` and `roles`: from what a manifest says to the rules of a policy, each checked in its place.

use std::path::{Component, Path};

use airssys_osl::policy::{Grant, Policy, Rights};
use airssys_rt::Pattern;
use toml::{Spanned, de::DeValue};

use super::{
    FsGrant, Located, Rules, Trust, http, keyvalue, peer,
    section::{Notes, Section, kind, nearest, one_of},
    terms::{self, Conditions},
};

const RIGHTS: &[(&str, Rights)] = &[
    ("read", Rights::READ),
    ("list", Rights::LIST),
    ("write", Rights::WRITE),
    ("create", Rights::CREATE),
    ("delete", Rights::DELETE),
];

/// The grants that exist, for the error about those that do not.
const GRANTS: &str = "this version grants `fs`, `connect`, `listen`, `resolve`, `trust`, `send`, `publish`, `subscribe`, `env`, `keyvalue`, `blobstore`, `clock` and `random`; \
                      what is not granted is denied";

const FS_EXAMPLE: &str = "such as `{ path = \"inbox\", guest = \"/inbox\", rights = [\"read\", \"list\"] }`";

/// The name that roles have in the policy: they share their names with principals.
pub(crate) fn role_name(role: &str) -> String {
    format!("role.{role}")
}

/// The rules of a component or a role, and the names in them that must exist.
#[derive(Default)]
pub(super) struct ReadRules {
    pub(super) rules: Rules,
    /// Which components may be sent to, where that is said, and the place.
    pub(super) receivers: Vec<(Located<String>, String)>,
    /// Which buckets it may use, and the place that says so.
    pub(super) buckets: Vec<(Located<String>, String)>,
    /// Whom it trusts over TLS.
    pub(super) trust: Vec<Trust>,
    /// Which roles it has.
    pub(super) roles: Vec<Located<String>>,
}

impl ReadRules {
    /// Reads `roles`, `grants` and `forbid`. Clocks and random bytes are `ambient` to components, which have them unless
    /// the manifest takes them away: WASI has no word for their denial.
    pub(super) fn read(section: &mut Section<'_>, ambient: bool, notes: &mut Notes<'_>) -> Self {
        let mut read = Self::default();
        read.read_roles(section, notes);
        match section.table("grants", notes) {
            Some(mut grants) => {
                for (index, element) in grants.array("fs", notes).into_iter().enumerate() {
                    let rule = format!("{}[{index}]", grants.place("fs"));
                    let granted = read_fs(rule, element, Some(&read.rules.fs), notes);
                    read.rules.fs.extend(granted);
                }
                let elements = grants.array("blobstore", notes);
                if let Some(second) = elements.get(1) {
                    let message = format!("`{}` has more than one element", grants.place("blobstore"));
                    let help = "a component has its containers in one directory".to_owned();
                    notes.problem(&second.span(), message, Some(help));
                }
                for element in elements.into_iter().take(1) {
                    let rule = format!("{}[0]", grants.place("blobstore"));
                    read.rules.fs.extend(read_fs(rule, element, None, notes));
                }
                read.rules.permits.extend(read_objects(&mut grants, ambient, &mut read.receivers, notes));
                let buckets = keyvalue::read_grants(&mut grants, notes);
                read.rules.permits.extend(buckets.grants);
                read.buckets = buckets.names;
                read.trust = read_trust(&mut grants, &mut read.rules.permits, notes);
                finish(grants, notes);
            }
            None if ambient => read.rules.permits.extend([builtin(CLOCK), builtin(RANDOM)]),
            None => {}
        }
        read.rules.forbids = read_forbid(section, notes);
        read
    }

    fn read_roles(&mut self, section: &mut Section<'_>, notes: &mut Notes<'_>) {
        for (index, element) in section.array("roles", notes).into_iter().enumerate() {
            let rule = format!("{}[{index}]", section.place("roles"));
            let Some((name, conditions)) = read_entry(&rule, element, "name", notes) else { continue };
            self.rules.permits.push(conditions.apply(Grant::role(role_name(&name.value))).rule(rule));
            self.roles.push(name);
        }
    }
}

/// Reads the key `forbid` of a section. What it names need not exist: it may well be a mistake that is forbidden.
pub(super) fn read_forbid(section: &mut Section<'_>, notes: &mut Notes<'_>) -> Vec<Grant> {
    let Some(mut forbid) = section.table("forbid", notes) else { return Vec::new() };
    let mut forbids = Vec::new();
    for (index, element) in forbid.array("fs", notes).into_iter().enumerate() {
        let rule = format!("{}[{index}]", forbid.place("fs"));
        forbids.extend(read_forbidden_fs(rule, element, notes));
    }
    forbids.extend(read_objects(&mut forbid, false, &mut Vec::new(), notes));
    forbids.extend(keyvalue::read_grants(&mut forbid, notes).grants);
    read_trust(&mut forbid, &mut forbids, notes);
    finish(forbid, notes);
    forbids
}

/// Notes unknown grants, and says which there are.
fn finish(section: Section<'_>, notes: &mut Notes<'_>) {
    let before = notes.problems.len();
    section.finish(notes);
    for problem in notes.problems.iter_mut().skip(before) {
        let help = problem.help.take().filter(|help| help.starts_with("did you mean"));
        problem.help = Some(help.unwrap_or_else(|| GRANTS.to_owned()));
    }
}

/// All that is no directory. It is the same in `grants` and in `forbid`.
fn read_objects(
    section: &mut Section<'_>,
    ambient: bool,
    receivers: &mut Vec<(Located<String>, String)>,
    notes: &mut Notes<'_>,
) -> Vec<Grant> {
    let mut grants = Vec::new();
    each(section, "send", "to", &mut grants, notes, |name, rule, _| {
        receivers.push((name.clone(), rule.to_owned()));
        Some(Grant::send(name.value.as_str()))
    });
    each(section, "publish", "topic", &mut grants, notes, |topic, rule, notes| {
        read_topic(topic, rule, notes).then(|| Grant::publish(topic.value.as_str()))
    });
    each(section, "subscribe", "topic", &mut grants, notes, |topic, rule, notes| {
        read_topic(topic, rule, notes).then(|| Grant::subscribe(topic.value.as_str()))
    });
    each(section, "env", "name", &mut grants, notes, |name, _, _| Some(Grant::env(name.value.as_str())));
    each(section, "connect", "to", &mut grants, notes, |text, rule, notes| {
        let (protocol, host, ports) = read_peer(text, rule, notes)?;
        Some(Grant::connect(protocol, host, ports))
    });
    each(section, "listen", "on", &mut grants, notes, |text, rule, notes| {
        let (protocol, local, ports) = read_peer(text, rule, notes)?;
        Some(Grant::listen(protocol, local, ports))
    });
    each(section, "resolve", "host", &mut grants, notes, |host, _, _| {
        Some(Grant::resolve(host.value.as_str()))
    });
    for object in [CLOCK, RANDOM] {
        grants.extend(read_switch(section, object, ambient, notes));
    }
    grants
}

/// Whether it is a pattern at all. That its wildcard stands at its end is the policy's to say.
fn read_topic(text: &Located<String>, rule: &str, notes: &mut Notes<'_>) -> bool {
    let read = text.value.parse::<Pattern>();
    if let Err(error) = &read {
        let help = "such as `orders.created`, or `orders.>` for all below `orders`".to_owned();
        notes.problem(&text.span, format!("`{rule}`: no topic: {error}"), Some(help));
    }
    read.is_ok()
}

/// Reads `trust`: whom, beside the grants for it.
fn read_trust(section: &mut Section<'_>, grants: &mut Vec<Grant>, notes: &mut Notes<'_>) -> Vec<Trust> {
    let mut trust = Vec::new();
    each(section, "trust", "whom", grants, notes, |text, _, notes| {
        let (trusted, grant) = http::read_trust(text, notes)?;
        trust.push(trusted);
        Some(grant)
    });
    trust
}

fn read_peer<'t>(
    text: &'t Located<String>,
    rule: &str,
    notes: &mut Notes<'_>,
) -> Option<(airssys_osl::policy::Protocol, &'t str, airssys_osl::policy::Ports)> {
    let parsed = peer::parse(&text.value);
    if parsed.is_none() {
        let help = match text.value.starts_with("unix:") {
            true => "WASI has no interface for UNIX sockets, so no component could use it".to_owned(),
            false => peer::PEER.to_owned(),
        };
        notes.problem(&text.span, format!("`{rule}`: \"{}\" is no peer", text.value), Some(help));
    }
    parsed
}

/// Reads each element of an array, which is a text, or a table with the text under `main` and with conditions.
fn each(
    section: &mut Section<'_>,
    key: &'static str,
    main: &'static str,
    grants: &mut Vec<Grant>,
    notes: &mut Notes<'_>,
    mut make: impl FnMut(&Located<String>, &str, &mut Notes<'_>) -> Option<Grant>,
) {
    let place = section.place(key);
    let forbids = section.path.ends_with(".forbid");
    for (index, element) in section.array(key, notes).into_iter().enumerate() {
        let rule = format!("{place}[{index}]");
        let Some((text, conditions)) = read_entry(&rule, element, main, notes) else { continue };
        let Some(grant) = make(&text, &rule, notes) else { continue };
        let grant = conditions.apply(grant).rule(rule.as_str());
        grants.extend(checked(grant, &rule, forbids, &text.span, notes));
    }
}

fn read_entry(
    rule: &str,
    element: &Spanned<DeValue<'_>>,
    main: &'static str,
    notes: &mut Notes<'_>,
) -> Option<(Located<String>, Conditions)> {
    let DeValue::Table(table) = element.get_ref() else {
        return notes.text(rule, element).map(|text| (text, Conditions::default()));
    };
    let mut section = Section::new(rule, table, element.span());
    let text = section.text(main, notes);
    if text.is_none() && !table.contains_key(main) {
        section.missing(main, "\"…\"", notes);
    }
    let conditions = Conditions::read(&mut section, notes);
    section.finish(notes);
    text.map(|text| (text, conditions))
}

/// Clocks or random bytes: all or nothing, at all times or under conditions.
#[derive(Clone, Copy)]
struct Switch {
    key: &'static str,
    grant: fn() -> Grant,
    builtin: &'static str,
}

const CLOCK: Switch = Switch { key: "clock", grant: Grant::clock, builtin: "builtin.clock" };
const RANDOM: Switch = Switch { key: "random", grant: Grant::random, builtin: "builtin.random" };

fn builtin(switch: Switch) -> Grant {
    (switch.grant)().rule(switch.builtin)
}

fn read_switch(
    section: &mut Section<'_>,
    switch: Switch,
    ambient: bool,
    notes: &mut Notes<'_>,
) -> Option<Grant> {
    let place = section.place(switch.key);
    let Some(value) = section.take(switch.key) else { return ambient.then(|| builtin(switch)) };
    match value.get_ref() {
        DeValue::Boolean(granted) => granted.then(|| (switch.grant)().rule(place)),
        DeValue::Table(table) => {
            let mut section = Section::new(place.as_str(), table, value.span());
            let conditions = Conditions::read(&mut section, notes);
            section.finish(notes);
            let forbids = place.ends_with(&format!(".forbid.{}", switch.key));
            checked(
                conditions.apply((switch.grant)()).rule(place.as_str()),
                &place,
                forbids,
                &value.span(),
                notes,
            )
        }
        other => {
            let message =
                format!("`{place}` must be true, false or a table with `conditions`, not {}", kind(other));
            notes.problem(&value.span(), message, None);
            None
        }
    }
}

/// Has the policy look at one grant alone, so that its problem is told in its place.
pub(super) fn checked(
    grant: Grant,
    rule: &str,
    forbids: bool,
    span: &std::ops::Range<usize>,
    notes: &mut Notes<'_>,
) -> Option<Grant> {
    const ALONE: &str = "it";
    let policy = match forbids {
        true => Policy::builder().principal(ALONE, []).forbid(ALONE, [grant.clone()]),
        false => Policy::builder().principal(ALONE, [grant.clone()]),
    };
    notes.rules.push((rule.to_owned(), span.clone()));
    match policy.build() {
        Ok(_) => Some(grant),
        Err(error) => {
            let told = error.to_string();
            let problem = told.split_once("to `it`: ").map_or(told.as_str(), |(_, problem)| problem);
            notes.problem(span, format!("`{rule}`: {problem}"), None);
            None
        }
    }
}

/// Reads what is granted of one directory. `before` are those that must be called otherwise; none where it has no name,
/// because containers of objects are in it.
fn read_fs(
    rule: String,
    element: &Spanned<DeValue<'_>>,
    before: Option<&[FsGrant]>,
    notes: &mut Notes<'_>,
) -> Option<FsGrant> {
    let mut section = fs_section(&rule, element, notes)?;
    let path = section.path("path", notes);
    if section.take("path").is_none() {
        section.missing("path", "\"inbox\"", notes);
    }
    let guest = before.map(|before| read_guest(&mut section, before, notes));
    let rights = read_rights(&mut section, notes);
    let terms = terms::read_fs(&mut section, notes);
    let conditions = Conditions::read(&mut section, notes);
    let span = section.span.clone();
    section.finish(notes);
    let (path, guest) = (path?, guest.map_or(Some(None), |guest| guest.map(Some))?);
    if has_parent(&path.value) {
        let message = format!("`{rule}.path` must be a path without `..`");
        let help = "write where it is: a link on the way could lead elsewhere".to_owned();
        notes.problem(&path.span, message, Some(help));
        return None;
    }
    let grant = match rights.is_empty() {
        true => None,
        false => {
            let grant = conditions.apply(Grant::fs_with(&path.value, rights, terms)).rule(rule.as_str());
            Some(checked(grant, &rule, false, &span, notes)?)
        }
    };
    Some(FsGrant { path, guest, rights, rule, grant })
}

/// What a component calls a directory.
fn read_guest(section: &mut Section<'_>, before: &[FsGrant], notes: &mut Notes<'_>) -> Option<String> {
    let guest = section.parsed("guest", "an absolute path without `.` and `..`", notes, guest_path);
    if section.take("guest").is_none() {
        section.missing("guest", "\"/inbox\"", notes);
    }
    let guest = guest?;
    if before.iter().any(|grant| grant.guest.as_ref() == Some(&guest.value)) {
        notes.problem(&guest.span, format!("two directories are called \"{}\"", guest.value), None);
    }
    Some(guest.value)
}

fn read_forbidden_fs(rule: String, element: &Spanned<DeValue<'_>>, notes: &mut Notes<'_>) -> Option<Grant> {
    let mut section = fs_section(&rule, element, notes)?;
    let path = section.path("path", notes);
    if section.take("path").is_none() {
        section.missing("path", "\"inbox/private\"", notes);
    }
    // To name none is to forbid all.
    let rights = match section.take("rights") {
        Some(_) => read_rights(&mut section, notes),
        None => Rights::all(),
    };
    let conditions = Conditions::read(&mut section, notes);
    let span = section.span.clone();
    section.finish(notes);
    let grant = conditions.apply(Grant::fs(path?.value, rights)).rule(rule.as_str());
    checked(grant, &rule, true, &span, notes)
}

fn fs_section<'a>(
    rule: &str,
    element: &'a Spanned<DeValue<'a>>,
    notes: &mut Notes<'_>,
) -> Option<Section<'a>> {
    if let DeValue::Table(table) = element.get_ref() {
        return Some(Section::new(rule, table, element.span()));
    }
    let message = format!("`{rule}` must be a table, not {}", kind(element.get_ref()));
    notes.problem(&element.span(), message, Some(FS_EXAMPLE.to_owned()));
    None
}

fn read_rights(section: &mut Section<'_>, notes: &mut Notes<'_>) -> Rights {
    let place = section.place("rights");
    let before = notes.problems.len();
    let mut rights = Rights::empty();
    for word in section.array("rights", notes) {
        if let Some(text) = notes.text(&place, word) {
            rights |= one_of(&place, &text, RIGHTS, notes).unwrap_or(Rights::empty());
        }
    }
    let is_sound = notes.problems.len() == before;
    if rights.is_empty() && is_sound && !notes.learns {
        match section.take("rights") {
            None => section.missing("rights", "[\"read\", \"list\"]", notes),
            Some(value) => {
                let help = "name them, or learn which: `airssys run --learn`".to_owned();
                notes.problem(&value.span(), format!("`{place}` permits nothing"), Some(help));
            }
        }
    }
    rights
}

fn has_parent(path: &Path) -> bool {
    path.components().any(|component| component == Component::ParentDir)
}

fn guest_path(text: &str) -> Option<String> {
    let parts = text.strip_prefix('/')?;
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    (parts.is_empty() || parts.split('/').all(plain)).then(|| text.to_owned())
}

/// Every receiver must be a component or a process of the system; a pattern, such as `worker-*`, may mean none yet.
pub(super) fn check_receivers<'r>(
    receivers: impl Iterator<Item = &'r (Located<String>, String)>,
    names: &[&str],
    notes: &mut Notes<'_>,
) {
    for (receiver, rule) in receivers {
        if !receiver.value.ends_with('*') {
            check_receiver(receiver, rule, names, notes);
        }
    }
}

pub(super) fn check_receiver(receiver: &Located<String>, rule: &str, names: &[&str], notes: &mut Notes<'_>) {
    if !names.contains(&receiver.value.as_str()) {
        let message = format!("`{rule}`: no component is called `{}`", receiver.value);
        notes.problem(&receiver.span, message, nearest(&receiver.value, names.iter().copied()));
    }
}
