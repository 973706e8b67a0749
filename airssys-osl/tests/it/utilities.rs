//! Clocks, random bytes, variables, messages, and what nothing grants yet.

use std::{fs, path::Path, time::Duration};

use airssys_osl::{
    Action, ErrorKind, Incident, Milestone, Os, Verdict,
    audit::Outcome,
    bootstrap,
    limits::RANDOM_BYTES,
    policy::{Grant, Policy},
    system::Aspect,
    testing::MemorySink,
};

use crate::fixture::{assert_denied, assert_fails, assert_recorded_denial, last};

fn os(grants: impl IntoIterator<Item = Grant>) -> (Os, MemorySink) {
    let sink = MemorySink::new();
    (Os::new(Policy::builder().principal("p", grants).build().unwrap(), sink.clone()), sink)
}

#[test]
fn clocks() {
    let (os, sink) = os([Grant::clock().rule("r.clock")]);
    let clock = os.principal("p").unwrap().clock().unwrap();
    let record = sink.take().pop().unwrap();
    assert_eq!((record.action, &*record.rule), (Action::ClockRead, "r.clock"));
    let (first, second) = (clock.monotonic_now().unwrap(), clock.monotonic_now().unwrap());
    assert!(
        first <= second && second < Duration::from_secs(60),
        "it starts with the door, not with the machine"
    );
    assert!(clock.wall_now().unwrap().seconds > 1_700_000_000);
    assert!(clock.wall_now().unwrap().nanoseconds < 1_000_000_000);
    assert!(
        clock.monotonic_resolution().unwrap() > Duration::ZERO
            && clock.wall_resolution().unwrap() > Duration::ZERO
    );
    assert_eq!(sink.take(), [], "a reading leaves no record");

    os.reload(Policy::builder().principal("p", [Grant::clock()]).build().unwrap());
    clock.wall_now().unwrap();
    os.reload(Policy::builder().principal("p", []).build().unwrap());
    assert_denied(clock.wall_now(), "default-deny", "no longer granted");
    assert_recorded_denial(&sink.take(), "default-deny", "no longer granted");
}

#[test]
fn random_bytes() {
    let (os, sink) = os([Grant::random()]);
    let random = os.principal("p").unwrap().random().unwrap();
    assert_eq!(last(&sink.take()).action, Action::RandomRead);
    let mut bytes = [0; 1000];
    random.fill(&mut bytes).unwrap();
    assert!(bytes[..500].iter().any(|byte| *byte != 0) && bytes[500..].iter().any(|byte| *byte != 0));
    let first = bytes;
    random.fill(&mut bytes).unwrap();
    assert_ne!(first, bytes);
    assert_fails(random.fill(&mut vec![0; RANDOM_BYTES + 1]), ErrorKind::LimitExceeded, "too many");
}

