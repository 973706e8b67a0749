//! WASI 0.2, function by function: `wasi:http`. See `preview2`; each script runs for a request, in a service. Sentences are
//! those of `wasi:http` 0.2.12.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use crate::served::{answered, check};

/// Answers each request by its path, one connection a request, until the test is over.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    port
}

/// A client that breaks off is no failure of the server's.
fn answer(mut stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let head = block(&mut reader)?;
    let path = head.first()?.split(' ').nth(1)?.to_owned();
    match path.as_str() {
        "/trailers" => stream.write_all(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nx-two: 1\r\nx-two: 2\r\n\r\n\
              5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n",
        ),
        "/broken" => return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").ok(),
        _ => {
            let chunked = head.iter().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"));
            let told = if chunked { body(&mut reader)? } else { String::new() };
            let told = format!("{} {told}", head.first()?);
            write!(stream, "HTTP/1.1 203 Told\r\ncontent-length: {}\r\n\r\n{told}", told.len())
        }
    }
    .ok()?;
    // Until the client has enough of it.
    let _ = reader.read_to_end(&mut Vec::new());
    Some(())
}

/// Lines up to an empty one.
fn block(reader: &mut impl std::io::BufRead) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end() {
            "" => return Some(lines),
            line => lines.push(line.to_owned()),
        }
    }
}

/// A body in chunks, and its trailers.
fn body(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim_end(), 16).ok()?;
        if length == 0 {
            let trailers = block(reader)?.join(" ");
            return Some(format!("{} {trailers}", String::from_utf8_lossy(&body)));
        }
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend(&chunk[..length]);
    }
}

fn granted(port: u16) -> String {
    format!("grants = {{ connect = [\"tcp://127.0.0.1:{port}\"] }}")
}

#[test]
fn fields() {
    check(
        "",
        "
        # constructor: 'Construct an empty HTTP Fields. The resulting fields is mutable'
        fields.constructor >f = ok
        fields.entries f = none
        fields.append f 'a' '1' = ok
        # from-list: 'Names which have multiple values are represented by multiple entries in this list with the same name'
        fields.from-list 'a' '1' 'b' '2' 'a' '3' >f = ok
        # 'An error result will be returned if any field-name or field-value is syntactically invalid, or … forbidden'
        fields.from-list 'b c' '1' = invalid-syntax
        fields.from-list 'a' 'two\\nlines' = invalid-syntax
        fields.from-list 'host' 'a' = forbidden
        # get: 'Get all of the values corresponding to a name'; names 'should always be treated as case insensitive'
        fields.get f 'a' = '1' '3'
        fields.get f 'A' = '1' '3'
        # 'If the name is not present … or is syntactically invalid, an empty list is returned'
        fields.get f 'c' = none
        fields.get f 'b c' = none
        # 'if the name is present but empty, this is represented by a list with one or more empty field-values'
        fields.append f 'empty' '' = ok
        fields.get f 'empty' = ''
        # has: 'Returns true when the name is present … If the name is syntactically invalid, false is returned'
        fields.has f 'B' = true
        fields.has f 'c' = false
        fields.has f 'b c' = false
        # clone: 'Make a deep copy of the Fields. … The resulting fields is mutable'
        fields.clone f >copy = ok
        fields.set copy 'a' 'other' = ok
        fields.get f 'a' = '1' '3'
        # set: 'Set all of the values for a name. Clears any existing values for that name'
        fields.set f 'a' '4' '5' = ok
        fields.get f 'a' = '4' '5'
        fields.set f 'b c' '1' = invalid-syntax
        fields.set f 'a' 'two\\nlines' = invalid-syntax
        fields.set f 'connection' 'close' = forbidden
        # append: 'Append a value for a name. Does not change or delete any existing values for that name'
        fields.append f 'a' '6' = ok
        fields.get f 'a' = '4' '5' '6'
        fields.append f 'b c' '1' = invalid-syntax
        # delete: 'Delete all values for a name. Does nothing if no values for the name exist'
        fields.delete f 'a' = ok
        fields.delete f 'a' = ok
        fields.has f 'a' = false
        fields.delete f 'b c' = invalid-syntax
        # entries: 'The names and values are always returned in the original casing'; here in lower case, as on the wire of
        # HTTP/2, and so are Wasmtime's
        fields.append f 'UPPER' 'Value' = ok
        fields.entries f = empty '', b '2', upper 'Value'
        ",
    );
}

