//! Rules about Rust sources.

use std::path::Path;

use super::{Finding, Source};

/// The longest function, from its `fn` to its closing brace.
const FUNCTION_LINES: usize = 70;

/// Words that stand for work that was not done, split so that this file does not find itself.
const UNDONE: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

pub(super) fn check(source: &Source, all: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line: usize, message: String| {
        findings.push(Finding { file: source.name.clone(), line, message });
    };
    for (start, lines) in functions(&source.text) {
        if lines > FUNCTION_LINES {
            find(start, format!("a function of {lines} lines; the most is {FUNCTION_LINES}"));
        }
    }
    for (index, line) in source.text.lines().enumerate() {
        for message in line_findings(line) {
            find(index + 1, message);
        }
    }
    if let Some(module) = forgotten_module(source, all) {
        find(1, format!("`{module}` has no `mod` line: its tests never run"));
    }
    if let Some(fixture) =
        source.name.strip_suffix("/tests/it/main.rs").and_then(|krate| untested(krate, all))
    {
        find(1, format!("no test names the fixture `{fixture}`"));
    }
    findings
}

fn line_findings(line: &str) -> Vec<String> {
    let code = line.trim_start();
    let mut findings = Vec::new();
    if code.starts_with("#[ignore") {
        findings.push("a test that is not run proves nothing".to_owned());
    }
    if code.starts_with("//") && code.contains("```ignore") {
        findings.push("an example that is not run goes stale".to_owned());
    }
    for word in UNDONE {
        if code.split(|character: char| !character.is_ascii_alphanumeric()).any(|part| part == *word) {
            findings.push(format!("`{word}`: do it, or leave it out"));
        }
    }
    findings
}

/// Where each function starts (counted from 1) and how many lines it has. The sources are formatted, so a function
/// ends at the first closing brace that is indented as its first line is.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut functions = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if !is_function(line.trim_start()) || line.trim_end().ends_with(['}', ';']) {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        let body = lines.get(start..).unwrap_or_default();
        if let Some(end) = body.iter().position(|line| *line == closing) {
            functions.push((start + 1, end + 1));
        }
    }
    functions
}

fn is_function(code: &str) -> bool {
    let qualifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern"];
    let words = code.split_whitespace().skip_while(|word| qualifiers.contains(word));
    words.take(1).any(|word| word == "fn")
}

/// The name of a file in `tests/it/` that `main.rs` beside it does not include.
fn forgotten_module(source: &Source, all: &[Source]) -> Option<String> {
    let (krate, file) = source.name.split_once("/tests/it/")?;
    let module = file.strip_suffix(".rs").filter(|module| *module != "main" && !module.contains('/'))?;
    let main = all.iter().find(|other| other.name == format!("{krate}/tests/it/main.rs"))?;
    let included = main.text.lines().any(|line| line.trim() == format!("mod {module};"));
    (!included).then(|| module.to_owned())
}

/// A fixture of a crate that no test of it names.
fn untested(krate: &str, all: &[Source]) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let entries = root.join(krate).join("tests/fixtures").read_dir().ok()?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let tests = format!("{krate}/tests/it/");
    let mut names = names.filter(|name| {
        !all.iter().any(|source| source.name.starts_with(&tests) && source.text.contains(name.as_str()))
    });
    names.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured() {
        let text = "fn a() {\n    1;\n}\n\nimpl B {\n    pub(crate) async fn c(\n        &self,\n    ) {\n    }\n}\nfn d() {}\n";
        assert_eq!(functions(text), [(1, 3), (6, 4)]);
    }

    #[test]
    fn words_for_work_not_done_are_found() {
        assert_eq!(line_findings(concat!("// TO", "DO: later")).len(), 1);
        assert_eq!(line_findings("// the method is called todos").len(), 0);
    }

    #[test]
    fn a_forgotten_test_file_is_found() {
        let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
        let all = [source("x/tests/it/main.rs", "mod paths;\n"), source("x/tests/it/races.rs", "")];
        assert_eq!(forgotten_module(&all[1], &all).as_deref(), Some("races"));
        let named = [source("x/tests/it/main.rs", "mod races;\n"), source("x/tests/it/races.rs", "")];
        assert_eq!(forgotten_module(&named[1], &named), None);
    }
}
