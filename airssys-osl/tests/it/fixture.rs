//! A granted directory, something outside of it, and a door that keeps its records in memory.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
};

use airssys_osl::{
    Error, ErrorKind, Os, Principal, Resolution, Verdict,
    fs::Dir,
    policy::{Grant, Policy, Rights},
    testing::{MemorySink, Recorded},
};

thread_local! {
    /// How the fixtures of this thread resolve paths.
    static RESOLUTION: Cell<Resolution> = const { Cell::new(Resolution::Kernel) };
}

/// Runs tests once more, with paths resolved name by name, as where the kernel has no `openat2`.
pub(crate) fn step_by_step(tests: &[fn()]) {
    RESOLUTION.set(Resolution::Steps);
    tests.iter().for_each(|test| test());
    RESOLUTION.set(Resolution::Kernel);
}

pub(crate) struct Fixture {
    /// Holds both directories; removed at the end.
    tmp: tempfile::TempDir,
    pub(crate) sink: MemorySink,
    pub(crate) os: Os,
}

impl Fixture {
    /// `inside/a/b` says "inside", `outside/secret` says "outside"; principal `p` has `rights` on `inside`.
    pub(crate) fn new(rights: Rights) -> Self {
        Self::of(tempfile::tempdir().unwrap(), rights)
    }

    /// As [`new`](Self::new), in memory where there is such a place: for tests that make very many files.
    pub(crate) fn light(rights: Rights) -> Self {
        Self::of(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(), rights)
    }

    fn of(tmp: tempfile::TempDir, rights: Rights) -> Self {
        fs::create_dir_all(tmp.path().join("inside/a")).unwrap();
        fs::create_dir_all(tmp.path().join("outside")).unwrap();
        fs::write(tmp.path().join("inside/a/b"), "inside").unwrap();
        fs::write(tmp.path().join("outside/secret"), "outside").unwrap();
        let sink = MemorySink::new();
        let policy = policy(&tmp.path().join("inside"), rights);
        let os = Os::builder(policy, sink.clone()).resolution(RESOLUTION.get()).build();
        Self { tmp, sink, os }
    }

    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        self.tmp.path().join("inside").join(path)
    }

    pub(crate) fn outside(&self, path: &str) -> PathBuf {
        self.tmp.path().join("outside").join(path)
    }

    pub(crate) fn policy(&self, rights: Rights) -> Policy {
        policy(&self.inside(""), rights)
    }

    pub(crate) fn principal(&self) -> Principal {
        self.os.principal("p").unwrap()
    }

    /// Opens the granted directory and forgets the record of it.
    pub(crate) async fn dir(&self) -> Dir {
        let dir = self.principal().dir(self.inside("")).await.unwrap();
        self.sink.take();
        dir
    }

    /// Everything there is, by path: a change anywhere shows.
    pub(crate) fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        walk(self.tmp.path(), &mut found);
        found
    }
}

fn policy(root: &Path, rights: Rights) -> Policy {
    // Without a right there is no grant: the builder takes none that grants nothing.
    let grant = (!rights.is_empty()).then(|| Grant::fs(root, rights).rule("r"));
    Policy::builder().principal("p", grant).build().unwrap()
}

fn walk(dir: &Path, found: &mut BTreeMap<PathBuf, String>) {
    use std::os::unix::fs::MetadataExt as _;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let state = (metadata.file_type(), metadata.mode(), metadata.nlink(), metadata.mtime(), content);
        found.insert(path.clone(), format!("{state:?}"));
        if metadata.is_dir() {
            walk(&path, found);
        }
    }
}

/// As long as this lives, the clock of its runtime stands still, which has to be paused: what waits for the kernel, or for a
/// processor, meets no limit of time then.
pub(crate) struct AtRest {
    _release: mpsc::Sender<()>,
}

impl AtRest {
    pub(crate) fn begin() -> Self {
        let (release, wait) = mpsc::channel::<()>();
        // With a thread of the pool at work, a paused clock does not go on by itself.
        drop(tokio::task::spawn_blocking(move || wait.recv()));
        Self { _release: release }
    }
}

/// Asserts a denial by `rule`.
#[track_caller]
pub(crate) fn assert_denied<T: std::fmt::Debug>(result: Result<T, Error>, rule: &str, what: &str) {
    let error = result.expect_err(what);
    assert_eq!((error.kind(), error.rule()), (ErrorKind::Denied, Some(rule)), "{what}: {error}");
}

#[track_caller]
pub(crate) fn assert_fails<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, what: &str) {
    let error = result.expect_err(what);
    assert_eq!(error.kind(), kind, "{what}: {error}");
}

/// The one record that is the last word on an operation.
#[track_caller]
pub(crate) fn last(records: &[Recorded]) -> &Recorded {
    records.last().expect("no record was made")
}

#[track_caller]
pub(crate) fn assert_recorded_denial(records: &[Recorded], rule: &str, what: &str) {
    let record = last(records);
    assert_eq!((record.verdict, &*record.rule), (Verdict::Deny, rule), "{what}: {record:?}");
}
