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
    let rights = Rights::READ | Rights::WRITE | Rights::CREATE;
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

/// The smallest component there is, and the same with a custom section.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
const OTHER: &[u8] = b"\0asm\x0d\0\x01\0\0\x02\x01x";

#[tokio::test]
async fn a_folder_that_others_can_enter_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let rights = Rights::READ | Rights::WRITE | Rights::CREATE;
    let grants = [Grant::fs(dir.path(), rights), Grant::random()];
    let policy = Policy::builder().principal("program", grants).build().unwrap();
    let program = Os::new(policy, MemorySink::new()).principal("program").unwrap();
    let opened = Cache::open(program.dir(dir.path()).await.unwrap(), &program).await;
    assert_eq!(opened.err().map(|error| error.kind()), Some(airssys_wasm::ErrorKind::Denied));
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "and no key is made in it");
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
