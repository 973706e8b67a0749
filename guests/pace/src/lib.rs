//! An actor that does what `cargo xtask bench wasm` measures, and nothing beside it.

use std::{hint::black_box, process};

use airssys_guest::{
    Actor, Config, Error, Message,
    fs::{self, Dir},
};

/// What is read, in the directory `/data`.
const FILE: &str = "file";

/// The most of it that is read: more than it has, so that one call is all of it.
const LIMIT_BYTES: usize = 8 * 1024;

#[derive(Default)]
struct Pace {
    data: Option<Dir>,
}

airssys_guest::export!(Pace);

impl Actor for Pace {
    fn init(_: &Config) -> Result<Self, Error> {
        Ok(Self::default())
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        match message.subject.as_str() {
            "echo" => Ok(Some(message.payload)),
            "read" => self.read(&message.payload, |data| data.read(FILE, LIMIT_BYTES)),
            "read-wasi" => {
                self.read(&message.payload, |data| data.open(FILE)?.read_at(0, LIMIT_BYTES as u64))
            }
            "crash" => process::abort(),
            "spin" => loop {
                black_box(());
            },
            other => Err(format!("`{other}` means nothing here").into()),
        }
    }
}

impl Pace {
    /// Reads the file in one way as often as the payload says, and answers how many bytes that were.
    fn read(
        &mut self,
        payload: &[u8],
        way: impl Fn(&Dir) -> Result<Vec<u8>, Error>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let times: u32 =
            String::from_utf8_lossy(payload).parse().map_err(|_| Error::new("this is no number"))?;
        let data = match &self.data {
            Some(data) => data,
            None => self.data.insert(fs::dir("/data")?),
        };
        let mut bytes = 0;
        for _ in 0..times {
            bytes += black_box(way(data)?).len();
        }
        Ok(Some(bytes.to_string().into_bytes()))
    }
}
