//! What actors publish, hear, answer later, and know of what they do.

use std::time::Duration;

use airssys_wasm::{ErrorKind, Handover};
use tokio::task::JoinSet;

use crate::{
    versions::{hostile, talker},
    world::{PATIENCE, World},
};

/// One that publishes, one that hears, and one that may do neither.
const THREE: &str = "[component.a]\nTALKER\nmax_deliver = 1\n\
    grants = { publish = [\"orders.>\", \"news\"], send = [\"b\"] }\n\
    [component.b]\nTALKER\nmax_deliver = 1\non_restart = \"snapshot\"\nconfig = { subscribe = \"orders.*.created\" }\n\
    [component.b.grants]\nsubscribe = [\"orders.>\", \"many.>\"]\n\
    [component.c]\nTALKER\nmax_deliver = 1\n";

/// What `context:` of the talker tells from more.
const MINUTE: Duration = Duration::from_secs(60);

async fn start() -> World {
    World::start(THREE).await
}

/// Who asks has handled what came before.
async fn heard(world: &World, name: &str) -> String {
    world.ask(name, "heard:", "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_is_heard_by_who_subscribes() {
    let world = start().await;
    assert_eq!(world.ask("a", "publish:orders.eu.created", " one").await, "published");
    assert_eq!(world.ask("a", "publish:orders.eu.paid", " two").await, "published");
    assert_eq!(world.ask("a", "publish-json:orders.us.created", "").await, "published");
    let expected = "a orders.eu.created  one, a orders.us.created application/json\"said\"";
    assert_eq!(heard(&world, "b").await, expected, "and not what is not selected");
    assert_eq!(world.ask("b", "subscribe:orders.>", "").await, "subscribed");
    assert_eq!(world.ask("a", "publish:orders.eu.created", "").await, "published");
    assert_eq!(heard(&world, "b").await, "a orders.eu.created , a orders.eu.created ", "once for each");
    assert_eq!(world.ask("b", "unsubscribe:orders.*.created", "").await, "true");
    assert_eq!(world.ask("b", "unsubscribe:orders.*.created", "").await, "false");
    assert_eq!(world.ask("a", "publish:orders.eu.created", "").await, "published");
    assert_eq!(heard(&world, "b").await, "a orders.eu.created ");
    assert!(world.denied().is_empty());
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_published_or_heard_without_a_grant() {
    let world = start().await;
    for (from, subject, rule) in [
        ("c", "publish:news", "component.c actor.publish default-deny"),
        ("c", "subscribe:news", "component.c actor.subscribe default-deny"),
        ("a", "publish:order", "component.a actor.publish default-deny"),
        ("a", "subscribe:orders.>", "component.a actor.subscribe default-deny"),
        ("b", "subscribe:>", "component.b actor.subscribe default-deny"),
        ("b", "subscribe:*.eu", "component.b actor.subscribe default-deny"),
    ] {
        let answer = world.ask(from, subject, "").await;
        assert!(answer.starts_with("Denied"), "{from} {subject}: {answer}");
        assert_eq!(world.denied(), [rule], "{subject}");
    }
    for (from, subject) in [
        ("a", "publish:"),
        ("a", "publish:orders.>"),
        ("a", "publish:orders..x"),
        ("b", "subscribe:orders.>.x"),
    ] {
        let answer = world.ask(from, subject, "").await;
        assert!(answer.starts_with("Invalid"), "{from} {subject}: {answer}");
    }
    assert!(world.denied().is_empty(), "what is no topic is not asked for");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_is_taken_away_is_heard_by_no_longer() {
    let world = start().await;
    world.reload(&THREE.replace("subscribe = [\"orders.>\"", "subscribe = [\"orders.us.>\""));
    world.ask("a", "publish:orders.eu.created", "").await;
    world.ask("a", "publish:orders.us.created", "").await;
    assert_eq!(heard(&world, "b").await, "a orders.us.created ");
    world.reload(&format!("{THREE}[policy.forbid]\nsubscribe = [\"orders.us.>\"]\n"));
    world.ask("a", "publish:orders.eu.created", "").await;
    world.ask("a", "publish:orders.us.created", "").await;
    assert_eq!(
        heard(&world, "b").await,
        "a orders.eu.created ",
        "what is forbidden is not heard by a pattern"
    );
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_crashes_has_published_answered_and_subscribed_to_nothing() {
    let world = start().await;
    world.crash("a", "publish-trap:orders.eu.created").await;
    world.crash("b", "subscribe-trap:orders.>").await;
    world.ask("a", "publish:orders.eu.created", "").await;
    assert_eq!(
        heard(&world, "b").await,
        "a orders.eu.created ",
        "by the pattern of its start alone, and once"
    );
    let world = World::start("[component.a]\nTALKER\nmax_deliver = 1\n").await;
    let question = world.system.call("a", "later:", Vec::new(), PATIENCE);
    let crash = async {
        while world.ask("a", "waiting:", "").await == "[]" {}
        world.crash_by("a", "answer-trap:", "lost").await;
    };
    let (answered, ()) = tokio::join!(question, crash);
    assert_eq!(answered.unwrap_err().kind(), ErrorKind::Unavailable, "the answer was not given");
}

// On one thread, where nobody hears a first copy before the second one has left.
#[tokio::test]
async fn subscriptions_outlive_a_crash_and_an_upgrade_and_not_a_version_that_is_taken_back() {
    let world = start().await;
    assert_eq!(world.ask("b", "subscribe:many.>", "").await, "subscribed");
    world.ask("b", "unsubscribe:orders.*.created", "").await;
    world.crash("b", "trap:").await;
    // Its caller hears of the crash before it starts again.
    assert_eq!(heard(&world, "b").await, "");
    world.ask("a", "publish:orders.eu.created", "").await;
    assert_eq!(heard(&world, "b").await, "a orders.eu.created ", "it subscribed again when it started");
    world.ask("b", "unsubscribe:orders.*.created", "").await;
    assert_eq!(world.ask("b", "subscribe:orders.eu.>", "").await, "subscribed");
    // This one subscribes at its start, and crashes of its first message: with it goes what it subscribed to.
    world.upgrade_to("b", &talker("late").await, Handover::State).await.unwrap();
    world.ask("a", "publish:orders.eu.created", "").await;
    assert_eq!(
        heard(&world, "b").await,
        "a orders.eu.created , a orders.eu.created ",
        "by both, until it crashed"
    );
    assert!(world.told().iter().any(|line| line.starts_with("taken back b")));
    world.ask("a", "publish:orders.us.created", "").await;
    assert_eq!(heard(&world, "b").await, "", "not by that which went");
    world.ask("a", "publish:orders.eu.created", "").await;
    assert_eq!(heard(&world, "b").await, "a orders.eu.created ");
    world.upgrade_to("b", &talker("fine").await, Handover::State).await.unwrap();
    world.ask("a", "publish:orders.eu.paid", "").await;
    assert_eq!(heard(&world, "b").await, "a orders.eu.paid ", "it is still there");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_subscriptions_ends_at_its_bound() {
    let world = start().await;
    let answer = world.ask("b", "subscribe-many:64", "").await;
    assert!(answer.starts_with("LimitExceeded"), "with that of its start it is one too many: {answer}");
    world.ask("b", "unsubscribe:orders.*.created", "").await;
    assert_eq!(world.ask("b", "subscribe-many:64", "").await, "subscribed", "again is no more");
    assert!(world.ask("b", "subscribe:orders.x", "").await.starts_with("LimitExceeded"));
    assert_eq!(world.ask("b", "unsubscribe:many.7", "").await, "true");
    assert_eq!(world.ask("b", "subscribe:orders.x", "").await, "subscribed");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_what_is_published_waits_for_nobody_and_is_not_lost() {
    let topic = "grants = { publish = [\"t\"] }";
    let subscriber = "config = { subscribe = \"t\" }\ngrants = { subscribe = [\"t\"] }";
    let components = format!(
        "[component.a]\nTALKER\n{topic}\n[component.b]\nTALKER\nmailbox = 4\n{subscriber}\n\
         [component.small]\nTALKER\nlimits = {{ payload = \"3B\" }}\n{subscriber}\n"
    );
    let world = World::start(&components).await;
    assert_eq!(world.ask("a", "publish-many:t", "2000").await, "published");
    let answer = heard(&world, "b").await;
    let told = world.told();
    let dead = |name: &str, why: &str| {
        told.iter()
            .filter(|line| line.starts_with(&format!("dead {name} t after 0")) && line.contains(why))
            .count()
    };
    let all = answer.split(", ").filter(|one| !one.is_empty()).count() + dead("b", "mailbox is full");
    assert_eq!(all, 2000, "each is in one place: {answer}");
    assert_eq!(dead("small", "larger than its subscriber takes"), 1000, "those of four digits");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_given_later_and_once() {
    let world = start().await;
    let question = world.system.call("c", "later:", Vec::new(), PATIENCE);
    let answer = async {
        while world.ask("c", "waiting:", "").await == "[]" {}
        world.ask("c", "answer:", "here").await
    };
    let (answered, told) = tokio::join!(question, answer);
    assert_eq!((answered.unwrap(), told.as_str()), (Some(b"here".to_vec()), "answered"));
    for number in ["1", "2", "0", "18446744073709551615"] {
        let answer = world.ask("c", &format!("answer-number:{number}"), "x").await;
        assert!(answer.starts_with("NotFound"), "answered, never given, none: {answer}");
    }
    let question = world.system.call("c", "later:", Vec::new(), PATIENCE);
    let answer = async {
        while world.ask("c", "waiting:", "").await == "[]" {}
        world.ask("c", "answer-twice:", "").await
    };
    let (answered, told) = tokio::join!(question, answer);
    assert_eq!(answered.unwrap(), Some(b"first".to_vec()));
    assert!(told.starts_with("NotFound"), "{told}");
    for (subject, expected) in [("later-now:", Some(&b"at once"[..])), ("later-drop:", None)] {
        let answer = world.system.call("c", subject, Vec::new(), PATIENCE).await;
        assert_eq!(answer.unwrap().as_deref(), expected, "{subject}");
    }
    let question = world.system.call("c", "later:", Vec::new(), PATIENCE);
    let refuse = async {
        while world.ask("c", "waiting:", "").await == "[]" {}
        world.ask("c", "refuse:", "").await
    };
    let (answered, told) = tokio::join!(question, refuse);
    assert_eq!((answered.unwrap(), told.as_str()), (None, "refused"), "the caller hears it at once");
    world.crash("c", "later-twice:").await;
    world.crash("c", "later-trap:").await;
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_hears_of_a_crash_at_once_and_its_number_is_worth_nothing() {
    let world = World::start("[component.a]\nTALKER\nmax_deliver = 1\non_restart = \"snapshot\"\n").await;
    let question = world.system.call("a", "later:", Vec::new(), PATIENCE);
    let crash = async {
        while world.ask("a", "waiting:", "").await == "[]" {}
        world.crash("a", "trap:").await;
    };
    let (answered, ()) = tokio::join!(question, crash);
    assert_eq!(answered.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(world.ask("a", "waiting:", "").await, "[1]", "it is in the state that was kept");
    assert!(world.ask("a", "answer:", "late").await.starts_with("NotFound"));
    let question = world.system.call("a", "later:", Vec::new(), PATIENCE);
    let answer = async {
        while world.ask("a", "waiting:", "").await == "[]" {}
        let waiting = world.ask("a", "waiting:", "").await;
        assert!(
            world.ask("a", "answer-number:1", "").await.starts_with("NotFound"),
            "of the instance before"
        );
        (waiting, world.ask("a", "answer:", "new").await)
    };
    let (answered, told) = tokio::join!(question, answer);
    assert_eq!(told, ("[2]".to_owned(), "answered".to_owned()), "no number is given twice");
    assert_eq!(answered.unwrap(), Some(b"new".to_vec()));
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_goes_on_waiting_through_an_upgrade_with_the_state() {
    let world = World::start("[component.a]\nTALKER\nmax_deliver = 1\n").await;
    let question = world.system.call("a", "later:", Vec::new(), PATIENCE);
    let answer = async {
        while world.ask("a", "waiting:", "").await == "[]" {}
        world.upgrade_to("a", &talker("late").await, Handover::State).await.unwrap();
        // It crashes of this, and the one before it goes on: with who waits.
        assert_eq!(world.ask("a", "waiting:", "").await, "[1]");
        world.upgrade_to("a", &talker("fine").await, Handover::State).await.unwrap();
        world.ask("a", "answer:", "by the next version").await
    };
    let (answered, told) = tokio::join!(question, answer);
    assert_eq!((answered.unwrap(), told.as_str()), (Some(b"by the next version".to_vec()), "answered"));

    let question = world.system.call("a", "later:", Vec::new(), PATIENCE);
    let upgrade = async {
        while world.ask("a", "waiting:", "").await == "[]" {}
        world.upgrade_to("a", &hostile().await, Handover::Fresh).await.unwrap();
        world.ask("a", "echo", "new").await
    };
    let (answered, _) = tokio::join!(question, upgrade);
    assert_eq!(answered.unwrap_err().kind(), ErrorKind::Unavailable, "nobody is left who knows of it");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_who_waits_ends_at_its_bound() {
    let world = World::start("[component.a]\nTALKER\nmailbox = 4096\n").await;
    let world = std::sync::Arc::new(world);
    let mut callers = JoinSet::new();
    for _ in 0..1024 {
        let world = world.clone();
        callers.spawn(async move { world.system.call("a", "later:", Vec::new(), PATIENCE).await });
    }
    while world.ask("a", "waiting:", "").await.split(", ").count() < 1024 {}
    assert!(world.ask("a", "later-try:", "").await.starts_with("LimitExceeded"));
    assert_eq!(world.ask("a", "refuse:", "").await, "refused");
    assert_eq!(callers.join_next().await.unwrap().unwrap().unwrap(), None);
    // There is room for one again.
    let question = world.system.call("a", "later:", Vec::new(), PATIENCE);
    let answer = async {
        while world.ask("a", "waiting:", "").await.split(", ").count() < 1024 {}
        for _ in 0..1024 {
            assert_eq!(world.ask("a", "answer:", "x").await, "answered");
        }
    };
    let (answered, ()) = tokio::join!(question, answer);
    assert_eq!(answered.unwrap(), Some(b"x".to_vec()));
    while let Some(answered) = callers.join_next().await {
        assert_eq!(answered.unwrap().unwrap(), Some(b"x".to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typed_messages_and_what_is_known_of_them() {
    let world = start().await;
    assert_eq!(world.ask("a", "ask-sum:b", "").await, "Some(42)");
    let asked = airssys_osl::trace::scope([0xab; 16], world.ask("a", "ask-context:b", "")).await;
    let trace = "ab".repeat(16);
    assert_eq!(asked, format!("(\"b\", \"application/json\", Some(true), \"{trace}\")"));
    let told = airssys_osl::trace::scope([1; 16], world.ask("b", "context:", "")).await;
    let trace = "01".repeat(16);
    assert_eq!(told, format!("\"(\\\"b\\\", \\\"\\\", Some(true), \\\"{trace}\\\")\""), "nothing was said");
    assert_eq!(world.ask("a", "tell:b", "").await, "told");
    assert_eq!(heard(&world, "b").await, "a told application/json1");
    assert_eq!(world.ask("a", "random:", "").await, "5000 true");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_called_meanwhile_knows_for_how_long_the_first_caller_waits() {
    // They wait for an hour themselves. A worker handles its message in a task of its own.
    let components = "[component.a]\nTALKER\nmax_deliver = 1\ngrants = { send = [\"b\"] }\n\
                      [component.w]\nSOURCE\nworkers = 2\nmax_deliver = 1\ngrants = { send = [\"b\"] }\n\
                      [component.b]\nTALKER\nmax_deliver = 1\n";
    let world = World::start(components).await;
    let ask = async |name: &str, subject: &str, time: Duration| {
        let answer = world.system.call(name, subject, Vec::new(), time).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    };
    assert!(ask("a", "ask-context:b", PATIENCE).await.contains("Some(true)"));
    assert!(ask("a", "ask-context:b", MINUTE).await.contains("Some(false)"));
    // It tells how long the answer is.
    let length = async |time: Duration| {
        let answer = ask("w", "ask:b/context:", time).await;
        answer.strip_prefix("ok: ").and_then(|length| length.parse::<usize>().ok()).unwrap()
    };
    assert_eq!(length(MINUTE).await, length(PATIENCE).await + "false".len() - "true".len());
    world.system.shutdown().await;
}
