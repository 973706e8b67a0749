//! What is said to a system that runs: a request and its answer, each one line of JSON, over a UNIX socket in its state
//! folder. Behind the request for an upgrade come the bytes of the component, and before its answer a line for each part of
//! it that begins.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use airssys_osl::{
    net::UnixStream,
    policy::{Direction, Grant, Rights},
};
use airssys_wasm::{COMPONENT_BYTES, Canary, Handover};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The name of the socket in its folder.
pub(crate) const SOCKET: &str = "socket";

/// The longest request, in bytes: names and reasons, no content.
const LINE_BYTES: usize = 16 << 10;

/// The longest answer, in bytes: some hundred for each component of a large system.
const ANSWER_BYTES: usize = 16 << 20;

/// The folder of the socket, in the state folder: its owner's alone.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("control")
}

/// What a program needs to be granted to listen, or to connect.
pub(crate) fn grants(state: &Path, direction: Direction) -> [Grant; 2] {
    let rights = match direction {
        Direction::Listen => Rights::READ | Rights::WRITE | Rights::CREATE | Rights::DELETE,
        Direction::Connect => Rights::READ | Rights::WRITE,
    };
    let folder = folder(state);
    [
        Grant::fs(&folder, rights).rule("builtin.control"),
        Grant::unix(direction, folder).rule("builtin.control"),
    ]
}

/// The longest that a version may be on trial.
pub(crate) const TRIAL: Duration = Duration::from_secs(24 * 60 * 60);

/// What a system is asked for.
pub(crate) enum Request {
    /// To put another version in the place of a component; with a canary, once it has stood a trial, within some time.
    Upgrade { component: String, handover: Handover, canary: Option<(Canary, Duration)>, bytes: Vec<u8> },
    /// To put the version before it in its place.
    Rollback { component: String, handover: Handover },
    /// To tell what its components are doing.
    Status,
    /// To send dead letters again.
    Retry(Letters),
    /// To throw dead letters away.
    Drop(Letters),
}

/// Which dead letters something is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Letters {
    All,
    These(Vec<u64>),
}

/// What a line is called by that is no answer yet.
const DOING: &str = "doing";

/// A line that says what is being done now.
pub(crate) fn doing(what: &str) -> Value {
    json!({DOING: what})
}

impl Request {
    /// Sends it, and gives the answer; `doing` hears what is being done until then.
    pub(crate) async fn ask(
        &self,
        stream: &mut UnixStream,
        doing: &(dyn Fn(&str) + Sync),
    ) -> Result<Value, String> {
        let change = |name: &str, component: &str, handover: &Handover, bytes: usize| {
            let fresh = *handover == Handover::Fresh;
            json!({"do": name, "component": component, "fresh": fresh, "bytes": bytes})
        };
        let (line, bytes) = match self {
            Self::Upgrade { component, handover, canary, bytes } => {
                let mut line = change("upgrade", component, handover, bytes.len());
                if let (Some((canary, within)), Some(line)) = (canary, line.as_object_mut()) {
                    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
                    let canary = json!({
                        "percent": canary.percent,
                        "requests": canary.requests,
                        "within_ms": within_ms,
                    });
                    line.insert("canary".to_owned(), canary);
                }
                (line, &**bytes)
            }
            Self::Rollback { component, handover } => (change("rollback", component, handover, 0), &[][..]),
            Self::Status => (json!({"do": "status"}), &[][..]),
            Self::Retry(letters) => (json!({"do": "retry", "letters": letters.json()}), &[][..]),
            Self::Drop(letters) => (json!({"do": "drop", "letters": letters.json()}), &[][..]),
        };
        let io = |error: std::io::Error| error.to_string();
        send(stream, &line).await?;
        stream.write_all(bytes).await.map_err(io)?;
        let mut received = Vec::new();
        loop {
            let (line, behind) = receive(stream, received, ANSWER_BYTES).await?;
            match line.get(DOING).and_then(Value::as_str) {
                Some(what) => doing(what),
                None => return Ok(line),
            }
            received = behind;
        }
    }

    /// Reads one. What is wrong with it is a sentence for whoever sent it.
    pub(crate) async fn read(stream: &mut UnixStream) -> Result<Self, String> {
        let (line, bytes) = receive(stream, Vec::new(), LINE_BYTES).await?;
        match line.get("do").and_then(Value::as_str) {
            Some("rollback") => {
                let (component, handover) = component(&line)?;
                Ok(Self::Rollback { component, handover })
            }
            Some("upgrade") => {
                let ((component, handover), canary) = (component(&line)?, canary(&line)?);
                let bytes = receive_component(stream, &line, bytes).await?;
                Ok(Self::Upgrade { component, handover, canary, bytes })
            }
            Some("status") => Ok(Self::Status),
            Some("retry") => Ok(Self::Retry(Letters::of(&line)?)),
            Some("drop") => Ok(Self::Drop(Letters::of(&line)?)),
            _ => Err(
                "this system can be asked to `upgrade`, `rollback`, `retry` and `drop`, and for its `status`"
                    .to_owned(),
            ),
        }
    }
}

