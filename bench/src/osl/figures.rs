//! How long things take and how it is told: `R MEASURE SYSTEM FIGURE`, a line for each. And what is asked of every engine
//! of policy.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Why something could not be measured.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Prints one figure, for `cargo xtask bench osl` to read.
pub fn figure(measure: &str, system: &str, figure: f64) {
    println!("R {measure} {system} {figure:.1}");
}

/// Nanoseconds that one call of `f` takes: the median of rounds over all items.
pub fn time_each<T, U>(items: &[T], rounds: usize, mut f: impl FnMut(&T) -> U) -> f64 {
    let mut round = || {
        let start = Instant::now();
        for item in items {
            black_box(f(black_box(item)));
        }
        start.elapsed()
    };
    let mut times: Vec<Duration> = (0..rounds.max(1)).map(|_| round()).collect();
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    middle.as_nanos() as f64 / items.len().max(1) as f64
}

/// How many rules there are: the answer should take the same time with all of them.
pub const RULES: [usize; 3] = [10, 1_000, 10_000];

/// How many different things are asked for, one after the other.
const ASKS: usize = 2_000;

/// The one who asks.
pub const PRINCIPAL: &str = "component.reader";

/// Which rule each question is about; they jump, so that what is near in the table is not near in time.
pub fn asked(rules: usize) -> Vec<usize> {
    (0..ASKS).map(|call| call * 7_919 % rules).collect()
}

/// The directory of a rule.
pub fn root(number: usize) -> String {
    format!("/srv/tenants/{number}/inbox")
}