#[test]
fn what_a_request_is_made_of() {
    check(
        "",
        "
        fields.from-list 'x-a' '1' >h = ok
        # constructor: 'a default method of GET, and none values for path-with-query, scheme, and authority'
        outgoing-request.constructor h >r = ok
        outgoing-request.method r = get
        outgoing-request.path-with-query r = none
        outgoing-request.scheme r = none
        outgoing-request.authority r = none
        # set-method: 'Fails if the string present in a method.other argument is not a syntactically valid method'
        outgoing-request.set-method r put = ok
        outgoing-request.method r = put
        outgoing-request.set-method r 'PURGE' = ok
        outgoing-request.method r = 'PURGE'
        outgoing-request.set-method r 'NO METHOD' = error
        outgoing-request.method r = 'PURGE'
        # set-path-with-query: 'Fails is the string given is not a syntactically valid path and query uri component'
        outgoing-request.set-path-with-query r '/a?b=c' = ok
        outgoing-request.path-with-query r = '/a?b=c'
        outgoing-request.set-path-with-query r '/a b' = error
        outgoing-request.set-path-with-query r none = ok
        outgoing-request.path-with-query r = none
        # set-scheme: 'Fails if the string given is not a syntactically valid uri scheme'
        outgoing-request.set-scheme r https = ok
        outgoing-request.scheme r = https
        outgoing-request.set-scheme r 'ftp' = ok
        outgoing-request.scheme r = 'ftp'
        outgoing-request.set-scheme r 'no scheme' = error
        outgoing-request.set-scheme r none = ok
        # set-authority: 'Fails if the string given is not a syntactically valid URI authority'
        outgoing-request.set-authority r 'api.test:81' = ok
        outgoing-request.authority r = 'api.test:81'
        outgoing-request.set-authority r 'no authority' = error
        outgoing-request.authority r = 'api.test:81'
        # headers: 'The returned headers resource is immutable: set, append, and delete operations will fail'
        outgoing-request.headers r >h = ok
        fields.entries h = x-a '1'
        fields.set h 'x-a' '2' = immutable
        fields.append h 'x-a' '2' = immutable
        fields.delete h 'x-a' = immutable
        # body: 'Returns success on the first call: … Subsequent calls will return error'
        outgoing-request.body r >b = ok
        outgoing-request.body r = error
        # write: 'the output-stream resource for this outgoing-body may be retrieved at most once'
        outgoing-body.write b >o = ok
        outgoing-body.write b = error
        # request-options: 'Construct a default request-options value'
        request-options.constructor >o = ok
        request-options.connect-timeout o = none
        request-options.first-byte-timeout o = none
        request-options.between-bytes-timeout o = none
        request-options.set-connect-timeout o 7 = ok
        request-options.set-first-byte-timeout o 8 = ok
        request-options.set-between-bytes-timeout o 9 = ok
        request-options.connect-timeout o = 7
        request-options.first-byte-timeout o = 8
        request-options.between-bytes-timeout o = 9
        request-options.set-connect-timeout o none = ok
        request-options.connect-timeout o = none
        ",
    );
}

#[test]
fn requests_and_what_comes_back() {
    let port = server();
    let script = format!(
        "
        fields.from-list 'trailer' 'x-sum' >h = ok
        outgoing-request.constructor h >r = ok
        outgoing-request.set-method r post = ok
        outgoing-request.set-scheme r http = ok
        outgoing-request.set-authority r '127.0.0.1:{port}' = ok
        outgoing-request.set-path-with-query r '/told?a=b' = ok
        outgoing-request.body r >b = ok
        request-options.constructor >o = ok
        request-options.set-connect-timeout o 3600000000000 = ok
        request-options.set-first-byte-timeout o 3600000000000 = ok
        # handle: 'returns a resource future-incoming-response which represents an HTTP Response which may arrive'
        outgoing-handler.handle r o >f = ok
        # finish: 'Finalize an outgoing body, optionally providing trailers'
        outgoing-body.write b >s = ok
        output.blocking-write-and-flush s 'hello' = ok
        drop s = ok
        fields.from-list 'x-sum' '5' >t = ok
        outgoing-body.finish b t = ok
        # subscribe: 'When this pollable is ready, the get method will return some'
        future-incoming-response.subscribe f >p = ok
        poll.block p = ok
        future-incoming-response.get f >a = ok
        # get: 'It will be success on the first call in which the outer option is some, and error on subsequent calls'
        future-incoming-response.get f = taken
        # status: 'Returns the status code from the incoming response'
        incoming-response.status a = 203
        # headers: 'The returned headers resource is immutable'
        incoming-response.headers a >h = ok
        fields.has h 'content-length' = true
        fields.set h 'x-a' '2' = immutable
        # consume: 'Returns the incoming body. May be called at most once'
        incoming-response.consume a >c = ok
        incoming-response.consume a = error
        # stream: 'the stream representing the contents can be retrieved at most once'
        incoming-body.stream c >i = ok
        incoming-body.stream c = error
        input.blocking-read i 100 = 'POST /told?a=b HTTP/1.1 hello x-sum: 5'
        input.blocking-read i 100 = closed
        drop i = ok
        # future-trailers: 'this future will resolve to the empty set of trailers once the complete … body has been received'
        incoming-body.finish c >t = ok
        future-trailers.subscribe t >p = ok
        poll.block p = ok
        future-trailers.get t = no trailers
        # 'error on subsequent calls'
        future-trailers.get t = taken
        "
    );
    check(&granted(port), &script);
}

