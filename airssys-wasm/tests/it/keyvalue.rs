//! `wasi:keyvalue` through a guest that uses both drafts: what components share, what outlives them, and what is refused.

use crate::world::World;

const BOTH: &str = "rights = [\"read\", \"write\"]";

/// Two components that share the bucket `shared`, one of which only reads it, and a small bucket of the first.
fn two() -> String {
    format!(
        "[keyvalue.shared]\n[keyvalue.small]\nkeys = 5\nvalue = \"8B\"\nmemory = \"1KiB\"\n\
         [component.a]\nKEYVALUE\nmax_deliver = 1\nlimits = {{ handles = 64 }}\n\
         [component.a.grants]\nkeyvalue = [{{ bucket = \"shared\", {BOTH} }}, {{ bucket = \"small\", {BOTH} }}, \
         {{ bucket = \"ghost-*\", {BOTH} }}]\n\
         [component.b]\nKEYVALUE\n[component.b.grants]\n\
         keyvalue = [{{ bucket = \"shared\", rights = [\"read\"] }}]\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn components_share_what_they_are_granted() {
    let world = World::start(&two()).await;
    for (subject, payload, expected) in [
        ("get:shared:k", "", "None"),
        ("set:shared:k", "v", "()"),
        ("get:shared:k", "", "v"),
        ("get2:shared:k", "", "v"),
        ("exists:shared:k", "", "true"),
        ("increment:shared:n", "41", "41"),
        ("add:shared:n", "-42", "-1"),
        ("append:shared:log", "one", "3"),
        ("append:shared:log", "two", "6"),
        ("stale:shared:x", "", "refused, then true"),
        ("get:shared:x", "", "fresh"),
        ("get-many2:shared:k", "", "2"),
        ("delete:shared:x", "", "()"),
        ("exists:shared:x", "", "false"),
    ] {
        assert_eq!(world.ask("a", subject, payload).await, expected, "{subject}");
    }
    assert_eq!(world.ask("b", "get:shared:log", "").await, "onetwo", "what the other wrote");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_granted_is_denied_and_recorded() {
    let world = World::start(&two()).await;
    let denied = "Error::AccessDenied";
    for subject in ["set:shared:k", "delete:shared:k", "increment:shared:n"] {
        assert_eq!(world.ask("b", subject, "1").await, denied, "{subject}");
        assert_eq!(world.denied(), ["component.b keyvalue.write default-deny"], "{subject}");
    }
    for bucket in ["small", "nobody's"] {
        assert_eq!(world.ask("b", &format!("open:{bucket}"), "").await, denied, "{bucket}");
        assert_eq!(world.denied(), ["component.b keyvalue.open default-deny"], "{bucket}");
    }
    assert_eq!(world.ask("a", "open:ghost-1", "").await, "Error::NoSuchStore");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_outlives_who_wrote_it() {
    let world = World::start(&two()).await;
    world.crash("a", "crash:shared:k").await;
    assert_eq!(world.ask("a", "exists:shared:k", "").await, "true", "the next instance finds it");
    world.ask("a", "set:shared:k", "v").await;
    world.reload(&two().replace("[keyvalue.small]", "[keyvalue.more]\n[keyvalue.small]"));
    assert_eq!(world.ask("b", "get:shared:k", "").await, "v", "a reload leaves it");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_by_the_name_of_its_limit() {
    let world = World::start(&two()).await;
    let check = async |subject: &str, payload: &str, expected: &str| {
        let answer = world.ask("a", subject, payload).await;
        assert!(answer.contains(expected), "{subject}: {answer}");
    };
    check("huge:small:k", "9", "a value of 9 bytes, the limit `value` is 8").await;
    check("huge:shared:k", "16777216", "the limit `value` is 1048576").await;
    check("huge-key:shared", "1025", "a key of 1025 bytes, the limit is 1024").await;
    check("flood:small", "", "5: Error::Other").await;
    check("flood:small", "", "the limit `keys` is 5").await;
    check("count:small", "", "5").await;
    check("set-many:shared:m", "1025", "1025 keys at once, the limit is 1024").await;
    check("set-many:shared:m", "1024", "()").await;
    check("delete-many:shared:m", "1024", "()").await;
    check("huge:shared:big", "1048576", "()").await;
    check("get-many:shared:big", "16", "16").await;
    check("get-many:shared:big", "17", "more than 16777216 bytes of values at once").await;
    check("hoard:shared", "", "the limit is `limits.handles`").await;
    check("set:shared:n", "no number", "()").await;
    check("increment:shared:n", "1", "no number in decimal digits").await;
    check("set:shared:n", "18446744073709551615", "()").await;
    check("increment:shared:n", "1", "the sum is too large").await;
    assert_eq!(world.ask("b", "exists:shared:n", "").await, "true", "its neighbour is not disturbed");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_cursor_is_only_another_beginning() {
    let world = World::start(&two()).await;
    world.ask("a", "set-many:shared:m", "3").await;
    assert_eq!(world.ask("a", "list-from:shared", "0").await, "3");
    assert_eq!(world.ask("a", "list-from:shared", "18446744073709551615").await, "0");
    assert_eq!(world.ask("a", "list2-from:shared", "0").await, "3");
    for forged in ["", "-1", "99999999999999999999", "0; drop"] {
        let answer = world.ask("a", "list2-from:shared", forged).await;
        assert!(answer.contains("it is no cursor"), "{forged}: {answer}");
    }
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_components_at_once_lose_nothing() {
    let world = World::start(&two().replace("rights = [\"read\"]", BOTH)).await;
    let many = async |component: &str| {
        for _ in 0..100 {
            world.ask(component, "increment:shared:sum", "1").await;
            world.ask(component, "append:shared:log", "x").await;
        }
    };
    tokio::join!(many("a"), many("b"));
    assert_eq!(world.ask("a", "get:shared:sum", "").await, "200");
    assert_eq!(world.ask("a", "append:shared:log", "").await, "200");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_values_ends_at_the_memory_of_its_bucket() {
    let bucket = "[keyvalue.flooded]\nkeys = 1000000\nvalue = \"1MiB\"\nmemory = \"4MiB\"\n";
    let granted = format!("{{ bucket = \"flooded\", {BOTH} }}, {{ bucket = \"shared\"");
    let world =
        World::start(&format!("{bucket}{}", two().replacen("{ bucket = \"shared\"", &granted, 1))).await;
    let mut kept = 0;
    for number in 0..8 {
        let answer = world.ask("a", &format!("huge:flooded:k{number}"), "1000000").await;
        if answer == "()" {
            kept += 1;
        } else {
            assert!(
                answer.contains("more bytes of keys and values than the limit `memory`, 4194304"),
                "{answer}"
            );
        }
    }
    assert_eq!(kept, 4, "of a million bytes each");
    // What is replaced makes room for itself, and what is gone for others.
    assert_eq!(world.ask("a", "huge:flooded:k0", "1000000").await, "()");
    assert_eq!(world.ask("a", "delete:flooded:k1", "").await, "()");
    assert_eq!(world.ask("a", "huge:flooded:k9", "1000000").await, "()");
    assert_eq!(world.ask("a", "set:shared:k", "v").await, "()", "another bucket has its own room");
    assert_eq!(world.ask("b", "get:shared:k", "").await, "v", "and its neighbour is not disturbed");
    world.system.shutdown().await;
}
