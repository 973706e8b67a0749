//! A folder as it changes, and the lines that come out of it.

use super::*;
use crate::{
    gunzip::tests::{gzip, noise},
    lines::LINE_LIMIT_BYTES,
};
use airssys_guest::{log::Level, testing::Host};

struct Watch {
    host: Host,
    reader: Reader,
}

impl Watch {
    fn start(files: &[(&str, &[u8])]) -> Self {
        let host = Host::new();
        host.grant_dir(FOLDER);
        for (name, content) in files {
            host.put_file(&format!("/inbox/{name}"), content);
        }
        let reader = Reader::init(&Config::default()).unwrap();
        assert_eq!(host.take_timer(POLL), Some(0));
        Self { host, reader }
    }

    /// Turns the timer until there is nothing more to read. The lines that were sent.
    fn poll(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            self.reader.timer(POLL).unwrap();
            lines.extend(self.sent());
            if self.host.take_timer(POLL).unwrap() == DEFAULT_POLL_MS {
                return lines;
            }
        }
    }

    fn sent(&self) -> Vec<String> {
        let text = |(to, subject, payload): (String, String, Vec<u8>)| {
            assert_eq!((to.as_str(), subject.as_str()), (DEFAULT_RECEIVER, LINE));
            String::from_utf8(payload).unwrap()
        };
        self.host.take_sent().into_iter().map(text).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let logged = self.host.take_logged().into_iter();
        logged.filter(|(level, _)| *level >= Level::Warn).map(|(_, text)| text).collect()
    }
}

#[test]
fn files_are_read_once_and_in_order_of_their_names() {
    let mut watch = Watch::start(&[("b.log", b"b1\nb2\n"), ("a.log", b"a1\n")]);
    assert_eq!(watch.poll(), ["a1", "b1", "b2"]);
    assert!(watch.poll().is_empty());
}

#[test]
fn a_growing_file_is_read_on_and_its_last_line_waits_for_its_end() {
    let mut watch = Watch::start(&[("a.log", b"one\ntw")]);
    assert_eq!(watch.poll(), ["one"]);
    watch.host.append_file("/inbox/a.log", b"o\nthree");
    assert_eq!(watch.poll(), ["two"]);
    watch.reader.terminate(Reason::Shutdown);
    assert_eq!(watch.sent(), ["three"]);
}

#[test]
fn a_rotated_file_is_not_read_twice() {
    let mut watch = Watch::start(&[("access.log", b"one\n")]);
    assert_eq!(watch.poll(), ["one"]);
    watch.host.append_file("/inbox/access.log", b"two\n");
    watch.host.rename_file("/inbox/access.log", "/inbox/access.log.1");
    watch.host.put_file("/inbox/access.log", b"three\n");
    let mut lines = watch.poll();
    lines.sort();
    assert_eq!(lines, ["three", "two"]);
}

#[test]
fn a_truncated_file_is_read_from_its_start() {
    let mut watch = Watch::start(&[("a.log", b"one\ntwo\nthr")]);
    watch.poll();
    watch.host.rewrite_file("/inbox/a.log", b"new\n");
    assert_eq!(watch.poll(), ["new"]);
    assert_eq!(watch.warnings(), ["a.log was truncated: it is read from its start again"]);
}

#[test]
fn the_last_line_of_a_removed_file_is_sent() {
    let mut watch = Watch::start(&[("a.log", b"one\ntwo")]);
    assert_eq!(watch.poll(), ["one"]);
    watch.host.remove_file("/inbox/a.log");
    assert_eq!(watch.poll(), ["two"]);
    watch.host.put_file("/inbox/a.log", b"three\n");
    assert_eq!(watch.poll(), ["three"]);
}

#[test]
fn what_editors_leave_is_not_read() {
    let files = [".hidden", "a.tmp", "a.swp", "a.log~"].map(|name| (name, &b"no\n"[..]));
    assert!(Watch::start(&files).poll().is_empty());
}

#[test]
fn gzip_is_read_as_it_grows() {
    let text = noise(200_000);
    let file = gzip(&text);
    let (head, tail) = file.split_at(file.len() / 2);
    let mut watch = Watch::start(&[("a.log.1.gz", head)]);
    let mut lines = watch.poll();
    let warnings = watch.warnings();
    assert!(matches!(&warnings[..], [one] if one.contains("ends too early")), "{warnings:?}");
    watch.host.append_file("/inbox/a.log.1.gz", tail);
    lines.extend(watch.poll());
    watch.reader.terminate(Reason::Normal);
    lines.extend(watch.sent());
    let text = String::from_utf8(text).unwrap();
    assert_eq!(lines, text.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>());
}

