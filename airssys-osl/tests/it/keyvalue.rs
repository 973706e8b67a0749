//! Buckets: who may do what in them, what is recorded, what they hold, and who comes between.

use std::thread;

use airssys_osl::{
    Action, Error, ErrorKind, Os, Verdict,
    audit::{Outcome, Phase},
    keyvalue::{Bucket, BucketLimits},
    limits::{BUCKET_KEY_BYTES, BUCKET_PAGE_KEYS},
    policy::{Grant, Policy, Rights, learn::learn},
    testing::MemorySink,
};

use crate::fixture::{assert_denied, assert_fails, assert_recorded_denial};

const BOTH: Rights = Rights::READ.union(Rights::WRITE);

const SMALL: BucketLimits = BucketLimits { keys: 3, value_bytes: 8, bytes: 20 };

fn policy(grants: impl IntoIterator<Item = Grant>) -> Policy {
    Policy::builder().principal("p", grants).build().unwrap()
}

/// A door with the bucket `b`, and a principal `p`.
fn os(grants: impl IntoIterator<Item = Grant>, limits: BucketLimits) -> (Os, MemorySink) {
    let sink = MemorySink::new();
    let os = Os::new(policy(grants), sink.clone());
    os.provide_buckets([("b", limits)]);
    (os, sink)
}

fn open(os: &Os) -> Bucket {
    os.principal("p").unwrap().bucket("b").unwrap()
}

/// Each operation by its name, and the right that it takes.
const OPERATIONS: &[(&str, Rights)] = &[
    ("get", Rights::READ),
    ("reading", Rights::READ),
    ("exists", Rights::READ),
    ("keys", Rights::READ),
    ("set", Rights::WRITE),
    ("delete", Rights::WRITE),
    ("increment", Rights::WRITE),
    ("increment signed", Rights::WRITE),
    ("swap", Rights::WRITE),
];

fn act(bucket: &Bucket, operation: &str) -> Result<(), Error> {
    match operation {
        "get" => bucket.get("k").map(drop),
        "reading" => bucket.reading("k").map(drop),
        "exists" => bucket.exists("k").map(drop),
        "keys" => bucket.keys(0).map(drop),
        "set" => bucket.set("k", b"1"),
        "delete" => bucket.delete("k").map(drop),
        "increment" => bucket.increment("k", 1).map(drop),
        "increment signed" => bucket.increment_signed("k", -1).map(drop),
        "swap" => bucket.swap("k", open_version(), b"1").map(drop),
        other => panic!("no operation is called {other}"),
    }
}

/// The version of a key that is not there.
fn open_version() -> airssys_osl::keyvalue::Version {
    let (os, _) = os([Grant::keyvalue("b", BOTH)], BucketLimits::default());
    open(&os).reading("k").unwrap().version
}

#[test]
fn each_operation_takes_its_right_and_leaves_its_record() {
    for rights in [Rights::READ, Rights::WRITE, BOTH] {
        let (os, sink) = os([Grant::keyvalue("b", rights).rule("r")], BucketLimits::default());
        let bucket = open(&os);
        assert_eq!(sink.take().last().map(|record| record.action), Some(Action::KeyvalueOpen));
        for (operation, needs) in OPERATIONS {
            let what = format!("{operation} with {rights}");
            let result = act(&bucket, operation);
            let records = sink.take();
            if !rights.contains(*needs) {
                assert_denied(result, "default-deny", &what);
                assert_recorded_denial(&records, "default-deny", &what);
                continue;
            }
            result.unwrap_or_else(|error| panic!("{what}: {error}"));
            let phases: Vec<_> = records.iter().map(|record| record.phase).collect();
            let record = records.last().unwrap();
            let (action, expected) = match *needs {
                Rights::READ => (Action::KeyvalueRead, vec![Phase::Done]),
                _ => (Action::KeyvalueWrite, vec![Phase::Intent, Phase::Done]),
            };
            assert_eq!((record.action, phases), (action, expected), "{what}");
            assert_eq!((&*record.rule, record.outcome), ("r", Outcome::Success), "{what}");
            let resource: &[u8] = if *operation == "keys" { b"b" } else { b"b\0k" };
            assert_eq!(record.resource, resource, "{what}");
        }
    }
}

