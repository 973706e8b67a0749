//! Messages arrive once, in order, from whom they say, and only where the manifest lets them.

use std::time::Duration;

use airssys_wasm::ErrorKind;

use crate::world::{PATIENCE, World};

const PAIR: &str = "[component.b]\nSOURCE\nlimits = { payload = \"1KiB\" }\n\
                    [component.a]\nSOURCE\ngrants = { send = [\"b\"] }\n[component.c]\nSOURCE\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_sends_and_calls_where_it_may() {
    let world = World::start(PAIR).await;
    assert_eq!(world.ask("a", "send:b", "x").await, "ok: sent");
    let mut calls = 1;
    loop {
        let answer = world.ask("a", "call:b", "hello").await;
        if answer == "ok: hello" {
            break;
        }
        // The guest waits for half a second, in which a busy machine may get nowhere.
        assert!(answer.contains("TimedOut"), "{answer}");
        calls += 1;
    }
    let expected = (1 + calls + 1).to_string();
    assert_eq!(world.ask("b", "handled", "").await, expected, "what was sent, what was called, and this");
    assert!(world.denied().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_sends_nowhere_else() {
    let world = World::start(PAIR).await;
    for (from, to) in [("c", "b"), ("a", "c"), ("a", "a"), ("a", "nobody")] {
        let answer = world.ask(from, &format!("send:{to}"), "x").await;
        assert!(answer.starts_with("Denied"), "{from} to {to}: {answer}");
        assert_eq!(world.denied(), [format!("component.{from} actor.send default-deny")]);
    }
    assert_eq!(world.ask("b", "handled", "").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_crashes_has_sent_nothing() {
    let world = World::start(PAIR).await;
    world.crash("a", "send-then-trap:b").await;
    assert_eq!(world.ask("b", "handled", "").await, "1", "only this question arrived");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_outbox_holds_arrives_through_a_smaller_mailbox() {
    let components =
        "[component.b]\nSOURCE\nmailbox = 3\n[component.a]\nSOURCE\ngrants = { send = [\"b\"] }\n";
    let world = World::start(components).await;
    assert_eq!(world.ask("a", "flood:b", "x").await, "ok: flooded");
    assert_eq!(world.ask("b", "handled", "").await, "10001");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_cannot_wait_for_itself() {
    let world = World::start("[component.a]\nSOURCE\nmailbox = 3\ngrants = { send = [\"a\"] }\n").await;
    assert_eq!(world.ask("a", "flood:a", "x").await, "ok: flooded");
    assert!(world.ask("a", "call:a", "x").await.contains("TimedOut"), "a call to itself is not answered");
    let status = &world.system.status()[0];
    assert!(status.dead > 0, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sender_is_who_it_is() {
    let world = World::start(PAIR).await;
    assert_eq!(world.ask("b", "sender", "").await, "host");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_messages_hold() {
    let world = World::start(PAIR).await;
    let large = "x".repeat(1025);
    assert!(world.ask("a", "send:b", &large).await.starts_with("LimitExceeded"), "the receiver's limit");
    let error = world.system.call("b", "echo", large.into(), PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    let error = world.system.call("b", &"s".repeat(257), Vec::new(), PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    let error = world.system.call("nobody", "echo", Vec::new(), PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_told_from_an_empty_one() {
    let world = World::start(PAIR).await;
    assert_eq!(world.system.call("b", "silent", Vec::new(), PATIENCE).await.unwrap(), None);
    assert_eq!(world.system.call("b", "echo", Vec::new(), PATIENCE).await.unwrap(), Some(Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_survives_the_crash_of_what_is_before_it() {
    let world = World::start(PAIR).await;
    let crash = world.system.call("b", "trap", Vec::new(), PATIENCE);
    let echoes = ["1", "2", "3"].map(|text| world.ask("b", "echo", text));
    let [one, two, three] = echoes;
    let (crashed, one, two, three) = tokio::join!(crash, one, two, three);
    assert!(crashed.is_err());
    assert_eq!((one.as_str(), two.as_str(), three.as_str()), ("1", "2", "3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_fire_once_and_a_crash_disarms_them() {
    let world = World::start(PAIR).await;
    assert_eq!(world.ask("b", "timer:trap/0", "").await, "ok: set");
    // The timer crashes it, and it starts anew, without the timer.
    while world.ask("b", "handled", "").await != "1" {}
    assert_eq!(world.told().iter().filter(|line| line.starts_with("exited s/b")).count(), 1);
    assert_eq!(world.ask("b", "timer:later/3600000", "").await, "ok: set");
    assert_eq!(world.ask("b", "cancel:later", "").await, "true");
    assert_eq!(world.ask("b", "cancel:later", "").await, "false");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_system_is_told_from_a_busy_one() {
    let world = World::start(PAIR).await;
    for round in 1..=10 {
        world.ask("a", "send:b", "x").await;
        world.system.idle(Duration::from_millis(50)).await;
        let handled: u64 = world.system.status().iter().map(|status| status.handled).sum();
        if handled == 2 * round {
            return;
        }
        // Who was stopped by the machine between taking a message and saying that it is busy looked idle: once more.
    }
    panic!("it is idle when all is handled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_a_trace_of_its_own_and_one_that_holds_goes_on() {
    let world = World::start(PAIR).await;
    world.ask("c", "clock", "").await;
    world.ask("c", "env:LANG", "").await;
    let request = world.ask("c", "env:HOME", "");
    airssys_osl::trace::scope([7; 16], request).await;
    let traces = world.traces();
    let [one, other, held] = traces[..] else { panic!("{traces:?}") };
    assert!(one != other && one != [0; 16] && other != [0; 16] && held == [7; 16], "{traces:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_it_waits_for_until_it_is_killed_is_given_up_too() {
    is_given_up_when_killed_twice("").await;
}

/// Has a component with these keys be killed each time that it has one message in hand.
pub(crate) async fn is_given_up_when_killed_twice(keys: &str) {
    let peer = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = peer.local_addr().unwrap();
    let components = format!(
        "[supervisor.x]\nstrategy = \"one_for_all\"\nchildren = [\"a\", \"b\"]\n\
         [component.a]\nSOCKETS\n{keys}max_deliver = 2\nshutdown = \"brutal_kill\"\n\
         grants = {{ connect = [\"tcp://{address}\"] }}\n\
         [component.b]\nSOURCE\nmax_deliver = 1\n"
    );
    let world = World::start(&components).await;
    // It waits for what its peer says, which is nothing, and is killed with its sibling.
    let kill = async {
        let mut silent = Vec::new();
        for _ in 0..2 {
            silent.push(peer.accept().await.unwrap());
            world.crash("b", "trap").await;
        }
        silent
    };
    let subject = format!("connect:{address}");
    tokio::join!(world.crash("a", &subject), kill);
    let given_up = format!("dead a {subject} after 2: its receiver was killed at it");
    let told = world.told();
    assert!(told.contains(&given_up), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_larger_answer_than_the_caller_takes_is_no_crash_of_the_caller() {
    let components = "[component.b]\nSOURCE\n\
                      [component.a]\nSOURCE\nlimits = { memory = \"16MiB\", payload = \"1KiB\" }\n\
                      grants = { send = [\"b\"] }\n";
    let world = World::start(components).await;
    assert_eq!(world.ask("a", "ask:b/huge:1024", "").await, "ok: 1024");
    for bytes in ["1025", "30000000"] {
        let answer = world.ask("a", &format!("ask:b/huge:{bytes}"), "").await;
        assert!(answer.starts_with("LimitExceeded"), "{bytes}: {answer}");
    }
    assert_eq!(world.ask("a", "handled", "").await, "4", "it is the same instance");
    assert!(world.told().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_waits_no_longer_for_what_was_sent_before_it() {
    let components = "[component.b]\nSOURCE\nmailbox = 1\nmax_deliver = 1\nlimits = { deadline = \"2s\" }\n\
                      [component.a]\nSOURCE\ngrants = { send = [\"b\"] }\n";
    let world = World::start(components).await;
    for _ in 0..20 {
        // It is busy until its deadline, and has no room for more than one message meanwhile.
        let busy = world.system.call("b", "spin", Vec::new(), PATIENCE);
        let waiting = world.system.call("b", "echo", Vec::new(), PATIENCE);
        let asked = world.ask("a", "send-then-call:b", "x");
        let (_, _, answer) = tokio::join!(busy, waiting, asked);
        if answer.contains("TimedOut") {
            return;
        }
        // A busy machine may have begun with the last first, or have been longer at its half second than b.
    }
    panic!("a call of half a second takes as long as there is no room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn components_that_flood_each_other_do_not_wait_for_ever() {
    let ring = [("a", "b"), ("b", "c"), ("c", "a")];
    let components = ring.map(|(name, next)| {
        format!("[component.{name}]\nSOURCE\nmailbox = 3\ngrants = {{ send = [\"{next}\"] }}\n")
    });
    let world = World::start(&components.concat()).await;
    let flood = async |from: &str, to: &str| world.ask(from, &format!("flood:{to}"), "x").await;
    let flooded = tokio::join!(flood("a", "b"), flood("b", "c"), flood("c", "a"));
    assert_eq!(flooded, ("ok: flooded".into(), "ok: flooded".into(), "ok: flooded".into()));
    for (name, _) in ring {
        world.ask(name, "echo", "still here").await;
    }
    let dead = world.given_up_of(3 * (1 + 10_000 + 1)).await;
    let told = world.told();
    assert!(told.iter().all(|line| line.contains("its receiver waits for room")), "{:?}", told.last());
    assert_eq!(told.len() as u64, dead);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_have_a_rate_where_the_manifest_says_so() {
    let send = "{ to = \"b\", conditions = { at_most = \"2/1d\" } }";
    let components =
        format!("[component.b]\nSOURCE\n[component.a]\nSOURCE\ngrants = {{ send = [{send}] }}\n");
    let world = World::start(&components).await;
    assert_eq!(world.ask("a", "send:b", "x").await, "ok: sent");
    assert_eq!(world.ask("a", "send:b", "x").await, "ok: sent");
    assert!(world.ask("a", "send:b", "x").await.starts_with("Denied"));
    assert_eq!(world.denied(), ["component.a actor.send component.a.grants.send[0]: over its rate"]);
}
