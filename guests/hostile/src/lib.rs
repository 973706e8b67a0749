//! An actor that attacks its host on demand: the subject of a message names the attack.
//!
//! A fixture for the tests of the host. It holds nothing back, so run it under limits only.

use std::{fmt::Display, hint::black_box, net::SocketAddr, time::Duration};

use airssys_guest::{
    Actor, Config, Error, Message, Reason, call, clock, env, fs, log, net, process, send, timers,
};

struct Hostile {
    handled: u64,
}

airssys_guest::export!(Hostile);

impl Actor for Hostile {
    fn init(config: &Config) -> Result<Self, Error> {
        match config.text("init") {
            Some("fail") => Err("told to fail".into()),
            Some("trap") => trap(),
            Some("spin") => spin(),
            Some("log") => {
                log_lines(50_000);
                Ok(Self { handled: 0 })
            }
            _ => Ok(Self { handled: 0 }),
        }
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        self.handled += 1;
        let (verb, object) = message.subject.split_once(':').unwrap_or((&message.subject, ""));
        let answer = match verb {
            "spin" => spin(),
            "grow" => grow(),
            "recurse" => recurse(0).to_string(),
            "trap" => trap(),
            "fail" => return Err("told to fail".into()),
            "silent" => return Ok(None),
            "echo" => return Ok(Some(message.payload)),
            "huge" => return Ok(Some(vec![b'x'; number(object)?])),
            "handled" => self.handled.to_string(),
            "sender" => message.sender,
            "send" => outcome(send(object, "echo", &message.payload).map(|()| "sent")),
            "call" => outcome(ask(object, &message.payload)),
            "ask" => outcome(ask_about(object, &message.payload)),
            "send-huge" => outcome(send_huge(object)),
            "send-then-call" => {
                send(object, "echo", &message.payload)?;
                outcome(ask(object, &message.payload))
            }
            "send-then-trap" => {
                send(object, "echo", &message.payload)?;
                trap()
            }
            "flood" => outcome(flood(object, &message.payload)),
            "timer" => outcome(set_timer(object)),
            "ticks" => {
                timers::set("again", Duration::ZERO);
                "set".to_owned()
            }
            "timers" => set_timers(number(object)?),
            "cancel" => timers::cancel(object).to_string(),
            "log" => {
                log::info!("{}", "x".repeat(number(object)?));
                "logged".to_owned()
            }
            "logs" => {
                log_lines(number(object)?);
                "logged".to_owned()
            }
            "fs" => outcome(read(object)),
            "fs-hoard" => outcome(hoard(number(object)?)),
            "fs-write" => outcome(write(object, &message.payload)),
            "file" => outcome(read_whole(object)),
            "file-limit" => outcome(read_at_most(object)),
            "file-many" => outcome(read_many(object)),
            "file-of" => outcome(read_of(object)),
            "file-write" => {
                outcome(first_dir().and_then(|dir| dir.replace(object, &message.payload)).map(|()| "written"))
            }
            "file-fill" => outcome(fill(object)),
            "fs-list" => outcome(list(object)),
            "env" => env::var(object).unwrap_or_else(|| "absent".to_owned()),
            "net" => outcome(connect(object)),
            "run" => outcome(process::run(object, &[])),
            "clock" => format!("{:?} {:?}", clock::wall(), clock::monotonic()),
            _ => return Err(format!("no such attack: `{}`", message.subject).into()),
        };
        Ok(Some(answer.into_bytes()))
    }

    fn timer(&mut self, name: &str) -> Result<(), Error> {
        match name {
            "spin" => spin(),
            "trap" => trap(),
            // Fires at once, and for ever.
            "again" => {
                timers::set(name, Duration::ZERO);
                Ok(())
            }
            _ => {
                log::info!("timer {name}");
                Ok(())
            }
        }
    }

    fn terminate(&mut self, reason: Reason) {
        log::info!("terminated: {reason:?}");
    }
}

/// Never returns, and calls nothing that the host could notice it by.
fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Takes memory until there is none.
fn grow() -> String {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(black_box(vec![1; 1024 * 1024]));
    }
}

/// Calls itself until the stack ends; what it does after the call keeps the compiler from making a loop of it.
#[expect(unconditional_recursion, reason = "it is the attack")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + depth
}

#[expect(clippy::panic, reason = "it is the attack")]
fn trap() -> ! {
    panic!("told to trap")
}

