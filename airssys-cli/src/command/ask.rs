//! Asks a system that runs, through its control socket.

use std::path::Path;

use airssys_osl::{
    Error,
    net::UnixStream,
    policy::{Direction, Policy},
};
use serde_json::Value;

use crate::{
    control::{self, Request, SOCKET},
    door::Door,
    report::{Failure, printable},
};

/// Sends a request to the system whose state folder this is. The connection is on the record of the user's own log. The inner
/// error says that nobody listens there.
pub(super) async fn ask(
    state: &Path,
    shown: &str,
    request: &Request,
) -> Result<Result<Value, Error>, Failure> {
    ask_and_hear(state, shown, request, &|_| ()).await
}

/// As [`ask`]; `doing` hears what the system does until it answers.
pub(super) async fn ask_and_hear(
    state: &Path,
    shown: &str,
    request: &Request,
    doing: &(dyn Fn(&str) + Sync),
) -> Result<Result<Value, Error>, Failure> {
    let grants = control::grants(state, Direction::Connect).to_vec();
    let door = Door::open_for_user(Policy::builder(), grants)?;
    door.started(&format!("control {shown}"))?;
    let asked = match connect(&door, state).await {
        Ok(mut stream) => match request.ask(&mut stream, doing).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(lost) => Err(Failure::failed("the system did not answer").caused_by(lost)),
        },
        Err(absent) => Ok(Err(absent)),
    };
    door.close("asked")?;
    asked
}

/// What is told where nobody listens.
pub(super) fn not_running(shown: &str, cause: Error) -> Failure {
    Failure::failed(format!("the system of `{shown}` does not run")).caused_by(cause)
}

/// What the system would not do, and why.
pub(super) fn refusal(answer: &Value) -> Option<Failure> {
    let said = |key: &str| answer.get(key).and_then(Value::as_str).map(|text| printable(text.as_bytes()));
    let failure = Failure::failed(said("error")?);
    Some(match said("because").filter(|because| !because.is_empty()) {
        Some(because) => failure.caused_by(because),
        None => failure,
    })
}

async fn connect(door: &Door, state: &Path) -> Result<UnixStream, Error> {
    door.program.dir(control::folder(state)).await?.connect_unix(SOCKET).await
}
