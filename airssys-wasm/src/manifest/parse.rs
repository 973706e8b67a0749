//! From TOML to a [`Manifest`]: one function a section.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use airssys_osl::policy::Rights;
use airssys_rt::{Restart, Shutdown, Strategy};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    AuditSpec, ComponentSpec, FsGrant, Grants, Limits, Located, Manifest, Overrides, Problem,
    section::{Notes, Section, kind, nearest, one_of},
    tree::{self, Declared},
    units,
};

const RESTARTS: &[(&str, Restart)] = &[
    ("permanent", Restart::Permanent),
    ("transient", Restart::Transient),
    ("temporary", Restart::Temporary),
];

const STRATEGIES: &[(&str, Strategy)] = &[
    ("one_for_one", Strategy::OneForOne),
    ("one_for_all", Strategy::OneForAll),
    ("rest_for_one", Strategy::RestForOne),
];

const RIGHTS: &[(&str, Rights)] = &[
    ("read", Rights::READ),
    ("list", Rights::LIST),
    ("write", Rights::WRITE),
    ("create", Rights::CREATE),
    ("delete", Rights::DELETE),
];

/// The rights to change what a directory holds.
const CHANGES: Rights = Rights::WRITE.union(Rights::CREATE).union(Rights::DELETE);

/// The grants that exist, for the error about those that do not.
const GRANTS: &str = "this version grants `fs`, `send` and `env`; what is not granted is denied";

pub(super) fn manifest(text: &str, dir: &Path, overrides: &Overrides) -> Result<Manifest, Vec<Problem>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let whole = 0..text.len();
        let problem = |error: toml::de::Error| Problem {
            span: error.span().unwrap_or_else(|| whole.clone()),
            message: error.message().to_owned(),
            help: None,
        };
        return Err(errors.into_iter().map(problem).collect());
    }
    let mut notes = Notes { problems: Vec::new(), vars: BTreeMap::new(), dir };
    let root = Section::new("", document.get_ref(), 0..0);
    let manifest = read(root, overrides, &mut notes);
    notes.problems.sort_by_key(|problem| problem.span.start);
    match manifest {
        Some(manifest) if notes.problems.is_empty() => Ok(manifest),
        _ => Err(notes.problems),
    }
}

fn read(mut root: Section<'_>, overrides: &Overrides, notes: &mut Notes<'_>) -> Option<Manifest> {
    if let Some(vars) = root.table("vars", notes) {
        read_vars(&vars, overrides, notes);
    }
    for name in
        overrides.values.keys().filter(|name| !notes.vars.contains_key(*name)).cloned().collect::<Vec<_>>()
    {
        let help = nearest(&name, notes.vars.keys().map(String::as_str));
        notes.problem(
            &(0..0),
            format!("`--set {name}=…`: the manifest has no variable `{name}` in `[vars]`"),
            help,
        );
    }
    let system = root.table("system", notes);
    let audit = root.table("audit", notes);
    let supervisors = root.table("supervisor", notes);
    let components = root.table("component", notes);
    if system.is_none() {
        root.missing("system", "{ name = \"my-system\" }", notes);
    }
    root.finish(notes);

    let mut declared = Declared::default();
    let mut state = notes.dir.join(".airssys");
    let system = system.map(|section| read_system(section, &mut state, notes));
    let audit = read_audit(audit, &state, notes);
    for (name, section) in named(supervisors.as_ref(), notes) {
        let supervisor = read_supervisor(name, section, notes);
        declared.supervisors.push(supervisor);
    }
    for (name, section) in named(components.as_ref(), notes) {
        declared.component_spans.push(name.span.clone());
        let component = read_component(name.value, section, notes);
        declared.components.push(component);
    }
    check_receivers(&declared, notes);
    check_own_folders(&declared, [&state, &audit.dir], notes);
    check_nested(&declared, notes);
    if declared.components.is_empty() {
        let help = "add `[component.NAME]` with a `source`".to_owned();
        notes.problem(&(0..0), "the system has no components", Some(help));
    }
    let tree = tree::build(system?, &declared, notes)?;
    let components =
        declared.components.into_iter().map(|component| component.spec).collect::<Option<Vec<_>>>()?;
    Some(Manifest { name: tree.name.clone(), root: tree, components, state, audit })
}

/// A component as far as it could be read: a tree can be checked even where a component has problems.
pub(super) struct ReadComponent {
    pub(super) name: String,
    pub(super) spec: Option<ComponentSpec>,
    /// Who it wants to send to, where it says so, and the place.
    receivers: Vec<(Located<String>, String)>,
}

