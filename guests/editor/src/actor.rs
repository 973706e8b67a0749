//! Counts what it is sent under `add`, and says how much that was, and which version it is, under `report`. Asked for its `health`
//! it says what stands in `/stop/sick`, where it can read that, after so many `turns` as its config has.

use std::hint::black_box;

use airssys_guest::{Actor, Config, Error, Message, Stateful, Versions, fs};

use crate::bindings::airssys_test::words::count;

/// What this version calls itself, after the colon.
static VERSION: [u8; 18] = *b"editor-version:one";

/// The longest that it says about its health.
const SICK_BYTES: usize = 1 << 10;

#[derive(Default)]
pub(crate) struct Editor {
    words: u64,
    /// How long it thinks about its health.
    turns: u64,
}

impl Actor for Editor {
    fn init(config: &Config) -> Result<Self, Error> {
        let turns = config.text("turns").and_then(|turns| turns.parse().ok()).unwrap_or_default();
        Ok(Self { words: 0, turns })
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        if message.subject == "health" {
            (0..self.turns).for_each(|turn| _ = black_box(turn));
            let sick = fs::dir("/stop").and_then(|dir| dir.read("sick", SICK_BYTES));
            return Ok(sick.ok());
        }
        if message.subject == "add" {
            self.words += u64::from(count::words(&String::from_utf8_lossy(&message.payload)));
        }
        let version = black_box(&VERSION).split(|byte| *byte == b':').next_back().unwrap_or_default();
        Ok(Some(format!("{} {}", String::from_utf8_lossy(version), self.words).into_bytes()))
    }
}

impl Stateful for Editor {
    fn snapshot(&mut self) -> Result<Vec<u8>, Error> {
        Ok(self.words.to_le_bytes().to_vec())
    }

    fn restore(&mut self, _: &Versions, snapshot: &[u8]) -> Result<(), Error> {
        self.words = u64::from_le_bytes(snapshot.try_into().map_err(|_| Error::new("no eight bytes"))?);
        Ok(())
    }
}
