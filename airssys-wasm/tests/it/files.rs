//! `wasi:filesystem` and `airssys:actor/files` over the door.

use std::{os::unix::fs::symlink, path::Path, process::Command};

use crate::world::World;

fn grant(rights: &str) -> String {
    format!(
        "[component.a]\nSOURCE\ngrants = {{ fs = [{{ path = \"data\", guest = \"/data\", rights = [{rights}] }}] }}\n"
    )
}

#[tokio::test]
async fn what_is_granted_can_be_done() {
    let world = World::start(&grant("\"read\", \"list\", \"write\", \"create\"")).await;
    assert_eq!(world.ask("a", "fs:a", "").await, "ok: content");
    assert_eq!(world.ask("a", "fs-write:b", "new").await, "ok: written");
    assert_eq!(std::fs::read_to_string(world.dir.path().join("data/b")).unwrap(), "new");
    assert_eq!(world.ask("a", "fs-list:/data", "").await, "ok: a b");
    assert!(world.denied().is_empty());
}

#[tokio::test]
async fn nothing_leads_out() {
    let world = World::start(&grant("\"read\", \"list\", \"write\", \"create\", \"delete\"")).await;
    symlink("../secret", world.dir.path().join("data/link")).unwrap();
    symlink("/proc/self/environ", world.dir.path().join("data/proc")).unwrap();
    symlink("..", world.dir.path().join("data/up")).unwrap();
    for (verb, action) in [("fs", "fs.open"), ("file", "fs.read")] {
        let reads =
            ["/etc/passwd", "../secret", "link", "proc", "up/secret", "./../secret", "a/../../secret"];
        for path in reads {
            let answer = world.ask("a", &format!("{verb}:{path}"), "").await;
            assert!(!answer.starts_with("ok"), "{verb} {path}: {answer}");
            let denied = world.denied();
            // A path through a file ends at the file, before it could leave.
            assert!(
                path.starts_with("a/") || denied == [format!("component.a {action} beneath-root")],
                "{verb} {path}: {denied:?}"
            );
        }
    }
    for verb in ["fs-write", "file-write"] {
        let absolute = world.dir.path().join("written");
        for path in ["../written", "up/written", "./../written", absolute.to_str().unwrap()] {
            let answer = world.ask("a", &format!("{verb}:{path}"), "x").await;
            assert!(answer.starts_with("Denied"), "{verb} {path}: {answer}");
            assert!(!absolute.exists(), "{verb} {path}");
        }
    }
}

#[tokio::test]
async fn each_right_is_needed() {
    let world = World::start(&grant("\"list\"")).await;
    assert!(world.ask("a", "fs:a", "").await.starts_with("Denied"));
    assert!(world.ask("a", "fs-write:b", "x").await.starts_with("Denied"));
    let denied = world.denied();
    // The file, the temporary file beside the other, and taking that one away again.
    let lacks = [
        "fs.open GRANT: lacks read",
        "fs.open GRANT: lacks write+create",
        "fs.remove_file GRANT: lacks delete",
    ];
    let lacks =
        lacks.map(|what| format!("component.a {}", what.replace("GRANT", "component.a.grants.fs[0]")));
    assert_eq!(denied, lacks);
    assert!(!world.dir.path().join("data/b").exists());
}

#[tokio::test]
async fn each_right_is_needed_for_whole_files() {
    let world = World::start(&grant("\"list\"")).await;
    for (subject, lacks) in [
        ("file:a", "fs.read GRANT: lacks read"),
        ("file-write:b", "fs.replace GRANT: lacks write+create"),
        ("file-fill:a/3", "fs.replace GRANT: lacks write+create"),
    ] {
        let answer = world.ask("a", subject, "x").await;
        assert!(answer.starts_with("Denied") && answer.ends_with("denied by policy"), "{subject}: {answer}");
        let lacks = lacks.replace("GRANT", "component.a.grants.fs[0]");
        assert_eq!(world.denied(), [format!("component.a {lacks}")], "{subject}");
    }
    assert!(!world.dir.path().join("data/b").exists());
    assert_eq!(content(&world, "a"), "content");
}