#[test]
fn a_bucket_that_is_not_granted_or_is_not_there() {
    let (os, sink) = os([Grant::keyvalue("c*", Rights::READ)], BucketLimits::default());
    let principal = os.principal("p").unwrap();
    assert_denied(principal.bucket("b"), "default-deny", "of another");
    assert_recorded_denial(&sink.take(), "default-deny", "of another");
    assert_fails(principal.bucket("c1"), ErrorKind::NotFound, "granted, and not there");
    os.provide_buckets([("c1", BucketLimits::default())]);
    assert_eq!(principal.bucket("c1").unwrap().get("k").unwrap(), None);
}

#[test]
fn a_bucket_that_is_taken_away_is_gone_for_who_has_it_open() {
    let (os, _) = os([Grant::keyvalue("b", BOTH)], BucketLimits::default());
    let bucket = open(&os);
    bucket.set("k", b"v").unwrap();
    os.provide_buckets([]);
    os.provide_buckets([("b", BucketLimits::default())]);
    for (operation, _) in OPERATIONS {
        assert_fails(act(&bucket, operation), ErrorKind::NotFound, operation);
    }
    assert_eq!(open(&os).get("k").unwrap(), None, "another one, of the same name");
}

#[test]
fn a_policy_that_changes_holds_for_open_buckets() {
    let (os, _) = os([Grant::keyvalue("b", BOTH)], BucketLimits::default());
    let bucket = open(&os);
    bucket.set("k", b"v").unwrap();
    let forbidding = Policy::builder()
        .principal("p", [Grant::keyvalue("b", BOTH)])
        .forbid("p", [Grant::keyvalue("b", Rights::WRITE).rule("f")]);
    os.reload(forbidding.build().unwrap());
    assert_denied(bucket.set("k", b"w"), "f", "forbidden");
    assert_eq!(bucket.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    os.reload(policy([]));
    assert_denied(bucket.get("k"), "default-deny", "no longer granted");
    os.reload(policy([Grant::keyvalue("b", BOTH)]));
    let principal = os.principal("p").unwrap();
    let bucket = principal.bucket("b").unwrap();
    assert_eq!(bucket.get("k").unwrap().as_deref(), Some(&b"v"[..]), "whoever holds it, it is the same");
    os.revoke(&principal);
    assert_denied(bucket.get("k"), "revoked", "its life is over");
}

#[test]
fn what_is_in_the_way_is_named() {
    let (os, sink) = os([Grant::keyvalue("b", BOTH)], SMALL);
    let bucket = open(&os);
    let long = "k".repeat(BUCKET_KEY_BYTES + 1);
    let check = |key: &str, value: &[u8], kind, expected: &str| {
        let error = bucket.set(key, value).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!((error.kind(), &*cause), (kind, expected), "{error}");
        assert!(matches!(sink.take().last().unwrap().outcome, Outcome::Failed(_)), "{expected}");
        assert_eq!(bucket.get(key).unwrap(), None, "nothing was written");
    };
    let limit = ErrorKind::LimitExceeded;
    check("k", b"123456789", limit, "a value of 9 bytes, the limit `value` is 8");
    check(&long, b"", limit, "a key of 1025 bytes, the limit is 1024");
    check("a\0b", b"", ErrorKind::Invalid, "a key with a NUL in it");
    bucket.set("1", b"12345678").unwrap();
    bucket.set("2", b"12345678").unwrap();
    check("3", b"12", limit, "more bytes of keys and values than the limit `memory`, 20");
    bucket.set("3", b"").unwrap();
    check("4", b"", limit, "one more key, the limit `keys` is 3");
    assert_fails(bucket.increment("1", u64::MAX), ErrorKind::Invalid, "the sum is too large");
    bucket.set("1", b"one").unwrap();
    assert_fails(bucket.increment("1", 1), ErrorKind::Invalid, "no number");
    os.provide_buckets([("b", BucketLimits { keys: 4, ..SMALL })]);
    bucket.set("4", b"").expect("there is more room now, and all that was there");
    assert_eq!(bucket.keys(0).unwrap().keys.len(), 4);
}

#[test]
fn a_hostile_key_neither_fills_the_log_nor_forges_a_name() {
    let (os, sink) = os([Grant::keyvalue("b", BOTH)], BucketLimits::default());
    let bucket = open(&os);
    sink.take();
    bucket.get(&format!("a\0forged{}", "x".repeat(1 << 20))).unwrap();
    assert_eq!(sink.take().pop().unwrap().resource, b"b\0a");
    assert_denied(os.principal("p").unwrap().bucket("c\0forged"), "default-deny", "no name at all");
    assert_eq!(sink.take().pop().unwrap().resource, b"c");
    bucket.get(&"ü".repeat(1 << 20)).unwrap();
    assert_eq!(sink.take().pop().unwrap().resource.len(), b"b\0".len() + BUCKET_KEY_BYTES);
}

#[test]
fn what_cannot_be_recorded_is_not_written() {
    let (os, sink) = os([Grant::keyvalue("b", BOTH)], BucketLimits::default());
    let bucket = open(&os);
    sink.refuse(true);
    assert_fails(bucket.set("k", b"v"), ErrorKind::AuditUnavailable, "no record");
    sink.refuse(false);
    assert_eq!(bucket.get("k").unwrap(), None);
}

#[test]
fn nobody_comes_between() {
    const EACH: u64 = 500;
    let (os, _) = os([Grant::keyvalue("b", BOTH)], BucketLimits::default());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let bucket = open(&os);
                for _ in 0..EACH {
                    bucket.increment("sum", 1).unwrap();
                    append(&bucket);
                }
            });
        }
    });
    let bucket = open(&os);
    assert_eq!(bucket.get("sum").unwrap().as_deref(), Some((4 * EACH).to_string().as_bytes()));
    assert_eq!(bucket.get("swapped").unwrap().unwrap().len() as u64, 4 * EACH);
}

