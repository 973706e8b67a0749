//! What the code cache does not read again, and what makes it read again.

use std::{
    env,
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant, SystemTime},
};

use airssys_osl::{
    Action, Os, Principal,
    fs::OpenOptions,
    policy::{Grant, Policy, Rights},
    testing::MemorySink,
};
use airssys_wasm::{Cache, Component, Digest, Engine, Origin};
use tempfile::TempDir;

/// The smallest component with a custom section of one byte.
const fn component(mark: u8) -> [u8; 12] {
    [0, b'a', b's', b'm', 13, 0, 1, 0, 0, 2, 1, mark]
}

/// A folder of components and a code cache, as a program has them.
struct Place {
    root: PathBuf,
    /// Removed at the end.
    _own: Option<TempDir>,
    sink: MemorySink,
    program: Principal,
    engine: Engine,
}

/// What came of a start.
#[derive(Debug)]
struct Start {
    digest: Digest,
    origin: Origin,
    /// Whether the component's file was read.
    read: bool,
    /// Whether its code is mapped from the cache.
    mapped: bool,
}

impl Place {
    fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        let place = Self::at(own.path().to_owned());
        Self { _own: Some(own), ..place }
    }

    /// A place with a component, where the times of files are believed; `None` where temporary files are on another file system, as
    /// in many containers.
    async fn believed(mark: u8) -> Option<Self> {
        let place = Self::new();
        place.write(&component(mark));
        let dir = place.program.dir(place.root.join("sources")).await.unwrap();
        let file = dir.open("c.wasm", &OpenOptions::new().read(true)).await.unwrap();
        if !file.is_local() {
            let root = place.root.display();
            eprintln!(
                "skipped: nothing is noted of files in {root}, which is on no file system that is known to be local"
            );
            return None;
        }
        Some(place)
    }

    fn at(root: PathBuf) -> Self {
        let (sources, cache) = (root.join("sources"), root.join("cache"));
        fs::create_dir_all(&sources).unwrap();
        fs::create_dir_all(&cache).unwrap();
        fs::set_permissions(&cache, Permissions::from_mode(0o700)).unwrap();
        let grants = [Grant::fs(&sources, Rights::READ), Grant::fs(&cache, Rights::all()), Grant::random()];
        let sink = MemorySink::new();
        let os = Os::new(Policy::builder().principal("program", grants).build().unwrap(), sink.clone());
        let program = os.principal("program").unwrap();
        Self { root, _own: None, sink, program, engine: Engine::new().unwrap() }
    }

    fn source(&self) -> PathBuf {
        self.root.join("sources/c.wasm")
    }

    fn cache_dir(&self) -> PathBuf {
        self.root.join("cache")
    }

    fn write(&self, bytes: &[u8]) {
        fs::write(self.source(), bytes).unwrap();
    }

    async fn cache(&self) -> Cache {
        let dir = self.program.dir(self.cache_dir()).await.unwrap();
        Cache::open(dir, &self.program).await.unwrap()
    }

    /// Starts the component, with a cache as the next program opens it.
    async fn start(&self) -> Start {
        self.start_with(&self.cache().await).await
    }

    async fn start_with(&self, cache: &Cache) -> Start {
        let dir = self.program.dir(self.root.join("sources")).await.unwrap();
        let file = dir.open("c.wasm", &OpenOptions::new().read(true)).await.unwrap();
        self.sink.take();
        let (component, origin) = Component::open(&self.engine, file, Some(cache), || ()).await.unwrap();
        let is_read = |path: &[u8]| path.ends_with(b"sources/c.wasm");
        let read = self.sink.take().iter().any(|it| it.action == Action::FsRead && is_read(&it.resource));
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = maps.contains(&format!("{}/", self.cache_dir().display()));
        Start { digest: component.digest(), origin, read, mapped }
    }

    /// Starts until nothing is read any more: files have to be left alone for some seconds before.
    async fn settle(&self) {
        let begun = Instant::now();
        loop {
            let start = self.start().await;
            if !start.read && start.mapped {
                assert_eq!(start.origin, Origin::Cached);
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "it is read again and again: {start:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The files of the cache whose names end so.
    fn files(&self, end: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.cache_dir()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
        files.sort();
        files
    }

    fn entry(&self) -> PathBuf {
        self.files(".cwasm").remove(0)
    }
}

/// Does something to a file.
type Tamper = fn(&Path);

/// Does something to a component's file: its mark is another one then.
type TamperTo = fn(&Path, u8);

/// Changes a file in place and gives it its old time back.
fn change(path: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(bytes, at).unwrap();
    file.set_modified(modified).unwrap();
}

/// Puts another file in the place of one, with its length and its time.
fn exchange(path: &Path, bytes: &[u8]) {
    let (beside, old) = (path.with_extension("new"), fs::metadata(path).unwrap());
    let mut file = File::create(&beside).unwrap();
    file.write_all(bytes).unwrap();
    file.set_permissions(old.permissions()).unwrap();
    file.set_modified(old.modified().unwrap()).unwrap();
    fs::rename(beside, path).unwrap();
}

fn flipped(path: &Path, at: usize) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    *bytes.get_mut(at).unwrap() ^= 1;
    bytes
}

#[tokio::test]
async fn what_was_verified_is_mapped_by_the_next_program_and_not_read_again() {
    let Some(place) = Place::believed(b'a').await else { return };
    let first = place.start().await;
    assert_eq!((first.origin, first.read, first.mapped), (Origin::Compiled, true, false));
    place.settle().await;
    let start = place.start().await;
    assert_eq!((start.digest, start.origin), (Digest::of(&component(b'a')), Origin::Cached));
    assert!(!start.read && start.mapped, "{start:?}");
    let usage = place.cache().await.usage().await.unwrap();
    assert_eq!(usage.entries, 1, "notes are none");
    place.cache().await.shrink(0).await.unwrap();
    assert!(place.files(".seen").is_empty(), "they go with all that they are about");
}

#[tokio::test]
async fn an_entry_that_was_changed_or_exchanged_is_read_and_refused() {
    let Some(place) = Place::believed(b'a').await else { return };
    let tamper: [(&str, Tamper); 3] = [
        ("changed in place", |entry| change(entry, 1000, &flipped(entry, 1000)[1000..1001])),
        ("exchanged", |entry| exchange(entry, &flipped(entry, 1000))),
        ("cut", |entry| {
            let bytes = fs::read(entry).unwrap();
            exchange(entry, &bytes[..bytes.len() - 1]);
        }),
    ];
    for (what, tamper) in tamper {
        place.settle().await;
        let entry = place.entry();
        let before = fs::metadata(&entry).unwrap().modified().unwrap();
        tamper(&entry);
        assert_eq!(
            fs::metadata(&entry).unwrap().modified().unwrap(),
            before,
            "{what}: its time tells nothing"
        );
        let start = place.start().await;
        assert_eq!((start.origin, start.mapped), (Origin::Compiled, false), "{what}");
    }
}

#[tokio::test]
async fn what_others_could_have_changed_is_read() {
    let Some(place) = Place::believed(b'a').await else { return };
    place.settle().await;
    let cache = place.cache().await;
    let is_read = async |what: &str| {
        let start = place.start_with(&cache).await;
        assert_eq!((start.origin, start.mapped), (Origin::Cached, false), "{what}: it is sound, but read");
    };
    // The cache is open already: a folder that is found open to others when it starts is not used at all.
    fs::set_permissions(place.cache_dir(), Permissions::from_mode(0o777)).unwrap();
    is_read("a folder that others can write to").await;
    fs::set_permissions(place.cache_dir(), Permissions::from_mode(0o700)).unwrap();
    place.settle().await;
    fs::set_permissions(place.entry(), Permissions::from_mode(0o602)).unwrap();
    is_read("an entry that others can write to").await;
    is_read("and again").await;
    fs::set_permissions(place.entry(), Permissions::from_mode(0o600)).unwrap();
    place.settle().await;
}

#[tokio::test]
async fn a_component_that_was_changed_or_exchanged_is_another() {
    let Some(place) = Place::believed(b'a').await else { return };
    let tamper: [(u8, TamperTo); 2] = [
        (b'b', |path, mark| change(path, 11, &[mark])),
        (b'c', |path, mark| exchange(path, &component(mark))),
    ];
    for (mark, tamper) in tamper {
        place.settle().await;
        tamper(&place.source(), mark);
        let start = place.start().await;
        assert_eq!((start.digest, start.read), (Digest::of(&component(mark)), true), "{start:?}");
    }
}

#[tokio::test]
async fn a_component_that_changes_while_its_file_is_new_is_read_each_time() {
    let place = Place::new();
    place.write(&component(0));
    let time = SystemTime::now() - Duration::from_secs(3600);
    for mark in 1..50 {
        // All within few ticks of the file system's clock: what differs is the content alone.
        change(&place.source(), 11, &[mark]);
        File::options().write(true).open(place.source()).unwrap().set_modified(time).unwrap();
        let start = place.start().await;
        assert_eq!((start.digest, start.read), (Digest::of(&component(mark)), true));
    }
}

#[tokio::test]
async fn a_note_that_was_forged_cut_or_put_back_says_nothing() {
    let Some(place) = Place::believed(b'a').await else { return };
    place.settle().await;
    let notes: Vec<_> =
        place.files(".seen").into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    assert_eq!(notes.len(), 2, "one about the file, one about the entry");
    let (first, second) = (&notes[0], &notes[1]);
    for (sound, path) in &notes {
        let of_entry = path.to_str().unwrap().ends_with(".cwasm.seen");
        let other = if path == &first.1 { &second.0 } else { &first.0 };
        let mut forged: Vec<_> = [0, 31, 32, 60, sound.len() - 1].map(|at| flipped(path, at)).into();
        forged.extend([Vec::new(), sound[..40].to_vec(), [sound.as_slice(), &[0]].concat(), other.clone()]);
        for bytes in forged {
            fs::write(path, &bytes).unwrap();
            let start = place.start().await;
            assert_eq!((start.origin, start.digest), (Origin::Cached, Digest::of(&component(b'a'))));
            assert!(if of_entry { !start.mapped } else { start.read }, "{}: {start:?}", bytes.escape_ascii());
            fs::write(path, sound).unwrap();
        }
        let start = place.start().await;
        assert!(!start.read && start.mapped, "the sound one: {start:?}");
    }
    // What was true once: the file and the entry are others by now, and all notes are put back.
    change(&place.source(), 11, b"b");
    change(&place.entry(), 1000, &flipped(&place.entry(), 1000)[1000..1001]);
    notes.iter().for_each(|(sound, path)| fs::write(path, sound).unwrap());
    let start = place.start().await;
    assert_eq!((start.digest, start.read), (Digest::of(&component(b'b')), true), "{start:?}");
    place.write(&component(b'a'));
    notes.iter().for_each(|(sound, path)| fs::write(path, sound).unwrap());
    assert_eq!(place.start().await.origin, Origin::Compiled, "the entry is no sound one");
    // Another cache's.
    let other = Place::new();
    other.write(&component(b'a'));
    other.settle().await;
    for path in place.files(".seen") {
        fs::remove_file(path).unwrap();
    }
    for path in other.files(".seen").into_iter().chain(other.files(".cwasm")) {
        fs::copy(&path, place.cache_dir().join(path.file_name().unwrap())).unwrap();
    }
    let start = place.start().await;
    assert_eq!((start.origin, start.mapped), (Origin::Compiled, false), "another key wrote it");
}

#[tokio::test]
async fn a_component_whose_code_is_gone_is_read_and_compiled() {
    let Some(place) = Place::believed(b'a').await else { return };
    place.settle().await;
    fs::remove_file(place.entry()).unwrap();
    let start = place.start().await;
    assert_eq!((start.origin, start.read), (Origin::Compiled, true));
    assert_eq!(start.digest, Digest::of(&component(b'a')));
}

const PLACE: &str = "AIRSSYS_TEST_CACHE_PLACE";
/// What tells that the first process has filled the cache.
const FILLED: &str = "filled";

/// Components of its own, and in each round one that both processes have.
async fn fill(place: &Place, mark: u8) {
    let cache = place.cache().await.limited(40_000);
    for round in 0..12 {
        for mark in [mark, b'=', mark] {
            let bytes = [&component(mark)[..], &[0, 2, 1, round]].concat();
            let (loaded, _) =
                Component::load(&place.engine, bytes.clone(), Some(&cache), || ()).await.unwrap();
            assert_eq!(loaded.digest(), Digest::of(&bytes));
        }
    }
}

/// A process that does not outlive this test, however that ends.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        // Who has ended, as it should, cannot be killed any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn two_processes_use_one_cache_at_once() {
    let Some(place) = Place::believed(b'=').await else { return };
    let other = Command::new(env::current_exe().unwrap())
        .args(["--exact", "notes::the_other_process", "--nocapture", "--test-threads", "1"])
        .env(PLACE, &place.root)
        .spawn()
        .unwrap();
    let mut other = Other(other);
    fill(&place, b'a').await;
    fs::write(place.root.join(FILLED), "").unwrap();
    let ended = other.0.wait().unwrap();
    assert!(ended.success(), "{ended}");
    let usage = place.cache().await.usage().await.unwrap();
    assert!(usage.entries > 0, "{usage:?}");
    // It loads what the other process left, and the notes of one hold for the other.
    let start = place.start().await;
    assert_eq!((start.origin, start.read, start.mapped), (Origin::Cached, false, true), "{start:?}");
}

/// Not a test, but the other process: it leaves one component's file and entry noted.
#[tokio::test]
async fn the_other_process() {
    let Some(root) = env::var_os(PLACE) else { return };
    let place = Place::at(PathBuf::from(root));
    fill(&place, b'b').await;
    while !place.root.join(FILLED).exists() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    place.settle().await;
}