/// Lines as long as those of a log, so that their beginning says something.
fn log(range: std::ops::Range<u32>) -> String {
    range
        .map(|index| {
            format!("203.0.113.7 - - [22/Nov/2026:10:00:00 +0000] \"GET /{index} HTTP/1.1\" 200 1\n")
        })
        .collect()
}

#[test]
fn a_log_that_rotation_compresses_is_not_read_twice() {
    let text = log(0..5_000);
    let (head, tail) = text.split_at(100_000);
    let mut watch = Watch::start(&[("access.log.1", head.as_bytes())]);
    let mut lines = watch.poll();
    // What the compressed file holds beyond what was read is read from it.
    watch.host.append_file("/inbox/access.log.1", tail.as_bytes());
    watch.host.remove_file("/inbox/access.log.1");
    watch.host.put_file("/inbox/access.log.2.gz", &gzip(text.as_bytes()));
    lines.extend(watch.poll());
    lines.extend(watch.poll());
    watch.reader.terminate(Reason::Shutdown);
    lines.extend(watch.sent());
    assert_eq!(lines.concat().len(), text.lines().collect::<String>().len());
    assert!(lines.len() <= 5_001, "{}", lines.len());
}

#[test]
fn a_compressed_copy_waits_while_its_original_is_there() {
    let text = log(0..100);
    let mut watch = Watch::start(&[("a.log", text.as_bytes())]);
    assert_eq!(watch.poll().len(), 100);
    watch.host.put_file("/inbox/a.log.gz", &gzip(text.as_bytes()));
    assert!(watch.poll().is_empty());
    watch.host.append_file("/inbox/a.log", log(100..103).as_bytes());
    assert_eq!(watch.poll().len(), 3);
    watch.host.remove_file("/inbox/a.log");
    assert!(watch.poll().is_empty() && watch.poll().is_empty());
}

#[test]
fn a_compressed_file_of_another_log_is_read() {
    let mut watch =
        Watch::start(&[("a.log", log(0..10).as_bytes()), ("b.log.gz", &gzip(log(5..10).as_bytes()))]);
    assert_eq!(watch.poll().len(), 15);
}

#[test]
fn a_bad_file_is_told_once_and_stops_no_other() {
    let mut watch = Watch::start(&[("a.gz", b"plain"), ("b.log", b"b\n")]);
    assert_eq!(watch.poll(), ["b"]);
    watch.host.append_file("/inbox/a.gz", b"more");
    assert!(watch.poll().is_empty());
    assert_eq!(watch.warnings(), ["a.gz: it is not gzip; what was readable is sent"]);
}

#[test]
fn a_long_line_is_cut_and_told_once() {
    let long = "x".repeat(LINE_LIMIT_BYTES + 9);
    let content = format!("{long}\n{long}\nshort\n");
    let mut watch = Watch::start(&[("a.log", content.as_bytes())]);
    let lengths: Vec<usize> = watch.poll().iter().map(String::len).collect();
    assert_eq!(lengths, [LINE_LIMIT_BYTES, LINE_LIMIT_BYTES, 5]);
    assert_eq!(watch.warnings().len(), 1);
}

#[test]
fn a_turn_has_a_bound_and_files_take_turns() {
    let line = format!("{}\n", "x".repeat(99));
    let content = line.repeat(30_000);
    let mut watch = Watch::start(&[("a.log", content.as_bytes()), ("b.log", b"last\n")]);
    watch.reader.timer(POLL).unwrap();
    assert_eq!(watch.host.take_timer(POLL), Some(0), "there is more, and others have their turn first");
    let first = watch.sent();
    assert!(first.len() < 12_000 && first.contains(&"last".to_owned()), "{}", first.len());
    assert_eq!(first.len() + watch.poll().len(), 30_001);
}

#[test]
fn more_files_than_may_be_open_are_all_read() {
    let names: Vec<String> = (0..200).map(|index| format!("{index:03}.log")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"line\n"[..])).collect();
    assert_eq!(Watch::start(&files).poll().len(), 200);
}

#[test]
fn a_chunk_that_is_too_small_or_too_large_is_refused() {
    let host = Host::new();
    host.grant_dir(FOLDER);
    for bytes in ["0", "4095", "1048577", "many"] {
        assert!(Reader::init(&Config::from_iter([("chunk-bytes", bytes)])).is_err(), "{bytes}");
    }
}
