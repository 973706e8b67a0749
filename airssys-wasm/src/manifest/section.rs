//! Reading one table of a manifest: typed values, every problem noted, unknown keys told with their nearest kin.

use std::{collections::BTreeMap, ops::Range, path::PathBuf, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Located, Problem, units};

/// How alike two names must be for one to be proposed for the other.
const ALIKE: f64 = 0.7;

/// What is known while a manifest is read, and what was found wrong so far.
pub(super) struct Notes<'a> {
    pub(super) problems: Vec<Problem>,
    /// `[vars]`, by name.
    pub(super) vars: BTreeMap<String, String>,
    /// The directory of the manifest.
    pub(super) dir: &'a std::path::Path,
    /// Whether a run is to find out what is needed, so that a grant may leave open what it permits.
    pub(super) learns: bool,
    /// Where each rule of the policy stands.
    pub(super) rules: Vec<(String, Range<usize>)>,
    /// Every key that was asked for, for the test of the reference.
    #[cfg(test)]
    pub(super) keys: std::collections::BTreeSet<String>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(dir: &'a std::path::Path) -> Self {
        Self {
            problems: Vec::new(),
            vars: BTreeMap::new(),
            dir,
            learns: false,
            rules: Vec::new(),
            #[cfg(test)]
            keys: Default::default(),
        }
    }

    pub(super) fn problem(&mut self, span: &Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.problems.push(Problem { span: span.clone(), message: message.into(), help });
    }

    /// A string with each `${name}` replaced by the variable of that name.
    fn interpolate(&mut self, text: &str, span: &Range<usize>) -> Option<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                self.problem(span, "`${` without `}`", Some("a variable is written `${name}`".to_owned()));
                return None;
            };
            let Some(value) = self.vars.get(name) else {
                let help = nearest(name, self.vars.keys().map(String::as_str))
                    .unwrap_or_else(|| format!("give it a value: `[vars]` with `{name} = \"…\"`"));
                self.problem(span, format!("no variable is called `{name}`"), Some(help));
                return None;
            };
            out.push_str(value);
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    pub(super) fn text(&mut self, what: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<String>> {
        let span = value.span();
        match value.get_ref() {
            DeValue::String(text) => {
                self.interpolate(text, &span).map(|value| Located { value, span: span.clone() })
            }
            other => {
                self.problem(&span, format!("`{what}` must be a string, not {}", kind(other)), None);
                None
            }
        }
    }

    /// A path, made absolute.
    pub(super) fn path(&mut self, what: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<PathBuf>> {
        let text = self.text(what, value)?;
        if text.value.is_empty() || text.value.contains('\0') {
            self.problem(&text.span, format!("`{what}` is not a path"), None);
            return None;
        }
        Some(Located { value: self.dir.join(text.value), span: text.span })
    }
}

/// One table, and which of its keys were asked for.
pub(super) struct Section<'a> {
    /// Where it is, such as `component.reader`.
    pub(super) path: String,
    pub(super) span: Range<usize>,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(path: impl Into<String>, table: &'a DeTable<'a>, span: Range<usize>) -> Self {
        Self { path: path.into(), span, table, known: Vec::new() }
    }

    /// The value of a key as it stands.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.get(key)
    }

    /// The place of a key in the manifest, such as `component.reader.source`.
    pub(super) fn place(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn text(&mut self, key: &'static str, notes: &mut Notes<'_>) -> Option<Located<String>> {
        let value = self.take(key)?;
        notes.text(&self.place(key), value)
    }

    pub(super) fn path(&mut self, key: &'static str, notes: &mut Notes<'_>) -> Option<Located<PathBuf>> {
        let value = self.take(key)?;
        notes.path(&self.place(key), value)
    }

    /// Says that a key is missing.
    pub(super) fn missing(&self, key: &str, example: &str, notes: &mut Notes<'_>) {
        let place = self.place(key);
        notes.problem(&self.span, format!("`{place}` is missing"), Some(format!("add `{key} = {example}`")));
    }

    /// A string that `parse` understands; `expected` completes "must be …".
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        notes: &mut Notes<'_>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Located<T>> {
        let text = self.text(key, notes)?;
        match parse(&text.value) {
            Some(value) => Some(Located { value, span: text.span }),
            None => {
                let message = format!("`{}` must be {expected}; this is \"{}\"", self.place(key), text.value);
                notes.problem(&text.span, message, None);
                None
            }
        }
    }

    /// A time above zero.
    pub(super) fn time(&mut self, key: &'static str, notes: &mut Notes<'_>) -> Option<Duration> {
        let parse = |text: &str| units::duration(text).filter(|time| !time.is_zero());
        self.parsed(key, units::DURATION, notes, parse).map(|time| time.value)
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        notes: &mut Notes<'_>,
    ) -> Option<T> {
        let text = self.text(key, notes)?;
        one_of(&self.place(key), &text, words, notes)
    }

    /// A whole number between two bounds.
    pub(super) fn integer(
        &mut self,
        key: &'static str,
        bounds: Range<u32>,
        notes: &mut Notes<'_>,
    ) -> Option<u32> {
        let value = self.take(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            let last = bounds.end - 1;
            let message =
                format!("`{}` must be a whole number from {} to {last}", self.place(key), bounds.start);
            notes.problem(&value.span(), message, None);
        }
        number
    }

    /// A table within this one.
    pub(super) fn table(&mut self, key: &'static str, notes: &mut Notes<'_>) -> Option<Section<'a>> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(self.place(key), table, value.span())),
            other => {
                notes.problem(
                    &value.span(),
                    format!("`{}` must be a table, not {}", self.place(key), kind(other)),
                    None,
                );
                None
            }
        }
    }

    /// The elements of an array.
    pub(super) fn array(
        &mut self,
        key: &'static str,
        notes: &mut Notes<'_>,
    ) -> Vec<&'a Spanned<DeValue<'a>>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(elements) => elements.iter().collect(),
            other => {
                notes.problem(
                    &value.span(),
                    format!("`{}` must be an array, not {}", self.place(key), kind(other)),
                    None,
                );
                Vec::new()
            }
        }
    }

    /// A string, or the strings of an array.
    pub(super) fn texts(&mut self, key: &'static str, notes: &mut Notes<'_>) -> Vec<Located<String>> {
        let place = self.place(key);
        let Some(value) = self.take(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(elements) => {
                elements.iter().filter_map(|element| notes.text(&place, element)).collect()
            }
            _ => notes.text(&place, value).into_iter().collect(),
        }
    }

    /// Every entry, in the order of the file: for tables whose keys the user chooses.
    pub(super) fn entries(&self) -> Vec<(Located<&'a str>, &'a Spanned<DeValue<'a>>)> {
        let located =
            |key: &'a Spanned<_>| Located { value: AsRef::<str>::as_ref(key.get_ref()), span: key.span() };
        let mut entries: Vec<_> = self.table.iter().map(|(key, value)| (located(key), value)).collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        entries
    }

    /// Notes each key that nobody asked for.
    pub(super) fn finish(self, notes: &mut Notes<'_>) {
        #[cfg(test)]
        notes.keys.extend(self.known.iter().map(|key| self.place(key)));
        for (key, _) in self.entries() {
            if !self.known.contains(&key.value) {
                let here =
                    if self.path.is_empty() { "here".to_owned() } else { format!("in `{}`", self.path) };
                let help = nearest(key.value, self.known.iter().copied())
                    .unwrap_or_else(|| format!("known {here}: {}", self.known.join(", ")));
                notes.problem(&key.span, format!("unknown key `{}` {here}", key.value), Some(help));
            }
        }
    }
}

/// The value of the word that `text` is.
pub(super) fn one_of<T: Copy>(
    place: &str,
    text: &Located<String>,
    words: &[(&str, T)],
    notes: &mut Notes<'_>,
) -> Option<T> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
        return Some(*value);
    }
    let all: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let help = nearest(&text.value, words.iter().map(|(word, _)| *word));
    notes.problem(
        &text.span,
        format!("`{place}` must be {}; this is \"{}\"", all.join(" or "), text.value),
        help,
    );
    None
}

/// Proposes the name that is most like `name`.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    let scored = names.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = scored.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, known)| format!("did you mean `{known}`?"))
}

pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
