//! Records in the words of the Open Cybersecurity Schema Framework (<https://schema.ocsf.io>, 1.3), as JSON.
//!
//! | action | class | activity |
//! |---|---|---|
//! | `system.start` | 6002 Application Lifecycle | 3 Start |
//! | `system.stop`, `actor.exit` | 6002 | 4 Stop |
//! | `system.reload`, `system.upgrade`, `system.dead_letter` | 6002 | 8 Update |
//! | `audit.recovered` | 1008 Event Log Activity | 8 Restart |
//! | `audit.suppressed` | 1008 | 99 Other |
//! | `fs.open_root`, `fs.open` | 1001 File System Activity | 14 Open |
//! | `fs.read`, `fs.list`, `fs.read_link`, `fs.watch` | 1001 | 2 Read |
//! | `fs.metadata` | 1001 | 8 Get Attributes |
//! | `fs.create_dir`, `fs.symlink`, `fs.hard_link`, `fs.copy` | 1001 | 1 Create |
//! | `fs.write`, `fs.set_len`, `fs.replace`, `fs.sync` | 1001 | 3 Update |
//! | `fs.remove_file`, `fs.remove_dir`, `fs.remove_tree` | 1001 | 4 Delete |
//! | `fs.rename` | 1001 | 5 Rename |
//! | `fs.set_times` | 1001 | 6 Set Attributes |
//! | `fs.set_permissions` | 1001 | 7 Set Security |
//! | `fs.lock` | 1001 | 99 Other |
//! | `net.connect`, `net.accept` | 4001 Network Activity | 1 Open |
//! | `net.close` | 4001 | 2 Close |
//! | `net.send` | 4001 | 6 Traffic |
//! | `net.listen` | 4001 | 7 Listen |
//! | `net.tls`, `net.trust`, `net.http` | 4001 | 99 Other |
//! | `net.resolve` | 4003 DNS Activity | 1 Query |
//! | `process.spawn` | 1007 Process Activity | 1 Launch |
//! | `process.exit` | 1007 | 2 Terminate |
//! | `process.open` | 1007 | 3 Open |
//! | `process.signal` | 1007 | 99 Other |
//! | `env.read`, `clock.read`, `random.read`, `system.read` | 6003 API Activity | 2 Read |
//! | `keyvalue.open`, `keyvalue.read` | 6003 | 2 Read |
//! | `keyvalue.write` | 6003 | 3 Update |
//! | `actor.send`, `actor.publish`, `actor.subscribe`, `actor.dead_letter` | 6003 | 99 Other |
//! | those of a newer version | 6003 | 99 Other |
//!
//! | record | attribute |
//! |---|---|
//! | wall clock | `time`, in milliseconds; `unmapped.time_ns` |
//! | sequence number | `metadata.sequence` |
//! | principal, parent | `actor.app_name`, `actor.invoked_by` |
//! | verdict | `action_id` (1 Allowed, 2 Denied), `actor.authorizations[0].decision` |
//! | rule | `actor.authorizations[0].policy.name`; its epoch is `policy.version` |
//! | outcome | `status_id` (1 Success, 2 Failure, 0 not known yet), `status_code` (the error number), `status_detail` |
//! | denied, failed, all else | `severity_id` 3 Medium, 2 Low, 1 Informational |
//! | resource | `file.path`, `dst_endpoint.name`, `query.hostname`, `process.cmd_line`, `resources[0].name`, `message` |
//! | second object | what was before is `file`, what is now `file_result`; an address is `dst_endpoint.ip`, `.port` |
//! | trace id | `metadata.correlation_uid` |
//! | duration | `duration`, in milliseconds; `unmapped.duration_ns` |
//! | bytes | `traffic.bytes` on the network, else `unmapped.bytes` |
//! | all else | `unmapped`, by the name it has in [`Record`] |

use std::net::SocketAddr;

use super::{
    Outcome, Phase, Record,
    json::{self, Object, hex},
};
use crate::{Action, Verdict};

const VERSION: &str = "1.3.0";

/// Returns a record as one line of JSON, without the newline.
///
/// Whatever a resource holds, the line is printable: control characters, separators of lines and what changes the
/// direction of text are escaped. A resource that is not UTF-8 is shown with replacement characters, and as hexadecimal
/// digits in `unmapped.resource_hex`.
pub fn to_json(record: &Record) -> String {
    let mut line = String::with_capacity(1024);
    json::object(&mut line, |object| fill(record, object));
    line
}

