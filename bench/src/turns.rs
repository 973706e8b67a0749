//! Several that are measured in turns, so that what else the machine does falls on all alike.

use std::time::Instant;

use crate::osl::figures::{Failure, figure};

/// What everybody took, in nanoseconds for each call.
#[derive(Debug, Default)]
pub struct Turns(Vec<(&'static str, Vec<f64>)>);

impl Turns {
    /// Nobody has had a turn.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes what one turn of `system` took.
    pub fn add(&mut self, system: &'static str, time: f64) {
        match self.0.iter_mut().find(|(name, _)| *name == system) {
            Some((_, times)) => times.push(time),
            None => self.0.push((system, vec![time])),
        }
    }

    /// The middle one of what `system` took.
    pub fn median(&self, system: &str) -> f64 {
        let times = self.0.iter().find(|(name, _)| *name == system);
        let mut times = times.map_or_else(Vec::new, |(_, times)| times.clone());
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Prints what everybody took.
    pub fn tell(&self, measure: &str) {
        for (system, _) in &self.0 {
            figure(measure, system, self.median(system));
        }
    }
}

/// Nanoseconds that one of `calls` calls of `f` takes.
///
/// # Errors
///
/// Those of `f`.
///
/// # Cancel safety
///
/// As `f`'s.
pub async fn timed(calls: u32, mut f: impl AsyncFnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    for _ in 0..calls {
        f().await?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(calls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_each() {
        let mut turns = Turns::new();
        for (one, other) in [(3.0, 1.0), (9.0, 1.0), (1.0, 2.0)] {
            turns.add("one", one);
            turns.add("other", other);
        }
        assert_eq!((turns.median("one"), turns.median("other")), (3.0, 1.0));
        assert!(turns.median("nobody").is_nan());
    }
}
