//! What a log keeps of what it is given: floods of denials, redaction, and records in the words of OCSF.

use std::time::Instant;

use airssys_osl::{
    Action, Verdict,
    audit::{self, DenialLimit, Event, Log, LogOptions, Outcome, Phase, Record, Redaction, Sink as _, ocsf},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::audit_log::{ORIGIN, event, fast, read};

#[test]
fn a_flood_of_denials_becomes_a_number() {
    let dir = TempDir::new().unwrap();
    let options = LogOptions { denials: DenialLimit { burst: 10, per_second: 1 }, ..fast() };
    let log = Log::open(dir.path(), ORIGIN, options).unwrap();
    let denied = Event { verdict: Verdict::Deny, outcome: Outcome::Denied, ..event("guest", b"/etc/shadow") };
    let began = Instant::now();
    for _ in 0..100_000 {
        log.record(&denied).unwrap();
    }
    // What is allowed, and what others are denied, is recorded as ever.
    log.record(&event("guest", b"/srv")).unwrap();
    log.record(&Event { principal: "other", ..denied }).unwrap();
    log.close().unwrap();
    // Each second earns one, and is told of.
    let most = 100 + 3 * began.elapsed().as_secs() as usize;

    let records = read(dir.path());
    assert!(records.len() < most, "{} records", records.len());
    let told = records.iter().filter(|record| record.action() == Some(Action::AuditSuppressed));
    let mut suppressed = 0;
    for record in told {
        let text = str::from_utf8(record.resource()).unwrap();
        let (count, like) = text.split_once(" more denials like record ").unwrap();
        let like = &records[like.parse::<usize>().unwrap() - 1];
        assert_eq!((like.principal(), like.resource()), ("guest", &b"/etc/shadow"[..]));
        assert_eq!((record.principal(), record.verdict()), ("guest", Verdict::Deny));
        suppressed += count.parse::<usize>().unwrap();
    }
    let of = |principal: &str| {
        let denied = |record: &&Record| {
            record.principal() == principal
                && record.action() == Some(Action::FsRead)
                && record.verdict() == Verdict::Deny
        };
        records.iter().filter(denied).count()
    };
    assert_eq!(of("guest") + suppressed, 100_000);
    assert_eq!(of("other"), 1);
}

#[test]
fn what_is_redacted_is_nowhere_in_the_folder() {
    let dir = TempDir::new().unwrap();
    let redaction = Redaction::new().below("/home").key([7; 32]);
    let log = Log::open(dir.path(), ORIGIN, LogOptions { redaction, ..fast() }).unwrap();
    for resource in ["/home/alice/diary", "/home/alice/diary", "/home/bob/diary", "/srv/inbox"] {
        log.record(&event("reader", resource.as_bytes())).unwrap();
    }
    log.close().unwrap();
    let records = read(dir.path());
    assert!(records[0].is_redacted() && !records[3].is_redacted());
    assert_eq!(records[0].resource(), records[1].resource());
    assert_ne!(records[0].resource(), records[2].resource());
    assert!(records[0].resource().starts_with(b"/home/[redacted:"));
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(5).any(|window| window == b"alice" || window == b"diary"));
    }
    assert_eq!(audit::verify(dir.path(), None).unwrap().records, 4);
}

#[test]
fn a_record_is_an_event_of_ocsf() {
    let value = json(&Event {
        verdict: Verdict::Deny,
        outcome: Outcome::Denied,
        trace: [0xab; 16],
        duration_ns: 12_345_678,
        ..event("reader", b"/srv/inbox/a")
    });
    let expected = [
        ("/class_uid", Value::from(1001)),
        ("/category_uid", 1.into()),
        ("/activity_id", 2.into()),
        ("/type_uid", 100_102.into()),
        ("/activity_name", "fs.read".into()),
        ("/severity_id", 3.into()),
        ("/status_id", 2.into()),
        ("/action_id", 2.into()),
        ("/duration", 12.into()),
        ("/metadata/version", "1.3.0".into()),
        ("/metadata/sequence", 1.into()),
        ("/metadata/correlation_uid", "ab".repeat(16).into()),
        ("/actor/app_name", "reader".into()),
        ("/actor/authorizations/0/decision", "Denied".into()),
        ("/actor/authorizations/0/policy/name", "component.reader.grants.fs[0]".into()),
        ("/actor/authorizations/0/policy/version", "13".into()),
        ("/file/path", "/srv/inbox/a".into()),
        ("/file/name", "a".into()),
        ("/unmapped/bytes", 11.into()),
        ("/unmapped/phase", "done".into()),
    ];
    for (pointer, expected) in expected {
        assert_eq!(value.pointer(pointer), Some(&expected), "{pointer} of {value}");
    }
}

