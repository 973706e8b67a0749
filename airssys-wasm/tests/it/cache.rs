//! The code cache loads what it wrote, and nothing else.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use airssys_osl::{
    Os,
    policy::{Grant, Policy, Rights},
    testing::MemorySink,
};
use airssys_wasm::{Cache, Component, Engine, Origin};

async fn open(dir: &Path) -> Cache {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    let rights = Rights::all();
    let policy =
        Policy::builder().principal("program", [Grant::fs(dir, rights), Grant::random()]).build().unwrap();
    let program = Os::new(policy, MemorySink::new()).principal("program").unwrap();
    Cache::open(program.dir(dir).await.unwrap(), &program).await.unwrap()
}

async fn load(engine: &Engine, cache: &Cache, bytes: &[u8]) -> Origin {
    Component::load(engine, bytes.to_vec(), Some(cache), || ()).await.unwrap().1
}

fn entries(dir: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect()
}

/// The smallest component there is, and the same with custom sections.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
const OTHER: &[u8] = b"\0asm\x0d\0\x01\0\0\x02\x01x";
const THIRD: &[u8] = b"\0asm\x0d\0\x01\0\0\x02\x01y";

/// Makes all that is in the cache old: so many seconds.
fn age(dir: &Path, seconds: u64) {
    for entry in entries(dir) {
        let file = fs::File::options().write(true).open(entry).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified - std::time::Duration::from_secs(seconds)).unwrap();
    }
}

#[tokio::test]
async fn a_folder_that_others_can_enter_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let rights = Rights::all();
    let grants = [Grant::fs(dir.path(), rights), Grant::random()];
    let policy = Policy::builder().principal("program", grants).build().unwrap();
    let program = Os::new(policy, MemorySink::new()).principal("program").unwrap();
    let opened = Cache::open(program.dir(dir.path()).await.unwrap(), &program).await;
    assert_eq!(opened.err().map(|error| error.kind()), Some(airssys_wasm::ErrorKind::Denied));
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "and no key is made in it");
}

#[tokio::test]
async fn programs_that_begin_at_once_have_one_key() {
    let engine = Engine::new().unwrap();
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = tokio::join!(open(dir.path()), open(dir.path()));
        assert_eq!(load(&engine, &one, EMPTY).await, Origin::Compiled);
        assert_eq!(load(&engine, &other, EMPTY).await, Origin::Cached);
        let left = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let left = left.filter(|path| path.extension().is_none_or(|extension| extension != "seen"));
        assert_eq!(left.count(), 2, "an entry and the key");
    }
}

#[tokio::test]
async fn code_is_compiled_once() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::new().unwrap();
    let cache = open(dir.path()).await;
    assert_eq!(load(&engine, &cache, EMPTY).await, Origin::Compiled);
    assert_eq!(load(&engine, &cache, EMPTY).await, Origin::Cached);
    assert_eq!(load(&engine, &open(dir.path()).await, EMPTY).await, Origin::Cached, "the next program");
    assert_eq!(load(&engine, &cache, OTHER).await, Origin::Compiled);
}

#[tokio::test]
async fn an_entry_that_was_changed_is_not_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::new().unwrap();
    let cache = open(dir.path()).await;
    load(&engine, &cache, EMPTY).await;
    let entry = entries(dir.path()).remove(0);
    let written = fs::read(&entry).unwrap();
    for position in [0, 40, written.len() - 1] {
        let mut bytes = written.clone();
        if let Some(byte) = bytes.get_mut(position) {
            *byte ^= 1;
        }
        fs::write(&entry, bytes).unwrap();
        assert_eq!(load(&engine, &cache, EMPTY).await, Origin::Compiled, "byte {position}");
    }
    fs::write(&entry, b"short").unwrap();
    assert_eq!(load(&engine, &cache, EMPTY).await, Origin::Compiled);
    assert_eq!(load(&engine, &cache, EMPTY).await, Origin::Cached, "and it is repaired");
}

#[tokio::test]
async fn an_entry_cannot_pass_for_another_or_come_from_another_cache() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = Engine::new().unwrap();
    let cache = open(dir.path()).await;
    load(&engine, &cache, EMPTY).await;
    let first = entries(dir.path()).remove(0);
    load(&engine, &cache, OTHER).await;
    let second = entries(dir.path()).into_iter().find(|path| *path != first).unwrap();
    fs::copy(&first, &second).unwrap();
    assert_eq!(load(&engine, &cache, OTHER).await, Origin::Compiled);

    let foreign = open(elsewhere.path()).await;
    fs::copy(&first, elsewhere.path().join(first.file_name().unwrap())).unwrap();
    assert_eq!(load(&engine, &foreign, EMPTY).await, Origin::Compiled);
}

#[tokio::test]
async fn what_was_not_used_for_the_longest_time_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::new().unwrap();
    let cache = open(dir.path()).await;
    load(&engine, &cache, EMPTY).await;
    let one = cache.usage().await.unwrap().bytes;
    let cache = cache.limited(one * 2 + one / 2);
    age(dir.path(), 200);
    load(&engine, &cache, OTHER).await;
    age(dir.path(), 100);
    assert_eq!(load(&engine, &cache, EMPTY).await, Origin::Cached, "it is the older one, and used now");
    load(&engine, &cache, THIRD).await;
    assert_eq!(cache.usage().await.unwrap().entries, 2);
    for (bytes, origin) in [(EMPTY, Origin::Cached), (THIRD, Origin::Cached), (OTHER, Origin::Compiled)] {
        assert_eq!(load(&engine, &cache, bytes).await, origin);
    }
    let small = open(dir.path()).await.limited(one / 2);
    small.shrink(0).await.unwrap();
    assert_eq!(load(&engine, &small, EMPTY).await, Origin::Compiled);
    assert_eq!(small.usage().await.unwrap().entries, 0, "what is larger than all is not kept");
}

#[tokio::test]
async fn what_is_being_written_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path()).await;
    let temporary = dir.path().join(".airssys-1f.tmp");
    fs::write(&temporary, b"half").unwrap();
    cache.shrink(0).await.unwrap();
    assert!(temporary.exists(), "another program writes it");
    let file = fs::File::options().write(true).open(&temporary).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified - std::time::Duration::from_secs(120)).unwrap();
    cache.shrink(0).await.unwrap();
    assert!(!temporary.exists(), "a crash left it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_bound_one_cache() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::new().unwrap();
    let (one, other) = (open(dir.path()).await, open(dir.path()).await);
    load(&engine, &one, EMPTY).await;
    let limit = one.usage().await.unwrap().bytes * 3;
    let (one, other) = (one.limited(limit), other.limited(limit));
    let fill = async |cache: &Cache, mark: u8| {
        for number in 0..10 {
            let component = [EMPTY, &[0, 3, 1, mark, number]].concat();
            load(&engine, cache, &component).await;
        }
    };
    tokio::join!(fill(&one, b'a'), fill(&other, b'b'));
    let held = other.usage().await.unwrap();
    assert!(held.bytes <= limit && held.entries > 0, "{held:?}, at most {limit}");
    // Times of files are coarse, and all of this can be done within one of their ticks.
    age(dir.path(), 100);
    let last = [EMPTY, &[0, 3, 1, b'z', 0]].concat();
    load(&engine, &one, &last).await;
    assert_eq!(load(&engine, &other, &last).await, Origin::Cached, "what one wrote the other reads");
}