/// A supervisor as its section says, its children still names.
pub(super) struct ReadSupervisor {
    pub(super) name: Located<String>,
    pub(super) strategy: Strategy,
    pub(super) intensity: u32,
    pub(super) period: Duration,
    pub(super) children: Vec<Located<String>>,
}

fn read_vars(vars: &Section<'_>, overrides: &Overrides, notes: &mut Notes<'_>) {
    for (name, value) in vars.entries() {
        let place = vars.place(name.value);
        let given = overrides.values.get(name.value);
        let is_path = matches!(value.get_ref(), DeValue::Table(_));
        let read = match value.get_ref() {
            DeValue::Table(table) => {
                let mut section = Section::new(place.clone(), table, value.span());
                let path = section.path("path", notes);
                if path.is_none() && section.take("path").is_none() {
                    section.missing("path", "\"…\"", notes);
                }
                section.finish(notes);
                path.map(|path| path.value.to_string_lossy().into_owned())
            }
            _ => notes.text(&place, value).map(|text| text.value),
        };
        // A path that the user types is relative to where the user is.
        if given.is_some_and(|given| is_path && given.is_empty()) {
            notes.problem(&name.span, format!("`--set {}=`: a path is needed", name.value), None);
        }
        let value = match given {
            Some(given) if is_path => Some(overrides.base.join(given).to_string_lossy().into_owned()),
            Some(given) => Some(given.clone()),
            None => read,
        };
        // A variable with a problem still exists: its uses are no problems of their own.
        notes.vars.insert(name.value.to_owned(), value.unwrap_or_default());
    }
}

fn read_audit(section: Option<Section<'_>>, state: &Path, notes: &mut Notes<'_>) -> AuditSpec {
    let default = state.join("audit");
    let Some(mut section) = section else { return AuditSpec { dir: default } };
    let dir = section.path("dir", notes).map_or(default, |dir| dir.value);
    section.finish(notes);
    AuditSpec { dir }
}

fn read_system(mut section: Section<'_>, state: &mut PathBuf, notes: &mut Notes<'_>) -> ReadSupervisor {
    let span = section.span.clone();
    let name = match section.parsed("name", NAME, notes, name) {
        Some(name) => name,
        None => {
            if section.take("name").is_none() {
                section.missing("name", "\"my-system\"", notes);
            }
            Located { value: "system".to_owned(), span }
        }
    };
    if let Some(path) = section.path("state", notes) {
        *state = path.value;
    }
    let system = read_strategy(name, Vec::new(), &mut section, notes);
    section.finish(notes);
    system
}

fn read_supervisor(name: Located<String>, mut section: Section<'_>, notes: &mut Notes<'_>) -> ReadSupervisor {
    let place = section.place("children");
    let elements = section.array("children", notes);
    let children: Vec<_> = elements.into_iter().filter_map(|child| notes.text(&place, child)).collect();
    if section.take("children").is_none() {
        section.missing("children", "[\"…\"]", notes);
    }
    let supervisor = read_strategy(name, children, &mut section, notes);
    section.finish(notes);
    supervisor
}

fn read_strategy(
    name: Located<String>,
    children: Vec<Located<String>>,
    section: &mut Section<'_>,
    notes: &mut Notes<'_>,
) -> ReadSupervisor {
    ReadSupervisor {
        name,
        children,
        strategy: section.word("strategy", STRATEGIES, notes).unwrap_or(Strategy::OneForOne),
        intensity: section.integer("intensity", 0..1_000_001, notes).unwrap_or(5),
        period: section
            .parsed("period", units::DURATION, notes, units::duration)
            .map_or(Duration::from_secs(5), |period| period.value),
    }
}

fn read_component(name: String, mut section: Section<'_>, notes: &mut Notes<'_>) -> ReadComponent {
    let source = section.path("source", notes);
    if section.take("source").is_none() {
        section.missing("source", "\"component.wasm\"", notes);
    }
    let digest =
        section.parsed("digest", "`sha256:` and 64 hexadecimal digits", notes, |text| text.parse().ok());
    let restart = section.word("restart", RESTARTS, notes).unwrap_or(Restart::Permanent);
    let expected = format!("\"brutal_kill\", \"infinity\" or {}", units::DURATION);
    let shutdown = section.parsed("shutdown", &expected, notes, shutdown);
    let mailbox = section.integer("mailbox", 1..1_000_001, notes).unwrap_or(1024);
    let max_deliver = section.integer("max_deliver", 1..1001, notes).unwrap_or(3);
    let limits =
        section.table("limits", notes).map_or_else(Limits::default, |limits| read_limits(limits, notes));
    let config = section.table("config", notes).map_or_else(Vec::new, |config| read_config(&config, notes));
    let (grants, receivers) = match section.table("grants", notes) {
        Some(grants) => read_grants(grants, notes),
        None => Default::default(),
    };
    section.finish(notes);
    let spec = source.map(|source| ComponentSpec {
        name: name.clone(),
        source,
        digest,
        restart,
        shutdown: shutdown.map_or(Shutdown::Timeout(Duration::from_secs(5)), |shutdown| shutdown.value),
        mailbox: mailbox as usize,
        max_deliver,
        limits,
        config,
        grants,
    });
    ReadComponent { name, spec, receivers }
}