/// Sends more than an outbox holds.
fn flood(to: &str, payload: &[u8]) -> Result<&'static str, Error> {
    for _ in 0..10_000 {
        send(to, "echo", payload)?;
    }
    Ok("flooded")
}

fn ask(whom: &str, payload: &[u8]) -> Result<String, Error> {
    let answer = call(whom, "echo", payload, Duration::from_millis(500))?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Calls `TO/SUBJECT` and tells how long the answer is.
fn ask_about(to_and_subject: &str, payload: &[u8]) -> Result<usize, Error> {
    let (to, subject) = to_and_subject.split_once('/').ok_or("expected TO/SUBJECT")?;
    Ok(call(to, subject, payload, Duration::from_secs(3_600))?.len())
}

/// Sends `TO/BYTES`.
fn send_huge(to_and_bytes: &str) -> Result<&'static str, Error> {
    let (to, bytes) = to_and_bytes.split_once('/').ok_or("expected TO/BYTES")?;
    send(to, "echo", &vec![b'x'; number(bytes)?])?;
    Ok("sent")
}

fn log_lines(count: usize) {
    for number in 0..count {
        log::info!("line {number}");
    }
}

fn set_timer(name_and_delay: &str) -> Result<&'static str, Error> {
    let (name, delay_ms) = name_and_delay.split_once('/').ok_or("expected NAME/DELAY-MS")?;
    timers::set(name, Duration::from_millis(number(delay_ms)? as u64));
    Ok("set")
}

fn set_timers(count: usize) -> String {
    for index in 0..count {
        timers::set(&format!("timer-{index}"), Duration::from_secs(3_600));
    }
    "set".to_owned()
}

/// Reads a file by `wasi:filesystem`.
fn read(path: &str) -> Result<String, Error> {
    let file = first_dir()?.open(path)?;
    let mut content = Vec::new();
    loop {
        let chunk = file.read_at(content.len() as u64, 64 * 1024)?;
        if chunk.is_empty() {
            return Ok(String::from_utf8_lossy(&content).into_owned());
        }
        content.extend_from_slice(&chunk);
    }
}

/// Reads a whole file in one call.
fn read_whole(path: &str) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&first_dir()?.read(path, 1024 * 1024)?).into_owned())
}

/// Reads a file of at most so many bytes, by `PATH/BYTES`, and tells how many it has.
fn read_at_most(path_and_limit: &str) -> Result<usize, Error> {
    let (path, limit) = path_and_limit.rsplit_once('/').ok_or("expected PATH/BYTES")?;
    Ok(first_dir()?.read(path, number(limit)?)?.len())
}

/// Reads a file so often, by `PATH/TIMES`.
fn read_many(path_and_times: &str) -> Result<usize, Error> {
    let (path, times) = path_and_times.rsplit_once('/').ok_or("expected PATH/TIMES")?;
    let dir = first_dir()?;
    (0..number(times)?).map(|_| dir.read(path, 1024 * 1024).map(|content| content.len())).sum()
}

/// Reads a file of one of its directories, by `DIRECTORY:PATH`.
fn read_of(directory_and_path: &str) -> Result<String, Error> {
    let (directory, path) = directory_and_path.split_once(':').ok_or("expected DIRECTORY:PATH")?;
    Ok(String::from_utf8_lossy(&fs::dir(directory)?.read(path, 1024 * 1024)?).into_owned())
}

/// Replaces a file by so many bytes, by `PATH/BYTES`, and waits until they are on the device.
fn fill(path_and_bytes: &str) -> Result<&'static str, Error> {
    let (path, bytes) = path_and_bytes.rsplit_once('/').ok_or("expected PATH/BYTES")?;
    first_dir()?.write_atomic(path, &vec![b'x'; number(bytes)?])?;
    Ok("written")
}

/// Holds so many files open at a time.
fn hoard(count: usize) -> Result<usize, Error> {
    let dir = first_dir()?;
    let held = (0..count).map(|_| dir.open("a")).collect::<Result<Vec<_>, _>>()?;
    Ok(held.len())
}

/// Writes a file by `wasi:filesystem`: beside it, and then in its place.
fn write(path: &str, content: &[u8]) -> Result<&'static str, Error> {
    let dir = first_dir()?;
    let temporary = match path.rsplit_once('/') {
        Some((parent, name)) => format!("{parent}/.{name}.tmp"),
        None => format!(".{path}.tmp"),
    };
    let written = dir.create(&temporary).and_then(|mut file| {
        file.write_at(0, content)?;
        file.sync()
    });
    let replaced = written.and_then(|()| dir.rename(&temporary, path));
    if replaced.is_err() {
        // The first error is the one that matters.
        let _ = dir.remove(&temporary);
    }
    replaced.map(|()| "written")
}

