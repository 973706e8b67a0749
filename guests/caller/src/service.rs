//! The script of a request over HTTP. It has the request as `request`, and where its answer goes as `out`.

use crate::{
    bindings::{
        exports::wasi::http::incoming_handler::Guest,
        wasi::{
            http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam},
            io::streams::OutputStream,
        },
    },
    command::{Caller, answer},
    script::{Call, Outcome},
    table::{Table, Value},
};

/// The header that has the script.
const SCRIPT: &str = "x-script";

/// The most bytes that a stream takes in one call.
const CHUNK: usize = 4096;

impl Guest for Caller {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let script = request.headers().get(SCRIPT).concat();
        let script = String::from_utf8_lossy(&script).into_owned();
        let mut table = Table::default();
        table.put("request", Value::Asked(request));
        table.put("out", Value::Outparam(out));
        let mut answers = String::new();
        for line in script.split('\t') {
            let said = match line.strip_prefix("answers ") {
                Some(stream) => tell(stream, &table, &answers).unwrap_or_else(|failed| failed.0),
                None => answer(line, &mut table),
            };
            answers = format!("{answers}{said}\n");
        }
        // A script that answers by itself has used it up.
        if let Ok(out) = table.take_outparam(&mut Call::parse("response-outparam.set out")) {
            respond(out, &answers);
        }
        // As at the end of a program.
        std::mem::forget(table);
    }
}

/// `answers STREAM`: writes what was answered so far.
fn tell(stream: &str, table: &Table, answers: &str) -> Outcome {
    write(table.output(&mut Call::parse(&format!("output.write {stream}")))?, answers);
    Ok("ok".to_owned())
}

fn write(stream: &OutputStream, text: &str) {
    for chunk in text.as_bytes().chunks(CHUNK) {
        // Who does not read on has heard enough.
        let _ = stream.blocking_write_and_flush(chunk);
    }
}

fn respond(out: ResponseOutparam, answers: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body();
    ResponseOutparam::set(out, Ok(response));
    if let Ok(body) = body {
        if let Ok(stream) = body.write() {
            write(&stream, answers);
        }
        let _ = OutgoingBody::finish(body, None);
    }
}
