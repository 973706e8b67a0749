//! What the manifest tells the component.

use std::{error, str::FromStr};

use crate::Error;

/// The `config` table of the component's manifest: text by key.
///
/// # Examples
///
/// ```
/// use airssys_guest::{Config, Error};
///
/// fn interval(config: &Config) -> Result<u64, Error> {
///     config.allow(&["poll-ms", "to"])?;
///     config.parse("poll-ms", 200)
/// }
/// assert_eq!(interval(&Config::from_iter([("poll-ms", "50")])).unwrap(), 50);
/// assert_eq!(interval(&Config::default()).unwrap(), 200);
/// assert!(interval(&Config::from_iter([("pol-ms", "50")])).is_err());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Config {
    pairs: Vec<(String, String)>,
}

impl Config {
    /// The value of a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The value of a key as a number or whatever else can be parsed; `default` where the key is absent.
    ///
    /// # Errors
    ///
    /// [`Failed`](crate::ErrorKind::Failed): the value does not parse. The message names key and value.
    pub fn parse<T>(&self, key: &str, default: T) -> Result<T, Error>
    where
        T: FromStr<Err: error::Error + Send + Sync + 'static>,
    {
        let Some(text) = self.text(key) else { return Ok(default) };
        text.parse()
            .map_err(|cause| Error::new(format!("config `{key}` cannot be `{text}`")).caused_by(cause))
    }

    /// Refuses keys that the component does not know, so that a misspelt one does not go unnoticed.
    ///
    /// # Errors
    ///
    /// [`Failed`](crate::ErrorKind::Failed): a key is not in `known`. The message names it and those that are.
    pub fn allow(&self, known: &[&str]) -> Result<(), Error> {
        match self.pairs.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) if known.is_empty() => {
                Err(format!("unknown config `{key}`: there is none").into())
            }
            Some((key, _)) => Err(format!("unknown config `{key}`: known are {}", known.join(", ")).into()),
        }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Config {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self { pairs: pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_does_not_parse_is_named() {
        let config = Config::from_iter([("every-ms", "soon")]);
        let error = config.parse("every-ms", 1_u64).unwrap_err();
        assert_eq!(error.chain(), "config `every-ms` cannot be `soon`: invalid digit found in string");
    }

    #[test]
    fn an_unknown_key_is_named_with_those_that_are_known() {
        let config = Config::from_iter([("too", "parser")]);
        let error = config.allow(&["to", "poll-ms"]).unwrap_err();
        assert_eq!(error.to_string(), "unknown config `too`: known are to, poll-ms");
        assert!(config.allow(&["too"]).is_ok());
    }
}