#[test]
fn each_action_has_a_class_that_fits_its_resource() {
    let of = |action, resource: &'static str| json(&Event { action, ..event("p", resource.as_bytes()) });
    let renamed = of(Action::FsRename, "/new\0/old");
    assert_eq!(renamed.pointer("/file/path"), Some(&"/old".into()));
    assert_eq!(renamed.pointer("/file_result/path"), Some(&"/new".into()));
    let connected = of(Action::NetConnect, "example.org:443\x00192.0.2.1:443");
    assert_eq!(connected.pointer("/dst_endpoint/ip"), Some(&"192.0.2.1".into()));
    assert_eq!(connected.pointer("/dst_endpoint/port"), Some(&443.into()));
    assert_eq!(connected.pointer("/traffic/bytes"), Some(&11.into()));
    assert_eq!(of(Action::NetResolve, "example.org").pointer("/query/hostname"), Some(&"example.org".into()));
    assert_eq!(of(Action::EnvRead, "PATH").pointer("/resources/0/name"), Some(&"PATH".into()));
    let written = of(Action::KeyvalueWrite, "bucket\0key");
    assert_eq!(written.pointer("/resources/0/name"), Some(&"bucket".into()));
    assert_eq!(written.pointer("/resources/0/uid"), Some(&"key".into()));
    assert_eq!(of(Action::SystemStart, "why").pointer("/message"), Some(&"why".into()));
    for action in Action::ALL {
        let value = of(*action, "x");
        let [class, activity, kind] =
            ["class_uid", "activity_id", "type_uid"].map(|key| value[key].as_u64().unwrap());
        assert_eq!(kind, 100 * class + activity, "{action}");
        assert_eq!(value["category_uid"], class / 1000, "{action}");
    }
    let failed = json(&Event { outcome: Outcome::Failed(28), ..event("p", b"x") });
    assert_eq!((&failed["status_id"], &failed["status_code"]), (&2.into(), &"28".into()));
    let intent = json(&Event { phase: Phase::Intent, outcome: Outcome::Pending, ..event("p", b"x") });
    assert_eq!(intent["status_id"], 0);
}

#[test]
fn nothing_that_a_guest_names_can_forge_a_line() {
    let hostile = "a\n{\"forged\":1}\r\u{1b}[2J\u{9b}\u{85}\u{2028}\u{202e}\u{2066}\u{7f}\u{0}\"\\";
    let line = line(&event("guest", hostile.as_bytes()));
    let steers = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!line.chars().any(steers), "{line:?}");
    let value: Value = serde_json::from_str(&line).unwrap();
    assert!(value.get("forged").is_none());
    // What is not UTF-8 is there all the same.
    let value = json(&event("guest", b"a\xff\x1b"));
    assert_eq!(value.pointer("/unmapped/resource_hex"), Some(&"61ff1b".into()));
}

fn json(event: &Event<'_>) -> Value {
    serde_json::from_str(&line(event)).unwrap()
}

/// A record of the event, as it is read back from a log.
fn line(event: &Event<'_>) -> String {
    let dir = TempDir::new().unwrap();
    let log = Log::open(dir.path(), ORIGIN, fast()).unwrap();
    log.record(event).unwrap();
    log.close().unwrap();
    ocsf::to_json(&read(dir.path())[0])
}
