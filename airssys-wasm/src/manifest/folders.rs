//! Which directories components find, and which none of them may.

use std::{
    ops::Range,
    path::{Component, Path, PathBuf},
};

use airssys_osl::policy::Rights;

use super::{FsGrant, Located, parse::ReadRole, rules::ReadRules, section::Notes};

/// The rights to change what a directory holds.
const CHANGES: Rights = Rights::WRITE.union(Rights::CREATE).union(Rights::DELETE);

/// A place on the machine that somebody is given.
#[derive(Clone)]
pub(super) struct Place {
    path: PathBuf,
    rule: String,
    span: Range<usize>,
    /// Whether what it holds may be changed.
    changes: bool,
}

impl Place {
    pub(super) fn new(path: &Located<PathBuf>, rule: String, changes: bool) -> Self {
        Self { path: plain(&path.value), rule, span: path.span.clone(), changes }
    }

    pub(super) fn granted(grant: &FsGrant) -> Self {
        Self::new(&grant.path, grant.rule.clone(), grant.rights.intersects(CHANGES))
    }
}

/// The directories of a component: its own, then those of its roles, and of theirs. A name means one directory.
pub(super) fn of_component(own: &ReadRules, roles: &[ReadRole], notes: &mut Notes<'_>) -> Vec<FsGrant> {
    let mut directories: Vec<FsGrant> = own.rules.fs.clone();
    let mut wanted: Vec<&str> = own.roles.iter().map(|role| role.value.as_str()).collect();
    let mut next = 0;
    while let Some(name) = wanted.get(next).copied() {
        next += 1;
        let Some(role) = roles.iter().find(|role| role.name.value == name) else { continue };
        for grant in &role.read.rules.fs {
            match directories.iter().find(|known| known.guest == grant.guest) {
                None => directories.push(grant.clone()),
                Some(known) if known.path.value == grant.path.value => {}
                Some(known) => {
                    let rules = format!("`{}` and `{}`", known.rule, grant.rule);
                    let (message, help) = match &grant.guest {
                        Some(guest) => (
                            format!("two directories are called \"{guest}\": {rules}"),
                            "give one of them another `guest`",
                        ),
                        None => (
                            format!("containers are in two directories: {rules}"),
                            "a component has its containers in one; its roles have the same, or none",
                        ),
                    };
                    notes.problem(&known.path.span, message, Some(help.to_owned()));
                }
            }
        }
        let more = role.read.roles.iter().map(|role| role.value.as_str());
        // Roles that have each other are told of elsewhere; here each counts once.
        wanted.extend(more.filter(|name| !wanted.contains(name)).collect::<Vec<_>>());
    }
    check_apart(&directories, notes);
    directories
}

/// Containers and files are in directories of their own: the rights to one place add up, so that what a guest may do with
/// its objects it could do with the files, too.
fn check_apart(directories: &[FsGrant], notes: &mut Notes<'_>) {
    let (named, containers): (Vec<_>, Vec<_>) = directories.iter().partition(|grant| grant.guest.is_some());
    for containers in containers {
        let place = plain(&containers.path.value);
        for named in named.iter().filter(|named| plain(&named.path.value) == place) {
            let message = format!("`{}` and `{}` grant the same directory", containers.rule, named.rule);
            let help = "give the containers a directory of their own: the rights of both would add up";
            notes.problem(&containers.path.span, message, Some(help.to_owned()));
        }
    }
}

/// No grant may reach the folders of the system itself: who can write its log or read its key can forge it.
pub(super) fn check_own(places: &[Place], own: [&PathBuf; 2], notes: &mut Notes<'_>) {
    for place in places {
        let granted = &place.path;
        let own = own.into_iter().map(|own| plain(own));
        for own in own.filter(|own| granted.starts_with(own) || own.starts_with(granted)).take(1) {
            let message = format!("`{}` reaches the system's own folder `{}`", place.rule, own.display());
            let help = "grant a folder beside it, or move it: `state` in `[system]`, `dir` in `[audit]`";
            notes.problem(&place.span, message, Some(help.to_owned()));
        }
    }
}

/// No directory may lie beneath one that somebody may change: a link planted in its place would lead the grant
/// elsewhere at the next start.
pub(super) fn check_nested(places: &[Place], notes: &mut Notes<'_>) {
    for inner in places {
        let beneath = |outer: &&Place| inner.path != outer.path && inner.path.starts_with(&outer.path);
        let outer = places.iter().filter(|outer| outer.changes).find(beneath);
        if let Some(outer) = outer {
            let message = format!("`{}` lies beneath `{}`, which may be changed", inner.rule, outer.rule);
            let help =
                "grant folders beside each other: what lies beneath could be swapped for a link to elsewhere";
            notes.problem(&inner.span, message, Some(help.to_owned()));
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
