//! Records and checkpoints as the protocols of other logs have them.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    Verdict,
    audit::{
        Outcome, Record,
        json::{self, Object, hex},
        ocsf,
    },
};

/// `log audit`, in the numbers of syslog.
const FACILITY: u64 = 13;
const NOTICE: u64 = 5;
/// The largest number of a message (RFC 5424, 7.3.1).
const SEQUENCE_IDS: u64 = 2_147_483_647;
/// One message of RFC 5424, with OCSF JSON.
pub(super) fn syslog(record: &Record) -> Vec<u8> {
    let priority = 8 * FACILITY + priority(record);
    let id = record.sequence().saturating_sub(1) % SEQUENCE_IDS + 1;
    // A name of at most 32 printable characters without a space.
    let action = ocsf::action_name(record).replace(' ', "-");
    let time = timestamp(record.wall_ns());
    let message = ocsf::to_json(record);
    format!("<{priority}>1 {time} - airssys - {action} [meta sequenceId=\"{id}\"] {message}").into_bytes()
}

pub(super) fn syslog_checkpoint(note: &str) -> Vec<u8> {
    let priority = 8 * FACILITY + NOTICE;
    let message = checkpoint_json(note);
    format!("<{priority}>1 - - airssys - audit.checkpoint - {message}").into_bytes()
}

/// One entry of the journal's own protocol.
pub(super) fn journal(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    field("MESSAGE", ocsf::to_json(record).as_bytes(), &mut out);
    field("PRIORITY", priority(record).to_string().as_bytes(), &mut out);
    field("SYSLOG_IDENTIFIER", b"airssys", &mut out);
    field("AIRSSYS_SEQUENCE", record.sequence().to_string().as_bytes(), &mut out);
    field("AIRSSYS_ACTION", ocsf::action_name(record).as_bytes(), &mut out);
    field("AIRSSYS_PRINCIPAL", record.principal().as_bytes(), &mut out);
    field("AIRSSYS_RULE", record.rule().as_bytes(), &mut out);
    // As it is: the journal takes any bytes, and shows them escaped.
    field("AIRSSYS_RESOURCE", record.resource(), &mut out);
    out
}

pub(super) fn journal_checkpoint(note: &str) -> Vec<u8> {
    let mut out = Vec::new();
    field("MESSAGE", b"audit checkpoint", &mut out);
    field("PRIORITY", NOTICE.to_string().as_bytes(), &mut out);
    field("SYSLOG_IDENTIFIER", b"airssys", &mut out);
    field("AIRSSYS_CHECKPOINT", note.as_bytes(), &mut out);
    out
}

/// Appends a field with its length, so that no value can end it and begin another.
fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A request of OTLP with these records.
pub(super) fn otlp(records: &[Record]) -> String {
    request(|scope| scope.each("logRecords", records, log_record))
}

pub(super) fn otlp_checkpoint(note: &str) -> String {
    request(|scope| {
        scope.one("logRecords", |log| {
            log.number("severityNumber", 9);
            log.object("body", |body| body.text("stringValue", note));
            attributes(&[("airssys.action", "audit.checkpoint")], log);
        });
    })
}

fn request(fill: impl FnOnce(&mut Object<'_>)) -> String {
    let mut out = String::new();
    json::object(&mut out, |request| {
        request.one("resourceLogs", |resource| {
            resource.object("resource", |object| attributes(&[("service.name", "airssys")], object));
            resource.one("scopeLogs", |scope| {
                scope.object("scope", |object| object.text("name", "airssys.audit"));
                fill(scope);
            });
        });
    });
    out
}

fn log_record(record: &Record, log: &mut Object<'_>) {
    // 64-bit numbers are texts in the JSON of protocol buffers.
    log.text("timeUnixNano", &record.wall_ns().to_string());
    let (number, text) = match priority(record) {
        4 => (13, "WARN"),
        5 => (10, "INFO2"),
        _ => (9, "INFO"),
    };
    log.number("severityNumber", number);
    log.text("severityText", text);
    log.object("body", |body| body.text("stringValue", &ocsf::to_json(record)));
    let [sequence, action] = [record.sequence().to_string(), ocsf::action_name(record)];
    let resource = String::from_utf8_lossy(record.resource());
    let verdict = match record.verdict() {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
        Verdict::WouldDeny => "would-deny",
    };
    let pairs = [
        ("airssys.sequence", &*sequence),
        ("airssys.action", &*action),
        ("airssys.principal", record.principal()),
        ("airssys.verdict", verdict),
        ("airssys.rule", record.rule()),
        ("airssys.resource", &*resource),
    ];
    attributes(&pairs, log);
    if record.trace() != [0; 16] {
        log.text("traceId", &hex(&record.trace()));
    }
}

fn attributes(pairs: &[(&str, &str)], object: &mut Object<'_>) {
    object.each("attributes", pairs, |(key, value), attribute| {
        attribute.text("key", key);
        attribute.object("value", |object| object.text("stringValue", value));
    });
}

fn checkpoint_json(note: &str) -> String {
    let mut out = String::new();
    json::object(&mut out, |object| object.text("checkpoint", note));
    out
}

/// The severity of syslog: a denial is a warning; a failure, or what would be denied, a notice; all else information.
fn priority(record: &Record) -> u64 {
    match (record.verdict(), record.outcome()) {
        (Verdict::Deny, _) | (_, Outcome::Denied) => 4,
        (Verdict::WouldDeny, _) | (_, Outcome::Failed(_)) => NOTICE,
        _ => 6,
    }
}

/// RFC 3339 with as many digits as RFC 5424 allows.
fn timestamp(wall_ns: u64) -> String {
    let micros = i128::from(wall_ns) / 1000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(micros * 1000).ok();
    // A dash stands for a time that is not known.
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "-".to_owned())
}
