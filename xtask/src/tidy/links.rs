//! Links to files of the project lead to files.

use std::path::Path;

use super::{Finding, Source};

pub(super) fn check(source: &Source, root: &Path) -> Vec<Finding> {
    let folder = Path::new(&source.name).parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let missing: Vec<_> = if source.name.ends_with(".md") {
            let targets = targets(line).filter(|target| !root.join(folder).join(target).exists());
            targets.map(str::to_owned).collect()
        } else {
            records(line).filter(|record| !is_record(root, record)).collect()
        };
        for target in missing {
            let message = format!("the link to `{target}` leads nowhere");
            findings.push(Finding { file: source.name.clone(), line: index + 1, message });
        }
    }
    findings
}

/// The files that a line of Markdown links to: `[text](path#part)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let after = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let files = after.map(|target| target.split('#').next().unwrap_or_default());
    files.filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
}

/// The decision records that a comment names: `ADR 0003`.
fn records(line: &str) -> impl Iterator<Item = String> {
    line.split("ADR ").skip(1).filter_map(|rest| {
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        (number.len() == 4).then_some(number)
    })
}

fn is_record(root: &Path, number: &str) -> bool {
    let Ok(entries) = root.join("docs/adr").read_dir() else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found() {
        let line = "see [a](docs/a.md#part), [b](https://example.org) and [c](#here), [d](d.md)";
        assert_eq!(targets(line).collect::<Vec<_>>(), ["docs/a.md", "d.md"]);
    }

    #[test]
    fn records_are_found() {
        assert_eq!(records("// ADR 0003 says why; ADR-style is no record").collect::<Vec<_>>(), ["0003"]);
    }
}