#[test]
fn trailers_that_come_back() {
    let port = server();
    let script = format!(
        "
        fields.constructor >h = ok
        outgoing-request.constructor h >r = ok
        outgoing-request.set-scheme r http = ok
        outgoing-request.set-authority r '127.0.0.1:{port}' = ok
        outgoing-request.set-path-with-query r '/trailers' = ok
        outgoing-handler.handle r >f = ok
        future-incoming-response.subscribe f >p = ok
        poll.block p = ok
        future-incoming-response.get f >a = ok
        incoming-response.headers a >h = ok
        fields.get h 'x-two' = '1' '2'
        incoming-response.consume a >c = ok
        incoming-body.stream c >i = ok
        input.blocking-read i 100 = 'hello'
        input.blocking-read i 100 = closed
        drop i = ok
        incoming-body.finish c >t = ok
        future-trailers.subscribe t >p = ok
        poll.block p = ok
        # 'When some trailers are returned by this method, the trailers resource is immutable'
        future-trailers.get t >f = ok
        fields.entries f = x-sum '5'
        fields.append f 'x-sum' '6' = immutable
        future-trailers.get t = taken
        "
    );
    check(&granted(port), &script);
}

#[test]
fn what_broke_a_body_off_is_told() {
    let port = server();
    let script = format!(
        "
        fields.constructor >h = ok
        outgoing-request.constructor h >r = ok
        outgoing-request.set-scheme r http = ok
        outgoing-request.set-authority r '127.0.0.1:{port}' = ok
        outgoing-request.set-path-with-query r '/broken' = ok
        outgoing-handler.handle r >f = ok
        future-incoming-response.subscribe f >p = ok
        poll.block p = ok
        future-incoming-response.get f >a = ok
        incoming-response.consume a >c = ok
        incoming-body.stream c >i = ok
        input.blocking-read i 100 = 'half'
        # http-error-code: 'Attempts to extract a http-related error from the wasi:io error provided'
        input.blocking-read i 100 = failed HttpResponseIncomplete (wasmtime: failed otherwise)
        "
    );
    check(&granted(port), &script);
}

#[test]
fn requests_that_cannot_be_sent() {
    let port = server();
    let script = format!(
        "
        # handle: 'may return an error if the outgoing-request is invalid or not allowed to be made'
        fields.constructor >h = ok
        outgoing-request.constructor h >r = ok
        outgoing-request.set-scheme r 'ftp' = ok
        outgoing-request.set-authority r '127.0.0.1:{port}' = ok
        outgoing-handler.handle r = HttpProtocolError
        # 'The HTTP and HTTPS schemes always require an authority'
        fields.constructor >h = ok
        outgoing-request.constructor h >r = ok
        outgoing-request.set-scheme r http = ok
        outgoing-handler.handle r = HttpRequestUriInvalid
        # finish: 'Fails if … the contents written to the body … does not match the value given in the Content-Length'
        fields.from-list 'content-length' '5' >h = ok
        outgoing-request.constructor h >r = ok
        outgoing-request.body r >b = ok
        outgoing-body.write b >s = ok
        output.check-write s = some
        output.write s 'abc' = ok
        drop s = ok
        outgoing-body.finish b = HttpRequestBodySize(Some(3))
        # 'Otherwise, protocol errors are reported through the future-incoming-response'
        fields.constructor >h = ok
        outgoing-request.constructor h >r = ok
        outgoing-request.set-scheme r http = ok
        outgoing-request.set-authority r '169.254.169.254' = ok
        outgoing-request.set-path-with-query r '/' = ok
        outgoing-handler.handle r >f = ok (wasmtime: -)
        future-incoming-response.subscribe f >p = ok (wasmtime: -)
        poll.block p = ok (wasmtime: -)
        future-incoming-response.get f = HttpRequestDenied (wasmtime: -)
        "
    );
    check(&granted(port), &script);
}

