//! WASI 0.3: `wasi:sockets`, by the component `newer`. What it does with itself alone is done by Wasmtime's own WASI as well.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Child, ChildStdout, Stdio},
    sync::OnceLock,
    thread,
};

use wasmtime::{
    Config, Engine, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxView, WasiView,
    p2::pipe::MemoryOutputPipe,
    p3::{add_to_linker, bindings::Command},
};

use crate::program::{Ended, World, fixture};

/// The most that the guest answers, in bytes.
const ANSWER_BYTES: usize = 1 << 20;

/// What the program answers to a word, with the network.
fn ours(word: &str) -> String {
    let world = World::new();
    let ended = world.run(&["run", "--inherit-network", &fixture("newer.wasm"), word]);
    assert_eq!(ended.code, Some(0), "{word}: {} {}", ended.stdout, ended.stderr);
    ended.stdout.trim_end().to_owned()
}

/// What Wasmtime's own WASI answers to it.
fn wasmtimes(word: &str) -> String {
    let guest = Guest::get();
    let stdout = MemoryOutputPipe::new(ANSWER_BYTES);
    let context = WasiCtx::builder()
        .args(&["newer.wasm", word])
        .inherit_network()
        .allow_tcp(true)
        .allow_udp(true)
        .allow_ip_name_lookup(true)
        .stdout(stdout.clone())
        .build();
    let mut store = Store::new(&guest.engine, Wasi { context, table: ResourceTable::new() });
    let run = async {
        let command = Command::instantiate_async(&mut store, &guest.component, &guest.linker).await.unwrap();
        store.run_concurrent(async |store| command.wasi_cli_run().call_run(store).await).await
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ended = runtime.block_on(run);
    assert!(matches!(ended, Ok(Ok(Ok(())))), "{word}: {ended:?}");
    String::from_utf8_lossy(&stdout.contents()).trim_end().to_owned()
}

/// The guest as Wasmtime's own WASI runs it, compiled once.
struct Guest {
    engine: Engine,
    component: Component,
    linker: Linker<Wasi>,
}

impl Guest {
    fn get() -> &'static Self {
        static GUEST: OnceLock<Guest> = OnceLock::new();
        GUEST.get_or_init(|| {
            let mut config = Config::new();
            config.wasm_component_model_async(true);
            let engine = Engine::new(&config).unwrap();
            let component = Component::from_file(&engine, Path::new(&fixture("newer.wasm"))).unwrap();
            let mut linker = Linker::new(&engine);
            add_to_linker(&mut linker).unwrap();
            Self { engine, component, linker }
        })
    }
}

struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Wasi {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.context, table: &mut self.table }
    }
}

/// Whether this machine has IPv6.
fn families() -> &'static [&'static str] {
    match UdpSocket::bind("[::1]:0") {
        Ok(_) => &["4", "6"],
        Err(_) => {
            eprintln!("SKIPPED in part: this machine has no IPv6");
            &["4"]
        }
    }
}

/// Expects the same answer from the program and from Wasmtime, in both families.
fn check(word: &str, expected: &str) {
    for family in families() {
        let word = format!("{word}:{family}");
        assert_eq!(ours(&word), expected, "airssys: {word}");
        assert_eq!(wasmtimes(&word), expected, "wasmtime: {word}");
    }
}

#[test]
fn a_tcp_socket_goes_from_state_to_state_as_wasi_says() {
    let new = "invalid-state, invalid-state, false, true, invalid-argument, invalid-argument, true invalid-state, \
               2 invalid-state";
    let bound = "ok, invalid-state, true, false";
    let refused = "connection-refused, invalid-state, invalid-state";
    let listening = "ok, true, invalid-state, invalid-state, invalid-state, invalid-state, ok";
    check("tcp-states", &format!("{new}, {bound}, {refused}, {listening}, ok, true"));
}

#[test]
fn options_of_tcp_are_taken_cut_or_refused_and_inherited() {
    let most = "false 32767000000000 32767000000000 127 255";
    let set = "true 1000000000 5000000000 7 42";
    let changed = "false 1000000000 5000000000 7 44";
    check(
        "tcp-options",
        &format!("invalid-argument, ok, {most}, {set}, {changed}, {set}, 43, invalid-state"),
    );
}

#[test]
fn two_ends_of_a_connection_talk_one_after_the_other() {
    check(
        "tcp-pair",
        "true, 0 ok, 4000000 ok, 0 ok, answer ok, 1 invalid-state, 0 invalid-state, invalid-state invalid-state \
         invalid-state",
    );
}

#[test]
fn streams_outlive_their_sockets_and_the_last_of_them_closes() {
    check("tcp-shared", "0 ok, still there ok, connection-refused");
}

#[test]
fn a_stream_that_is_dropped_in_the_middle_ends_well() {
    check("tcp-dropped", "10 ok, ok, 0");
}

