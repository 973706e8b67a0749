//! The page of all results: each benchmark owns one section and leaves the others alone.

use std::{fs, io, path::Path};

use super::{machine::Machine, row::Row, table};

const HEAD: &str = "\
# Benchmarks

Each section is written by the command that it names, from the figures of one run on one machine. Figures are
medians; ours and the peers' were measured in turns, so their ratio means more than either.
";

/// The section of one benchmark.
pub(super) fn section(name: &str, method: &str, machine: &Machine, rows: &[Row]) -> String {
    let table = table::markdown(rows);
    format!("## {name}\n\n`cargo xtask bench {name} --write-docs` on: {machine}.\n\n{method}\n\n{table}")
}

/// Puts a section into the page: where the benchmark's last one was, or at the end.
pub(super) fn write(page: &Path, name: &str, section: &str) -> io::Result<()> {
    let old = match fs::read_to_string(page) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => HEAD.to_owned(),
        other => other?,
    };
    fs::write(page, replaced(&old, name, section))
}

fn replaced(page: &str, name: &str, section: &str) -> String {
    let (begin, end) = (format!("<!-- bench:{name} -->\n"), format!("<!-- /bench:{name} -->\n"));
    let (before, after) = match page.split_once(&begin) {
        Some((before, rest)) => (before.to_owned(), rest.split_once(&end).map_or("", |(_, after)| after)),
        None => (format!("{}\n\n", page.trim_end()), ""),
    };
    format!("{before}{begin}{section}{end}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_others_are_left_alone() {
        let page = replaced(HEAD, "a", "old a\n");
        let page = replaced(&page, "b", "some b\n");
        let page = replaced(&page, "a", "new a\n");
        let expected =
            "<!-- bench:a -->\nnew a\n<!-- /bench:a -->\n\n<!-- bench:b -->\nsome b\n<!-- /bench:b -->\n";
        assert_eq!(page, format!("{HEAD}\n{expected}"));
    }

    #[test]
    fn writing_twice_changes_nothing() {
        let once = replaced("# Title\n", "a", "text\n");
        assert_eq!(replaced(&once, "a", "text\n"), once);
    }
}