#[test]
fn random_bytes_from_a_seed_come_again() {
    let draw = |seed| {
        let policy = Policy::builder().principal("p", [Grant::random()]).build().unwrap();
        let sink = MemorySink::new();
        let os = Os::builder(policy, sink.clone()).insecure_random(seed).build();
        let random = os.principal("p").unwrap().random().unwrap();
        assert!(!random.is_secure());
        assert_eq!(last(&sink.take()).resource, b"insecure", "who reads the log sees it");
        let (mut first, mut second) = ([0; 70], [0; 70]);
        random.fill(&mut first).unwrap();
        random.fill(&mut second).unwrap();
        assert_ne!(first, second, "it goes on");
        os.reload(Policy::default());
        assert_denied(random.fill(&mut first), "default-deny", "it is a grant all the same");
        [first, second]
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}

#[tokio::test]
async fn the_machine() {
    let (os, sink) = os(Aspect::ALL.iter().map(|aspect| Grant::system(*aspect).rule(aspect.name())));
    let principal = os.principal("p").unwrap();
    assert!(principal.cpu().unwrap().count > 0);
    let memory = principal.memory().unwrap();
    assert!(memory.available_bytes > 0 && memory.available_bytes <= memory.total_bytes, "{memory:?}");
    assert!(memory.swap_free_bytes <= memory.swap_total_bytes, "{memory:?}");
    let told = || {
        let told = fs::read_to_string("/proc/loadavg").unwrap();
        told.split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let (before, load, after) = (told(), principal.load().unwrap(), told());
    // The kernel counts anew every few seconds: between two looks, or even twice between three.
    let between = before.min(after) - 0.01..=before.max(after) + 0.01;
    assert!(between.contains(&load.one) || before != after, "{before}, {load:?}, {after}");
    let disks = principal.disks().await.unwrap();
    let root = disks.iter().find(|disk| disk.mount == Path::new("/")).expect("something holds the root");
    let space = root.space.expect("it is on this machine");
    assert!(space.available_bytes <= space.total_bytes && space.total_bytes > 0, "{root:?}");
    assert!(disks.iter().all(|disk| disk.mount != Path::new("/proc")), "it holds nothing");
    let interfaces = principal.interfaces().unwrap();
    let loopback = interfaces.iter().find(|interface| interface.loopback).expect("there always is one");
    assert!(loopback.index > 0 && loopback.mtu_bytes > 0 && !loopback.name.is_empty(), "{loopback:?}");
    if loopback.up {
        assert!(loopback.addresses.contains(&("127.0.0.1".parse().unwrap(), 8)), "{loopback:?}");
    }
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(principal.host_name().unwrap(), name.trim_end());
    let records = sink.take();
    for (record, aspect) in records.iter().zip(Aspect::ALL) {
        assert_eq!(
            (record.action, record.resource.as_slice()),
            (Action::SystemRead, aspect.name().as_bytes())
        );
        assert_eq!((record.verdict, &*record.rule), (Verdict::Allow, aspect.name()));
    }
    assert_eq!(records.len(), Aspect::ALL.len());
}

#[tokio::test]
async fn each_aspect_of_the_machine_is_a_grant_of_its_own() {
    for granted in Aspect::ALL {
        let (os, sink) = os([Grant::system(*granted)]);
        let principal = os.principal("p").unwrap();
        let asked = [
            principal.cpu().map(drop),
            principal.memory().map(drop),
            principal.load().map(drop),
            principal.disks().await.map(drop),
            principal.interfaces().map(drop),
            principal.host_name().map(drop),
        ];
        for (aspect, result) in Aspect::ALL.iter().zip(asked) {
            match aspect == granted {
                true => result.unwrap(),
                false => assert_denied(result, "default-deny", aspect.name()),
            }
        }
        assert_eq!(sink.take().len(), Aspect::ALL.len(), "a record for each question");
        let both = [Grant::system(*granted)];
        os.reload(Policy::builder().principal("p", both.clone()).forbid("p", both).build().unwrap());
        assert!(principal.cpu().is_err(), "a prohibition wins");
        os.revoke(&principal);
        assert_denied(principal.cpu(), "revoked", "afterwards");
    }
}

#[test]
fn nothing_is_granted_by_default() {
    let (os, sink) = os([]);
    let principal = os.principal("p").unwrap();
    assert_denied(principal.clock(), "default-deny", "clock");
    assert_denied(principal.random(), "default-deny", "random");
    assert_denied(principal.env(), "default-deny", "env");
    let records = sink.take();
    assert_eq!(records.len(), 3);
    assert_eq!(last(&records).resource, b"*");
    assert!(records.iter().all(|record| record.outcome == Outcome::Denied));
}

#[test]
fn variables() {
    // Cargo sets the two for each test.
    let names = ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "AIRSSYS_TEST_NOT_SET"];
    let (os, sink) = os(names.map(|name| Grant::env(name).rule("r.env")));
    let variables = os.principal("p").unwrap().env().unwrap();
    assert_eq!(variables.len(), 2, "those that are set, and none that is not granted: {variables:?}");
    assert_eq!(variables[1], ("CARGO_PKG_NAME".to_owned(), "airssys-osl".to_owned()));
    let record = sink.take().pop().unwrap();
    assert_eq!((record.action, record.verdict, &*record.rule), (Action::EnvRead, Verdict::Allow, "r.env"));
    assert_eq!(record.resource, b"AIRSSYS_TEST_NOT_SET,CARGO_MANIFEST_DIR,CARGO_PKG_NAME");
}

#[test]
fn messages() {
    let (os, sink) = os([Grant::send("q")]);
    let principal = os.principal("p").unwrap();
    principal.may_send("q").unwrap();
    assert_eq!(sink.take(), [], "a permitted message is no access to the system");
    assert_denied(principal.may_send("r"), "default-deny", "another");
    let record = sink.take().pop().unwrap();
    assert_eq!((record.action, &*record.resource, &*record.principal), (Action::ActorSend, &b"r"[..], "p"));
}

#[test]
fn topics() {
    let policy = Policy::builder()
        .principal("p", [Grant::publish("orders.>"), Grant::subscribe("orders.>"), Grant::subscribe("news")])
        .forbid("p", [Grant::subscribe("orders.secret.>").rule("f")]);
    let sink = MemorySink::new();
    let os = Os::new(policy.build().unwrap(), sink.clone());
    let principal = os.principal("p").unwrap();
    principal.may_publish("orders.eu.created").unwrap();
    for pattern in ["orders.>", "orders.*", "orders.*.created", "orders.eu", "news"] {
        principal.may_subscribe(pattern).unwrap();
    }
    assert_eq!(sink.take(), [], "as with messages: a permitted one is no access to the system");
    assert_denied(principal.may_publish("news"), "default-deny", "to hear of something is not to publish it");
    let record = sink.take().pop().unwrap();
    assert_eq!((record.action, &*record.resource), (Action::ActorPublish, &b"news"[..]));
    for wider in [">", "*", "*.eu", "order.>", "orders", "news.>"] {
        assert_denied(principal.may_subscribe(wider), "default-deny", wider);
    }
    assert_denied(principal.may_subscribe("orders.secret.*"), "f", "forbidden");
    sink.take();
    assert!(principal.hears("orders.eu") && !principal.hears("orders.secret.x") && !principal.hears("order"));
    os.reload(Policy::builder().principal("p", []).build().unwrap());
    assert!(!principal.hears("orders.eu"), "it was taken away");
    assert!(sink.take().iter().all(|record| record.action != Action::ActorSubscribe), "no operation");
}

#[test]
fn topics_are_learned_explained_and_printed() {
    let sink = MemorySink::new();
    let watched = Policy::builder().principal("component.a", []).mode(airssys_osl::policy::Mode::Learn);
    let os = Os::new(watched.build().unwrap(), sink.clone());
    let principal = os.principal("component.a").unwrap();
    principal.may_publish("orders.eu").unwrap();
    principal.may_subscribe("news.*.today").unwrap();
    let toml = airssys_osl::policy::learn::learn(&sink.take()).toml();
    assert!(toml.contains("publish = [\"orders.eu\"]\nsubscribe = [\"news.>\"]\n"), "{toml}");

    let request = airssys_osl::policy::Request {
        principal: "p",
        action: Action::ActorSubscribe,
        resource: airssys_osl::policy::Resource::Name("b"),
    };
    let policy = Policy::builder().principal("p", [Grant::subscribe("a.>").rule("r")]).build().unwrap();
    let told = policy.explain(&request, airssys_osl::policy::Moment::UNKNOWN).to_string();
    assert!(told.contains("denied by default-deny") && told.contains("r: it names something else"), "{told}");
    let cedar = policy.to_cedar();
    assert!(cedar.policies.contains("context.name like \"a.*\""), "{}", cedar.policies);
}

#[test]
fn attempts() {
    let (os, sink) = os([Grant::clock()]);
    let principal = os.principal("p").unwrap();
    let (connect, spawn) = (Action::NetConnect, Action::ProcessSpawn);
    let error = principal.attempt(connect, "169.254.169.254:80").unwrap_err();
    assert_eq!(error.to_string(), "cannot connect to `169.254.169.254:80`: denied by default-deny");
    assert_denied(principal.attempt(spawn, "/bin/sh"), "default-deny", "spawn");
    let records = sink.take();
    assert_eq!(records.iter().map(|record| record.action).collect::<Vec<_>>(), [connect, spawn]);
    assert_eq!(records[0].resource, b"169.254.169.254:80");
}

#[test]
fn milestones() {
    let (os, sink) = os([]);
    os.mark(Milestone::Start, "airssys.toml").unwrap();
    os.mark(Milestone::Stop, "").unwrap();
    let story: Vec<_> =
        sink.take().into_iter().map(|record| (record.principal, record.action, record.rule)).collect();
    let host = || "host".to_owned();
    assert_eq!(story, [(host(), Action::SystemStart, host()), (host(), Action::SystemStop, host())]);
}

#[test]
fn incidents_are_on_record_under_the_name_of_whom_they_are_about() {
    let (os, sink) = os([]);
    os.note("component.a", Incident::Exit, "it panicked").unwrap();
    os.note("component.b", Incident::DeadLetter, "echo").unwrap();
    let story: Vec<_> = sink
        .take()
        .into_iter()
        .map(|record| (record.principal, record.action, record.resource, record.rule))
        .collect();
    let of = |who: &str, action, what: &[u8]| (who.to_owned(), action, what.to_vec(), "host".to_owned());
    assert_eq!(
        story,
        [
            of("component.a", Action::ActorExit, b"it panicked"),
            of("component.b", Action::ActorDeadLetter, b"echo"),
        ]
    );
}

#[test]
fn the_first_file() {
    let tmp = tempfile::tempdir().unwrap();
    fs::write(tmp.path().join("airssys.toml"), "[system]").unwrap();
    std::os::unix::fs::symlink("airssys.toml", tmp.path().join("link")).unwrap();
    let found = bootstrap::read(tmp.path().join("link"), 8).unwrap();
    assert_eq!(found.bytes, b"[system]");
    assert_eq!(found.path, tmp.path().join("airssys.toml").canonicalize().unwrap());
    assert_fails(bootstrap::read(tmp.path().join("link"), 7), ErrorKind::LimitExceeded, "too long");
    assert_fails(bootstrap::read(tmp.path().join("absent"), 7), ErrorKind::NotFound, "absent");
    assert_fails(bootstrap::read("/dev/zero", 7), ErrorKind::Invalid, "a device");
    assert_fails(bootstrap::read(tmp.path(), 7), ErrorKind::Io, "a directory");
}

#[test]
fn the_first_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    let tmp = tempfile::tempdir().unwrap();
    let folder = tmp.path().join("state/airssys");
    bootstrap::create_dir(&folder).unwrap();
    bootstrap::create_dir(&folder).unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    fs::write(folder.join("file"), "").unwrap();
    assert_fails(
        bootstrap::create_dir(folder.join("file")),
        ErrorKind::AlreadyExists,
        "a file is in the way",
    );
    assert_eq!(bootstrap::variable("CARGO_PKG_NAME").unwrap(), "airssys-osl");
    assert_eq!(bootstrap::variable("AIRSSYS_TEST_NOT_SET"), None);
}
