//! `wasi:filesystem` over the door.

use std::os::unix::fs::symlink;

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
    for path in ["/etc/passwd", "../secret", "link", "proc", "./../secret", "a/../../secret"] {
        let answer = world.ask("a", &format!("fs:{path}"), "").await;
        assert!(!answer.starts_with("ok"), "{path}: {answer}");
        let denied = world.denied();
        // A path through a file ends at the file, before it could leave.
        assert!(
            path.starts_with("a/") || denied == ["component.a fs.open beneath-root"],
            "{path}: {denied:?}"
        );
    }
    let answer = world.ask("a", "fs-write:../written", "x").await;
    assert!(answer.starts_with("Denied"), "{answer}");
    assert!(!world.dir.path().join("written").exists());
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
