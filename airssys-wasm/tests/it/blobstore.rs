//! `wasi:blobstore` through a guest that uses all of it: what an object is, when, and for whom, and what is refused.

use std::fs;

use crate::world::World;

const ALL: &str = "rights = [\"read\", \"list\", \"write\", \"create\", \"delete\"]";

/// Two components with their containers in one folder, of which the second only reads and lists; one with a quota, and one
/// that has none.
fn several() -> String {
    let component = |name: &str, grant: &str| {
        format!(
            "[component.{name}]\nBLOBS\nmax_deliver = 1\nlimits = {{ memory = \"256MiB\" }}\n[component.{name}.grants]\nblobstore = [{{ path = {grant} }}]\n"
        )
    };
    [
        component("a", &format!("\"blobs\", {ALL}")),
        component("b", "\"blobs\", rights = [\"read\", \"list\"]"),
        component(
            "small",
            &format!("\"few\", {ALL}, quota = \"16KiB\", quota_files = 8, max_file = \"10KiB\""),
        ),
        "[component.none]\nBLOBS\n".to_owned(),
    ]
    .concat()
}

async fn start() -> World {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["blobs", "few", "outside"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    fs::write(dir.path().join("outside/secret"), "secret").unwrap();
    World::start_in(dir, &several()).await
}

/// What `a` answers, one after the other.
async fn check(world: &World, cases: &[(&str, &str, &str)]) {
    for (subject, payload, expected) in cases {
        assert_eq!(world.ask("a", subject, payload).await, *expected, "{subject} {payload}");
    }
}

const NOT_THERE: &str = "there is no such container or object";
const NO_CONTAINER: &str = "there is no container `c`";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_come_and_go() {
    let world = start().await;
    check(
        &world,
        &[
            ("exists:c", "", "false"),
            ("find:c", "", NO_CONTAINER),
            ("delete-container:c", "", NO_CONTAINER),
            ("create:c", "", "\"c\""),
            ("create:c", "", "there is something of this name already"),
            ("exists:c", "", "true"),
            ("find:c", "", "\"c\""),
            ("info:c", "", "\"c since\""),
            ("put:c:x", "content", "()"),
            ("delete-container:c", "", "()"),
            ("exists:c", "", "false"),
            ("info:c", "", NO_CONTAINER),
        ],
    )
    .await;
    assert!(!world.dir.path().join("blobs/c").exists());
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_is_there_when_its_value_is_finished() {
    let world = start().await;
    check(
        &world,
        &[
            ("create:c", "", "\"c\""),
            ("has:c:x", "", "false"),
            ("get:c:x", "", NOT_THERE),
            ("object:c:x", "", NOT_THERE),
            ("put-unfinished:c:x", "content", "()"),
            ("has:c:x", "", "false"),
            ("put:c:x", "content", "()"),
            ("has:c:x", "", "true"),
            ("get:c:x", "", "content"),
            ("object:c:x", "", "\"c/x 7 since\""),
            ("put-first:c:x", "other", "()"),
            ("get:c:x", "", "other"),
            ("put-empty:c:empty", "", "()"),
            ("object:c:empty", "", "\"c/empty 0 since\""),
            ("get:c:empty", "", ""),
            ("put-refused:c:x", "", "the value was not written: too many open files in one instance"),
            ("get:c:x", "", "other"),
            ("put-nowhere:c", "", "the value was given to no `write-data`"),
            ("put-twice:c", "x", "the value is to be an object already"),
            ("two-bodies:c", "", "true false"),
            ("has:c:one", "", "false"),
            // 100,000 bytes, in chunks, by the stream and at once.
            ("put:c:large*100", &"x".repeat(1000), "()"),
            ("object:c:large*100", "", "\"c/large*100 100000 since\""),
            ("get:c:large*100", "", "100000 bytes"),
            ("stream:c:large*100", "0 999999", "100000 bytes"),
        ],
    )
    .await;
    assert_eq!(fs::read(world.dir.path().join("blobs/c/x")).unwrap(), b"other");
    assert_eq!(fs::read_dir(world.dir.path().join("blobs")).unwrap().count(), 1, "no draft has a name");
    world.crash("a", "finish-early:c").await;
    assert_eq!(world.ask("a", "get:c:x", "").await, "other", "the next instance finds it");
    assert_eq!(world.ask("b", "get:c:x", "").await, "other", "and so does another component");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_have_their_last_byte() {
    let world = start().await;
    check(
        &world,
        &[
            ("create:c", "", "\"c\""),
            ("put:c:x", "0123456789", "()"),
            ("part:c:x", "0 0", "0"),
            ("part:c:x", "3 5", "345"),
            ("stream:c:x", "3 5", "345"),
            ("size:c:x", "3 5", "3"),
            ("part:c:x", "8 100", "89"),
            ("size:c:x", "8 18446744073709551615", "2"),
            ("stream:c:x", "9 9", "9"),
            ("part:c:x", "10 20", ""),
            ("stream:c:x", "10 20", ""),
            ("part:c:x", "5 4", "the part begins behind its end"),
            // What was got stays, though the object is replaced and deleted meanwhile.
            ("held:c:x", "new", "0123456789"),
            ("has:c:x", "", "false"),
        ],
    )
    .await;
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_listed_deleted_copied_and_moved() {
    let world = start().await;
    check(
        &world,
        &[
            ("create:c", "", "\"c\""),
            ("create:d", "", "\"d\""),
            ("list:c", "", "\"\""),
            ("put:c:x", "x", "()"),
            ("put:c:y", "y", "()"),
            ("put:c:z", "z", "()"),
            ("list:c", "", "\"x y z\""),
            ("pages:c", "1", "\"2 1\""),
        ],
    )
    .await;
    // What is no object is not listed, and not deleted as one.
    let folder = world.dir.path().join("blobs/c");
    fs::create_dir(folder.join("folder")).unwrap();
    fs::write(folder.join(".hidden"), "").unwrap();
    std::os::unix::fs::symlink("x", folder.join("link")).unwrap();
    check(
        &world,
        &[
            ("list:c", "", "\"x y z\""),
            ("has:c:folder", "", "false"),
            ("has:c:link", "", "false"),
            ("object:c:link", "", NOT_THERE),
            ("move:c:folder", "d/folder", NOT_THERE),
            ("copy:c:x", "d/x", "()"),
            ("copy:c:y", "d/x", "()"),
            ("get:d:x", "", "y"),
            ("copy:c:x", "absent/x", NOT_THERE),
            ("move:c:x", "absent/x", NOT_THERE),
            ("copy:c:absent", "d/x", NOT_THERE),
            ("move:c:x", "d/x", "()"),
            ("get:d:x", "", "x"),
            ("has:c:x", "", "false"),
            ("move:d:x", "d/x", "()"),
            ("get:d:x", "", "x"),
            ("delete:c:x", "", "()"),
            ("delete:c:y", "", "()"),
            ("list:c", "", "\"z\""),
            ("put:c:y", "y", "()"),
            ("delete-all:c", "y absent z", "()"),
            ("list:c", "", "\"\""),
            ("put:d:y", "y", "()"),
        ],
    )
    .await;
    let remains = folder.join(".airssys-0123456789abcdef.tmp");
    fs::write(&remains, "half of it").unwrap();
    check(
        &world,
        &[
            ("put:c:x", "x", "()"),
            ("delete:c:link", "", "()"),
            ("delete-all:c", "link absent", "()"),
            ("clear:c", "", "()"),
            ("list:c", "", "\"\""),
            ("exists:c", "", "true"),
        ],
    )
    .await;
    assert!(folder.join("link").is_symlink() && folder.join(".hidden").exists(), "those are no objects");
    assert!(!remains.exists(), "what a crash left is nobody's");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_no_path() {
    let world = start().await;
    world.ask("a", "create:c", "").await;
    world.ask("a", "put:c:x", "x").await;
    std::os::unix::fs::symlink("../outside", world.dir.path().join("blobs/out")).unwrap();
    world.ask("a", "exists:c", "").await;
    world.denied();
    for name in ["", ".", "..", ".hidden", "../outside", "/etc", "c/x", "a\0b"] {
        for verb in ["create", "find", "exists", "delete-container"] {
            let answer = world.ask("a", &format!("{verb}:{name}"), "").await;
            assert!(answer.contains("is no name"), "{verb} {name:?}: {answer}");
        }
        for verb in ["get", "put", "put-empty", "has", "object", "delete"] {
            let answer = world.ask("a", &format!("{verb}:c:{name}"), "x").await;
            assert!(answer.contains("is no name"), "{verb} {name:?}: {answer}");
        }
        for verb in ["copy", "move"] {
            for target in [format!("c/{name}"), format!("{name}/x")] {
                let answer = world.ask("a", &format!("{verb}:c:x"), &target).await;
                assert!(answer.contains("is no name"), "{verb} {target:?}: {answer}");
            }
        }
        let answer = world.ask("a", "delete-all:c", &format!("x {name}")).await;
        assert!(answer.contains("is no name"), "{name:?}: {answer}");
    }
    let answer = world.ask("a", "delete-all:c", &format!("x {}", "x".repeat(256))).await;
    assert!(answer.contains("is no name"), "{answer}");
    assert!(world.denied().is_empty(), "none of these reached the folder");
    assert_eq!(world.ask("a", "get:c:x", "").await, "x", "of several names, all are looked at first");
    // A link that leads out of the folder is no container.
    for verb in ["find:out", "list:out", "get:out:secret", "info:out", "delete-container:out"] {
        assert_eq!(world.ask("a", verb, "").await, "denied by policy", "{verb}");
        assert_eq!(
            world.denied().first().map(String::as_str),
            Some("component.a fs.metadata beneath-root"),
            "{verb}"
        );
    }
    for target in ["out/x", "out/secret"] {
        assert_eq!(world.ask("a", "copy:c:x", target).await, "denied by policy");
        assert_eq!(world.ask("a", "move:c:x", target).await, "denied by policy");
    }
    assert_eq!(fs::read(world.dir.path().join("outside/secret")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(world.dir.path().join("outside")).unwrap().count(), 1);
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_granted_is_denied_and_recorded() {
    let world = start().await;
    world.ask("a", "create:c", "").await;
    world.ask("a", "put:c:x", "x").await;
    world.denied();
    let lacks = |action: &str, right: &str| {
        format!("component.b {action} component.b.grants.blobstore[0]: lacks {right}")
    };
    for (subject, payload, action, right) in [
        ("create:d", "", "fs.create_dir", "create"),
        ("delete-container:c", "", "fs.remove_tree", "delete"),
        ("put-empty:c:y", "", "fs.open", "write+create"),
        ("delete:c:x", "", "fs.remove_file", "delete"),
        ("clear:c", "", "fs.remove_file", "delete"),
        ("copy:c:x", "c/y", "fs.copy", "write+create"),
        ("move:c:x", "c/y", "fs.rename", "write+create"),
    ] {
        assert_eq!(world.ask("b", subject, payload).await, "denied by policy", "{subject}");
        let denied = world.denied();
        assert!(denied.contains(&lacks(action, right)), "{subject}: {denied:?}");
    }
    assert_eq!(world.ask("b", "put:c:y", "y").await, "no stream");
    assert_eq!(world.denied(), [lacks("fs.open", "write+create")]);
    let none = "no containers: the manifest has no `grants.blobstore`";
    for subject in ["create:d", "exists:c", "find:c", "get:c:x"] {
        assert_eq!(world.ask("none", subject, "").await, none, "{subject}");
    }
    assert_eq!(world.ask("b", "get:c:x", "").await, "x");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_by_the_name_of_its_limit() {
    let world = start().await;
    let check = async |subject: &str, payload: &str, expected: &str| {
        let answer = world.ask("small", subject, payload).await;
        assert!(answer.contains(expected), "{subject}: {answer}");
    };
    check("create:c", "", "\"c\"").await;
    let full = "no room: `quota`, `quota_files` or `max_file` of `grants.blobstore`";
    check("put:c:x*10", &"x".repeat(1000), "()").await;
    check("put:c:y*10", &"y".repeat(1000), full).await;
    check("has:c:y*10", "", "false").await;
    check("put:c:x*11", &"x".repeat(1000), full).await;
    check("get:c:x*10", "", "10000 bytes").await;
    // What is deleted makes room, and so does what was not finished.
    check("put-unfinished:c:z*5", &"z".repeat(1000), "()").await;
    check("delete:c:x*10", "", "()").await;
    check("put:c:y*10", &"y".repeat(1000), "()").await;
    check("flood:c", "", full).await;
    check("clear:c", "", "()").await;
    check("flood:c", "", "7: no room").await;
    check("hoard:c", "", "128: too many open files in one instance").await;
    check("list:c", "", "flood-0").await;
    check("crowd:c", "", "too many open handles").await;
    check("exists:late", "", "false").await;
    world.ask("a", "create:c", "").await;
    let names = vec!["n"; 1001].join(" ");
    assert_eq!(world.ask("a", "delete-all:c", &names).await, "1001 names at once, the limit is 1000");
    assert_eq!(world.ask("a", "put:c:x*17", &"x".repeat(1_000_000)).await, "()");
    let answer = world.ask("a", "get:c:x*17", "").await;
    assert!(answer.starts_with("17000000 bytes at once, the limit is 16777216"), "{answer}");
    assert_eq!(world.ask("a", "stream:c:x*17", "0 99999999").await, "17000000 bytes");
    assert_eq!(
        world.ask("b", "size:c:x*17", "0 99999999").await,
        "17000000",
        "its neighbour is not disturbed"
    );
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_do_to_its_folder_does_not_confuse_it() {
    let world = start().await;
    let folder = world.dir.path().join("blobs");
    world.ask("a", "create:c", "").await;
    world.ask("a", "put:c:x", "x").await;
    fs::write(folder.join("file"), "no container").unwrap();
    assert_eq!(world.ask("a", "find:file", "").await, "there is no container `file`");
    assert_eq!(world.ask("a", "exists:file", "").await, "false");
    assert_eq!(world.ask("a", "create:file", "").await, "there is something of this name already");
    fs::remove_dir_all(folder.join("c")).unwrap();
    assert_eq!(world.ask("a", "exists:c", "").await, "false");
    fs::remove_dir_all(&folder).unwrap();
    let answer = world.ask("a", "create:d", "").await;
    assert_eq!(answer, NOT_THERE, "its folder is gone, and it goes on");
    world.system.shutdown().await;
}
