//! `fuzz SECONDS [SEED [TARGET]]`: gives each target hostile bytes for so many seconds, or the one that is named. A panic, or an
//! answer that cannot be, ends it with the seed and the input.
//!
//! The inputs are the seeds of each target, cut, doubled, flipped and joined; a number decides which, so that a failure
//! can be had again.

mod components;
mod targets;

use std::{
    env,
    error::Error,
    panic,
    time::{Duration, Instant},
};

/// Draws bytes: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }

    /// One of the seeds, changed a few times.
    fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds.get(self.below(seeds.len())).cloned().unwrap_or_default();
        for _ in 0..self.below(6) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.below(256) as u8),
                2 => drop(
                    bytes.splice(at..at, seeds.get(self.below(seeds.len())).cloned().unwrap_or_default()),
                ),
                3 => drop(bytes.drain(at..(at + self.below(9)).min(bytes.len()).max(at))),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
        bytes.truncate(1 << 16);
        bytes
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let (seconds, seed, name) = match args.as_slice() {
        [seconds] => (seconds.parse()?, 1, None),
        [seconds, seed] => (seconds.parse()?, seed.parse()?, None),
        [seconds, seed, name] => (seconds.parse()?, seed.parse()?, Some(name)),
        _ => return Err("usage: fuzz SECONDS [SEED [TARGET]]".into()),
    };
    let is_wanted = |target: &targets::Target| name.is_none_or(|name| name == target.name);
    let wanted: Vec<_> = targets::all()?.into_iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        return Err("no target has this name".into());
    }
    for target in wanted {
        let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1);
        let (start, mut count) = (Instant::now(), 0_u64);
        while start.elapsed() < Duration::from_secs(seconds) {
            let input = random.input(&target.seeds);
            let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| (target.run)(&input)));
            if !matches!(outcome, Ok(Ok(()))) {
                let told =
                    outcome.map_or_else(|_| "it panics".to_owned(), |wrong| wrong.err().unwrap_or_default());
                let input = input.escape_ascii();
                return Err(format!("{} with seed {seed}: {told}: b\"{input}\"", target.name).into());
            }
            count += 1;
        }
        println!("{}: {count} inputs", target.name);
    }
    Ok(())
}