fn read_limits(mut section: Section<'_>, notes: &mut Notes<'_>) -> Limits {
    let default = Limits::default();
    let memory = section.parsed("memory", units::SIZE, notes, units::size);
    let payload = section.parsed("payload", units::SIZE, notes, units::size);
    let deadline = section.parsed("deadline", units::DURATION, notes, units::duration);
    section.finish(notes);
    Limits {
        memory_bytes: memory.map_or(default.memory_bytes, |memory| memory.value),
        payload_bytes: payload.map_or(default.payload_bytes, |payload| payload.value),
        deadline: deadline.map_or(default.deadline, |deadline| Some(deadline.value)),
    }
}

/// `config`: strings, numbers and booleans, all handed to the guest as strings.
fn read_config(section: &Section<'_>, notes: &mut Notes<'_>) -> Vec<(String, String)> {
    let mut config = Vec::new();
    for (key, value) in section.entries() {
        let place = section.place(key.value);
        let value = match value.get_ref() {
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Float(number) => Some(number.to_string()),
            DeValue::Boolean(boolean) => Some(boolean.to_string()),
            DeValue::String(_) => notes.text(&place, value).map(|text| text.value),
            other => {
                let message =
                    format!("`{place}` must be a string, a number or a boolean, not {}", kind(other));
                notes.problem(&value.span(), message, None);
                None
            }
        };
        config.extend(value.map(|value| (key.value.to_owned(), value)));
    }
    config
}

type Receivers = Vec<(Located<String>, String)>;

fn read_grants(mut section: Section<'_>, notes: &mut Notes<'_>) -> (Grants, Receivers) {
    let mut grants = Grants::default();
    for (index, element) in section.array("fs", notes).into_iter().enumerate() {
        let rule = format!("{}[{index}]", section.place("fs"));
        grants.fs.extend(read_fs(rule, element, &grants.fs, notes));
    }
    let receivers = read_names(&mut section, "send", notes);
    grants.send = receivers.iter().map(|(name, rule)| (name.value.clone(), rule.clone())).collect();
    let variables = read_names(&mut section, "env", notes);
    grants.env = variables.into_iter().map(|(name, rule)| (name.value, rule)).collect();

    let before = notes.problems.len();
    section.finish(notes);
    for problem in notes.problems.iter_mut().skip(before) {
        let help = problem.help.take().filter(|help| help.starts_with("did you mean"));
        problem.help = Some(help.unwrap_or_else(|| GRANTS.to_owned()));
    }
    (grants, receivers)
}

fn read_names(section: &mut Section<'_>, key: &'static str, notes: &mut Notes<'_>) -> Receivers {
    let place = section.place(key);
    let elements = section.array(key, notes).into_iter().enumerate();
    let named = elements.filter_map(|(index, element)| {
        let rule = format!("{place}[{index}]");
        notes.text(&rule, element).map(|name| (name, rule))
    });
    named.collect()
}

fn read_fs(
    rule: String,
    element: &Spanned<DeValue<'_>>,
    before: &[FsGrant],
    notes: &mut Notes<'_>,
) -> Option<FsGrant> {
    let DeValue::Table(table) = element.get_ref() else {
        let message = format!("`{rule}` must be a table, not {}", kind(element.get_ref()));
        notes.problem(&element.span(), message, Some(FS_EXAMPLE.to_owned()));
        return None;
    };
    let mut section = Section::new(rule.clone(), table, element.span());
    let path = section.path("path", notes);
    let guest = section.parsed("guest", "an absolute path without `.` and `..`", notes, guest_path);
    let place = section.place("rights");
    let mut rights = Rights::empty();
    for word in section.array("rights", notes) {
        if let Some(text) = notes.text(&place, word) {
            rights |= one_of(&place, &text, RIGHTS, notes).unwrap_or(Rights::empty());
        }
    }
    for (key, example) in [("path", "\"inbox\""), ("guest", "\"/inbox\""), ("rights", "[\"read\", \"list\"]")]
    {
        if !table.contains_key(key) {
            section.missing(key, example, notes);
        }
    }
    section.finish(notes);
    let (path, guest) = (path?, guest?);
    if before.iter().any(|grant| grant.guest == guest.value) {
        notes.problem(&guest.span, format!("two directories are called \"{}\"", guest.value), None);
    }
    Some(FsGrant { path, guest: guest.value, rights, rule })
}

