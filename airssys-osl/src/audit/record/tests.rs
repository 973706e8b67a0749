use proptest::prelude::*;

use super::*;

#[test]
fn a_body_reads_back_as_it_was_written() {
    let event = event("reader", b"/srv/in\xff\0box", "grants.fs[0]");
    let bytes = body(&event);
    assert_eq!(bytes.len(), Draft::new(&event, false).body_bytes());

    let record = Body::parse(&bytes).unwrap().to_record();
    assert_eq!(record.principal(), "reader");
    assert_eq!(record.parent(), "");
    assert_eq!(record.rule(), "grants.fs[0]");
    assert_eq!(record.resource(), b"/srv/in\xff\0box");
    assert_eq!(record.action(), Some(Action::FsRead));
    assert_eq!(record.verdict(), Verdict::Allow);
    assert_eq!(record.phase(), Phase::Done);
    assert_eq!(record.outcome(), Outcome::Failed(-5));
    assert_eq!((record.sequence(), record.wall_ns(), record.monotonic_ns()), (7, 8, 9));
    assert_eq!((record.boot_id(), record.trace()), ([10; 16], [4; 16]));
    assert_eq!((record.epoch(), record.enforcement()), (3, 0));
    assert_eq!((record.bytes(), record.duration_ns(), record.intent()), (100, 200, 6));
    assert!(!record.is_cut() && !record.is_redacted());

    let untraced = Event { trace: [0; 16], ..event };
    assert_eq!(body(&untraced).len(), bytes.len() - TRACE_BYTES);
    assert_eq!(Body::parse(&body(&untraced)).unwrap().to_record().trace(), [0; 16]);
}

#[test]
fn what_is_too_long_is_cut_and_marked() {
    let principal = "ü".repeat(PRINCIPAL_BYTES);
    let rule = format!("x{}", "ü".repeat(RULE_BYTES));
    let resource = [b'r'; RESOURCE_BYTES + 1];
    for event in [event(&principal, b"", ""), event("", &resource, ""), event("", b"", &rule)] {
        assert!(Body::parse(&body(&event)).unwrap().to_record().is_cut());
    }

    let bytes = body(&event(&principal, &resource, &rule));
    assert!(bytes.len() <= MAX_BYTES);
    let record = Body::parse(&bytes).unwrap().to_record();
    assert_eq!(record.principal(), "ü".repeat(PRINCIPAL_BYTES / 2));
    assert_eq!(record.rule(), format!("x{}", "ü".repeat(RULE_BYTES / 2 - 1)));
    assert_eq!(record.resource(), &resource[..RESOURCE_BYTES]);
}

#[test]
fn the_sequence_number_stands_where_the_queue_looks_for_it() {
    assert_eq!(body(&event("", b"", ""))[SEQUENCE_AT..][..8], 7_u64.to_le_bytes());
}

#[test]
fn a_longer_field_than_the_writer_would_write_is_refused() {
    let mut bytes = body(&event("", b"", ""));
    bytes[FIXED_BYTES - 5] = PRINCIPAL_BYTES as u8 + 1;
    assert_eq!(Body::parse(&bytes), Err(Malformed("a field longer than its limit")));
}

#[test]
fn an_action_of_a_newer_version_keeps_its_number() {
    let mut bytes = body(&event("", b"", ""));
    bytes[52..54].copy_from_slice(&60_000_u16.to_le_bytes());
    let record = Body::parse(&bytes).unwrap().to_record();
    assert_eq!((record.action(), record.action_number()), (None, 60_000));
}

proptest! {
    #[test]
    fn any_event_reads_back(
        principal in "\\PC{0,64}", rule in "\\PC{0,128}", resource in proptest::collection::vec(any::<u8>(), 0..5000),
        numbers in any::<[u64; 6]>(), epoch in any::<u32>(), errno in any::<i32>(), trace in any::<[u8; 16]>(),
    ) {
        let [sequence, wall_ns, monotonic_ns, moved, duration_ns, intent] = numbers;
        let event = Event {
            epoch, trace, intent, duration_ns, bytes: moved, outcome: Outcome::Failed(errno),
            ..event(&principal, &resource, &rule)
        };
        let stamp = Stamp { sequence, wall_ns, monotonic_ns, boot_id: trace };
        let mut bytes = Vec::new();
        Draft::new(&event, false).encode(&stamp, &mut bytes);
        prop_assert_eq!(bytes.len(), Draft::new(&event, false).body_bytes());

        let record = Body::parse(&bytes).unwrap().to_record();
        prop_assert_eq!(record.resource(), &resource[..resource.len().min(RESOURCE_BYTES)]);
        prop_assert!(principal.starts_with(record.principal()) && rule.starts_with(record.rule()));
        let read = [
            record.sequence(), record.wall_ns(), record.monotonic_ns(), record.bytes(), record.duration_ns(),
            record.intent(),
        ];
        prop_assert_eq!(read, numbers);
        prop_assert_eq!((record.epoch(), record.outcome()), (epoch, Outcome::Failed(errno)));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Body::parse(&bytes);
    }

    #[test]
    fn a_changed_byte_is_another_record_or_none(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let bytes = body(&event("reader", b"/srv/inbox", "grants.fs[0]"));
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= flip;
        prop_assert_ne!(Body::parse(&changed), Body::parse(&bytes));
    }
}

fn event<'a>(principal: &'a str, resource: &'a [u8], rule: &'a str) -> Event<'a> {
    Event {
        principal,
        action: Action::FsRead,
        resource,
        verdict: Verdict::Allow,
        rule,
        epoch: 3,
        phase: Phase::Done,
        outcome: Outcome::Failed(-5),
        bytes: 100,
        duration_ns: 200,
        intent: 6,
        trace: [4; 16],
    }
}

fn body(event: &Event<'_>) -> Vec<u8> {
    let stamp = Stamp { sequence: 7, wall_ns: 8, monotonic_ns: 9, boot_id: [10; 16] };
    let mut bytes = Vec::new();
    Draft::new(event, false).encode(&stamp, &mut bytes);
    bytes
}
