//! From TOML to a [`Manifest`]: one function a section.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use airssys_osl::policy::{Mode, Policy};
use airssys_rt::Strategy;
use toml::de::{DeTable, DeValue};

use super::{
    BucketSpec, CompileLimits, ComponentSpec, Located, Manifest, Overrides, Problem, RoleSpec, audit,
    component,
    folders::{self, Place},
    http, keyvalue, process,
    rules::{self, ReadRules},
    section::{Notes, Section, kind, nearest},
    tree::{self, Declared},
    units,
};
use crate::cache::Cache;

const STRATEGIES: &[(&str, Strategy)] = &[
    ("one_for_one", Strategy::OneForOne),
    ("one_for_all", Strategy::OneForAll),
    ("rest_for_one", Strategy::RestForOne),
];

const MODES: &[(&str, Mode)] =
    &[("enforce", Mode::Enforce), ("audit-only", Mode::AuditOnly), ("learn", Mode::Learn)];

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
    let mut notes = Notes::new(dir);
    let root = Section::new("", document.get_ref(), 0..0);
    let manifest = read(root, overrides, &mut notes);
    notes.problems.sort_by_key(|problem| problem.span.start);
    match manifest {
        Some(manifest) if notes.problems.is_empty() => {
            check_policy(&manifest, &mut notes);
            if notes.problems.is_empty() { Ok(manifest) } else { Err(notes.problems) }
        }
        _ => Err(notes.problems),
    }
}

/// Every key that is asked for while a text is read.
#[cfg(test)]
pub(super) fn keys(text: &str) -> std::collections::BTreeSet<String> {
    let (document, _) = DeTable::parse_recoverable(text);
    let mut notes = Notes::new(Path::new("/"));
    read(Section::new("", document.get_ref(), 0..0), &Overrides::default(), &mut notes);
    notes.keys
}

fn read(mut root: Section<'_>, overrides: &Overrides, notes: &mut Notes<'_>) -> Option<Manifest> {
    if let Some(vars) = root.table("vars", notes) {
        read_vars(&vars, overrides, notes);
    }
    check_overrides(overrides, notes);
    let system = root.table("system", notes);
    let (mode, forbid) =
        root.table("policy", notes).map_or_else(Default::default, |policy| read_policy(policy, notes));
    let mode = overrides.mode.unwrap_or(mode);
    notes.learns = mode == Mode::Learn;
    let audit = root.table("audit", notes);
    let roles = root.table("role", notes);
    let supervisors = root.table("supervisor", notes);
    let components = root.table("component", notes);
    let processes = root.table("process", notes);
    let buckets = root.table("keyvalue", notes);
    if system.is_none() {
        root.missing("system", "{ name = \"my-system\" }", notes);
    }
    root.finish(notes);

    let mut declared = Declared::default();
    let mut own = Own::new(notes.dir);
    let system = system.map(|section| read_system(section, &mut own, notes));
    let Own { state, compile, cache_bytes, memory_bytes } = own;
    let audit = audit::read(audit, &state, notes);
    for (name, mut section) in named(roles.as_ref(), notes) {
        let read = ReadRules::read(&mut section, false, notes);
        section.finish(notes);
        declared.roles.push(ReadRole { name, read });
    }
    for (name, section) in named(supervisors.as_ref(), notes) {
        let supervisor = read_supervisor(name, section, notes);
        declared.supervisors.push(supervisor);
    }
    for (name, section) in named(components.as_ref(), notes) {
        declared.component_spans.push(name.span.clone());
        let component = component::read(name.value, section, notes);
        declared.components.push(component);
    }
    for (name, section) in named(processes.as_ref(), notes) {
        let process = process::read(name, section, notes);
        declared.processes.push(process);
    }
    let buckets = read_buckets(buckets.as_ref(), &declared, notes);
    check(&declared, [&state, &audit.dir], notes);
    let tree = tree::build(system?, &declared, notes)?;
    let Declared { components, processes, roles, .. } = declared;
    let components = components.into_iter().map(|component| settle(component, &roles, notes));
    let components = components.collect::<Option<Vec<_>>>()?;
    let processes = processes.into_iter().map(|process| process.spec).collect::<Option<Vec<_>>>()?;
    let roles = roles.into_iter().map(|role| RoleSpec { name: role.name.value, rules: role.read.rules });
    Some(Manifest {
        name: tree.name.clone(),
        root: tree,
        components,
        processes,
        buckets,
        roles: roles.collect(),
        forbid,
        mode,
        state,
        compile,
        cache_bytes,
        memory_bytes,
        audit,
        places: std::mem::take(&mut notes.rules),
    })
}

