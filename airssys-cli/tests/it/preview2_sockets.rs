//! WASI 0.2, function by function: `wasi:sockets`. See `preview2`.

use std::thread;

use tokio::{io::AsyncReadExt as _, net::TcpListener, runtime::Runtime};

use crate::{calls::check, preview2::with_nothing};

#[test]
fn sockets_that_listen() {
    check(
        with_nothing,
        "
        # start-bind: 'If the port is zero, the socket will be bound to a random free port'
        tcp.create-tcp-socket ipv4 >s = ok
        tcp.address-family s = ipv4
        tcp.is-listening s = false
        # 'requires local-address to return invalid-state when the socket hasn't been bound yet'
        tcp.local-address s = invalid-state
        tcp.remote-address s = invalid-state
        # finish-bind: 'not-in-progress: A bind operation is not in progress'
        tcp.finish-bind s = not-in-progress
        tcp.finish-connect s = not-in-progress
        tcp.finish-listen s = not-in-progress
        # 'invalid-argument: wrong address family', 'not a unicast address', 'IPv4-mapped IPv6'
        tcp.start-bind s [::1]:0 = invalid-argument
        tcp.start-bind s 224.0.0.1:0 = invalid-argument
        tcp.start-bind s 255.255.255.255:0 = invalid-argument
        # start-listen: 'invalid-state: The socket is not bound to any local address'
        tcp.start-listen s = invalid-state
        tcp.accept s = invalid-state
        tcp.shutdown s both = invalid-state
        tcp.start-bind s 127.0.0.1:0 = ok
        tcp.finish-bind s = ok
        tcp.start-bind s 127.0.0.1:0 = invalid-state
        tcp.local-address s >port = 127.0.0.1
        is-less 0 $port = true
        tcp.set-listen-backlog-size s 0 = invalid-argument
        tcp.set-listen-backlog-size s 8 = ok
        tcp.set-hop-limit s 42 = ok
        tcp.start-listen s = ok
        tcp.finish-listen s = ok
        tcp.is-listening s = true
        # accept: 'would-block: No pending connections at the moment'
        tcp.accept s = would-block
        tcp.start-listen s = invalid-state
        ",
    );
}

#[test]
fn connections() {
    check(
        with_nothing,
        "
        tcp.create-tcp-socket ipv4 >s = ok
        tcp.start-bind s 127.0.0.1:0 = ok
        tcp.finish-bind s = ok
        tcp.local-address s >port = 127.0.0.1
        tcp.set-hop-limit s 42 = ok
        tcp.start-listen s = ok
        tcp.finish-listen s = ok
        # start-connect: 'invalid-argument: … INADDR_ANY', 'port is set to 0', 'wrong address family', 'not unicast'
        tcp.create-tcp-socket ipv4 >c = ok
        tcp.start-connect c 0.0.0.0:$port = invalid-argument
        tcp.start-connect c 127.0.0.1:0 = invalid-argument
        tcp.start-connect c [::1]:$port = invalid-argument
        tcp.start-connect c 224.0.0.1:$port = invalid-argument
        tcp.start-connect c 127.0.0.1:$port = ok
        tcp.subscribe c >ready = ok
        poll.block ready = ok
        tcp.finish-connect c >in >out = ok
        drop ready = ok
        tcp.remote-address c >peer = 127.0.0.1
        is-same $peer $port = true
        tcp.start-connect c 127.0.0.1:$port = invalid-state
        tcp.subscribe s >ready = ok
        poll.block ready = ok
        tcp.accept s >a >ain >aout = ok
        drop ready = ok
        tcp.address-family a = ipv4
        # 'properties are inherited from the listener socket'
        tcp.hop-limit a = 42
        tcp.set-hop-limit a 7 = ok
        tcp.hop-limit a = 7
        # 'a pair of streams … that can be used to read & write to the connection'
        input.read ain 10 = ''
        output.blocking-write-and-flush out 'question' = ok
        input.blocking-read ain 100 = 'question'
        output.blocking-write-and-flush aout 'answer' = ok
        input.blocking-read in 3 = 'ans'
        input.blocking-read in 100 = 'wer'
        # shutdown: 'send: … followed by a FIN', 'receive: … closed'
        tcp.shutdown c send = ok
        output.check-write out = closed
        input.blocking-read ain 1 = closed
        tcp.shutdown a receive = ok
        input.read ain 1 = closed
        tcp.shutdown a both = ok
        output.check-write aout = closed
        input.blocking-read in 1 = closed
        ",
    );
}

