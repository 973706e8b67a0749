//! An actor that counts what it is sent and misses nothing: the fixture of restarts and upgrades with state.
//!
//! It expects the numbers from 0 on, each once and in order, and passes each on to the actor that its `config` names. A
//! test makes versions of it that behave badly by changing the word in [`MODE`] in its bytes.

use std::{hint::black_box, time::Duration};

use airssys_guest::{Actor, Config, Error, Message, Stateful, Versions, send, timers};

/// What this version does, after the colon: all is well in `good`.
static MODE: [u8; 16] = *b"ledger-mode:good";

#[derive(Default)]
struct Ledger {
    /// Who is told of each number.
    to: Option<String>,
    /// The number that is to come.
    next: u64,
    /// How many came that were not it.
    wrong: u64,
    /// The number that is to be sent as the next.
    poured: u64,
    /// How often its timer ran out.
    ticks: u64,
    /// Who gave it its state.
    made_by: Option<String>,
    /// What it hands on in place of its state.
    forged: Option<Vec<u8>>,
}

airssys_guest::export!(Ledger, stateful);

impl Actor for Ledger {
    fn init(config: &Config) -> Result<Self, Error> {
        if is_mode(b"init") {
            return Err("told to fail".into());
        }
        Ok(Self { to: config.text("to").map(str::to_owned), ..Self::default() })
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        match message.subject.as_str() {
            _ if is_mode(b"late") => trap(),
            "add" => self.add(&message.payload)?,
            "pour" => self.pour(number(&message.payload)?)?,
            "arm" => timers::set("tick", Duration::from_millis(number(&message.payload)?)),
            "forge" => self.forged = Some(message.payload),
            "trap" => trap(),
            "who" => return Ok(self.made_by.clone().map(String::into_bytes)),
            "report" => {}
            other => return Err(format!("`{other}` means nothing here").into()),
        }
        Ok(Some(format!("{} {} {} {}", self.next, self.wrong, self.poured, self.ticks).into_bytes()))
    }

    fn timer(&mut self, _: &str) -> Result<(), Error> {
        if is_mode(b"late") {
            trap();
        }
        self.ticks += 1;
        Ok(())
    }
}

impl Stateful for Ledger {
    fn snapshot(&mut self) -> Result<Vec<u8>, Error> {
        if is_mode(b"none") {
            return Ok(Vec::new());
        }
        if is_mode(b"huge") {
            return Ok(vec![0; 1 << 20]);
        }
        if is_mode(b"deny") {
            return Err("told to fail".into());
        }
        if is_mode(b"dead") {
            trap();
        }
        if let Some(forged) = &self.forged {
            return Ok(forged.clone());
        }
        let numbers = [self.next, self.wrong, self.poured, self.ticks];
        Ok(numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
    }

    fn restore(&mut self, versions: &Versions, snapshot: &[u8]) -> Result<(), Error> {
        if is_mode(b"trap") {
            trap();
        }
        if is_mode(b"hang") {
            spin();
        }
        let numbers = snapshot.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok());
        let numbers: Vec<u64> = numbers.map(u64::from_le_bytes).collect();
        let [next, wrong, poured, ticks] = numbers[..] else { return Err("this is no state of mine".into()) };
        (self.next, self.wrong, self.poured, self.ticks) = (next, wrong, poured, ticks);
        self.made_by = Some(versions.made_by.clone());
        Ok(())
    }
}

impl Ledger {
    fn add(&mut self, payload: &[u8]) -> Result<(), Error> {
        if let Some(to) = &self.to {
            send(to, "add", payload)?;
        }
        if number(payload)? == self.next {
            self.next += 1;
        } else {
            self.wrong += 1;
        }
        Ok(())
    }

    fn pour(&mut self, count: u64) -> Result<(), Error> {
        let to = self.to.as_deref().ok_or("nobody to send to")?;
        for number in self.poured..self.poured + count {
            send(to, "add", number.to_string().as_bytes())?;
        }
        self.poured += count;
        Ok(())
    }
}

fn number(payload: &[u8]) -> Result<u64, Error> {
    let text = String::from_utf8_lossy(payload);
    text.parse().map_err(|_| Error::new("this is no number"))
}

fn is_mode(mode: &[u8; 4]) -> bool {
    black_box(&MODE).ends_with(mode)
}

/// Never returns, and calls nothing that the host could notice it by.
fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

#[expect(clippy::panic, reason = "it is the attack")]
fn trap() -> ! {
    panic!("told to trap")
}

#[cfg(test)]
mod tests {
    use super::*;
    use airssys_guest::testing::Host;

    #[test]
    fn the_state_is_all_that_it_knows() {
        let _host = Host::new();
        let mut ledger = Ledger::init(&Config::default()).unwrap();
        for number in ["0", "1", "1"] {
            ledger.handle(Host::message("test", "add", number.as_bytes())).unwrap();
        }
        let state = ledger.snapshot().unwrap();
        let versions = Versions { made_by: "old".to_owned(), taken_by: "new".to_owned() };
        let mut next = Ledger::init(&Config::default()).unwrap();
        next.restore(&versions, &state).unwrap();
        assert_eq!(next.handle(Host::message("test", "report", b"")).unwrap().unwrap(), b"2 1 0 0");
        assert!(next.restore(&versions, &state[1..]).is_err(), "cut");
        assert!(next.restore(&versions, b"").is_err(), "empty");
    }
}