/// A role, its roles still names.
pub(super) struct ReadRole {
    pub(super) name: Located<String>,
    pub(super) read: ReadRules,
}

/// A supervisor as its section says, its children still names.
pub(super) struct ReadSupervisor {
    pub(super) name: Located<String>,
    pub(super) strategy: Strategy,
    pub(super) intensity: u32,
    pub(super) period: Duration,
    pub(super) children: Vec<Located<String>>,
}

/// Puts a component together with its rules and the directories that these give it.
fn settle(
    component: component::ReadComponent,
    roles: &[ReadRole],
    notes: &mut Notes<'_>,
) -> Option<ComponentSpec> {
    let directories = folders::of_component(&component.read, roles, notes);
    let trust = http::trust_of(&component.read, roles);
    let rules = component.read.rules;
    component.spec.map(|spec| ComponentSpec { rules, directories, trust, ..spec })
}

/// Checks what one section says of another.
fn check(declared: &Declared, own: [&PathBuf; 2], notes: &mut Notes<'_>) {
    let Declared { components, processes, roles, .. } = declared;
    let mut names: Vec<&str> = components.iter().map(|component| component.name.as_str()).collect();
    process::check_receivers(processes, &names, notes);
    http::check_routes(declared, notes);
    names.extend(processes.iter().map(|process| process.name.value.as_str()));
    let all =
        || components.iter().map(|component| &component.read).chain(roles.iter().map(|role| &role.read));
    rules::check_receivers(all().flat_map(|read| &read.receivers), &names, notes);
    check_roles(roles, all().flat_map(|read| &read.roles), notes);
    let mut places: Vec<_> = all().flat_map(|read| &read.rules.fs).map(Place::granted).collect();
    places.extend(processes.iter().flat_map(|process| process.places.iter().cloned()));
    folders::check_own(&places, own, notes);
    folders::check_nested(&places, notes);
    if components.is_empty() && processes.is_empty() {
        let help = "add `[component.NAME]` with a `source`".to_owned();
        notes.problem(&(0..0), "the system has no components", Some(help));
    }
}

/// Reads all buckets, and checks that each that is granted is one of them.
fn read_buckets(
    section: Option<&Section<'_>>,
    declared: &Declared,
    notes: &mut Notes<'_>,
) -> Vec<BucketSpec> {
    let buckets = named(section, notes).into_iter();
    let buckets: Vec<_> = buckets.map(|(name, section)| keyvalue::read(name, section, notes)).collect();
    let components = declared.components.iter().map(|component| &component.read);
    let all = components.chain(declared.roles.iter().map(|role| &role.read));
    keyvalue::check(&buckets, all.flat_map(|read| &read.buckets), notes);
    buckets.into_iter().map(|bucket| bucket.value).collect()
}

/// The most roles of a system.
const ROLES: usize = 1000;

/// Every role that is had must exist, and none has itself.
fn check_roles<'r>(
    roles: &[ReadRole],
    had: impl Iterator<Item = &'r Located<String>>,
    notes: &mut Notes<'_>,
) {
    if let Some(role) = roles.get(ROLES) {
        notes.problem(&role.name.span, format!("the system has more than {ROLES} roles"), None);
        return;
    }
    let index: HashMap<&str, usize> =
        roles.iter().enumerate().map(|(index, role)| (role.name.value.as_str(), index)).collect();
    for role in had.filter(|role| !index.contains_key(role.value.as_str())) {
        let help = nearest(&role.value, index.keys().copied())
            .unwrap_or_else(|| format!("add `[role.{}]`", role.value));
        notes.problem(&role.span, format!("no role is called `{}`", role.value), Some(help));
    }
    for (start, role) in roles.iter().enumerate() {
        let Some(last) = leads_back(roles, &index, start) else { continue };
        let message = match last.name.value == role.name.value {
            true => format!("the role `{}` has itself", role.name.value),
            false => format!("the roles `{}` and `{}` have each other", role.name.value, last.name.value),
        };
        let help = "take one of them out of the other's `roles`".to_owned();
        notes.problem(&role.name.span, message, Some(help));
    }
}

