//! `wasi:http`.

use crate::{
    bindings::wasi::http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, OutgoingResponse,
            RequestOptions, ResponseOutparam, Scheme,
        },
    },
    script::{Call, Failed, Outcome, list, show, show_or_none},
    table::{Table, Value},
};

const DONE: &str = "ok";

pub(crate) fn fields(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    match function.as_str() {
        "constructor" => return table.keep(call, Value::Fields(Fields::new())),
        "from-list" => {
            let fields = Fields::from_list(&call.pairs()?)?;
            return table.keep(call, Value::Fields(fields));
        }
        _ => {}
    }
    let fields = table.fields(call)?;
    Ok(match function.as_str() {
        "get" => list(fields.get(&call.text()?).iter().map(|value| show(value)), " "),
        "has" => fields.has(&call.text()?).to_string(),
        "set" => {
            let name = call.text()?;
            let values: Vec<_> = call.texts()?.into_iter().map(String::into_bytes).collect();
            fields.set(&name, &values)?;
            DONE.to_owned()
        }
        "delete" => {
            fields.delete(&call.text()?)?;
            DONE.to_owned()
        }
        "append" => {
            fields.append(&call.text()?, call.text()?.as_bytes())?;
            DONE.to_owned()
        }
        "entries" => {
            list(fields.entries().iter().map(|(name, value)| format!("{name} {}", show(value))), ", ")
        }
        "clone" => {
            let copy = fields.clone();
            return table.keep(call, Value::Fields(copy));
        }
        _ => return Err(call.unknown()),
    })
}

pub(crate) fn request(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    if function == "constructor" {
        let headers = table.take_fields(call)?;
        return table.keep(call, Value::Request(OutgoingRequest::new(headers)));
    }
    let request = table.request(call)?;
    match function.as_str() {
        "method" => return Ok(method_name(&request.method())),
        "set-method" => request.set_method(&method(call)?)?,
        "path-with-query" => return Ok(show_or_none(request.path_with_query())),
        "set-path-with-query" => request.set_path_with_query(call.text_or_none()?.as_deref())?,
        "scheme" => return Ok(scheme_name(request.scheme().as_ref())),
        "set-scheme" => request.set_scheme(scheme(call)?.as_ref())?,
        "authority" => return Ok(show_or_none(request.authority())),
        "set-authority" => request.set_authority(call.text_or_none()?.as_deref())?,
        "headers" => {
            let headers = request.headers();
            return table.keep(call, Value::Fields(headers));
        }
        "body" => {
            let body = request.body()?;
            return table.keep(call, Value::Body(body));
        }
        _ => return Err(call.unknown()),
    }
    Ok(DONE.to_owned())
}

/// A word of the specification, or another one in quotes.
fn method(call: &mut Call) -> Result<Method, Failed> {
    let word = call.word()?;
    Ok(match word.as_str() {
        "get" => Method::Get,
        "head" => Method::Head,
        "post" => Method::Post,
        "put" => Method::Put,
        "delete" => Method::Delete,
        "connect" => Method::Connect,
        other => Method::Other(other.trim_start_matches('\'').to_owned()),
    })
}

fn method_name(method: &Method) -> String {
    match method {
        Method::Get => "get".to_owned(),
        Method::Head => "head".to_owned(),
        Method::Post => "post".to_owned(),
        Method::Put => "put".to_owned(),
        Method::Delete => "delete".to_owned(),
        Method::Other(other) => show(other.as_bytes()),
        _ => "another".to_owned(),
    }
}

fn scheme(call: &mut Call) -> Result<Option<Scheme>, Failed> {
    let word = call.word()?;
    Ok(match word.as_str() {
        "none" => None,
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        other => Some(Scheme::Other(other.trim_start_matches('\'').to_owned())),
    })
}

fn scheme_name(scheme: Option<&Scheme>) -> String {
    match scheme {
        None => "none".to_owned(),
        Some(Scheme::Http) => "http".to_owned(),
        Some(Scheme::Https) => "https".to_owned(),
        Some(Scheme::Other(other)) => show(other.as_bytes()),
    }
}

pub(crate) fn options(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    if function == "constructor" {
        return table.keep(call, Value::Options(RequestOptions::new()));
    }
    let options = table.options(call)?;
    let told = |time: Option<u64>| time.map_or_else(|| "none".to_owned(), |time| time.to_string());
    let wanted = |call: &mut Call| {
        let word = call.word()?;
        let time = word.parse().map_err(|_| Failed(format!("script: {word} is no time")));
        if word == "none" { Ok(None) } else { time.map(Some) }
    };
    match function.as_str() {
        "connect-timeout" => return Ok(told(options.connect_timeout())),
        "set-connect-timeout" => options.set_connect_timeout(wanted(call)?)?,
        "first-byte-timeout" => return Ok(told(options.first_byte_timeout())),
        "set-first-byte-timeout" => options.set_first_byte_timeout(wanted(call)?)?,
        "between-bytes-timeout" => return Ok(told(options.between_bytes_timeout())),
        "set-between-bytes-timeout" => options.set_between_bytes_timeout(wanted(call)?)?,
        _ => return Err(call.unknown()),
    }
    Ok(DONE.to_owned())
}