#[tokio::test]
async fn a_whole_file_is_one_operation() {
    let world = World::start(&grant("\"read\", \"write\", \"create\"")).await;
    for (subject, answer, record) in [
        ("file:a", "ok: content", "fs.read Success 7"),
        ("file-write:b", "ok: written", "fs.replace Success 3"),
        ("file-write:b", "ok: written", "fs.replace Success 3"),
        ("file:b", "ok: new", "fs.read Success 3"),
        ("file-fill:a/100000", "ok: written", "fs.replace Success 100000"),
        ("file-limit:a/100000", "ok: 100000", "fs.read Success 100000"),
    ] {
        assert_eq!(world.ask("a", subject, "new").await, answer, "{subject}");
        assert_eq!(world.files(), [record], "{subject}");
    }
    assert_eq!(content(&world, "b"), "new");
}

#[tokio::test]
async fn a_link_that_stays_inside_is_read_through_and_replaced_itself() {
    let world = World::start(&grant("\"read\", \"write\", \"create\"")).await;
    symlink("a", world.dir.path().join("data/inside")).unwrap();
    assert_eq!(world.ask("a", "file:inside", "").await, "ok: content");
    assert_eq!(world.ask("a", "file-write:inside", "new").await, "ok: written");
    assert_eq!((content(&world, "a"), content(&world, "inside")), ("content".to_owned(), "new".to_owned()));
}

#[tokio::test]
async fn what_is_no_file_of_that_size_is_not_read() {
    let world = World::start(&grant("\"read\", \"write\", \"create\"")).await;
    let data = world.dir.path().join("data");
    std::fs::create_dir(data.join("folder")).unwrap();
    let made = Command::new("mkfifo").arg(data.join("fifo")).status();
    assert!(made.unwrap().success());
    for (subject, answer) in [
        ("file:absent", "NotFound: cannot read `/data/absent`: no-entry"),
        ("file:folder/absent", "NotFound: cannot read `/data/folder/absent`: no-entry"),
        ("file:a/b", "Invalid: cannot read `/data/a/b`: not-directory"),
        ("file:a/", "Invalid: cannot read `/data/a/`: not-directory"),
        ("file:folder", "Invalid: cannot read `/data/folder`: is-directory"),
        ("file:.", "Invalid: cannot read `/data/.`: is-directory"),
        ("file-limit:a/6", "LimitExceeded: cannot read `/data/a`: file-too-large"),
        ("file-limit:a/7", "ok: 7"),
        ("file-limit:a/0", "LimitExceeded: cannot read `/data/a`: file-too-large"),
        ("file-write:folder", "Invalid: cannot replace `/data/folder`: is-directory"),
        ("file-write:absent/b", "NotFound: cannot replace `/data/absent/b`: no-entry"),
    ] {
        assert_eq!(world.ask("a", subject, "x").await, answer);
    }
    for subject in ["file:", "file:a\0b"] {
        let answer = world.ask("a", subject, "").await;
        assert!(!answer.starts_with("ok"), "{subject}: {answer}");
    }
    assert!(world.denied().is_empty());
    // Nobody writes to it: who opened it for that would wait for ever.
    let answer = world.ask("a", "file:fifo", "").await;
    assert!(answer.starts_with("Denied"), "{answer}");
    assert_eq!(world.denied(), ["component.a fs.read plain-files-only"]);
    assert_eq!(world.ask("a", "file:a", "").await, "ok: content", "none of that was the guest's end");
}

#[tokio::test]
async fn no_more_is_handed_over_than_a_memory_may_have() {
    let limits = "limits = { memory = \"8MiB\" }\n";
    let world = World::start(&format!("{}{limits}", grant("\"read\""))).await;
    let sparse = |name: &str, bytes: u64| {
        let file = std::fs::File::create(world.dir.path().join("data").join(name)).unwrap();
        file.set_len(bytes).unwrap();
    };
    sparse("large", 3 << 20);
    sparse("larger", (8 << 20) + 1);
    sparse("largest", 1 << 40);
    assert_eq!(world.ask("a", &format!("file-limit:large/{}", u32::MAX), "").await, "ok: 3145728");
    for name in ["larger", "largest"] {
        let answer = world.ask("a", &format!("file-limit:{name}/{}", u32::MAX), "").await;
        assert_eq!(answer, format!("LimitExceeded: cannot read `/data/{name}`: file-too-large"));
    }
    assert_eq!(world.ask("a", "handled", "").await, "4", "the same instance");
}