const FS_EXAMPLE: &str = "such as `{ path = \"inbox\", guest = \"/inbox\", rights = [\"read\", \"list\"] }`";

/// No grant may reach the folders of the system itself: who can write its log or read its key can forge it.
fn check_own_folders(declared: &Declared, own: [&PathBuf; 2], notes: &mut Notes<'_>) {
    for spec in declared.components.iter().filter_map(|component| component.spec.as_ref()) {
        for grant in &spec.grants.fs {
            let granted = plain(&grant.path.value);
            let own = own.into_iter().map(|own| plain(own));
            for own in own.filter(|own| granted.starts_with(own) || own.starts_with(&granted)).take(1) {
                let message = format!("`{}` reaches the system's own folder `{}`", grant.rule, own.display());
                let help = "grant a folder beside it, or move it: `state` in `[system]`, `dir` in `[audit]`";
                notes.problem(&grant.path.span, message, Some(help.to_owned()));
            }
        }
    }
}

/// No directory may lie beneath one that somebody may change: a link planted in its place would lead the grant
/// elsewhere at the next start.
fn check_nested(declared: &Declared, notes: &mut Notes<'_>) {
    let specs = declared.components.iter().filter_map(|component| component.spec.as_ref());
    let grants: Vec<&FsGrant> = specs.flat_map(|spec| &spec.grants.fs).collect();
    for inner in &grants {
        let path = plain(&inner.path.value);
        let outer = grants.iter().find(|outer| {
            let above = plain(&outer.path.value);
            outer.rights.intersects(CHANGES) && path != above && path.starts_with(&above)
        });
        if let Some(outer) = outer {
            let message = format!("`{}` lies beneath `{}`, which may be changed", inner.rule, outer.rule);
            let help =
                "grant folders beside each other: what lies beneath could be swapped for a link to elsewhere";
            notes.problem(&inner.path.span, message, Some(help.to_owned()));
        }
    }
}

/// A path without `.` and `..`, as far as its spelling tells.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// Every receiver must be a component of the system.
fn check_receivers(declared: &Declared, notes: &mut Notes<'_>) {
    let names: Vec<&str> = declared.components.iter().map(|component| component.name.as_str()).collect();
    for (receiver, rule) in declared.components.iter().flat_map(|component| &component.receivers) {
        if !names.contains(&receiver.value.as_str()) {
            let message = format!("`{rule}`: no component is called `{}`", receiver.value);
            notes.problem(&receiver.span, message, nearest(&receiver.value, names.iter().copied()));
        }
    }
}

/// The tables within `[supervisor]` or `[component]`, each with its name.
fn named<'a>(section: Option<&Section<'a>>, notes: &mut Notes<'_>) -> Vec<(Located<String>, Section<'a>)> {
    let mut sections = Vec::new();
    for (key, value) in section.map(Section::entries).unwrap_or_default() {
        let place = section.map(|section| section.place(key.value)).unwrap_or_default();
        if name(key.value).is_none() {
            notes.problem(
                &key.span,
                format!("`{}` is no name", key.value),
                Some(format!("a name is {NAME}")),
            );
        }
        match value.get_ref() {
            DeValue::Table(table) => {
                let name = Located { value: key.value.to_owned(), span: key.span.clone() };
                sections.push((name, Section::new(place, table, key.span)));
            }
            other => {
                notes.problem(&value.span(), format!("`{place}` must be a table, not {}", kind(other)), None);
            }
        }
    }
    sections
}

const NAME: &str = "1 to 48 of a-z, 0-9, `-` and `_`, a letter first";

fn name(text: &str) -> Option<String> {
    let first = text.bytes().next()?;
    let fits = text.len() <= 48 && first.is_ascii_lowercase();
    let rest = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    (fits && rest).then(|| text.to_owned())
}

fn guest_path(text: &str) -> Option<String> {
    let parts = text.strip_prefix('/')?;
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    (parts.is_empty() || parts.split('/').all(plain)).then(|| text.to_owned())
}

fn shutdown(text: &str) -> Option<Shutdown> {
    match text {
        "brutal_kill" => Some(Shutdown::BrutalKill),
        "infinity" => Some(Shutdown::Infinity),
        _ => units::duration(text).map(Shutdown::Timeout),
    }
}
