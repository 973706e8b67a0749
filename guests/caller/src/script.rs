//! A line of a script, and what it comes to.

use crate::bindings::wasi::{
    filesystem::types::{self as filesystem, filesystem_error_code},
    http::types::{self as http, http_error_code},
    io::streams::{Error, StreamError},
    sockets::network::{self, network_error_code},
};

/// What a line answers.
pub(crate) type Outcome = Result<String, Failed>;

/// Why a function did not do it, in one word where there is one.
pub(crate) struct Failed(pub(crate) String);

/// A function and what it is called with.
pub(crate) struct Call {
    pub(crate) interface: String,
    pub(crate) function: String,
    arguments: std::vec::IntoIter<String>,
    /// The names that its results are kept by.
    kept: std::vec::IntoIter<String>,
}

impl Call {
    pub(crate) fn parse(line: &str) -> Self {
        let (kept, rest): (Vec<_>, Vec<_>) = words(line).into_iter().partition(|word| word.starts_with('>'));
        let mut arguments = rest.into_iter();
        let name = arguments.next().unwrap_or_default();
        let (interface, function) = name.split_once('.').unwrap_or((&name, ""));
        let kept: Vec<_> = kept.iter().map(|word| word.trim_start_matches('>').to_owned()).collect();
        Self {
            interface: interface.to_owned(),
            function: function.to_owned(),
            arguments,
            kept: kept.into_iter(),
        }
    }

    /// The next argument as it stands there.
    pub(crate) fn word(&mut self) -> Result<String, Failed> {
        self.arguments.next().ok_or_else(|| Failed("script: an argument is missing".to_owned()))
    }

    /// The next argument, which is text in quotes.
    pub(crate) fn text(&mut self) -> Result<String, Failed> {
        let word = self.word()?;
        let text = word.strip_prefix('\'').ok_or_else(|| Failed(format!("script: {word} is no text")))?;
        Ok(text.replace("\\0", "\0").replace("\\n", "\n"))
    }

    /// Whether there is no argument left.
    pub(crate) fn is_over(&self) -> bool {
        self.arguments.as_slice().is_empty()
    }

    /// The next argument: `none`, or text in quotes.
    pub(crate) fn text_or_none(&mut self) -> Result<Option<String>, Failed> {
        if self.arguments.as_slice().first().is_some_and(|word| word == "none") {
            return self.word().map(|_| None);
        }
        self.text().map(Some)
    }

    /// The arguments that are left, which are texts in quotes.
    pub(crate) fn texts(&mut self) -> Result<Vec<String>, Failed> {
        let mut texts = Vec::new();
        while !self.is_over() {
            texts.push(self.text()?);
        }
        Ok(texts)
    }

    /// The arguments that are left, which are pairs of texts in quotes.
    pub(crate) fn pairs(&mut self) -> Result<Vec<(String, Vec<u8>)>, Failed> {
        let mut pairs = Vec::new();
        while !self.is_over() {
            pairs.push((self.text()?, self.text()?.into_bytes()));
        }
        Ok(pairs)
    }

    /// The arguments that are left.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.arguments.by_ref().collect()
    }

    /// The next name that a result is kept by.
    pub(crate) fn kept(&mut self) -> Option<String> {
        self.kept.next()
    }

    pub(crate) fn unknown(&self) -> Failed {
        Failed(format!("script: there is no {}.{}", self.interface, self.function))
    }
}

/// The words of a line; a text in quotes keeps its opening quote.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' if quoted => quoted = false,
            ' ' if !quoted => words.push(String::new()),
            character => {
                quoted |= character == '\'';
                if let Some(word) = words.last_mut() {
                    word.push(character);
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Bytes as a script has them.
pub(crate) fn show(bytes: &[u8]) -> String {
    format!("'{}'", String::from_utf8_lossy(bytes).replace('\0', "\\0").replace('\n', "\\n"))
}

/// Several things as a script has them, with `none` for no things.
pub(crate) fn list(shown: impl IntoIterator<Item = String>, between: &str) -> String {
    let shown: Vec<_> = shown.into_iter().collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(between) }
}

/// Bytes as a script has them, or `none`.
pub(crate) fn show_or_none(bytes: Option<impl AsRef<[u8]>>) -> String {
    bytes.map_or_else(|| "none".to_owned(), |bytes| show(bytes.as_ref()))
}

/// What a stream says of why it failed, by the first of the three that has a word for it.
fn code(error: &Error) -> String {
    if let Some(code) = filesystem_error_code(error) {
        return code.name().to_owned();
    }
    if let Some(code) = network_error_code(error) {
        return format!("network {}", code.name());
    }
    http_error_code(error).map_or_else(|| "otherwise".to_owned(), |code| Failed::from(code).0)
}

impl From<http::ErrorCode> for Failed {
    fn from(code: http::ErrorCode) -> Self {
        Self(format!("{code:?}").replace("ErrorCode::", ""))
    }
}

impl From<http::HeaderError> for Failed {
    fn from(error: http::HeaderError) -> Self {
        let name = match error {
            http::HeaderError::InvalidSyntax => "invalid-syntax",
            http::HeaderError::Forbidden => "forbidden",
            http::HeaderError::Immutable => "immutable",
        };
        Self(name.to_owned())
    }
}

/// Of a `result` that has no word for why.
impl From<()> for Failed {
    fn from((): ()) -> Self {
        Self("error".to_owned())
    }
}

/// Of a `result` whose error is a text.
impl From<String> for Failed {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<filesystem::ErrorCode> for Failed {
    fn from(code: filesystem::ErrorCode) -> Self {
        Self(code.name().to_owned())
    }
}

impl From<network::ErrorCode> for Failed {
    fn from(code: network::ErrorCode) -> Self {
        Self(code.name().to_owned())
    }
}

impl From<StreamError> for Failed {
    fn from(error: StreamError) -> Self {
        Self(match error {
            StreamError::Closed => "closed".to_owned(),
            StreamError::LastOperationFailed(error) => {
                let code = code(&error);
                let silent = if error.to_debug_string().is_empty() { " and says nothing" } else { "" };
                format!("failed {code}{silent}")
            }
        })
    }
}