#[test]
fn a_request_that_came_in() {
    check(
        "",
        "
        # method: 'Returns the method of the incoming request'
        incoming-request.method request = post
        # path-with-query: 'Returns the path with query parameters from the request, as a string'
        incoming-request.path-with-query request = '/path?query=1'
        # scheme: 'Returns the protocol scheme from the request'
        incoming-request.scheme request = http
        # authority: 'Returns the authority of the Request's target URI, if present'
        incoming-request.authority request = 'api.test'
        # headers: 'The returned headers resource is immutable: set, append, and delete operations will fail'
        incoming-request.headers request >h = ok
        fields.get h 'X-Two' = '1' '2'
        fields.delete h 'x-two' = immutable
        # consume: 'Will only return success at most once, and subsequent calls will return error'
        incoming-request.consume request >c = ok
        incoming-request.consume request = error
        incoming-body.stream c >i = ok
        input.blocking-read i 100 = 'asked'
        input.blocking-read i 100 = closed
        drop i = ok
        incoming-body.finish c >t = ok
        future-trailers.subscribe t >p = ok
        poll.block p = ok
        future-trailers.get t = no trailers
        ",
    );
}

#[test]
fn what_an_answer_is_made_of() {
    let both = answered(
        "",
        "
        fields.from-list 'x-a' '1' 'trailer' 'x-sum' >h = ok
        # constructor: 'Construct an outgoing-response, with a default status-code of 200'
        outgoing-response.constructor h >r = ok
        outgoing-response.status-code r = 200
        # set-status-code: 'Fails if the status-code given is not a valid http status code'
        outgoing-response.set-status-code r 99 = error
        outgoing-response.set-status-code r 1000 = error
        outgoing-response.set-status-code r 201 = ok
        outgoing-response.status-code r = 201
        # headers: 'The returned headers resource is immutable'
        outgoing-response.headers r >h = ok
        fields.set h 'x-a' '2' = immutable
        drop h = ok
        # body: 'Returns success on the first call: … Subsequent calls will return error'
        outgoing-response.body r >b = ok
        outgoing-response.body r = error
        # set: 'Set the value of the response-outparam to … send a response'
        response-outparam.set out r = ok
        # 'This method consumes the response-outparam to ensure that it is called at most once'
        response-outparam.set out r = script: there is no out
        outgoing-body.write b >s = ok
        answers s = ok
        drop s = ok
        fields.from-list 'x-sum' '5' >t = ok
        outgoing-body.finish b t = ok
        ",
    );
    for served in both {
        assert_eq!(served.status, Some(201), "{served:?}");
        assert_eq!(served.header("x-a"), Some("1"), "{served:?}");
        assert_eq!(served.trailers, [("x-sum".to_owned(), "5".to_owned())], "{served:?}");
        assert!(served.is_whole, "{served:?}");
    }
}

#[test]
fn a_guest_that_answers_with_an_error_and_one_that_drops_its_body() {
    // set: 'The user may provide an error to response to allow the implementation determine how to respond'
    let [ours, wasmtimes] = answered("", "response-outparam.set out error = ok");
    assert_eq!((ours.status, wasmtimes.status), (Some(500), None), "the answer, and the error itself");
    // outgoing-body: 'If the user code drops this resource, as opposed to calling the static method finish, the implementation
    // should treat the body as incomplete'
    let dropped = answered(
        "",
        "
        fields.constructor >h = ok
        outgoing-response.constructor h >r = ok
        outgoing-response.body r >b = ok
        response-outparam.set out r = ok
        outgoing-body.write b >s = ok
        answers s = ok
        drop s = ok
        drop b = ok
        ",
    );
    for served in dropped {
        assert!(!served.is_whole, "{served:?}");
    }
    // finish: 'This function will trap if the input-stream child is still alive'; incoming-handler.handle: 'must write a response
    // … before returning, or else the caller will respond with an error on its behalf'
    let [ours, wasmtimes] = answered(
        "",
        "
        incoming-request.consume request >c = ok
        incoming-body.stream c >i = ok
        incoming-body.finish c >t = trap
        ",
    );
    assert_eq!((ours.status, wasmtimes.status), (Some(500), None), "neither goes on");
}
