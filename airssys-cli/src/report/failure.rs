//! Why the program did not do what it was asked, with the cause and the fix.

use std::{error::Error, fmt::Write as _, process::ExitCode};

use airssys_wasm::{ErrorKind, LoadError, manifest::Problem};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;

use super::{Style, Terminal, printable};
use crate::target::ManifestFile;

/// The exit status of each kind of failure. They are documented in `airssys --help`.
const FAILED: u8 = 1;
const INVALID: u8 = 3;
const TAMPERED: u8 = 4;
/// What a shell shows of a program that aborts.
const TRAPPED: u8 = 134;

/// Why the program ends, and with which status.
pub(crate) struct Failure {
    status: u8,
    message: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    help: Option<String>,
    problems: Option<Box<ManifestProblems>>,
}

/// What is wrong with a manifest, and its text to show it in.
pub(crate) struct ManifestProblems {
    /// The file as the user would name it.
    pub(crate) shown: String,
    pub(crate) text: String,
    pub(crate) problems: Vec<Problem>,
}

impl ManifestProblems {
    /// What was found when the manifest's files were opened.
    pub(crate) fn load(file: &ManifestFile, errors: &[LoadError]) -> Self {
        let problems = errors.iter().map(|error| {
            let mut causes = chain(&error.error);
            causes.dedup();
            let message = causes.join(": ");
            Problem { span: error.span.clone(), message, help: load_help(error) }
        });
        Self { shown: file.shown.clone(), text: file.text.clone(), problems: problems.collect() }
    }
}

/// What an error says, and its causes after it.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    // What a component is called, or calls its functions, can be in there.
    let shown = |error: &(dyn Error + 'static)| {
        error.to_string().lines().map(|line| printable(line.as_bytes())).collect::<Vec<_>>().join("\n    ")
    };
    std::iter::successors(Some(error), |error| (*error).source()).map(shown).collect()
}

fn load_help(error: &LoadError) -> Option<String> {
    match error.error.kind() {
        ErrorKind::NotFound => Some("make it, or name one that exists".to_owned()),
        ErrorKind::DigestMismatch => {
            Some("if this is the component that you want, write its digest here".to_owned())
        }
        ErrorKind::InvalidComponent => Some("`airssys inspect` shows what a component is".to_owned()),
        _ => None,
    }
}

impl Failure {
    /// The system, or a component, did not do what it should.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { status: FAILED, message: message.into(), cause: None, help: None, problems: None }
    }

    /// A file is not what it should be.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { status: INVALID, ..Self::failed(message) }
    }

    /// An audit log was changed.
    pub(crate) fn tampered(message: impl Into<String>) -> Self {
        Self { status: TAMPERED, ..Self::failed(message) }
    }

    /// The program that was run did not end by itself.
    pub(crate) fn trapped(message: impl Into<String>) -> Self {
        Self { status: TRAPPED, ..Self::failed(message) }
    }

    /// A manifest has problems.
    pub(crate) fn problems(problems: ManifestProblems) -> Self {
        let count = problems.problems.len();
        let plural = if count == 1 { "problem" } else { "problems" };
        let message = format!("`{}` has {count} {plural}", problems.shown);
        Self { problems: Some(Box::new(problems)), ..Self::invalid(message) }
    }

    pub(crate) fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The message and its causes on one line.
    pub(crate) fn told(&self) -> String {
        let message = std::iter::once(self.message.clone());
        message.chain(self.causes()).collect::<Vec<_>>().join(": ")
    }

    fn causes(&self) -> Vec<String> {
        self.cause.as_deref().map(|cause| chain(cause)).unwrap_or_default()
    }
}

impl Terminal {
    /// Prints a failure and gives its exit status.
    pub(crate) fn failure(&self, failure: &Failure) -> ExitCode {
        self.status(String::new());
        if self.is_json() {
            // There is nowhere left to say that stdout is closed.
            let _ = self.data(&failure_json(failure));
        } else {
            self.say(&self.failure_text(failure).trim_end());
        }
        ExitCode::from(failure.status)
    }

    fn failure_text(&self, failure: &Failure) -> String {
        let mut text = String::new();
        if let Some(problems) = &failure.problems {
            for problem in &problems.problems {
                text.push_str(&self.problem(problems, problem));
                text.push_str("\n\n");
            }
        }
        let _ = write!(text, "{}: {}", self.err.text(Style::Bad, "error"), failure.message);
        let mut last = failure.message.clone();
        for cause in failure.causes() {
            // Some libraries repeat their cause in their own message.
            if !last.ends_with(&cause) {
                let _ = write!(text, "\n  {} {cause}", self.err.text(Style::Dim, "because:"));
            }
            last = cause;
        }
        if let Some(help) = &failure.help {
            let _ = write!(text, "\n  {} {help}", self.err.text(Style::Good, "help:"));
        }
        text
    }

    fn problem(&self, at: &ManifestProblems, problem: &Problem) -> String {
        let mut group: Group<'_> = Level::ERROR.primary_title(&problem.message).element(
            Snippet::source(&at.text)
                .path(&at.shown)
                .annotation(AnnotationKind::Primary.span(visible(&at.text, &problem.span))),
        );
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if self.err.is_on() { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

/// A span that a person can see: within the text, on one line, not empty.
fn visible(text: &str, span: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.floor_char_boundary(span.end.clamp(start, text.len()));
    let shown = text.get(start..end).unwrap_or_default();
    let line = shown.lines().next().unwrap_or_default();
    start..start + line.len()
}

fn failure_json(failure: &Failure) -> serde_json::Value {
    let problems = failure.problems.iter().flat_map(|at| {
        at.problems.iter().map(|problem| {
            let line = at.text.get(..problem.span.start).unwrap_or_default().matches('\n').count() + 1;
            json!({"file": at.shown, "line": line, "message": problem.message, "help": problem.help})
        })
    });
    json!({
        "error": failure.message,
        "because": failure.causes(),
        "help": failure.help,
        "problems": problems.collect::<Vec<_>>(),
    })
}