#[tokio::test]
async fn each_directory_and_each_component_has_its_own_rights() {
    let fs = |path: &str, rights: &str| {
        format!("{{ path = \"{path}\", guest = \"/{path}\", rights = [{rights}] }}")
    };
    let component =
        |name: &str, fs: &str| format!("[component.{name}]\nSOURCE\ngrants = {{ fs = [{fs}] }}\n");
    let both = [fs("data", "\"read\""), fs("out", "\"write\", \"create\"")].join(", ");
    let dir = tempfile::tempdir().unwrap();
    for folder in ["data", "out"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
        std::fs::write(dir.path().join(folder).join("a"), folder).unwrap();
    }
    let components = component("a", &both) + &component("b", &fs("out", "\"read\""));
    let world = World::start_in(dir, &components).await;
    assert_eq!(world.ask("a", "file-of:/data:a", "").await, "ok: data");
    assert_eq!(world.ask("b", "file-of:/out:a", "").await, "ok: out");
    assert!(world.denied().is_empty());
    assert!(world.ask("a", "file-of:/out:a", "").await.starts_with("Denied"));
    assert_eq!(world.denied(), ["component.a fs.read component.a.grants.fs[1]: lacks read"]);
    assert!(world.ask("b", "file-write:a", "x").await.starts_with("Denied"));
    assert_eq!(world.denied(), ["component.b fs.replace component.b.grants.fs[0]: lacks write+create"]);
    assert!(world.ask("b", "file-of:/data:a", "").await.starts_with("NotFound"), "another's is not there");
}

#[tokio::test]
async fn what_a_reload_takes_is_gone_at_the_next_call() {
    let granted = grant("\"read\", \"write\", \"create\"");
    let world = World::start(&granted).await;
    assert_eq!(world.ask("a", "file:a", "").await, "ok: content");
    world.reload(&grant("\"read\""));
    assert_eq!(world.ask("a", "file:a", "").await, "ok: content");
    assert!(world.ask("a", "file-write:a", "x").await.starts_with("Denied"));
    assert_eq!(world.denied(), ["component.a fs.replace component.a.grants.fs[0]: lacks write+create"]);
    world.reload("[component.a]\nSOURCE\n");
    assert!(world.ask("a", "file:a", "").await.starts_with("Denied"));
    assert_eq!(world.denied(), ["component.a fs.read default-deny"]);
    assert_eq!(world.ask("a", "handled", "").await, "5", "the same instance, with the handle that it had");
}

#[tokio::test]
async fn whole_files_count_as_calls_to_the_host() {
    let limits = "max_deliver = 1\nlimits = { host_calls = 40 }\n";
    let world = World::start(&format!("{}{limits}", grant("\"read\""))).await;
    for _ in 0..3 {
        assert_eq!(world.ask("a", "file-many:a/30", "").await, "ok: 210", "the budget is a message's own");
    }
    world.crash("a", "file-many:a/60").await;
    let told = world.told();
    assert!(told[0].contains("called its host more often than its limit (limits.host_calls)"), "{told:?}");
}

fn content(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.dir.path().join("data").join(Path::new(name))).unwrap()
}

#[tokio::test]
async fn only_so_many_files_are_open_at_a_time() {
    let world = World::start(&grant("\"read\"")).await;
    assert_eq!(world.ask("a", "fs-hoard:128", "").await, "ok: 128");
    assert!(world.ask("a", "fs-hoard:129", "").await.starts_with("LimitExceeded"));
    assert_eq!(world.ask("a", "fs-hoard:128", "").await, "ok: 128", "those that were closed do not count");
}

#[tokio::test]
async fn nothing_granted_is_nothing_seen() {
    let world = World::start("[component.a]\nSOURCE\n").await;
    assert!(world.ask("a", "fs:a", "").await.contains("nothing is granted"));
    assert!(!world.ask("a", "fs-list:/data", "").await.starts_with("ok"));
}