/// `outgoing-handler.handle REQUEST [OPTIONS] >future`.
pub(crate) fn handle(call: &mut Call, table: &mut Table) -> Outcome {
    let request = table.take_request(call)?;
    let options = if call.is_over() { None } else { Some(table.take_options(call)?) };
    let future = outgoing_handler::handle(request, options)?;
    table.keep(call, Value::Future(future))
}

/// `get` answers `none` as long as there is nothing, and `taken` where it was got before.
pub(crate) fn future(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    let future = table.future(call)?;
    match function.as_str() {
        "subscribe" => {
            let pollable = future.subscribe();
            table.keep(call, Value::Pollable(pollable))
        }
        "get" => match future.get() {
            None => Ok("none".to_owned()),
            Some(Err(())) => Ok("taken".to_owned()),
            Some(Ok(Err(code))) => Err(code.into()),
            Some(Ok(Ok(response))) => table.keep(call, Value::Answer(response)),
        },
        _ => Err(call.unknown()),
    }
}

/// What came back.
pub(crate) fn answer(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    let response = table.answer(call)?;
    match function.as_str() {
        "status" => Ok(response.status().to_string()),
        "headers" => {
            let headers = response.headers();
            table.keep(call, Value::Fields(headers))
        }
        "consume" => {
            let body = response.consume()?;
            table.keep(call, Value::Content(body))
        }
        _ => Err(call.unknown()),
    }
}

/// The body of what came back, or in.
pub(crate) fn content(call: &mut Call, table: &mut Table) -> Outcome {
    match call.function.as_str() {
        "stream" => {
            let stream = table.content(call)?.stream()?;
            table.keep(call, Value::Input(stream))
        }
        "finish" => {
            let trailers = IncomingBody::finish(table.take_content(call)?);
            table.keep(call, Value::Trailers(trailers))
        }
        _ => Err(call.unknown()),
    }
}

/// `get` answers as that of a response, and `no trailers` where there are none.
pub(crate) fn trailers(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    let trailers = table.trailers(call)?;
    match function.as_str() {
        "subscribe" => {
            let pollable = trailers.subscribe();
            table.keep(call, Value::Pollable(pollable))
        }
        "get" => match trailers.get() {
            None => Ok("none".to_owned()),
            Some(Err(())) => Ok("taken".to_owned()),
            Some(Ok(Err(code))) => Err(code.into()),
            Some(Ok(Ok(None))) => Ok("no trailers".to_owned()),
            Some(Ok(Ok(Some(fields)))) => table.keep(call, Value::Fields(fields)),
        },
        _ => Err(call.unknown()),
    }
}

/// What came in.
pub(crate) fn asked(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    let request = table.asked(call)?;
    match function.as_str() {
        "method" => Ok(method_name(&request.method())),
        "path-with-query" => Ok(show_or_none(request.path_with_query())),
        "scheme" => Ok(scheme_name(request.scheme().as_ref())),
        "authority" => Ok(show_or_none(request.authority())),
        "headers" => {
            let headers = request.headers();
            table.keep(call, Value::Fields(headers))
        }
        "consume" => {
            let body = request.consume()?;
            table.keep(call, Value::Content(body))
        }
        _ => Err(call.unknown()),
    }
}

/// `response-outparam.set out RESPONSE`, or `… out error` for an error.
pub(crate) fn outparam(call: &mut Call, table: &mut Table) -> Outcome {
    if call.function != "set" {
        return Err(call.unknown());
    }
    let out = table.take_outparam(call)?;
    match table.take_response(call) {
        Ok(response) => ResponseOutparam::set(out, Ok(response)),
        Err(_) => ResponseOutparam::set(out, Err(ErrorCode::ConfigurationError)),
    }
    Ok(DONE.to_owned())
}

/// What goes out.
pub(crate) fn response(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    if function == "constructor" {
        let headers = table.take_fields(call)?;
        return table.keep(call, Value::Response(OutgoingResponse::new(headers)));
    }
    let response = table.response(call)?;
    match function.as_str() {
        "status-code" => Ok(response.status_code().to_string()),
        "set-status-code" => {
            let word = call.word()?;
            let code = word.parse().map_err(|_| Failed(format!("script: {word} is no status")))?;
            response.set_status_code(code)?;
            Ok(DONE.to_owned())
        }
        "headers" => {
            let headers = response.headers();
            table.keep(call, Value::Fields(headers))
        }
        "body" => {
            let body = response.body()?;
            table.keep(call, Value::Body(body))
        }
        _ => Err(call.unknown()),
    }
}

/// `outgoing-body.finish BODY [FIELDS]`, the fields as trailers.
pub(crate) fn body(call: &mut Call, table: &mut Table) -> Outcome {
    match call.function.as_str() {
        "write" => {
            let stream = table.body(call)?.write()?;
            table.keep(call, Value::Output(stream))
        }
        "finish" => {
            let body = table.take_body(call)?;
            let trailers = if call.is_over() { None } else { Some(table.take_fields(call)?) };
            OutgoingBody::finish(body, trailers)?;
            Ok(DONE.to_owned())
        }
        _ => Err(call.unknown()),
    }
}
