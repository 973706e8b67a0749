//! The two files, and what hostile input makes of them.

use std::{cell::Cell, rc::Rc};

use super::*;
use airssys_guest::{log::Level, testing::Host};
use logwatch::Count;

fn start() -> (Host, Report) {
    let host = Host::new();
    host.grant_dir(FOLDER);
    let report = Report::init(&Config::default()).unwrap();
    (host, report)
}

fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot { lines: 12, error_rate: 0.25, ..Snapshot::default() };
    snapshot.hours.insert("2026-11-22T10".to_owned(), 12);
    snapshot.statuses.insert(200, 12);
    snapshot.clients.top.push(Count { name: "203.0.113.7".to_owned(), count: 12, country: None });
    snapshot
}

fn answer(host: &Host, snapshot: &Snapshot) {
    let answer = serde_json::to_vec(snapshot).unwrap();
    host.answer("stats", move |subject, _| (subject == "snapshot").then(|| answer.clone()));
}

fn written(host: &Host) -> Snapshot {
    serde_json::from_slice(&host.file("/out/report.json").unwrap()).unwrap()
}

#[test]
fn both_files_are_written_and_the_timer_is_set_again() {
    let (host, mut report) = start();
    answer(&host, &snapshot());
    host.answer("geo", |subject, address| {
        (subject == "locate" && address == b"203.0.113.7").then(|| b"Testland".into())
    });
    assert_eq!(host.take_timer(WRITE), Some(DEFAULT_EVERY_MS));
    report.timer(WRITE).unwrap();
    assert_eq!(host.take_timer(WRITE), Some(DEFAULT_EVERY_MS));
    assert_eq!(written(&host).clients.top[0].country.as_deref(), Some("Testland"));
    assert!(String::from_utf8(host.file("/out/report.html").unwrap()).unwrap().contains("Testland"));
    assert!(host.take_logged().is_empty());
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let (host, mut report) = start();
    answer(&host, &snapshot());
    report.timer(WRITE).unwrap();
    host.remove_file("/out/report.html");
    report.timer(WRITE).unwrap();
    assert_eq!(host.file("/out/report.html"), None);
    answer(&host, &Snapshot { lines: 13, ..snapshot() });
    report.terminate(Reason::Shutdown);
    assert_eq!(written(&host).lines, 13);
}

#[test]
fn a_plug_in_that_fails_is_asked_once_and_shown_as_unknown() {
    let (host, mut report) = start();
    let mut snapshot = snapshot();
    snapshot.clients.top.push(Count { name: "::1".to_owned(), count: 1, country: None });
    answer(&host, &snapshot);
    let asked = Rc::new(Cell::new(0));
    let counter = asked.clone();
    host.answer("geo", move |_, _| {
        counter.set(counter.get() + 1);
        None
    });
    report.timer(WRITE).unwrap();
    assert_eq!(asked.get(), 1);
    assert!(written(&host).clients.top.iter().all(|talker| talker.country.as_deref() == Some(UNKNOWN)));
}

#[test]
fn an_address_is_located_once() {
    let (host, mut report) = start();
    let asked = Rc::new(Cell::new(0));
    let counter = asked.clone();
    host.answer("geo", move |_, _| {
        counter.set(counter.get() + 1);
        Some(b"Testland".to_vec())
    });
    for lines in 0..3 {
        answer(&host, &Snapshot { lines, ..snapshot() });
        report.timer(WRITE).unwrap();
    }
    assert_eq!(asked.get(), 1);
}

#[test]
fn statistics_that_do_not_answer_are_logged_and_tried_again() {
    let (host, mut report) = start();
    report.timer(WRITE).unwrap();
    assert!(matches!(&host.take_logged()[..], [(Level::Error, text)] if text.starts_with("no report: ")));
    answer(&host, &snapshot());
    report.timer(WRITE).unwrap();
    assert_eq!(written(&host).lines, 12);
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let hostile = "\"'><script>alert(1)</script><!--";
    let count = || Count { name: hostile.to_owned(), count: 1, country: Some(hostile.to_owned()) };
    let mut snapshot = snapshot();
    snapshot.paths.top.push(count());
    snapshot.clients.top.push(count());
    snapshot.methods.insert(hostile.to_owned(), 1);
    snapshot.hours.insert(hostile.to_owned(), 1);
    let page = page::render(&snapshot);
    assert!(!page.contains("<script") && !page.contains("<!--") && !page.contains("\"'"), "{page}");
    assert_eq!(
        page.matches("&lt;script&gt;").count(),
        8,
        "three names as text and as title, two countries as text"
    );
}

#[test]
fn the_page_loads_nothing() {
    let page = page::render(&snapshot());
    assert!(
        !["http://", "https://", "src=", "href=", "url(", "@import"]
            .into_iter()
            .any(|link| page.contains(link))
    );
}

#[test]
fn a_page_of_nothing_is_a_page() {
    assert!(page::render(&Snapshot::default()).contains("Nothing has been counted yet."));
}
