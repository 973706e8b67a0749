//! The page: one file that needs nothing else.

use std::fmt::{self, Write};

use logwatch::{Bytes, Count, Ranking, Snapshot, calendar};

use crate::{
    chart::{self, Row},
    text::{number, percent, size},
};

/// How many rows a list has.
const ROWS: usize = 10;

const STYLE: &str = include_str!("page.css");

/// Makes the page of a snapshot.
pub(crate) fn render(snapshot: &Snapshot) -> String {
    let mut page = String::with_capacity(32 * 1024);
    // Writing to a `String` cannot fail.
    let _ = write_page(&mut page, snapshot);
    page
}

fn write_page(page: &mut String, snapshot: &Snapshot) -> fmt::Result {
    let hours: Vec<(i64, u64)> = snapshot
        .hours
        .iter()
        .filter_map(|(name, count)| Some((calendar::parse_hour(name)?, *count)))
        .collect();
    // Nothing may be loaded and nothing may run, whatever the log has smuggled in.
    write!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <meta name=viewport content='width=device-width'><meta name=color-scheme content='light dark'>\
         <title>logwatch</title><style>{STYLE}</style>"
    )?;
    write!(page, "<header><h1>logwatch</h1><p>{}</p></header><main>", span(&hours))?;
    tiles(page, snapshot)?;
    page.write_str("<section class=wide><h2>Requests over time <small>UTC</small></h2>")?;
    chart::hours(page, &hours)?;
    page.write_str("</section><section><h2>Status</h2>")?;
    chart::parts(page, &status_classes(snapshot))?;
    let statuses: Vec<(String, u64)> =
        by_count(snapshot.statuses.iter().map(|(code, n)| (code.to_string(), *n)));
    chart::rows(page, rows_of(&statuses, status_style))?;
    page.write_str("</section><section><h2>Size of responses</h2>")?;
    bytes(page, &snapshot.bytes)?;
    page.write_str("<h2>Methods</h2>")?;
    let methods: Vec<(String, u64)> = by_count(snapshot.methods.iter().map(|(name, n)| (name.clone(), *n)));
    chart::rows(page, rows_of(&methods, |_| "bar"))?;
    page.write_str("</section><section><h2>Top paths")?;
    ranking(page, &snapshot.paths)?;
    page.write_str("</section><section><h2>Top talkers")?;
    ranking(page, &snapshot.clients)?;
    page.write_str("</section></main>")
}

fn span(hours: &[(i64, u64)]) -> String {
    match (hours.first(), hours.last()) {
        (Some((first, _)), Some((last, _))) => {
            format!("{} – {} UTC", chart::hour_label(*first), chart::hour_label(last + 1))
        }
        _ => "Nothing has been counted yet.".to_owned(),
    }
}

fn tiles(page: &mut String, snapshot: &Snapshot) -> fmt::Result {
    let tiles = [
        ("Lines", number(snapshot.lines)),
        ("Error rate", percent(snapshot.error_rate)),
        ("Clients", at_least(&snapshot.clients)),
        ("Sent", size(snapshot.bytes.total)),
        ("Suspicious", number(snapshot.suspicious)),
        ("Malformed", number(snapshot.malformed)),
    ];
    page.write_str("<div class='tiles wide'>")?;
    for (name, value) in tiles {
        write!(page, "<div><span>{name}</span><b>{value}</b></div>")?;
    }
    page.write_str("</div>")
}

fn at_least(ranking: &Ranking) -> String {
    let mark = if ranking.undercount > 0 { "+" } else { "" };
    format!("{}{mark}", number(ranking.distinct as u64))
}

fn status_classes(snapshot: &Snapshot) -> [chart::Part<'static>; 5] {
    let of_class = |class: u16| {
        let statuses = snapshot.statuses.iter().filter(|(status, _)| **status / 100 == class);
        statuses.map(|(_, count)| count).sum::<u64>()
    };
    let known = of_class(2) + of_class(3) + of_class(4) + of_class(5);
    let other = snapshot.statuses.values().sum::<u64>() - known;
    [
        ("c2", "2xx", of_class(2)),
        ("c3", "3xx", of_class(3)),
        ("c4", "4xx", of_class(4)),
        ("c5", "5xx", of_class(5)),
        ("c1", "other", other),
    ]
}

/// The percentiles on a scale that grows by powers of ten, as sizes do.
fn bytes(page: &mut String, bytes: &Bytes) -> fmt::Result {
    let place =
        |value: u64| (value.max(1) as f64).log10() / (bytes.max.max(10) as f64).log10() * 960.0 + 20.0;
    let (p50, p95) = (place(bytes.p50), place(bytes.p95));
    page.write_str("<svg viewBox='0 0 1000 40' role=img aria-label='Percentiles of the sizes'>")?;
    page.write_str("<rect class=track x=20 y=16 width=960 height=8 rx=4 />")?;
    write!(page, "<rect class=bar x={p50:.1} y=16 width={:.1} height=8 />", p95 - p50)?;
    let marks = [("c2", "median", bytes.p50), ("c4", "p95", bytes.p95), ("c5", "max", bytes.max)];
    for (style, name, value) in marks {
        write!(
            page,
            "<circle class={style} cx={:.1} cy=20 r=12><title>{name}</title></circle>",
            place(value)
        )?;
    }
    page.write_str("</svg><ul class=legend>")?;
    for (style, name, value) in marks {
        write!(page, "<li><i class={style}></i>{name} <b>{}</b>", size(value))?;
    }
    page.write_str("</ul>")
}

fn ranking<'a>(page: &mut String, ranking: &'a Ranking) -> fmt::Result {
    write!(page, " <small>of {}</small></h2>", at_least(ranking))?;
    let top = ranking.top.iter().take(ROWS);
    let row = |entry: &'a Count| Row {
        name: &entry.name,
        note: entry.country.as_deref(),
        count: entry.count,
        style: "bar",
    };
    chart::rows(page, top.map(row))
}

fn by_count(counts: impl Iterator<Item = (String, u64)>) -> Vec<(String, u64)> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.truncate(ROWS);
    counts
}

fn rows_of(counts: &[(String, u64)], style: fn(&str) -> &'static str) -> impl Iterator<Item = Row<'_>> {
    counts.iter().map(move |(name, count)| Row { name, note: None, count: *count, style: style(name) })
}

fn status_style(status: &str) -> &'static str {
    match status.as_bytes().first() {
        Some(b'2') => "c2",
        Some(b'3') => "c3",
        Some(b'4') => "c4",
        Some(b'5') => "c5",
        _ => "c1",
    }
}