fn fill(record: &Record, object: &mut Object<'_>) {
    let kind = Kind::of(record.action());
    object.number("class_uid", kind.class.into());
    object.number("category_uid", u64::from(kind.class) / 1000);
    object.number("activity_id", kind.activity.into());
    object.number("type_uid", u64::from(kind.class) * 100 + u64::from(kind.activity));
    object.text("activity_name", &action_name(record));
    object.number("time", record.wall_ns() / 1_000_000);
    object.number("severity_id", severity(record));
    status(record, object);
    let (action, decision) = match record.verdict() {
        Verdict::Allow => (1, "Allowed"),
        Verdict::Deny => (2, "Denied"),
        // It went on: the mode only watches.
        Verdict::WouldDeny => (1, "WouldDeny"),
    };
    object.number("action_id", action);
    object.number("duration", record.duration_ns() / 1_000_000);
    object.object("metadata", |metadata| {
        metadata.text("version", VERSION);
        metadata.number("sequence", record.sequence());
        if record.trace() != [0; 16] {
            metadata.text("correlation_uid", &hex(&record.trace()));
        }
        metadata.object("product", |product| {
            product.text("name", "AirsSys");
            product.text("vendor_name", "AirsSys");
        });
    });
    object.object("actor", |actor| {
        actor.text("app_name", record.principal());
        if !record.parent().is_empty() {
            actor.text("invoked_by", record.parent());
        }
        actor.one("authorizations", |authorization| {
            authorization.text("decision", decision);
            authorization.object("policy", |policy| {
                policy.text("name", record.rule());
                policy.text("version", &record.epoch().to_string());
            });
        });
    });
    resource(record, kind, object);
    if kind.class == NETWORK && record.bytes() > 0 {
        object.object("traffic", |traffic| traffic.number("bytes", record.bytes()));
    }
    object.object("unmapped", |unmapped| rest(record, unmapped));
}

fn status(record: &Record, object: &mut Object<'_>) {
    let (status, detail) = match record.outcome() {
        Outcome::Pending => (0, "intent"),
        Outcome::Success => (1, ""),
        Outcome::Denied => (2, "denied by policy"),
        Outcome::Failed(_) => (2, "refused by the operating system"),
        Outcome::Cancelled => (2, "cancelled"),
    };
    object.number("status_id", status);
    if !detail.is_empty() {
        object.text("status_detail", detail);
    }
    if let Outcome::Failed(errno) = record.outcome() {
        object.text("status_code", &errno.to_string());
    }
}

fn resource(record: &Record, kind: Kind, object: &mut Object<'_>) {
    let mut parts = record.resource().split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    match kind.class {
        FILE => {
            // Of two, the second is what there was before.
            object.object("file", |file| self::file(second.as_ref().unwrap_or(&first), file));
            if second.is_some() {
                object.object("file_result", |file| self::file(&first, file));
            }
        }
        NETWORK => object.object("dst_endpoint", |endpoint| {
            endpoint.text("name", &first);
            if let Some(address) = second.and_then(|second| second.parse::<SocketAddr>().ok()) {
                endpoint.text("ip", &address.ip().to_string());
                endpoint.number("port", address.port().into());
            }
        }),
        DNS => object.object("query", |query| query.text("hostname", &first)),
        PROCESS => object.object("process", |process| process.text("cmd_line", &first)),
        API => {
            object.object("api", |api| api.text("operation", &action_name(record)));
            object.one("resources", |resource| {
                resource.text("name", &first);
                if let Some(key) = &second {
                    resource.text("uid", key);
                }
            });
        }
        _ => object.text("message", &first),
    }
}

fn file(path: &str, object: &mut Object<'_>) {
    object.text("path", path);
    object.text("name", path.rsplit('/').next().unwrap_or(path));
    object.number("type_id", 0);
}

fn rest(record: &Record, object: &mut Object<'_>) {
    object.number("time_ns", record.wall_ns());
    object.number("monotonic_ns", record.monotonic_ns());
    object.text("boot_id", &hex(&record.boot_id()));
    object.text("phase", if record.phase() == Phase::Intent { "intent" } else { "done" });
    object.number("duration_ns", record.duration_ns());
    object.number("bytes", record.bytes());
    if record.intent() != 0 {
        object.number("intent", record.intent());
    }
    if record.enforcement() != 0 {
        object.number("enforcement", record.enforcement().into());
    }
    if record.is_cut() {
        object.text("cut", "yes");
    }
    if record.is_redacted() {
        object.text("redacted", "yes");
    }
    if str::from_utf8(record.resource()).is_err() {
        object.text("resource_hex", &hex(record.resource()));
    }
}

