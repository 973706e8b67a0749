//! From what a program asked for to what a grant of it has to name. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    path::{Path, PathBuf},
};

use super::{Access, Asked, Was, Wish};
use crate::{
    limits::PROGRAM_PLACES,
    process::exec::{is_resolver, is_system},
};

/// How many files of one directory are named one by one at most; of more, the directory is. Where places are short it is
/// less.
const OF_ONE_DIRECTORY: usize = 16;

/// A file or directory that a program wants to find.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Want {
    /// Under which name.
    pub path: PathBuf,
    /// Whether it wants to change what is there.
    pub write: bool,
    /// Whether all that is beneath is wanted with it: a directory's names are.
    whole: bool,
}

impl Want {
    /// Whether a program finds it that sees and changes these.
    pub fn is_met(&self, see: &[PathBuf], change: &[PathBuf]) -> bool {
        let within = |places: &[PathBuf]| places.iter().any(|place| self.path.starts_with(place));
        let above = |places: &[PathBuf]| places.iter().any(|place| place.starts_with(&self.path));
        within(change)
            || (!self.write && within(see))
            || (!self.write && !self.whole && (above(see) || above(change)))
    }
}

/// What a grant has to name so that a program finds what it asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// What it sees ([`ExecTerms::see`](crate::policy::ExecTerms::see)).
    pub see: Vec<PathBuf>,
    /// What it changes ([`ExecTerms::change`](crate::policy::ExecTerms::change)).
    pub change: Vec<PathBuf>,
    /// Where it has to be started, because it goes on from there
    /// ([`ExecTerms::directory`](crate::policy::ExecTerms::directory)).
    pub directory: Option<PathBuf>,
    /// Whether it executes what lies in what it changes ([`Profile::Build`](crate::process::Profile::Build)).
    pub builds: bool,
    /// What it used and no grant can name: what lies in the root directory.
    pub missing: Vec<PathBuf>,
}

impl Asked {
    /// What it asked for and a grant can give it: what was there, is not the system's own, and its user may use; and where it
    /// made something, the directories. `networked` says whether it finds what looks hosts up anyway.
    pub fn wants(&self, networked: bool) -> Vec<Want> {
        let mut wants = BTreeMap::<&Path, Want>::new();
        for (path, wish) in &self.files {
            for (path, write, whole) in self.wanted(path, wish) {
                if is_own(path, networked) {
                    continue;
                }
                let want = Want { path: path.to_owned(), write: false, whole: false };
                let want = wants.entry(path).or_insert(want);
                want.write |= write;
                want.whole |= whole;
            }
        }
        wants.into_values().collect()
    }

    /// What a name means for a grant: which path, whether to be changed, and whether with all beneath.
    fn wanted<'a>(&'a self, path: &'a Path, wish: &'a Wish) -> Vec<(&'a Path, bool, bool)> {
        let mut wanted = Vec::new();
        if wish.was == Was::Missing {
            if wish.access.contains(Access::MAKE) {
                wanted.push((self.home(wish), true, true));
            }
            return wanted;
        }
        let parent = path.parent().unwrap_or(path);
        if wish.access.contains(Access::REMOVE) {
            wanted.push((parent, true, true));
        }
        let whole = wish.was == Was::Directory && wish.access.intersects(Access::READ | Access::WRITE);
        match wish.was {
            // Who sees its directory finds it there.
            Was::Other => wanted.push((parent, false, true)),
            _ => wanted.push((path, wish.access.contains(Access::WRITE), whole)),
        }
        wanted
    }

    /// The nearest directory above that the program had not made itself.
    fn home<'a>(&'a self, wish: &'a Wish) -> &'a Path {
        let mut home = &*wish.beneath;
        while let Some(made) = self.files.get(home).filter(|made| made.was == Was::Missing) {
            home = &made.beneath;
        }
        home
    }

    /// What a grant has to name so that the program finds all of that again, and as little else as can be. Many files of one
    /// directory are named by it. `networked` is as for [`wants`](Self::wants).
    pub fn needs(&self, networked: bool) -> Needs {
        let start = &*self.start;
        let mut wants = self.wants(networked);
        let missing = wants.extract_if(.., |want| want.path.parent().is_none() && want.write);
        let missing = missing.map(|want| want.path).collect();
        wants.retain(|want| want.path.parent().is_some());
        // Whatever directory a program begins in, it looks at that, and it is there.
        let is_above = |path: &Path| start.starts_with(path);
        wants.retain(|want| want.whole || want.write || !is_above(&want.path));
        let relative = self.files.iter().any(|(path, wish)| {
            let is_there = wish.was != Was::Missing && (!is_above(path) || wish.access != Access::SEE);
            wish.relative && (is_there || wish.access.contains(Access::MAKE))
        });
        let mut places = fold(wants.clone());
        // A link that it sees leads where it must see, too.
        for _ in 0..4 {
            let leads = self.files.iter().filter_map(|(path, wish)| Some((path, wish, wish.real.as_ref()?)));
            let hidden: Vec<Want> = leads
                .filter(|(path, wish, _)| wish.was != Was::Other && shows(&places, path, networked))
                .filter(|(_, _, real)| !covers(&places, real, networked) && !is_own(real, networked))
                .map(|(_, wish, real)| Want {
                    path: real.clone(),
                    write: wish.access.contains(Access::WRITE),
                    whole: wish.was == Was::Directory,
                })
                .collect();
            if hidden.is_empty() {
                break;
            }
            wants.extend(hidden);
            places = fold(wants.clone());
        }
        let is_there = |places: &[Want]| {
            places.iter().any(|place| start.starts_with(&place.path) || place.path.starts_with(start))
        };
        let is_root = start.parent().is_none();
        let is_asked = relative && start != Path::new("/tmp") && !(is_root && places.is_empty());
        let directory = is_asked.then(|| start.to_owned());
        if is_asked && !is_there(&places) && !is_own(start, networked) {
            places.push(Want { path: start.to_owned(), write: false, whole: true });
        }
        let changes = |path: &Path| places.iter().any(|place| place.write && path.starts_with(&place.path));
        let builds = self.files.iter().any(|(path, wish)| {
            let own =
                if wish.was == Was::Missing { wish.access.contains(Access::MAKE) } else { changes(path) };
            own && wish.access.contains(Access::EXECUTE)
        });
        let of =
            |write| places.iter().filter(move |place| place.write == write).map(|place| place.path.clone());
        Needs { see: of(false).collect(), change: of(true).collect(), directory, builds, missing }
    }
}

