//! Rows as a table, for a terminal and for a page.

use std::fmt::Write as _;

use super::row::{Goal, Row};

const COLUMNS: [&str; 6] = ["", "ours", "peers", "ratio", "goal", "met"];

/// One more, where a row is a race.
const RACE_COLUMN: &str = "ahead";

/// The table in aligned columns.
pub(super) fn text(rows: &[Row]) -> String {
    let lines = lines(rows);
    let mut widths = [0; COLUMNS.len() + 1];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        for (width, cell) in widths.iter().zip(line) {
            let _ = write!(text, "{cell:width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// The table in Markdown.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut text = String::new();
    for (index, line) in lines(rows).iter().enumerate() {
        let _ = writeln!(text, "| {} |", line.join(" | "));
        if index == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(line.len()));
        }
    }
    text
}

/// The heads of the columns, and the cells of each row.
fn lines(rows: &[Row]) -> Vec<Vec<String>> {
    let has_race = rows.iter().any(|row| row.is_race);
    let mut lines = vec![COLUMNS.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|row| cells(row).to_vec()));
    if has_race {
        let cells = rows.iter().map(race_cell);
        for (line, cell) in lines.iter_mut().zip(std::iter::once(RACE_COLUMN.to_owned()).chain(cells)) {
            line.push(cell);
        }
    }
    lines
}

fn race_cell(row: &Row) -> String {
    match row.not_behind().as_deref() {
        None => String::new(),
        Some([]) => "yes".to_owned(),
        Some(peers) => format!("NO: {}", peers.join(", ")),
    }
}

fn cells(row: &Row) -> [String; 6] {
    let with_unit = |figure: f64| match figure.is_nan() {
        true => "n/a".to_owned(),
        false => format!("{} {}", figure_text(figure), row.unit),
    };
    let peers: Vec<_> =
        row.peers.iter().map(|peer| format!("{}: {}", peer.name, with_unit(peer.figure))).collect();
    let goal = row.goal.map(|goal| match goal {
        Goal::AtLeast(bound) => format!("≥ {}", with_unit(bound)),
        Goal::AtMost(bound) => format!("≤ {}", with_unit(bound)),
        Goal::RatioAtMost(bound) => format!("ratio ≤ {bound}"),
    });
    let met = row.met().map(|met| if met { "yes" } else { "NO" });
    [
        row.name.clone(),
        with_unit(row.ours),
        peers.join(", "),
        row.ratio().filter(|ratio| !ratio.is_nan()).map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        goal.unwrap_or_default(),
        met.unwrap_or_default().to_owned(),
    ]
}

/// Three digits or more, thousands apart.
fn figure_text(figure: f64) -> String {
    let decimals = match figure.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{figure:.decimals$}");
    if decimals > 0 {
        return text;
    }
    let mut grouped = String::new();
    for (index, digit) in text.char_indices() {
        if index > 0 && (text.len() - index).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::{super::row::Peer, *};

    fn rows() -> Vec<Row> {
        vec![
            Row {
                name: "throughput".to_owned(),
                unit: "lines/s",
                ours: 151_234.5,
                peers: vec![Peer { name: "native", figure: 1_190_000.0 }],
                goal: Some(Goal::AtLeast(150_000.0)),
                is_race: false,
            },
            Row {
                name: "start".to_owned(),
                unit: "ms",
                ours: 1_200.0,
                peers: Vec::new(),
                goal: Some(Goal::AtMost(1_000.0)),
                is_race: false,
            },
        ]
    }

    #[test]
    fn columns_are_aligned() {
        let expected = [
            "            ours             peers                      ratio  goal               met",
            "throughput  151,234 lines/s  native: 1,190,000 lines/s  0.13   ≥ 150,000 lines/s  yes",
            "start       1,200 ms                                           ≤ 1,000 ms         NO",
        ];
        assert_eq!(text(&rows()).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn markdown_says_what_was_missed() {
        let text = markdown(&rows());
        assert!(
            text.contains("| throughput | 151,234 lines/s | native: 1,190,000 lines/s | 0.13 | ≥ 150,000 lines/s | yes |"),
            "{text}"
        );
        assert!(text.contains("| start | 1,200 ms |  |  | ≤ 1,000 ms | NO |"), "{text}");
    }

    #[test]
    fn a_race_has_a_column_that_names_who_is_not_behind() {
        let peers = [("actix", 40.0), ("beam", 50.0), ("otp", f64::NAN)];
        let peers = peers.map(|(name, figure)| Peer { name, figure }).to_vec();
        let race = |ours| Row {
            name: "ring".to_owned(),
            unit: "ns",
            ours,
            peers: peers.clone(),
            goal: None,
            is_race: true,
        };
        let text = markdown(&[race(45.0), race(39.0), rows().remove(1)]);
        let expected = "\
|  | ours | peers | ratio | goal | met | ahead |
|---|---|---|---|---|---|---|
| ring | 45.0 ns | actix: 40.0 ns, beam: 50.0 ns, otp: n/a | 1.12 |  |  | NO: actix |
| ring | 39.0 ns | actix: 40.0 ns, beam: 50.0 ns, otp: n/a | 0.97 |  |  | yes |
| start | 1,200 ms |  |  | ≤ 1,000 ms | NO |  |
";
        assert_eq!(text, expected);
    }

    #[test]
    fn figures_keep_three_digits() {
        let texts = [0.123, 9.876, 42.0, 999.4, 1_000.0, 1_234_567.0].map(figure_text);
        assert_eq!(texts, ["0.12", "9.88", "42.0", "999", "1,000", "1,234,567"]);
    }
}
