//! The counting.

use airssys_guest::fs;

use crate::bindings::exports::airssys_test::words::count::Guest;

/// The longest list of words that are left out, in bytes.
const STOP_BYTES: usize = 64 << 10;

pub(crate) struct Words;

impl Guest for Words {
    fn words(text: String) -> u32 {
        let stop = fs::dir("/stop").and_then(|dir| dir.read("words", STOP_BYTES)).unwrap_or_default();
        let stop = String::from_utf8_lossy(&stop);
        let is_counted = |word: &&str| stop.split_whitespace().all(|stop| stop != *word);
        u32::try_from(text.split_whitespace().filter(is_counted).count()).unwrap_or(u32::MAX)
    }
}
