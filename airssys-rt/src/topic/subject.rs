//! Subjects and the patterns that select them. Pure.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Room for a dozen telling tokens; it also bounds how deep a pattern can go.
const MAX_BYTES: usize = 256;

/// What a message is about: tokens with dots between them, as in `orders.eu.created`.
///
/// A token is one or more characters other than `.`, `*`, `>`, white space and control characters. At most 256
/// bytes in all. Upper and lower case differ.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Arc<str>);

/// Which subjects to hear of: a subject in which `*` stands for any one token, and `>`, at the end, for one or more.
///
/// `orders.*.created` selects `orders.eu.created`; `orders.>` selects that too, and `orders.eu`, but not `orders`:
/// the rules of NATS.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// One part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'p> {
    Literal(&'p str),
    /// `*`
    Any,
    /// `>`
    Rest,
}

impl Subject {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its tokens, at least one.
    pub fn tokens(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split('.')
    }
}

impl Pattern {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it selects `subject`.
    pub fn matches(&self, subject: &Subject) -> bool {
        let mut subject = subject.tokens();
        for token in self.tokens() {
            match (token, subject.next()) {
                (Token::Rest, Some(_)) => return true,
                (Token::Any, Some(_)) => {}
                (Token::Literal(wanted), Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
        subject.next().is_none()
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = Token<'_>> {
        self.0.split('.').map(|token| match token {
            "*" => Token::Any,
            ">" => Token::Rest,
            literal => Token::Literal(literal),
        })
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        check(text, false)?;
        Ok(Self(text.into()))
    }
}

impl FromStr for Pattern {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        check(text, true)?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<&str> for Subject {
    type Error = SubjectError;

    fn try_from(text: &str) -> Result<Self, SubjectError> {
        text.parse()
    }
}

impl TryFrom<&str> for Pattern {
    type Error = SubjectError;

    fn try_from(text: &str) -> Result<Self, SubjectError> {
        text.parse()
    }
}

/// A subject is the pattern that selects only itself.
impl From<Subject> for Pattern {
    fn from(subject: Subject) -> Self {
        Self(subject.0)
    }
}

fn check(text: &str, wildcards: bool) -> Result<(), SubjectError> {
    let error = |position, problem| Err(SubjectError { position, problem });
    if text.len() > MAX_BYTES {
        return error(MAX_BYTES, Problem::TooLong(text.len()));
    }
    let mut at = 0;
    for token in text.split('.') {
        match token {
            "" => return error(at, Problem::EmptyToken),
            "*" | ">" if !wildcards => return error(at, Problem::WildcardInSubject),
            ">" if at + 1 < text.len() => return error(at, Problem::RestNotLast),
            "*" | ">" => {}
            literal => {
                let bad =
                    |c: &(usize, char)| matches!(c.1, '*' | '>') || c.1.is_whitespace() || c.1.is_control();
                if let Some((offset, character)) = literal.char_indices().find(bad) {
                    return error(at + offset, Problem::BadCharacter(character));
                }
            }
        }
        at += token.len() + 1;
    }
    Ok(())
}

/// A text that is no subject, or no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectError {
    position: usize,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    TooLong(usize),
    EmptyToken,
    WildcardInSubject,
    RestNotLast,
    BadCharacter(char),
}

impl SubjectError {
    /// Where the problem is, in bytes from the beginning.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl fmt::Display for SubjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.position;
        match self.problem {
            Problem::TooLong(bytes) => write!(f, "{bytes} bytes; the most is {MAX_BYTES}"),
            Problem::EmptyToken => write!(f, "an empty token at byte {at}"),
            Problem::WildcardInSubject => {
                write!(f, "a wildcard at byte {at}; only a pattern may have one")
            }
            Problem::RestNotLast => write!(f, "`>` at byte {at} is not the last token"),
            Problem::BadCharacter(c @ ('*' | '>')) => {
                write!(f, "`{c}` at byte {at} is not a token of its own")
            }
            Problem::BadCharacter(c) => write!(f, "{c:?} at byte {at}"),
        }
    }
}

impl Error for SubjectError {}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({:?})", self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, as_pattern: bool, position: usize, message: &str) {
        let result = if as_pattern {
            text.parse::<Pattern>().map(|_| ())
        } else {
            text.parse::<Subject>().map(|_| ())
        };
        let error = result.unwrap_err();
        assert_eq!((error.position(), &*error.to_string()), (position, message));
    }

    #[track_caller]
    fn check(pattern: &str, subject: &str, expected: bool) {
        let pattern: Pattern = pattern.parse().unwrap();
        assert_eq!(pattern.matches(&subject.parse().unwrap()), expected, "{pattern} and {subject}");
    }

    #[test]
    fn tokens_are_not_empty() {
        refused("", false, 0, "an empty token at byte 0");
        refused("", true, 0, "an empty token at byte 0");
        refused(".a", false, 0, "an empty token at byte 0");
        refused("a..b", true, 2, "an empty token at byte 2");
        refused("ä.b.", false, 5, "an empty token at byte 5");
    }

    #[test]
    fn wildcards_are_tokens_of_patterns() {
        refused("a.*", false, 2, "a wildcard at byte 2; only a pattern may have one");
        refused("a.>", false, 2, "a wildcard at byte 2; only a pattern may have one");
        refused("a.b*", true, 3, "`*` at byte 3 is not a token of its own");
        refused("a.>>", true, 2, "`>` at byte 2 is not a token of its own");
        refused("a.>.b", true, 2, "`>` at byte 2 is not the last token");
        refused(">.>", true, 0, "`>` at byte 0 is not the last token");
    }

    #[test]
    fn subjects_are_words() {
        refused("a. b", false, 2, "' ' at byte 2");
        refused("a.b\n", true, 3, "'\\n' at byte 3");
        refused("a.\u{85}", true, 2, "'\\u{85}' at byte 2");
        refused(&"x".repeat(257), false, 256, "257 bytes; the most is 256");
        assert!("x".repeat(256).parse::<Subject>().is_ok());
        assert!("größe.$sys._1-2/3".parse::<Subject>().is_ok());
    }

    #[test]
    fn patterns_select_subjects() {
        check("a.b", "a.b", true);
        check("a.b", "a.B", false);
        check("a.b", "a", false);
        check("a", "a.b", false);
        check("*", "a", true);
        check("*", "a.b", false);
        check("a.*.c", "a.b.c", true);
        check("a.*.c", "a.c", false);
        check("a.*.c", "a.b.c.d", false);
        check(">", "a", true);
        check(">", "a.b.c", true);
        check("a.>", "a", false);
        check("a.>", "a.b", true);
        check("*.>", "a", false);
        check("*.*.>", "a.b.c.d", true);
    }

    #[test]
    fn a_subject_selects_itself() {
        let subject: Subject = "a.b".parse().unwrap();
        assert!(Pattern::from(subject.clone()).matches(&subject));
    }
}
