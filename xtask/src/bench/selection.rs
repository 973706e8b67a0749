//! How much of a benchmark is to be run.

/// How many rounds there are unless said otherwise.
pub(super) const DEFAULT_ROUNDS: usize = 5;

/// What of a benchmark is to be run: all of it, unless said otherwise.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// How often each figure is measured; at least once.
    pub(super) rounds: usize,
    /// The workloads; all where none is named.
    pub(super) only: Vec<String>,
    /// The systems; all where none is named.
    pub(super) systems: Vec<String>,
}

impl Default for Selection {
    fn default() -> Self {
        Self { rounds: DEFAULT_ROUNDS, only: Vec::new(), systems: Vec::new() }
    }
}

impl Selection {
    /// Whether something is left out.
    pub(super) fn is_part(&self) -> bool {
        !self.only.is_empty() || !self.systems.is_empty()
    }
}

/// Reads a number of rounds.
///
/// # Errors
///
/// It is none, or zero.
pub(super) fn rounds(text: &str) -> Result<usize, String> {
    let rounds = text.parse().ok().filter(|rounds| *rounds > 0);
    rounds.ok_or_else(|| format!("`{text}` is no number of rounds"))
}

/// Reads names with commas between them.
pub(super) fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_separated_by_commas() {
        assert_eq!(names("tell1,ring"), ["tell1", "ring"]);
        assert_eq!(names(" tell1 , "), ["tell1"]);
    }

    #[test]
    fn there_is_at_least_one_round() {
        assert_eq!(rounds("3"), Ok(3));
        assert_eq!(rounds("0"), Err("`0` is no number of rounds".to_owned()));
        assert!(rounds("many").is_err());
    }

    #[test]
    fn all_of_it_is_no_part() {
        assert!(!Selection::default().is_part());
        assert!(Selection { only: names("ring"), ..Selection::default() }.is_part());
        assert!(Selection { systems: names("beam"), ..Selection::default() }.is_part());
    }
}