/// Appends a byte by comparing and swapping until nobody was there meanwhile.
fn append(bucket: &Bucket) {
    loop {
        let reading = bucket.reading("swapped").unwrap();
        let mut value = reading.value.map(|value| value.to_vec()).unwrap_or_default();
        value.push(b'x');
        if bucket.swap("swapped", reading.version, &value).unwrap().is_ok() {
            return;
        }
    }
}

#[test]
fn keys_are_told_in_pages() {
    let (os, _) = os([Grant::keyvalue("b", BOTH)], BucketLimits::default());
    let bucket = open(&os);
    for number in 0..=BUCKET_PAGE_KEYS {
        bucket.set(&number.to_string(), b"").unwrap();
    }
    let first = bucket.keys(0).unwrap();
    assert_eq!((first.keys.len(), &*first.keys[0]), (BUCKET_PAGE_KEYS, "0"));
    let second = bucket.keys(first.next.unwrap()).unwrap();
    assert_eq!((&*second.keys[0], second.next), (&*BUCKET_PAGE_KEYS.to_string(), None));
    assert!(bucket.keys(u64::MAX).unwrap().keys.is_empty(), "a forged one");
}

#[test]
fn it_is_learned_explained_and_printed() {
    let sink = MemorySink::new();
    let watched = Policy::builder().principal("component.a", []).mode(airssys_osl::policy::Mode::Learn);
    let os = Os::new(watched.build().unwrap(), sink.clone());
    os.provide_buckets([("b", SMALL), ("only-opened", SMALL)]);
    let principal = os.principal("component.a").unwrap();
    principal.bucket("b").unwrap().set("k", b"v").unwrap();
    principal.bucket("only-opened").unwrap();
    let records = sink.take();
    assert!(records.iter().all(|record| record.verdict == Verdict::WouldDeny));
    let learned = learn(&records);
    let toml = learned.toml();
    let line = "keyvalue = [{ bucket = \"b\", rights = [\"write\"] }, { bucket = \"only-opened\", rights = [\"read\"] }]";
    assert!(toml.contains(line), "{toml}");

    let request = airssys_osl::policy::Request {
        principal: "p",
        action: Action::KeyvalueWrite,
        resource: airssys_osl::policy::Resource::Name("b"),
    };
    let policy = policy([Grant::keyvalue("b", Rights::READ).rule("r")]);
    let told = policy.explain(&request, airssys_osl::policy::Moment::UNKNOWN).to_string();
    assert!(told.contains("denied by default-deny") && told.contains("r: it names something else"), "{told}");
    let cedar = policy.to_cedar();
    let permits =
        "action in [Action::\"keyvalue.read\", Action::\"keyvalue.open\"], resource == Bucket::\"b\"";
    assert!(cedar.policies.contains(permits), "{}", cedar.policies);
}

#[test]
fn a_bucket_has_no_other_rights() {
    for rights in [Rights::empty(), Rights::LIST, Rights::all()] {
        let policy = Policy::builder().principal("p", [Grant::keyvalue("b", rights)]).build();
        let told = policy.unwrap_err().to_string();
        assert!(told.contains("a bucket has the rights `read` and `write`"), "{told}");
    }
}
