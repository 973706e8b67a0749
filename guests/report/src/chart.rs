//! Charts as inline SVG. All their colours come from the style of the page.

use std::fmt::{self, Write};

use logwatch::calendar;

use crate::text::{Html, number};

/// The most bars that can be told apart; more hours are put together.
const BARS_LIMIT: i64 = 168;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
/// Room for the numbers at the left and the hours below.
const LEFT: f64 = 56.0;
const BELOW: f64 = 24.0;
const ABOVE: f64 = 8.0;

/// The least room that a label below takes.
const LABEL_WIDTH: f64 = 64.0;

/// Requests over time: a bar for each hour, or for as many as leave the bars wide enough to see.
pub(crate) fn hours(page: &mut String, counts: &[(i64, u64)]) -> fmt::Result {
    let (Some((first, _)), Some((last, _))) = (counts.first(), counts.last()) else {
        return page.write_str("<p class=none>No requests yet.</p>");
    };
    let hours = last - first + 1;
    let hours_per_bar = (hours + BARS_LIMIT - 1) / BARS_LIMIT;
    let mut bars =
        vec![0_u64; usize::try_from((hours + hours_per_bar - 1) / hours_per_bar).unwrap_or_default()];
    for (hour, count) in counts {
        let index = usize::try_from((hour - first) / hours_per_bar).unwrap_or_default();
        if let Some(bar) = bars.get_mut(index) {
            *bar += count;
        }
    }
    let top = round_up(bars.iter().copied().max().unwrap_or_default());
    let bar_width = (WIDTH - LEFT) / bars.len() as f64;
    write!(page, "<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img aria-label='Requests over time'>")?;
    grid(page, top)?;
    let bars_per_label = (LABEL_WIDTH / bar_width).ceil().max(1.0) as usize;
    for (index, count) in bars.into_iter().enumerate() {
        let hour = first + index as i64 * hours_per_bar;
        let x = LEFT + index as f64 * bar_width;
        let y = height_of(count, top);
        let (gap, height) = (bar_width * 0.15, HEIGHT - BELOW - y);
        write!(
            page,
            "<rect class=bar x={:.1} y={y:.1} width={:.1} height={height:.1} rx=2><title>{} UTC: {}</title></rect>",
            x + gap / 2.0,
            bar_width - gap,
            hour_label(hour),
            number(count),
        )?;
        if index % bars_per_label == 0 && x + LABEL_WIDTH / 2.0 < WIDTH {
            let label = if hours <= 48 { time_label(hour) } else { day_label(hour) };
            write!(
                page,
                "<text x={:.1} y={} text-anchor=middle>{label}</text>",
                x + bar_width / 2.0,
                HEIGHT - 6.0
            )?;
        }
    }
    page.write_str("</svg>")
}

fn grid(page: &mut String, top: u64) -> fmt::Result {
    for quarter in 0..=4 {
        let value = top * quarter / 4;
        let y = height_of(value, top);
        write!(page, "<line class=grid x1={LEFT} x2={WIDTH} y1={y:.1} y2={y:.1} />")?;
        write!(page, "<text x={} y={:.1} text-anchor=end>{}</text>", LEFT - 8.0, y + 4.0, number(value))?;
    }
    Ok(())
}

fn height_of(value: u64, top: u64) -> f64 {
    let room = HEIGHT - BELOW - ABOVE;
    HEIGHT - BELOW - room * value as f64 / top as f64
}

/// The next number that makes four even steps of a grid: 4, 8, 12, 20, 40, 80 …
fn round_up(value: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        let steps = [4, 8, 12, 20, 32].into_iter().map(|step| power.saturating_mul(step));
        if let Some(step) = steps.into_iter().find(|step| *step >= value) {
            return step;
        }
        power = power.saturating_mul(10);
    }
}

fn time_label(hour: i64) -> String {
    format!("{:02}:00", hour.rem_euclid(24))
}

fn day_label(hour: i64) -> String {
    let (_, month, day) = calendar::date(hour.div_euclid(24));
    format!("{month:02}-{day:02}")
}

/// The whole name of an hour: `2026-11-22 09:00`.
pub(crate) fn hour_label(hour: i64) -> String {
    let (year, month, day) = calendar::date(hour.div_euclid(24));
    format!("{year:04}-{month:02}-{day:02} {}", time_label(hour))
}

/// One part of a whole: its style, its name and its size.
pub(crate) type Part<'a> = (&'a str, &'a str, u64);

/// Parts of a whole: one bar, and a legend.
pub(crate) fn parts(page: &mut String, parts: &[Part<'_>]) -> fmt::Result {
    let whole = parts.iter().map(|(_, _, count)| count).sum::<u64>().max(1) as f64;
    page.write_str(
        "<svg class=parts viewBox='0 0 1000 28' preserveAspectRatio=none role=img aria-label=Shares>",
    )?;
    let mut x = 0.0;
    for (style, name, count) in parts {
        let width = *count as f64 / whole * 1_000.0;
        write!(page, "<rect class={style} x={x:.2} width={width:.2} height=28><title>{name}</title></rect>")?;
        x += width;
    }
    page.write_str("</svg><ul class=legend>")?;
    for (style, name, count) in parts {
        let share = crate::text::percent(*count as f64 / whole);
        write!(page, "<li><i class={style}></i>{name} <b>{}</b> <span>{share}</span>", number(*count))?;
    }
    page.write_str("</ul>")
}

/// One row of a list: a name, what to say about it, how often, and the style of its bar.
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    pub(crate) note: Option<&'a str>,
    pub(crate) count: u64,
    pub(crate) style: &'static str,
}

/// Names by how often they were seen, each with a bar relative to the first.
pub(crate) fn rows<'a>(page: &mut String, rows: impl Iterator<Item = Row<'a>>) -> fmt::Result {
    page.write_str("<table class=rows>")?;
    let mut most = 0;
    for Row { name, note, count, style } in rows {
        most = most.max(count);
        let width = count as f64 / most.max(1) as f64 * 100.0;
        let name = Html(name);
        write!(page, "<tr><td class=name title=\"{name}\">{name}")?;
        if let Some(note) = note {
            write!(page, " <small>{}</small>", Html(note))?;
        }
        write!(page, "<td class=count>{}", number(count))?;
        write!(
            page,
            "<td class=track><svg><rect class={style} width='{width:.1}%' height=100% rx=3 /></svg>"
        )?;
    }
    page.write_str("</table>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(counts: &[(i64, u64)]) -> String {
        let mut page = String::new();
        hours(&mut page, counts).unwrap();
        page
    }

    #[test]
    fn an_hour_without_requests_has_its_place() {
        let chart = draw(&[(100, 5), (103, 7)]);
        assert_eq!(chart.matches("<rect").count(), 4);
        assert!(chart.contains("1970-01-05 05:00 UTC: 0"), "{chart}");
    }

    #[test]
    fn many_hours_share_bars_and_none_is_lost() {
        let counts: Vec<(i64, u64)> = (0..1_000).map(|hour| (hour, 1)).collect();
        let chart = draw(&counts);
        assert_eq!(chart.matches("<rect").count(), 167);
        assert_eq!(chart.matches("UTC: 6<").count(), 166);
        assert_eq!(chart.matches("UTC: 4<").count(), 1);
    }

    #[test]
    fn no_hours_are_no_chart() {
        assert!(draw(&[]).contains("No requests yet"));
    }

    #[test]
    fn grids_are_round() {
        assert_eq!([0, 4, 5, 13, 99, 1_001].map(round_up), [4, 4, 8, 20, 120, 1_200]);
        assert_eq!(round_up(u64::MAX), u64::MAX);
    }
}