/// The number of OCSF for how much attention a record deserves.
pub(super) fn severity(record: &Record) -> u64 {
    match (record.verdict(), record.outcome()) {
        (Verdict::Deny, _) | (_, Outcome::Denied) => 3,
        (Verdict::WouldDeny, _) | (_, Outcome::Failed(_)) => 2,
        _ => 1,
    }
}

/// The name of an action, or the number of one that a newer version knows.
pub(super) fn action_name(record: &Record) -> String {
    let number = record.action_number();
    record.action().map_or_else(|| format!("action {number}"), |action| action.name().to_owned())
}

const FILE: u16 = 1001;
const PROCESS: u16 = 1007;
const EVENT_LOG: u16 = 1008;
const NETWORK: u16 = 4001;
const DNS: u16 = 4003;
const APPLICATION: u16 = 6002;
const API: u16 = 6003;
const OTHER: u8 = 99;

/// What OCSF calls an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    class: u16,
    activity: u8,
}

impl Kind {
    fn of(action: Option<Action>) -> Self {
        let Some(action) = action else { return Self { class: API, activity: OTHER } };
        let (class, activity) = match action {
            Action::SystemStart => (APPLICATION, 3),
            Action::SystemStop => (APPLICATION, 4),
            Action::SystemReload | Action::SystemUpgrade | Action::SystemDeadLetter => (APPLICATION, 8),
            Action::AuditRecovered => (EVENT_LOG, 8),
            Action::AuditSuppressed => (EVENT_LOG, OTHER),
            Action::FsOpenRoot | Action::FsOpen => (FILE, 14),
            Action::FsRead | Action::FsList | Action::FsReadLink | Action::FsWatch => (FILE, 2),
            Action::FsMetadata => (FILE, 8),
            Action::FsCreateDir | Action::FsSymlink | Action::FsHardLink | Action::FsCopy => (FILE, 1),
            Action::FsWrite | Action::FsSetLen | Action::FsReplace | Action::FsSync => (FILE, 3),
            Action::FsRemoveFile | Action::FsRemoveDir | Action::FsRemoveTree => (FILE, 4),
            Action::FsRename => (FILE, 5),
            Action::FsSetTimes => (FILE, 6),
            Action::FsSetPermissions => (FILE, 7),
            Action::FsLock => (FILE, OTHER),
            Action::NetConnect | Action::NetAccept => (NETWORK, 1),
            Action::NetClose => (NETWORK, 2),
            Action::NetSend => (NETWORK, 6),
            Action::NetListen => (NETWORK, 7),
            Action::NetTls | Action::NetTrust | Action::NetHttp => (NETWORK, OTHER),
            Action::NetResolve => (DNS, 1),
            Action::ProcessSpawn => (PROCESS, 1),
            Action::ProcessExit => (PROCESS, 2),
            Action::ProcessOpen => (PROCESS, 3),
            Action::ProcessSignal => (PROCESS, OTHER),
            Action::EnvRead | Action::ClockRead | Action::RandomRead | Action::SystemRead => (API, 2),
            Action::KeyvalueOpen | Action::KeyvalueRead => (API, 2),
            Action::KeyvalueWrite => (API, 3),
            Action::ActorExit => (APPLICATION, 4),
            Action::ActorSend | Action::ActorPublish | Action::ActorSubscribe | Action::ActorDeadLetter => {
                (API, OTHER)
            }
        };
        Self { class, activity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The row of the table above that has a word in its first column: class and activity.
    fn row(word: &str) -> Option<[u16; 2]> {
        let cells =
            |line: &str| line.strip_prefix("//! |").map(|row| row.split('|').map(str::to_owned).collect());
        let rows = include_str!("ocsf.rs").lines().filter_map(cells);
        let number = |cell: &String| cell.split_whitespace().next()?.parse().ok();
        let mut found = rows.filter(|row: &Vec<String>| row.first().is_some_and(|cell| cell.contains(word)));
        let row = found.next()?;
        assert_eq!(found.next(), None, "{word} stands there twice");
        Some([number(row.get(1)?)?, number(row.get(2)?)?])
    }

    #[test]
    fn the_table_says_what_each_action_is() {
        let check = |word: &str, action| {
            let Kind { class, activity } = Kind::of(action);
            assert_eq!(row(word), Some([class, activity.into()]), "{word}");
        };
        for action in Action::ALL {
            check(&format!("`{}`", action.name()), Some(*action));
        }
        check("those of a newer version", None);
    }
}