impl Letters {
    /// How many may be named at once: they have to fit on a line.
    pub(crate) const MOST: usize = 500;

    fn json(&self) -> Value {
        match self {
            Self::All => "all".into(),
            Self::These(numbers) => numbers.as_slice().into(),
        }
    }

    fn of(line: &Value) -> Result<Self, String> {
        match line.get("letters") {
            Some(Value::String(all)) if all == "all" => Ok(Self::All),
            Some(Value::Array(numbers)) if numbers.len() <= Self::MOST => {
                let numbers: Option<Vec<_>> = numbers.iter().map(Value::as_u64).collect();
                numbers.map(Self::These).ok_or_else(|| "a letter has a number".to_owned())
            }
            _ => Err(format!("`letters` is `all`, or at most {} numbers", Self::MOST)),
        }
    }
}

/// Which component is to change, and what becomes of its state.
fn component(line: &Value) -> Result<(String, Handover), String> {
    let component = line.get("component").and_then(Value::as_str).ok_or("`component` is missing")?.to_owned();
    let fresh = line.get("fresh").and_then(Value::as_bool).ok_or("`fresh` is missing")?;
    Ok((component, if fresh { Handover::Fresh } else { Handover::State }))
}

/// How a new version is to be tried, where it is.
fn canary(line: &Value) -> Result<Option<(Canary, Duration)>, String> {
    let Some(canary) = line.get("canary") else { return Ok(None) };
    let number = |key: &str| canary.get(key).and_then(Value::as_u64);
    let percent = number("percent").and_then(|percent| u8::try_from(percent).ok());
    let requests = number("requests").and_then(|requests| u32::try_from(requests).ok());
    match (percent, requests, number("within_ms")) {
        (_, _, Some(within_ms)) if Duration::from_millis(within_ms) > TRIAL => {
            Err(format!("a trial takes at most {} hours", TRIAL.as_secs() / 3600))
        }
        (Some(percent), Some(requests), Some(within_ms)) => {
            Ok(Some((Canary { percent, requests }, Duration::from_millis(within_ms))))
        }
        _ => Err("a `canary` has `percent`, `requests` and `within_ms`".to_owned()),
    }
}

/// Receives the component that a line announces. Its first `bytes` came along with the line.
async fn receive_component(
    stream: &mut UnixStream,
    line: &Value,
    mut bytes: Vec<u8>,
) -> Result<Vec<u8>, String> {
    let expected = line.get("bytes").and_then(Value::as_u64).ok_or("`bytes` is missing")?;
    if expected > COMPONENT_BYTES {
        return Err(format!("a component of {expected} bytes; the most is {COMPONENT_BYTES}"));
    }
    let missing = expected.saturating_sub(bytes.len() as u64);
    // Nothing is reserved for what is only announced.
    let read = stream.take(missing).read_to_end(&mut bytes).await;
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 != expected {
        return Err(format!("{} bytes of a component, {expected} were announced", bytes.len()));
    }
    Ok(bytes)
}

/// Returns when the other end is closed. What it says until then was not asked for.
pub(crate) async fn closed(stream: &mut UnixStream) {
    let mut unasked = [0; 64];
    while let Ok(1..) = stream.read(&mut unasked).await {}
}

/// Sends one line.
pub(crate) async fn send(stream: &mut UnixStream, line: &Value) -> Result<(), String> {
    stream.write_all(format!("{line}\n").as_bytes()).await.map_err(|error| error.to_string())
}

/// Receives one line of at most `limit` bytes, of which some may be there, and what came along behind it.
async fn receive(
    stream: &mut UnixStream,
    mut received: Vec<u8>,
    limit: usize,
) -> Result<(Value, Vec<u8>), String> {
    loop {
        if let Some(end) = received.iter().position(|byte| *byte == b'\n') {
            let behind = received.split_off(end + 1);
            let line = serde_json::from_slice(&received).map_err(|error| error.to_string())?;
            return Ok((line, behind));
        }
        if received.len() > limit {
            return Err(format!("a line is longer than {limit} bytes"));
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await.map_err(|error| error.to_string())? {
            0 => return Err("the other end closed the connection".to_owned()),
            read => received.extend_from_slice(chunk.get(..read).unwrap_or_default()),
        }
    }
}
