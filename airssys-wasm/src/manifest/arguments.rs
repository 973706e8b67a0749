//! `process.NAME.args`: words, files that are handed over open, and paths of what it sees.

use std::path::{Path, PathBuf};

use airssys_osl::policy::{ExecTerms, Grant, Rights};
use toml::{Spanned, de::DeValue};

use super::{
    Argument, Located,
    folders::Place,
    rules::checked,
    section::{Notes, Section},
};

/// What a program is called with, and the grants that it takes to open its files.
#[derive(Default)]
pub(super) struct ReadArguments {
    pub(super) arguments: Vec<Argument>,
    pub(super) grants: Vec<Grant>,
}

/// Reads them. `seen` is what the program sees and changes; its files are added to `places`.
pub(super) fn read(
    section: &mut Section<'_>,
    seen: &[PathBuf],
    places: &mut Vec<Place>,
    notes: &mut Notes<'_>,
) -> ReadArguments {
    let place = section.place("args");
    let mut read = ReadArguments::default();
    let mut folders: Vec<PathBuf> = Vec::new();
    for (index, element) in section.array("args", notes).into_iter().enumerate() {
        let rule = format!("{place}[{index}]");
        let argument = match element.get_ref() {
            DeValue::Table(_) => read_named(&rule, element, seen, notes),
            _ => notes.text(&place, element).map(|text| Argument::Word(text.value)),
        };
        if let Some(Argument::File(file)) = &argument {
            places.push(Place::new(file, rule.clone(), false));
            if let Some(folder) =
                file.value.parent().filter(|folder| !folders.iter().any(|known| known == folder))
            {
                let grant = Grant::fs(folder, Rights::READ).rule(rule.as_str());
                read.grants.extend(checked(grant, &rule, false, &file.span, notes));
                folders.push(folder.to_owned());
            }
        }
        read.arguments.extend(argument);
    }
    read
}

/// The schema of what it is called with.
pub(super) fn schema(arguments: &[Argument], terms: ExecTerms) -> ExecTerms {
    arguments.iter().fold(terms, |terms, argument| match argument {
        Argument::Word(word) => terms.arg(word.as_str()),
        Argument::File(file) => terms.file(folder(&file.value)),
        Argument::Path(folder, _) => terms.path(folder),
    })
}

/// Where a file is.
pub(crate) fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

/// `{ file = "…" }` or `{ path = "…" }`.
fn read_named(
    rule: &str,
    element: &Spanned<DeValue<'_>>,
    seen: &[PathBuf],
    notes: &mut Notes<'_>,
) -> Option<Argument> {
    let DeValue::Table(table) = element.get_ref() else { return None };
    let mut section = Section::new(rule, table, element.span());
    let [file, path] = ["file", "path"].map(|key| section.path(key, notes).map(plain));
    let is_one = [section.take("file"), section.take("path")].iter().flatten().count() == 1;
    section.finish(notes);
    if !is_one {
        let help =
            "write `{ file = \"notes.txt\" }`, which is handed over open, or `{ path = \"out/b.png\" }`";
        notes.problem(&element.span(), format!("`{rule}` must be a file or a path"), Some(help.to_owned()));
        return None;
    }
    match (file, path) {
        (Some(file), _) => Some(Argument::File(file)),
        (_, Some(path)) => beneath(rule, &path, seen, notes),
        _ => None,
    }
}

/// A path, as what the program sees of it: the innermost folder, and the name there.
fn beneath(rule: &str, path: &Located<PathBuf>, seen: &[PathBuf], notes: &mut Notes<'_>) -> Option<Argument> {
    let within = seen.iter().filter_map(|folder| Some((folder, path.value.strip_prefix(folder).ok()?)));
    let within = within.filter(|(_, name)| !name.as_os_str().is_empty());
    let innermost = within.max_by_key(|(folder, _)| folder.components().count());
    let Some((folder, name)) = innermost.and_then(|(folder, name)| Some((folder, name.to_str()?))) else {
        let help = "name its folder in `ro` or `rw`".to_owned();
        notes.problem(
            &path.span,
            format!("`{rule}.path` is beneath nothing that the program sees"),
            Some(help),
        );
        return None;
    };
    Some(Argument::Path(folder.clone(), name.to_owned()))
}

/// The path in its plainest spelling: the manifest's own folder may be written `.`.
pub(super) fn plain(path: Located<PathBuf>) -> Located<PathBuf> {
    Located { value: path.value.components().collect(), span: path.span }
}