#[test]
fn a_port_that_is_bound_is_nobody_elses() {
    // Wasmtime shares it out until somebody listens.
    for family in families() {
        assert_eq!(ours(&format!("tcp-taken:{family}")), "address-in-use ok");
    }
}

#[test]
fn a_udp_socket_goes_from_state_to_state_as_wasi_says() {
    let new = "invalid-state, invalid-state, true, invalid-state, invalid-state, invalid-argument, invalid-argument, \
               invalid-argument, datagram-too-large, invalid-argument, 42";
    let sent = "ok, true, invalid-state, invalid-state, 42, true";
    let connected = "7, 7, 8, true, invalid-argument, ok, invalid-state, invalid-state, invalid-argument";
    check("udp-states", &format!("{new}, {sent}, {connected}"));
}

#[test]
fn datagrams_go_both_ways_and_no_stranger_is_heard() {
    check("udp-pair", "true question 0 answer");
}

#[test]
fn names_are_looked_up() {
    for (name, expected) in
        [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("a b", "invalid-argument"), ("", "invalid-argument")]
    {
        let word = format!("lookup:{name}");
        assert_eq!(ours(&word), expected, "{word}");
        assert_eq!(wasmtimes(&word), expected, "wasmtime: {word}");
    }
    assert!(ours("lookup:localhost").split(' ').any(|address| matches!(address, "127.0.0.1" | "::1")));
}

/// Starts the program with a word and the network, and gives the first line that it says.
fn start(world: &World, word: &str) -> (Child, BufReader<ChildStdout>, String) {
    let mut command = world.command(&["run", "--inherit-network", &fixture("newer.wasm"), word]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    (child, stdout, line.trim_end().to_owned())
}

/// What it says from there to its end.
fn rest(mut child: Child, mut stdout: BufReader<ChildStdout>) -> String {
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    rest.trim_end().to_owned()
}

#[test]
fn a_guest_serves_and_the_host_takes_the_bytes_from_stream_to_stream() {
    let world = World::new();
    let (child, stdout, address) = start(&world, "listen:127.0.0.1:0");
    let mut stream = TcpStream::connect(&address).unwrap();
    let mut sender = stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        sender.write_all(&vec![b'x'; 3_000_000]).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    sending.join().unwrap();
    assert_eq!(all.len(), 3_000_000);
    assert_eq!(rest(child, stdout), "ok ok");
}

#[test]
fn a_guest_hears_datagrams() {
    let world = World::new();
    let (child, stdout, address) = start(&world, "hear:127.0.0.1:0");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"there?", &address).unwrap();
    let mut buffer = [0; 100];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from.to_string()), (&b"there?"[..], address));
    assert_eq!(rest(child, stdout), "heard there?");
}

/// Takes one connection, and says back all that comes over it, once it has come.
fn echo() -> (u16, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    };
    (port, thread::spawn(serve))
}

/// Says back one datagram.
fn echo_datagram() -> (u16, thread::JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let serve = move || {
        let mut buffer = [0; 100];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(&buffer[..length], from).unwrap();
    };
    (port, thread::spawn(serve))
}

#[test]
fn a_guest_asks_and_hears_the_answer_behind_the_end_of_its_question() {
    let (port, served) = echo();
    assert_eq!(ours(&format!("connect:127.0.0.1:{port},hello")), "0 ok, hello ok");
    served.join().unwrap();
    for word in ["ask", "ask-bound"] {
        let (port, served) = echo_datagram();
        assert_eq!(
            ours(&format!("{word}:127.0.0.1:{port},hello")),
            format!("127.0.0.1:{port} said hello"),
            "{word}"
        );
        served.join().unwrap();
    }
}

#[test]
fn a_guest_that_leaves_in_the_middle_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Until it is told that nobody reads.
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    assert_eq!(ours(&format!("part:127.0.0.1:{port}")), "10 ok");
    serve.join().unwrap();
}

#[test]
fn a_reset_is_told_behind_what_came_before_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Closed with something unread: the system resets it.
        stream.read_exact(&mut [0]).unwrap();
    });
    let answer = ours(&format!("connect:127.0.0.1:{port},{}", "x".repeat(100_000)));
    serve.join().unwrap();
    assert!(answer.ends_with("connection-reset"), "{answer}");
}

#[test]
fn without_the_network_everything_is_denied() {
    let world = World::new();
    let newer = fixture("newer.wasm");
    let words =
        ["connect:127.0.0.1:7,x", "listen:127.0.0.1:0", "ask:127.0.0.1:7,x", "ask-bound:127.0.0.1:7,x"];
    let ended =
        world.run(&[&["run", &newer][..], &words, &["hear:127.0.0.1:0", "lookup:example.org"]].concat());
    assert_eq!(ended.stdout.lines().collect::<Vec<_>>(), ["access-denied"; 6], "{}", ended.stderr);
}

