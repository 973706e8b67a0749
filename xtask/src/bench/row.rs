//! A row: one figure of ours, the same figure of each peer, and the goal.

use serde_json::{Value, json};

/// One measured figure.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What was measured.
    pub(super) name: String,
    /// The unit of every figure in the row.
    pub(super) unit: &'static str,
    /// Our figure: the median of all rounds.
    pub(super) ours: f64,
    /// The figures of others in the same rounds. The ratio is taken to the first.
    pub(super) peers: Vec<Peer>,
    /// What is to be reached, where something is.
    pub(super) goal: Option<Goal>,
    /// Whether we mean to be ahead of every peer. Less is better, then.
    pub(super) is_race: bool,
}

/// Somebody else's figure.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Who it is.
    pub(super) name: &'static str,
    /// Its figure; not a number where it has none.
    pub(super) figure: f64,
}

/// What a row is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// Our figure is this or more.
    AtLeast(f64),
    /// Our figure is this or less.
    AtMost(f64),
    /// The ratio to the first peer is this or less.
    RatioAtMost(f64),
}

impl Row {
    /// Our figure divided by the first peer's.
    pub(super) fn ratio(&self) -> Option<f64> {
        self.peers.first().map(|peer| self.ours / peer.figure)
    }

    /// Whether the goal is met; `None` where there is none.
    ///
    /// A figure that is not a number meets nothing, and neither does a ratio that nobody is there to compare with.
    pub(super) fn met(&self) -> Option<bool> {
        Some(match self.goal? {
            Goal::AtLeast(bound) => self.ours >= bound,
            Goal::AtMost(bound) => self.ours <= bound,
            Goal::RatioAtMost(bound) => self.ratio().is_some_and(|ratio| ratio <= bound),
        })
    }

    /// The peers that are as good as we are, or better; `None` where it is no race.
    ///
    /// A peer without a figure is behind; where we have none, everyone else is not.
    pub(super) fn not_behind(&self) -> Option<Vec<&'static str>> {
        let is_behind =
            |peer: &&Peer| self.ours < peer.figure || (peer.figure.is_nan() && !self.ours.is_nan());
        let not_behind = self.peers.iter().filter(|peer| !is_behind(peer));
        self.is_race.then(|| not_behind.map(|peer| peer.name).collect())
    }

    /// Whether we are ahead of every peer; `None` where it is no race.
    pub(super) fn is_ahead(&self) -> Option<bool> {
        self.not_behind().map(|peers| peers.is_empty())
    }
}

impl Goal {
    /// The same goal for something that may cost so many times more.
    pub(super) fn loosened(self, times: f64) -> Self {
        match self {
            Self::AtLeast(bound) => Self::AtLeast(bound / times),
            Self::AtMost(bound) => Self::AtMost(bound * times),
            Self::RatioAtMost(bound) => Self::RatioAtMost(bound * times),
        }
    }
}

/// The middle one of some figures, or the mean of the two in the middle. Not a number where there are none.
pub(super) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    let upper = figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN);
    let lower = figures.get(figures.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
    f64::midpoint(lower, upper)
}

/// The rows as `{machine, rows}`, for programs.
pub(super) fn json(rows: &[Row], machine: &str) -> Value {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let peers: serde_json::Map<_, _> =
                row.peers.iter().map(|peer| (peer.name.to_owned(), json!(peer.figure))).collect();
            let goal = row.goal.map(|goal| match goal {
                Goal::AtLeast(bound) => json!({ "at_least": bound }),
                Goal::AtMost(bound) => json!({ "at_most": bound }),
                Goal::RatioAtMost(bound) => json!({ "ratio_at_most": bound }),
            });
            json!({
                "name": row.name, "unit": row.unit, "ours": row.ours, "peers": peers,
                "ratio": row.ratio(), "goal": goal, "met": row.met(), "ahead": row.is_ahead(),
            })
        })
        .collect();
    json!({ "machine": machine, "rows": rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(goal: Goal) -> Row {
        Row {
            name: "x".to_owned(),
            unit: "s",
            ours: 3.0,
            peers: vec![Peer { name: "y", figure: 2.0 }],
            goal: Some(goal),
            is_race: false,
        }
    }

    #[test]
    fn goals_bind_at_the_bound() {
        let met = |goal| row(goal).met();
        assert_eq!(met(Goal::AtLeast(3.0)), Some(true));
        assert_eq!(met(Goal::AtLeast(3.1)), Some(false));
        assert_eq!(met(Goal::AtMost(3.0)), Some(true));
        assert_eq!(met(Goal::AtMost(2.9)), Some(false));
        assert_eq!(met(Goal::RatioAtMost(1.5)), Some(true));
        assert_eq!(met(Goal::RatioAtMost(1.4)), Some(false));
    }

    #[test]
    fn what_was_not_measured_meets_no_goal() {
        assert_eq!(Row { ours: f64::NAN, ..row(Goal::AtMost(1.0)) }.met(), Some(false));
        assert_eq!(Row { peers: Vec::new(), ..row(Goal::RatioAtMost(9.0)) }.met(), Some(false));
        assert_eq!(Row { goal: None, ..row(Goal::AtMost(1.0)) }.met(), None);
    }

    #[test]
    fn we_are_ahead_of_who_has_more_or_nothing() {
        let peers = |figures: &[f64]| figures.iter().map(|&figure| Peer { name: "y", figure }).collect();
        let ahead = |ours, figures| {
            let race = Row { ours, peers: peers(figures), is_race: true, ..row(Goal::AtMost(1.0)) };
            race.is_ahead()
        };
        assert_eq!(ahead(3.0, &[3.1, f64::NAN]), Some(true));
        assert_eq!(ahead(3.0, &[3.1, 3.0]), Some(false));
        assert_eq!(ahead(f64::NAN, &[f64::NAN]), Some(false));
        assert_eq!(row(Goal::AtMost(1.0)).is_ahead(), None);
    }

    #[test]
    fn goals_are_loosened_the_right_way() {
        assert_eq!(Goal::AtLeast(10.0).loosened(1.25), Goal::AtLeast(8.0));
        assert_eq!(Goal::AtMost(256.0).loosened(1.25), Goal::AtMost(320.0));
        assert_eq!(Goal::RatioAtMost(0.5).loosened(1.25), Goal::RatioAtMost(0.625));
    }

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn json_carries_goal_and_ratio() {
        let json = json(&[row(Goal::RatioAtMost(1.4))], "m");
        assert_eq!(json["rows"][0]["ratio"], 1.5);
        assert_eq!(json["rows"][0]["peers"]["y"], 2.0);
        assert_eq!(json["rows"][0]["goal"]["ratio_at_most"], 1.4);
        assert_eq!(json["rows"][0]["met"], false);
    }
}