#[test]
fn a_socket_that_was_bound_connects_from_there() {
    check(
        with_nothing,
        "
        tcp.create-tcp-socket ipv4 >s = ok
        tcp.start-bind s 127.0.0.1:0 = ok
        tcp.finish-bind s = ok
        tcp.local-address s >port = 127.0.0.1
        # nobody listens there yet
        tcp.create-tcp-socket ipv4 >early = ok
        tcp.start-connect early 127.0.0.1:$port = connection-refused|ok
        tcp.subscribe early >p = ok
        poll.block p = ok
        tcp.finish-connect early = not-in-progress|connection-refused
        tcp.start-listen s = ok
        tcp.finish-listen s = ok
        tcp.create-tcp-socket ipv4 >c = ok
        tcp.start-bind c 127.0.0.1:0 = ok
        tcp.start-connect c 127.0.0.1:$port = concurrency-conflict (wasmtime: -)
        tcp.finish-bind c = ok
        tcp.local-address c >mine = 127.0.0.1
        tcp.start-connect c 127.0.0.1:$port = ok
        tcp.subscribe c >ready = ok
        poll.block ready = ok
        tcp.finish-connect c >in >out = ok
        tcp.local-address c >same = 127.0.0.1
        is-same $mine $same = true
        ",
    );
}

#[test]
fn a_connection_that_is_refused() {
    check(
        with_nothing,
        "
        # a port that nobody listens at, and that nobody is given who asks for any
        tcp.create-tcp-socket ipv4 >c = ok
        # it may be known at once
        tcp.start-connect c 127.0.0.1:1 = connection-refused|ok
        tcp.subscribe c >p = ok
        poll.block p = ok
        tcp.finish-connect c = not-in-progress|connection-refused
        # 'the only valid action left is to drop the socket'
        tcp.start-connect c 127.0.0.1:1 = invalid-state
        ",
    );
}

#[test]
fn settings_of_a_connection() {
    check(
        with_nothing,
        "
        tcp.create-tcp-socket ipv4 >s = ok
        tcp.keep-alive-enabled s = false
        tcp.set-keep-alive-enabled s true = ok
        tcp.keep-alive-enabled s = true
        # 'If the provided value is 0, an invalid-argument error is returned'; others 'might be silently clamped'
        tcp.set-keep-alive-idle-time s 0 = invalid-argument
        tcp.set-keep-alive-idle-time s 5000000000 = ok
        tcp.keep-alive-idle-time s = 5000000000
        tcp.set-keep-alive-interval s 0 = invalid-argument
        tcp.set-keep-alive-interval s 1 = ok
        tcp.keep-alive-interval s = 1000000000
        tcp.set-keep-alive-count s 0 = invalid-argument
        tcp.set-keep-alive-count s 7 = ok
        tcp.keep-alive-count s = 7
        tcp.set-hop-limit s 0 = invalid-argument
        tcp.set-hop-limit s 42 = ok
        tcp.hop-limit s = 42
        tcp.set-receive-buffer-size s 0 = invalid-argument
        tcp.set-receive-buffer-size s 8192 = ok
        tcp.receive-buffer-size s = some
        tcp.set-send-buffer-size s 0 = invalid-argument
        tcp.set-send-buffer-size s 8192 = ok
        tcp.send-buffer-size s = some
        ",
    );
}