/// Whether each program has it, or none can have it.
fn is_own(path: &Path, networked: bool) -> bool {
    let made = ["/proc", "/sys", "/dev"].iter().any(|made| path.starts_with(made));
    made || is_system(path) || path == Path::new("/tmp") || (networked && is_resolver(path))
}

/// Whether a link is seen as one: what is given by its own name is what it leads to.
fn shows(places: &[Want], path: &Path, networked: bool) -> bool {
    covers(places, path, networked) && !places.iter().any(|place| place.path == path)
}

fn covers(places: &[Want], path: &Path, networked: bool) -> bool {
    let system = is_system(path) || (networked && is_resolver(path));
    system || places.iter().any(|place| path.starts_with(&place.path))
}

/// The places of these wants: none within another that gives as much, and no more than a grant may have.
fn fold(mut wants: Vec<Want>) -> Vec<Want> {
    // A directory of which only that it is there is wanted is there where something beneath it is.
    let all: BTreeSet<PathBuf> = wants.iter().map(|want| want.path.clone()).collect();
    // What is beneath a path comes right behind it.
    let behind =
        |path: &Path| all.range::<Path, _>((Bound::Excluded(path), Bound::<&Path>::Unbounded)).next();
    let holds = |path: &Path| behind(path).is_some_and(|other| other.starts_with(path));
    wants.retain(|want| want.whole || want.write || !holds(&want.path));
    let mut places = absorb(wants);
    let mut most = OF_ONE_DIRECTORY;
    // Each round with one of them at most reaches a level higher; no path has more.
    for _ in 0..64 {
        let crowded = crowded(&places, most);
        if !crowded.is_empty() {
            places.extend(crowded);
            places = absorb(places);
        } else if places.len() <= PROGRAM_PLACES {
            break;
        } else if most > 1 {
            most /= 2;
        }
        if most == 1 && places.len() > PROGRAM_PLACES {
            places = absorb(places.into_iter().map(upward).collect());
        }
    }
    places
}

/// The directories with more than `most` places in them that are seen, or that are changed.
fn crowded(places: &[Want], most: usize) -> Vec<Want> {
    let mut directories = BTreeMap::<(&Path, bool), usize>::new();
    for place in places {
        if let Some(parent) = around(&place.path) {
            *directories.entry((parent, place.write)).or_default() += 1;
        }
    }
    let crowded = directories.into_iter().filter(|(_, count)| *count > most);
    crowded.map(|((path, write), _)| Want { path: path.to_owned(), write, whole: true }).collect()
}

/// The directory around a place, where that can be given: the root cannot, and who is given the machine's `/tmp` has none
/// of its own.
fn around(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| parent.parent().is_some() && *parent != Path::new("/tmp"))
}

fn upward(place: Want) -> Want {
    let above = around(&place.path).map(Path::to_owned);
    Want { path: above.unwrap_or(place.path), whole: true, ..place }
}

/// Without those that lie in another one that gives as much.
fn absorb(places: Vec<Want>) -> Vec<Want> {
    let mut all = BTreeMap::<PathBuf, Want>::new();
    for place in places {
        let known = all.entry(place.path.clone()).or_insert_with(|| place.clone());
        known.write |= place.write;
        known.whole |= place.whole;
    }
    let covers =
        |path: &Path, write: bool| all.get(path).is_some_and(|outer| outer.write || (outer.whole && !write));
    let covered = |place: &Want| place.path.ancestors().skip(1).any(|above| covers(above, place.write));
    all.values().filter(|place| !covered(place)).cloned().collect()
}

#[cfg(test)]
mod tests;
