//! Records and checkpoints on their way elsewhere, to sides that fail, hang up and come back.

use std::{
    fs, io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use airssys_osl::{
    Error, ErrorKind,
    audit::{
        self, Event, Log, LogOptions, Outcome, Retention, Sink as _,
        export::{Anchors, Exporter, Target},
    },
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixDatagram},
};

use crate::{
    audit_attacks::expect_tampered,
    audit_log::{ORIGIN, closed, copy, event, fast, open, record},
    fixture::AtRest,
};

#[tokio::test(start_paused = true)]
async fn a_cursor_survives_a_restart_and_nothing_comes_twice() {
    let _rest = AtRest::begin();
    let dir = closed(600);
    let tmp = TempDir::new().unwrap();
    let (file, cursor) = (tmp.path().join("out"), tmp.path().join("cursor"));
    assert_eq!(exporter(&dir, &cursor, Target::append(&file)).run_once().await.unwrap(), 600);
    let log = open(dir.path());
    record(&log, "reader", "x");
    log.close().unwrap();
    let mut again = exporter(&dir, &cursor, Target::append(&file));
    assert_eq!(again.run_once().await.unwrap(), 1);
    assert_eq!(again.run_once().await.unwrap(), 0);
    assert_eq!(sequences(&fs::read_to_string(&file).unwrap()), (1..=601).collect::<Vec<_>>());

    // Without the cursor, all comes again: better twice than never.
    fs::remove_file(&cursor).unwrap();
    assert_eq!(exporter(&dir, &cursor, Target::append(&file)).run_once().await.unwrap(), 601);
    fs::write(&cursor, "x").unwrap();
    let error = Exporter::open(dir.path(), &cursor, Target::append(&file)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// Takes all that is written, and is never done with it.
struct Unflushable;

impl tokio::io::AsyncWrite for Unflushable {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_never_ends_is_given_up_and_nothing_has_arrived() {
    let (dir, tmp) = (closed(3), TempDir::new().unwrap());
    let cursor = tmp.path().join("cursor");
    let mut stuck = exporter(&dir, &cursor, Target::lines(Unflushable));
    assert_eq!(stuck.run_once().await.unwrap_err().kind(), ErrorKind::TimedOut);
    let file = tmp.path().join("out");
    assert_eq!(exporter(&dir, &cursor, Target::append(&file)).run_once().await.unwrap(), 3);
}

/// A log with `records` records in one folder, again and again.
fn write(dir: &Path, records: std::ops::Range<u32>) {
    let log = open(dir);
    records.for_each(|number| _ = record(&log, "reader", &number.to_string()));
    log.close().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_power_loss_took_from_under_a_cursor_comes_again() {
    let _rest = AtRest::begin();
    let (dir, tmp) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (file, cursor) = (tmp.path().join("out"), tmp.path().join("cursor"));
    write(dir.path(), 0..10);
    let before = copy(dir.path());
    write(dir.path(), 10..20);
    assert_eq!(exporter(&dir, &cursor, Target::append(&file)).run_once().await.unwrap(), 20);

    // The machine wakes up with the log as it was, and records something else, beyond the place of the cursor.
    write(before.path(), 100..130);
    fs::remove_file(&file).unwrap();
    let mut again = exporter(&before, &cursor, Target::append(&file));
    assert_eq!(again.run_once().await.unwrap(), 40);
    assert_eq!(sequences(&fs::read_to_string(&file).unwrap()), (1..=40).collect::<Vec<_>>());
    assert_eq!((again.run_once().await.unwrap(), again.lost()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn another_log_in_the_folder_comes_from_its_beginning() {
    let _rest = AtRest::begin();
    let (dir, tmp) = (closed(30), TempDir::new().unwrap());
    let (file, cursor) = (tmp.path().join("out"), tmp.path().join("cursor"));
    exporter(&dir, &cursor, Target::append(&file)).run_once().await.unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    fs::create_dir(dir.path()).unwrap();
    write(dir.path(), 0..40);
    assert_eq!(exporter(&dir, &cursor, Target::append(&file)).run_once().await.unwrap(), 40);
}

#[tokio::test(start_paused = true)]
async fn retention_waits_for_cursors_in_the_folder_and_others_are_told_what_they_lost() {
    let _rest = AtRest::begin();
    let (dir, tmp) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (waited, other) = (dir.path().join("site.cursor"), tmp.path().join("cursor"));
    let retention = Retention { segments: Some(1), ..Retention::default() };
    let options = || LogOptions { segment_bytes: 1, retention, ..LogOptions::default() };
    let fill = |records: u32| {
        let log = Log::open(dir.path(), ORIGIN, options()).unwrap();
        for number in 0..records {
            record(&log, "reader", &number.to_string());
            log.flush().unwrap();
        }
        log.close().unwrap();
    };
    let sent = async |cursor: &Path| {
        let mut exporter = Exporter::open(dir.path(), cursor, Target::lines(tokio::io::sink())).unwrap();
        (exporter.run_once().await.unwrap(), exporter.lost())
    };
    fill(0);
    assert_eq!((sent(&waited).await, sent(&other).await), ((0, 0), (0, 0)));
    fill(20);
    assert_eq!(audit::Reader::open(dir.path()).unwrap().count(), 20, "all segments are there");
    assert_eq!(sent(&waited).await, (20, 0));
    fill(20);
    let (came, lost) = sent(&other).await;
    assert!(lost >= 19 && came + lost == 40, "{came} came, {lost} lost");
    audit::verify(dir.path(), None).unwrap();
}

#[tokio::test(start_paused = true)]
async fn lines_go_to_whatever_can_be_written() {
    let _rest = AtRest::begin();
    let dir = closed(3);
    let tmp = TempDir::new().unwrap();
    let (near, mut far) = tokio::io::duplex(1 << 20);
    exporter(&dir, &tmp.path().join("cursor"), Target::lines(near)).run_once().await.unwrap();
    let mut text = String::new();
    far.read_to_string(&mut text).await.unwrap();
    assert_eq!(sequences(&text), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn syslog_takes_each_record_as_a_message() {
    let _rest = AtRest::begin();
    let (dir, tmp) = (hostile(), TempDir::new().unwrap());
    let path = tmp.path().join("log");
    let mut exporter = exporter(&dir, &tmp.path().join("cursor"), Target::syslog(&path));
    // Nobody listens yet.
    assert!(exporter.run_once().await.is_err());
    let server = UnixDatagram::bind(&path).unwrap();
    let (sent, messages) = tokio::join!(exporter.run_once(), datagrams(&server, 2));
    assert_eq!(sent.unwrap(), 2);

    let [first, second] = &messages[..] else { panic!("two messages") };
    let first = str::from_utf8(first).unwrap();
    // Facility 13, severity 6 and 4.
    assert!(first.starts_with("<110>1 20"), "{first}");
    assert!(first.contains("Z - airssys - fs.read [meta sequenceId=\"1\"] {\"class_uid\":1001"), "{first}");
    assert!(second.starts_with(b"<108>1 20"));
    assert!(!first.chars().any(char::is_control), "{first}");
    let time = first.split(' ').nth(1).unwrap();
    assert!(time.len() <= "2026-01-01T00:00:00.000000Z".len(), "{time}");
}

#[tokio::test(start_paused = true)]
async fn syslog_over_tcp_counts_octets_and_starts_over_when_the_other_side_hangs_up() {
    let _rest = AtRest::begin();
    let (dir, tmp) = (closed(300), TempDir::new().unwrap());
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::syslog_tcp(server.local_addr().unwrap());
    let mut exporter = exporter(&dir, &tmp.path().join("cursor"), target);

    let hang_up = async {
        let (mut connection, _) = server.accept().await.unwrap();
        connection.read_exact(&mut [0; 10]).await.unwrap();
    };
    let (sent, ()) = tokio::join!(exporter.run_once(), hang_up);
    sent.unwrap_err();
    assert_eq!(exporter.position(), Default::default());

    // 300 records are two batches.
    let take = async {
        let mut all = Vec::new();
        for _ in 0..2 {
            let (mut connection, _) = server.accept().await.unwrap();
            connection.read_to_end(&mut all).await.unwrap();
        }
        all
    };
    let (sent, bytes) = tokio::join!(exporter.run_once(), take);
    assert_eq!(sent.unwrap(), 300);
    let mut rest = str::from_utf8(&bytes).unwrap();
    let mut count = 0;
    while let Some((length, after)) = rest.split_once(' ') {
        let (message, after) = after.split_at(length.parse().unwrap());
        count += 1;
        assert!(message.contains(&format!("\"sequence\":{count},")), "{message}");
        rest = after;
    }
    assert_eq!(count, 300);
}

#[tokio::test(start_paused = true)]
async fn the_journal_gets_fields_that_no_value_can_end() {
    let _rest = AtRest::begin();
    let (dir, tmp) = (hostile(), TempDir::new().unwrap());
    let path = tmp.path().join("socket");
    let server = UnixDatagram::bind(&path).unwrap();
    let mut exporter = exporter(&dir, &tmp.path().join("cursor"), Target::journal(&path));
    let (sent, messages) = tokio::join!(exporter.run_once(), datagrams(&server, 2));
    sent.unwrap();
    let fields = journal_fields(&messages[0]);
    let value = |name: &str| &fields.iter().find(|(field, _)| field == name).unwrap().1[..];
    assert_eq!(value("AIRSSYS_RESOURCE"), b"a\nPRIORITY=0\n\xff");
    assert_eq!((value("PRIORITY"), value("SYSLOG_IDENTIFIER")), (&b"6"[..], &b"airssys"[..]));
    assert_eq!((value("AIRSSYS_SEQUENCE"), value("AIRSSYS_PRINCIPAL")), (&b"1"[..], &b"guest"[..]));
    let message: Value = serde_json::from_slice(value("MESSAGE")).unwrap();
    assert_eq!(message["metadata"]["sequence"], 1);
    assert_eq!(fields.iter().filter(|(field, _)| field == "PRIORITY").count(), 1);
    assert_eq!(journal_fields(&messages[1])[1], ("PRIORITY".to_owned(), b"4".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_collector_gets_all_though_it_drops_connections_and_has_no_room() {
    let _rest = AtRest::begin();
    let (dir, tmp) = (hostile(), TempDir::new().unwrap());
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::otlp(server.local_addr().unwrap(), "collector\r\nX: y", "/v1/logs");
    let mut exporter = exporter(&dir, &tmp.path().join("cursor"), target);

    let mut requests = Vec::new();
    for answer in ["", "HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 200 OK", "garbage\r\n\r\n"] {
        let (sent, _) = tokio::join!(exporter.run_once(), serve(&server, answer));
        assert!(sent.is_err(), "{answer:?}");
        assert_eq!(exporter.position(), Default::default());
    }
    let (sent, request) = tokio::join!(exporter.run_once(), serve(&server, "HTTP/1.1 200 OK\r\n\r\n{}"));
    assert_eq!(sent.unwrap(), 2);
    requests.push(request);
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/logs HTTP/1.1\r\nHost: collectorX:y\r\n"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    let logs = body.pointer("/resourceLogs/0/scopeLogs/0/logRecords").unwrap().as_array().unwrap();
    assert_eq!(logs.len(), 2);
    assert_eq!(logs[0]["severityText"], "INFO");
    assert_eq!((&logs[1]["severityNumber"], &logs[1]["traceId"]), (&13.into(), &"ab".repeat(16).into()));
    assert!(logs[0]["timeUnixNano"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    let attributes = logs[0]["attributes"].as_array().unwrap();
    let principal = attributes.iter().find(|attribute| attribute["key"] == "airssys.principal").unwrap();
    assert_eq!(principal["value"]["stringValue"], "guest");
    let inner: Value = serde_json::from_str(logs[0]["body"]["stringValue"].as_str().unwrap()).unwrap();
    assert_eq!(inner["metadata"]["sequence"], 1);
}

#[tokio::test]
async fn whoever_follows_goes_on_after_failures_and_across_segments() {
    let tmp = TempDir::new().unwrap();
    let dir = TempDir::new().unwrap();
    let options = audit::LogOptions { segment_bytes: 1_000, ..fast() };
    let log = Log::open(dir.path(), ORIGIN, options).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::otlp(server.local_addr().unwrap(), "collector", "/v1/logs");
    let mut exporter = exporter(&dir, &tmp.path().join("cursor"), target);
    let (began, mut seen, mut again) = (Instant::now(), Vec::new(), 0);
    let collect = async {
        for round in 0..4_u64 {
            (0..10).for_each(|_| _ = record(&log, "reader", "x"));
            log.flush().unwrap();
            serve(&server, "").await;
            while seen.len() < 10 * (round as usize + 1) {
                let request = serve(&server, "HTTP/1.1 204 No Content\r\n\r\n").await;
                let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
                let logs = body.pointer("/resourceLogs/0/scopeLogs/0/logRecords").unwrap();
                for log in logs.as_array().unwrap() {
                    let inner = log["body"]["stringValue"].as_str().unwrap();
                    let inner: Value = serde_json::from_str(inner).unwrap();
                    let number = inner["metadata"]["sequence"].as_u64().unwrap();
                    match seen.contains(&number) {
                        true => again += 1,
                        false => seen.push(number),
                    }
                }
            }
        }
    };
    tokio::select! {
        followed = exporter.follow() => panic!("{followed:?}"),
        () = collect => {}
    }
    assert_eq!(seen, (1..=40).collect::<Vec<_>>());
    // What was not answered within ten seconds comes again, and nothing else does.
    assert!(again == 0 || began.elapsed() >= Duration::from_secs(10), "{again} came again");
}

#[tokio::test(start_paused = true)]
async fn published_checkpoints_prove_the_log_later() {
    let _rest = AtRest::begin();
    let (dir, tmp) = (closed(5), TempDir::new().unwrap());
    let file = tmp.path().join("anchors");
    let mut older = Vec::new();
    let mut anchors = Anchors::new(dir.path(), Target::append(&file));
    for _ in 0..3 {
        assert!(anchors.publish().await.unwrap());
        assert!(!anchors.publish().await.unwrap(), "the same twice");
        older.push(copy(dir.path()));
        let log = open(dir.path());
        record(&log, "reader", "x");
        log.close().unwrap();
    }
    let published = fs::read_to_string(&file).unwrap();
    assert_eq!(audit::verify(dir.path(), Some(&published)).unwrap().records, 8);
    // The one that was published last is of the third of them: what is older than that is not the log any more.
    assert_eq!(audit::verify(older[2].path(), Some(&published)).unwrap().records, 7);
    expect_tampered(older[1].path(), Some(&published), "the anchor has no signature of the log's key");
    let changed = published.replace("records 6", "records 5");
    expect_tampered(dir.path(), Some(&changed), "the anchor has a signature that is wrong");

    fs::remove_file(dir.path().join("head")).unwrap();
    assert_eq!(anchors.publish().await.unwrap_err().kind(), ErrorKind::Tampered);
}

#[tokio::test(start_paused = true)]
async fn checkpoints_go_to_syslog_the_journal_and_collectors() {
    let _rest = AtRest::begin();
    let (dir, tmp) = (closed(5), TempDir::new().unwrap());
    let note = String::from(audit::verify(dir.path(), None).unwrap().checkpoint);
    let path = tmp.path().join("socket");
    let server = UnixDatagram::bind(&path).unwrap();
    let publish = |target| async { Anchors::new(dir.path(), target).publish().await };
    let (sent, messages) = tokio::join!(publish(Target::syslog(&path)), datagrams(&server, 1));
    assert!(sent.unwrap());
    let message = str::from_utf8(&messages[0]).unwrap();
    let json: Value =
        serde_json::from_str(message.split_once("- airssys - audit.checkpoint - ").unwrap().1).unwrap();
    assert_eq!(json["checkpoint"], *note);
    let (sent, messages) = tokio::join!(publish(Target::journal(&path)), datagrams(&server, 1));
    assert!(sent.unwrap());
    assert!(journal_fields(&messages[0]).contains(&("AIRSSYS_CHECKPOINT".to_owned(), note.clone().into())));

    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::otlp(server.local_addr().unwrap(), "collector", "/v1/logs");
    let (sent, request) = tokio::join!(publish(target), serve(&server, "HTTP/1.1 200 OK\r\n\r\n"));
    assert!(sent.unwrap());
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    let published = body.pointer("/resourceLogs/0/scopeLogs/0/logRecords/0/body/stringValue").unwrap();
    assert_eq!(published, &*note);
}

fn exporter(dir: &TempDir, cursor: &Path, target: Target) -> Exporter {
    Exporter::open(dir.path(), cursor, target).unwrap()
}

/// A log of a record with a hostile resource, and of a denial with a trace.
fn hostile() -> TempDir {
    let dir = TempDir::new().unwrap();
    let log = open(dir.path());
    let recorded: Result<_, Error> = log.record(&event("guest", b"a\nPRIORITY=0\n\xff"));
    recorded.unwrap();
    let verdict = airssys_osl::Verdict::Deny;
    let denied = Event { verdict, outcome: Outcome::Denied, trace: [0xab; 16], ..event("guest", b"b") };
    log.record(&denied).unwrap();
    log.close().unwrap();
    dir
}

fn sequences(lines: &str) -> Vec<u64> {
    let values = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    values.map(|value| value["metadata"]["sequence"].as_u64().unwrap()).collect()
}

async fn datagrams(server: &UnixDatagram, count: usize) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for _ in 0..count {
        let mut buffer = vec![0; 64 * 1024];
        let bytes = server.recv(&mut buffer).await.unwrap();
        buffer.truncate(bytes);
        messages.push(buffer);
    }
    messages
}

/// Reads one request to its end, answers it and hangs up.
async fn serve(server: &TcpListener, answer: &str) -> String {
    loop {
        let (mut connection, _) = server.accept().await.unwrap();
        if let Some(request) = whole_request(&mut connection).await {
            // Whoever gave it up meanwhile asks again.
            let _ = connection.write_all(answer.as_bytes()).await;
            return request;
        }
    }
}

/// Reads one request to its end; `None` where whoever asks gave it up.
async fn whole_request(connection: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    loop {
        let Ok(1..) = connection.read_buf(&mut request).await else { return None };
        let text = str::from_utf8(&request).unwrap_or_default();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            return Some(text.to_owned());
        }
    }
}

/// The fields of an entry in the journal's protocol, each with the length of its value before it.
fn journal_fields(mut entry: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields = Vec::new();
    while !entry.is_empty() {
        let end = entry.iter().position(|byte| *byte == b'\n').unwrap();
        let name = String::from_utf8(entry[..end].to_vec()).unwrap();
        let length = u64::from_le_bytes(entry[end + 1..][..8].try_into().unwrap()) as usize;
        fields.push((name, entry[end + 9..][..length].to_vec()));
        assert_eq!(entry[end + 9 + length], b'\n');
        entry = &entry[end + 10 + length..];
    }
    fields
}