#[test]
fn datagrams() {
    check(
        with_nothing,
        "
        udp.create-udp-socket ipv4 >s = ok
        udp.address-family s = ipv4
        udp.local-address s = invalid-state
        udp.remote-address s = invalid-state
        udp.finish-bind s = not-in-progress
        # stream: 'invalid-state: The socket is not bound'
        udp.stream s - = invalid-state
        udp.start-bind s [::1]:0 = invalid-argument
        udp.start-bind s 127.0.0.1:0 = ok
        udp.finish-bind s = ok
        udp.start-bind s 127.0.0.1:0 = invalid-state
        udp.local-address s >port = 127.0.0.1
        udp.remote-address s = invalid-state
        udp.stream s - >in >out = ok
        udp.create-udp-socket ipv4 >c = ok
        udp.start-bind c 127.0.0.1:0 = ok
        udp.finish-bind c = ok
        udp.local-address c >mine = 127.0.0.1
        # 'invalid-argument: … INADDR_ANY', 'the port is set to 0', 'wrong address family'
        udp.stream c 0.0.0.0:$port = invalid-argument
        udp.stream c 127.0.0.1:0 = invalid-argument
        udp.stream c [::1]:$port = invalid-argument
        udp.stream c 127.0.0.1:$port >cin >cout = ok
        udp.remote-address c >peer = 127.0.0.1
        is-same $peer $port = true
        # receive: 'successfully with an empty list when … no results are immediately available'
        incoming.receive in 10 = none
        incoming.receive in 0 = none
        # send: 'must be permitted by a preceding check-send'
        outgoing.check-send cout = some
        outgoing.send cout 'question' - = 1
        incoming.subscribe in >p = ok
        poll.block p = ok
        incoming.receive in 10 = 'question'
        # 'The socket is not connected and no value for remote-address was provided'
        outgoing.check-send out = some
        outgoing.send out 'lost' - = invalid-argument
        outgoing.check-send out = some
        outgoing.send out 'answer' 127.0.0.1:$mine = 1
        incoming.subscribe cin >q = ok
        poll.block q = ok
        incoming.receive cin 1 = 'answer'
        # 'connected … and remote-address … does not match the address passed to stream'
        outgoing.check-send cout = some
        outgoing.send cout 'x' 127.0.0.1:$mine = invalid-argument
        outgoing.subscribe cout >r = ok
        poll.block r = ok
        # an empty datagram is one
        outgoing.check-send cout = some
        outgoing.send cout '' - = 1
        poll.block p = ok
        incoming.receive in 1 = ''
        udp.subscribe s >t = ok
        poll.block t = ok
        udp.set-unicast-hop-limit s 0 = invalid-argument
        udp.set-unicast-hop-limit s 42 = ok
        udp.unicast-hop-limit s = 42
        udp.set-receive-buffer-size s 0 = invalid-argument
        udp.set-receive-buffer-size s 8192 = ok
        udp.receive-buffer-size s = some
        udp.set-send-buffer-size s 0 = invalid-argument
        udp.set-send-buffer-size s 8192 = ok
        udp.send-buffer-size s = some
        ",
    );
}

#[test]
fn datagrams_that_were_not_permitted_are_a_trap() {
    check(
        with_nothing,
        "
        udp.create-udp-socket ipv4 >s = ok
        udp.start-bind s 127.0.0.1:0 = ok
        udp.finish-bind s = ok
        udp.local-address s >port = 127.0.0.1
        udp.stream s - >in >out = ok
        outgoing.send out 'x' 127.0.0.1:$port = trap
        ",
    );
}

#[test]
fn names() {
    check(
        with_nothing,
        "
        # resolve-addresses: 'If the input is an IP address string, the address is parsed and returned as-is'
        names.resolve-addresses '127.0.0.1' >n = ok
        names.subscribe n >p = ok
        poll.block p = ok
        names.resolve-next-address n = 127.0.0.1
        # 'If all addresses have been exhausted, this function returns none'
        names.resolve-next-address n = end
        names.resolve-next-address n = end
        names.resolve-addresses '::1' >n6 = ok
        names.subscribe n6 >p6 = ok
        poll.block p6 = ok
        names.resolve-next-address n6 = ::1
        # 'invalid-argument: name is a syntactically invalid domain name or IP address'
        names.resolve-addresses '' = invalid-argument
        names.resolve-addresses 'a b' = invalid-argument
        names.resolve-addresses 'localhost' >l = ok
        names.subscribe l >q = ok
        poll.block q = ok
        names.resolve-next-address l = 127.0.0.1|::1
        ",
    );
}

/// Waits for a byte of each connection and breaks it off, until the test is over.
fn breaks_off() -> u16 {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.read_u8().await.unwrap();
                // What is dropped now is reset, not ended.
                stream.set_zero_linger().unwrap();
            }
        });
    });
    port
}

#[test]
fn what_broke_a_connection_off_is_told() {
    let script = format!(
        "
        tcp.create-tcp-socket ipv4 >c = ok
        tcp.start-connect c 127.0.0.1:{} = ok
        tcp.subscribe c >p = ok
        poll.block p = ok
        tcp.finish-connect c >in >out = ok
        output.blocking-write-and-flush out 'x' = ok
        # network-error-code: 'Attempts to extract a network-related error-code from the stream error provided'
        input.blocking-read in 10 = failed network connection-reset (wasmtime: failed otherwise)
        ",
        breaks_off()
    );
    check(with_nothing, &script);
}
