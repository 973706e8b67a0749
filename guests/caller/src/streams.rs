//! `wasi:io`.

use crate::{
    bindings::wasi::io::{poll as io, poll::Pollable},
    script::{Call, Outcome, show},
    table::{Table, Value},
};

/// A method of an input stream. Bytes are answered, or how many were skipped.
pub(crate) fn input(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    let stream = table.input(call)?;
    Ok(match function.as_str() {
        "read" => show(&stream.read(table.number(call)?)?),
        "blocking-read" => show(&stream.blocking_read(table.number(call)?)?),
        "skip" => stream.skip(table.number(call)?)?.to_string(),
        "blocking-skip" => stream.blocking_skip(table.number(call)?)?.to_string(),
        "subscribe" => {
            let pollable = stream.subscribe();
            return table.keep(call, Value::Pollable(pollable));
        }
        _ => return Err(call.unknown()),
    })
}

/// A method of an output stream.
pub(crate) fn output(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    let stream = table.output(call)?;
    match function.as_str() {
        // How many is the host's to say.
        "check-write" => return Ok(if stream.check_write()? > 0 { "some" } else { "none" }.to_owned()),
        "write" => stream.write(call.text()?.as_bytes())?,
        "blocking-write-and-flush" => stream.blocking_write_and_flush(call.text()?.as_bytes())?,
        "flush" => stream.flush()?,
        "blocking-flush" => stream.blocking_flush()?,
        "write-zeroes" => stream.write_zeroes(table.number(call)?)?,
        "blocking-write-zeroes-and-flush" => {
            stream.blocking_write_zeroes_and_flush(table.number(call)?)?;
        }
        "splice" => return Ok(stream.splice(table.input(call)?, table.number(call)?)?.to_string()),
        "blocking-splice" => {
            return Ok(stream.blocking_splice(table.input(call)?, table.number(call)?)?.to_string());
        }
        "subscribe" => {
            let pollable = stream.subscribe();
            return table.keep(call, Value::Pollable(pollable));
        }
        _ => return Err(call.unknown()),
    }
    Ok("ok".to_owned())
}

/// `poll.poll` of several answers which of them it was; `poll.ready` and `poll.block` are methods of one.
pub(crate) fn poll(call: &mut Call, table: &mut Table) -> Outcome {
    match call.function.as_str() {
        "ready" => Ok(table.pollable(call)?.ready().to_string()),
        "block" => {
            table.pollable(call)?.block();
            Ok("ok".to_owned())
        }
        "poll" => {
            let mut pollables: Vec<&Pollable> = Vec::new();
            for name in call.rest() {
                pollables.push(table.pollable(&mut Call::parse(&format!("poll.one {name}")))?);
            }
            // In which order they are told is not said.
            let mut ready = io::poll(&pollables);
            ready.sort_unstable();
            Ok(ready.iter().map(u32::to_string).collect::<Vec<_>>().join(" "))
        }
        _ => Err(call.unknown()),
    }
}