/// Runs a job with these words, and what it may use of the network.
fn job(words: &str, limits: &str, grants: &str) -> (World, Ended) {
    let world = World::new();
    fs::copy(fixture("newer.wasm"), world.path("newer.wasm")).unwrap();
    let manifest = format!(
        "[system]\nname = \"s\"\ncompile = {{ time = \"30m\" }}\n[component.job]\nsource = \"newer.wasm\"\n\
         restart = \"temporary\"\nlimits = {{ deadline = \"10m\"{limits} }}\njob = {{ args = [{words}] }}\n\
         [component.job.grants]\n{grants}\n"
    );
    world.write("airssys.toml", manifest);
    let ended = world.run(&["run", ".", "--until-idle"]);
    (world, ended)
}

#[test]
fn what_a_guest_does_with_sockets_is_decided_and_on_record() {
    let (port, served) = echo();
    let (asked, answered) = echo_datagram();
    let words = format!(
        "\"tcp-pair:4\", \"connect:127.0.0.1:{port},hello\", \"ask:127.0.0.1:{asked},hello\", \"connect:127.0.0.2:7,x\", \
         \"hear:127.0.0.1:0\", \"lookup:example.org\""
    );
    let grants = "connect = [\"tcp://127.0.0.1:*\", \"udp://127.0.0.1:*\"]\nlisten = [\"tcp://127.0.0.1:0\"]";
    let (world, ended) = job(&words, "", grants);
    served.join().unwrap();
    answered.join().unwrap();
    for line in ["4000000 ok", "hello ok", "said hello", "access-denied"] {
        assert!(ended.stderr.contains(line), "{line}: {}", ended.stderr);
    }
    let query = |action: &str, verdict: &str| {
        let args = ["audit", "query", ".", "--principal", "component.job", "--action", action, verdict];
        let records = world.run_json(&args).1;
        records
            .iter()
            .map(|record| record["rule"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    // The listener's and the bound client's; the one of `hear` has no grant.
    let rule = "component.job.grants.listen[0]";
    assert!(
        query("net.listen", "--allowed").iter().all(|by| by == rule),
        "{:?}",
        query("net.listen", "--allowed")
    );
    assert!(!query("net.listen", "--allowed").is_empty());
    assert_eq!(query("net.accept", "--allowed"), [rule]);
    assert!(query("net.connect", "--allowed").iter().any(|by| by == "component.job.grants.connect[0]"));
    assert!(query("net.send", "--allowed").iter().any(|by| by == "component.job.grants.connect[1]"));
    assert_eq!(query("net.connect", "--denied").len(), 1);
    assert_eq!(query("net.listen", "--denied").len(), 1);
    assert_eq!(query("net.resolve", "--denied").len(), 1);
}

#[test]
fn limits_hold_over_sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It sends as long as it is heard, and hears as long as something comes.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut other = stream.try_clone().unwrap();
            thread::spawn(move || while (&stream).write_all(&[b'x'; 65_536]).is_ok() {});
            thread::spawn(move || {
                let mut buffer = [0; 65_536];
                while let Ok(1..) = other.read(&mut buffer) {}
            });
        }
    });
    let grants = "connect = [\"tcp://127.0.0.1:*\"]\nlisten = [\"tcp://127.0.0.1:0\"]";
    for (word, limits, why) in [
        (format!("drain:127.0.0.1:{port}"), ", host_calls = 300", "called its host more often"),
        (format!("pour:127.0.0.1:{port}"), ", host_calls = 300", "called its host more often"),
        ("many".to_owned(), ", handles = 100", "held more handles open"),
    ] {
        let (_, ended) = job(&format!("\"{word}\""), limits, grants);
        assert!(ended.stderr.contains(why), "{word}: {}", ended.stderr);
    }
    let (_, ended) = job("\"tcp-pair:4\"", ", net = { connections = 1 }", grants);
    assert!(ended.stderr.contains("new-socket-limit"), "there is the listener already: {}", ended.stderr);
}

#[test]
fn a_handle_that_is_none_ends_the_guest() {
    let text = r#"(component
      (import "wasi:sockets/types@0.3.0" (instance $types
        (export "tcp-socket" (type $socket (sub resource)))
        (export "[method]tcp-socket.get-is-listening" (func (param "self" (borrow $socket)) (result bool)))))
      (core module $m
        (import "" "is-listening" (func $is-listening (param i32) (result i32)))
        (func (export "run") (result i32) (drop (call $is-listening (i32.const 77))) (i32.const 0)))
      (core func $is-listening (canon lower (func $types "[method]tcp-socket.get-is-listening")))
      (core instance $i (instantiate $m (with "" (instance (export "is-listening" (func $is-listening))))))
      (func $run async (result (result)) (canon lift (core func $i "run")))
      (instance $x (export "run" (func $run)))
      (export "wasi:cli/run@0.3.0" (instance $x)))"#;
    let world = World::new();
    world.write("forged.wat", text);
    let ended = world.run(&["run", "--inherit-network", "forged.wat"]);
    assert_eq!(ended.code, Some(134), "{}", ended.stderr);
}
