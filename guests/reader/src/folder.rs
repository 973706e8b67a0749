//! The files of the folder, told apart by what they are and not by their names, so that a rotated log is not read
//! twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use airssys_guest::{Error, ErrorKind, fs, log};

use crate::source::{Past, Source};

/// How many files are read side by side. The others wait.
const OPEN_LIMIT: usize = 64;

/// How many files that have left are remembered.
const PAST_LIMIT: usize = 256;

/// The files of the folder.
pub(crate) struct Folder {
    dir: fs::Dir,
    /// In order of their names; those that have left the folder come last.
    sources: Vec<Source>,
    /// Files that have left, the latest last.
    past: VecDeque<Past>,
    /// Where the next turn begins, so that no file starves the others.
    next: usize,
    /// What has been complained about.
    warned: BTreeSet<String>,
}

impl Folder {
    pub(crate) fn new(dir: fs::Dir) -> Self {
        Self { dir, sources: Vec::new(), past: VecDeque::new(), next: 0, warned: BTreeSet::new() }
    }

    /// Looks what is in the folder. What cannot be looked at is logged once and left out.
    pub(crate) fn refresh(&mut self) {
        let mut names: Vec<String> = match self.dir.list() {
            Ok(entries) => entries.into_iter().filter(is_log).map(|entry| entry.name).collect(),
            Err(error) => return self.warn("", &error),
        };
        names.sort_unstable();
        let sources = std::mem::take(&mut self.sources).into_iter();
        let mut known: BTreeMap<fs::Identity, Source> =
            sources.map(|source| (source.identity(), source)).collect();
        let mut seen = BTreeSet::new();
        for name in names {
            match self.dir.identity(&name).and_then(|identity| Ok((identity, self.dir.metadata(&name)?.size)))
            {
                // A second name of a file that has been seen: a hard link.
                Ok((identity, _)) if !seen.insert(identity) => {}
                Ok((identity, size)) => {
                    let source = known.remove(&identity);
                    let mut source = source.unwrap_or_else(|| Source::new(identity, name.clone()));
                    source.look(name, size);
                    self.sources.push(source);
                }
                // It was renamed or removed since the folder was listed: the next look will tell.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => self.warn(&name, &error),
            }
        }
        for mut source in known.into_values() {
            source.leave();
            self.sources.push(source);
        }
    }

    /// Reads a piece of the next file that has more, into `piece`, and returns the file. None where none has.
    pub(crate) fn read_next(&mut self, chunk_bytes: u64, piece: &mut Vec<u8>) -> Option<&mut Source> {
        let open = self.sources.iter().filter(|source| source.is_open()).count();
        let is_due = |source: &Source| source.has_more() && (open < OPEN_LIMIT || source.is_open());
        let later = self.sources.iter().skip(self.next).position(is_due).map(|step| self.next + step);
        let index = later.or_else(|| self.sources.iter().position(is_due))?;
        self.next = index + 1;
        let source = self.sources.get_mut(index)?;
        source.read(&self.dir, chunk_bytes, piece);
        if source.may_be_copy() {
            self.settle(index, piece);
        }
        self.sources.get_mut(index)
    }

    /// Finds out whether a compressed file is what became of one that was read before, as a rotation leaves it.
    fn settle(&mut self, index: usize, piece: &mut Vec<u8>) {
        let is_copy = self
            .sources
            .get(index)
            .is_some_and(|copy| self.sources.iter().any(|original| copy.begins_like(original)));
        let Some(source) = self.sources.get_mut(index) else { return };
        if is_copy {
            source.wait();
            piece.clear();
        } else {
            source.settle(self.past.iter().rev());
        }
    }

    /// Lets go of the files that have left the folder and were read to their ends. Emits their last lines.
    pub(crate) fn let_go(&mut self, mut emit: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let gone: Vec<Source> = self.sources.extract_if(.., |source| source.is_over()).collect();
        if !gone.is_empty() {
            self.sources.iter_mut().for_each(Source::wake);
        }
        for mut source in gone {
            source.finish(&mut emit)?;
            self.past.extend(source.into_past());
        }
        let surplus = self.past.len().saturating_sub(PAST_LIMIT);
        self.past.drain(..surplus);
        Ok(())
    }

    /// All files.
    pub(crate) fn sources(&mut self) -> impl Iterator<Item = &mut Source> {
        self.sources.iter_mut()
    }

    fn warn(&mut self, name: &str, error: &Error) {
        if self.warned.insert(name.to_owned()) {
            log::warn!("{}", error.chain());
        }
    }
}

/// Whether it is a log, and not what an editor or a copy in progress leaves beside one.
fn is_log(entry: &fs::Entry) -> bool {
    let has_suffix = |suffix: &str| entry.name.ends_with(suffix);
    entry.kind == fs::Kind::File
        && !entry.name.starts_with('.')
        && ![".tmp", ".swp", "~"].into_iter().any(has_suffix)
}