fn list(path: &str) -> Result<String, Error> {
    let mut names: Vec<String> = fs::dir(path)?.list()?.into_iter().map(|entry| entry.name).collect();
    names.sort();
    Ok(names.join(" "))
}

fn first_dir() -> Result<fs::Dir, Error> {
    fs::dirs().into_iter().next().ok_or_else(|| "nothing is granted".into())
}

fn connect(address: &str) -> Result<&'static str, Error> {
    let address: SocketAddr = address.parse().map_err(|cause| Error::new("no address").caused_by(cause))?;
    net::connect(address)?;
    Ok("connected")
}

fn number(text: &str) -> Result<usize, Error> {
    text.parse().map_err(|cause| Error::new(format!("`{text}` is no number")).caused_by(cause))
}

/// How an attempt ended, as the answer: `ok: …` or `KIND: …`.
fn outcome(result: Result<impl Display, Error>) -> String {
    match result {
        Ok(value) => format!("ok: {value}"),
        Err(error) => format!("{:?}: {}", error.kind(), error.chain()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airssys_guest::testing::Host;

    fn answer(subject: &str, payload: &[u8]) -> String {
        let mut hostile = Hostile { handled: 0 };
        let answer = hostile.handle(Host::message("test", subject, payload)).unwrap();
        String::from_utf8(answer.unwrap()).unwrap()
    }

    #[test]
    fn it_tells_how_an_attempt_ended() {
        let host = Host::new();
        host.grant_dir("/data");
        host.put_file("/data/a", b"content");
        assert_eq!(answer("fs:a", b""), "ok: content");
        assert_eq!(answer("fs:../a", b""), "Denied: cannot open `/data/../a`: denied by policy");
        assert_eq!(answer("run:/bin/sh", b""), "Denied: cannot run `/bin/sh`: denied by policy");
        assert_eq!(answer("fs-write:b", b"x"), "ok: written");
        assert_eq!(answer("file:b", b""), "ok: x");
        assert_eq!(answer("file-limit:b/0", b""), "LimitExceeded: cannot read `/data/b`: file-too-large");
        assert_eq!(answer("file-many:a/2", b""), "ok: 14");
        assert_eq!(answer("file-of:/data:a", b""), "ok: content");
        assert_eq!(answer("file-write:b", b"y"), "ok: written");
        assert_eq!(answer("file-fill:b/3", b""), "ok: written");
        assert_eq!(answer("fs:b", b""), "ok: xxx");
        assert_eq!(answer("fs-list:/data", b""), "ok: a b");
        assert_eq!(answer("call:nobody", b""), "NotFound: cannot call `nobody` about `echo`: no such actor");
        assert_eq!(answer("timer:tick/20", b""), "ok: set");
        assert_eq!(host.take_timer("tick"), Some(20));
    }

    #[test]
    fn time_passes_when_the_test_says_so() {
        let host = Host::new();
        host.set_wall(Duration::from_secs(1_000_000));
        host.set_env("LANG", "C");
        let mut hostile = Hostile { handled: 0 };
        for (name, delay) in [("late", 30), ("tick", 20)] {
            timers::set(name, Duration::from_millis(delay));
        }
        host.advance(&mut hostile, Duration::from_millis(19)).unwrap();
        assert!(host.take_logged().is_empty(), "neither is due");
        host.advance(&mut hostile, Duration::from_millis(11)).unwrap();
        let logged: Vec<_> = host.take_logged().into_iter().map(|(_, line)| line).collect();
        assert_eq!(logged, ["timer tick", "timer late"]);
        assert_eq!(clock::wall(), std::time::UNIX_EPOCH + Duration::from_millis(1_000_000_030));
        assert_eq!(clock::monotonic(), Duration::from_millis(30));
        assert_eq!((&*answer("env:LANG", b""), &*answer("env:HOME", b"")), ("C", "absent"));
    }

    #[test]
    fn an_unknown_attack_is_an_error() {
        let mut hostile = Hostile { handled: 0 };
        assert!(hostile.handle(Host::message("test", "tickle", b"")).is_err());
    }
}