/// The role by which `start` has itself, where it is the first of its cycle in the file: only that one tells.
fn leads_back<'r>(roles: &'r [ReadRole], index: &HashMap<&str, usize>, start: usize) -> Option<&'r ReadRole> {
    let mut seen = vec![false; roles.len()];
    let mut reached = vec![start];
    let mut next = 0;
    while let Some(role) = reached.get(next).and_then(|number| roles.get(*number)) {
        next += 1;
        for below in role.read.roles.iter().filter_map(|role| index.get(role.value.as_str()).copied()) {
            if below == start {
                return Some(role);
            }
            if let Some(seen) = seen.get_mut(below).filter(|seen| !**seen && below > start) {
                *seen = true;
                reached.push(below);
            }
        }
    }
    None
}

/// Has the policy look at all rules together: what repeats, contradicts, or is too much.
fn check_policy(manifest: &Manifest, notes: &mut Notes<'_>) {
    let Err(error) = crate::grant::add_principals(manifest, Policy::builder()).build() else { return };
    let told = error.to_string();
    let place = manifest.places.iter().find(|(rule, _)| told.contains(&format!("`{rule}`")));
    let span = place.map_or(0..0, |(_, span)| span.clone());
    let message = told.strip_prefix("cannot ").unwrap_or(&told);
    notes.problem(&span, format!("cannot {message}"), None);
}

fn check_overrides(overrides: &Overrides, notes: &mut Notes<'_>) {
    let unknown = |name: &&String| !notes.vars.contains_key(*name);
    for name in overrides.values.keys().filter(unknown).cloned().collect::<Vec<_>>() {
        let help = nearest(&name, notes.vars.keys().map(String::as_str));
        let message = format!("`--set {name}=…`: the manifest has no variable `{name}` in `[vars]`");
        notes.problem(&(0..0), message, help);
    }
}

fn read_policy(mut section: Section<'_>, notes: &mut Notes<'_>) -> (Mode, Vec<airssys_osl::policy::Grant>) {
    let mode = section.word("mode", MODES, notes).unwrap_or_default();
    let forbid = rules::read_forbid(&mut section, notes);
    section.finish(notes);
    (mode, forbid)
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

/// What `[system]` says beyond its supervisor.
struct Own {
    state: PathBuf,
    compile: CompileLimits,
    cache_bytes: u64,
    memory_bytes: Option<usize>,
}

impl Own {
    fn new(dir: &Path) -> Self {
        let (state, compile) = (dir.join(".airssys"), CompileLimits::default());
        Self { state, compile, cache_bytes: Cache::DEFAULT_BYTES, memory_bytes: None }
    }
}

fn read_system(mut section: Section<'_>, own: &mut Own, notes: &mut Notes<'_>) -> ReadSupervisor {
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
        own.state = path.value;
    }
    if let Some(bytes) = section.parsed("cache", units::SIZE, notes, units::size) {
        own.cache_bytes = bytes.value as u64;
    }
    own.memory_bytes = section.parsed("memory", units::SIZE, notes, units::size).map(|bytes| bytes.value);
    if let Some(mut compile) = section.table("compile", notes) {
        if let Some(time) = compile.time("time", notes) {
            own.compile.time = time;
        }
        if let Some(bytes) = compile.parsed("memory", units::SIZE, notes, units::size) {
            own.compile.memory_bytes = bytes.value as u64;
        }
        compile.finish(notes);
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

/// The tables within a table whose keys the user chooses, such as `[component]`, each with its name.
pub(super) fn named<'a>(
    section: Option<&Section<'a>>,
    notes: &mut Notes<'_>,
) -> Vec<(Located<String>, Section<'a>)> {
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
