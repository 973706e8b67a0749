//! `airssys upgrade` and `airssys rollback` against a system that runs.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::{Child, Stdio},
};

use crate::program::{World, repository};

const MANIFEST: &str = "[system]\nname = \"s\"\n\
    [component.witness]\nsource = \"ledger.wasm\"\n\
    [component.a]\nsource = \"ledger.wasm\"\nconfig = { to = \"witness\" }\ngrants = { send = [\"witness\"] }\n";

/// How often a trial is asked for.
const ATTEMPTS: usize = 100;

/// The ledger with another word behind its mark: see the component's source.
pub(crate) fn ledger(mode: &str) -> Vec<u8> {
    let path = repository().join("airssys-wasm/tests/fixtures/ledger.wasm");
    let mark = b"ledger-mode:";
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(mark.len()).position(|window| window == mark).unwrap() + mark.len();
    bytes[at..at + mode.len()].copy_from_slice(mode.as_bytes());
    bytes
}

fn world() -> World {
    let world = World::new();
    world.write("airssys.toml", MANIFEST);
    for mode in ["good", "fine", "trap"] {
        world.write(&format!("{mode}.wasm"), ledger(mode));
    }
    fs::copy(world.path("good.wasm"), world.path("ledger.wasm")).unwrap();
    world
}

/// Runs the program where its streams are a terminal, and gives what that shows.
fn on_a_terminal(world: &World, args: &[&str]) -> Option<String> {
    let asked = world.command(args);
    let words = std::iter::once(asked.get_program()).chain(asked.get_args());
    let line: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    // Others have a `script` of other words.
    let version = std::process::Command::new("script").arg("--version").output().ok()?;
    if !String::from_utf8_lossy(&version.stdout).contains("util-linux") {
        return None;
    }
    let mut terminal = std::process::Command::new("script");
    terminal.env("SHELL", "/bin/sh");
    terminal.args(["-qec", &line.join(" "), "/dev/null"]).current_dir(world.dir.path());
    terminal.envs(asked.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let shown = terminal.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success(), "{text}{}", String::from_utf8_lossy(&shown.stderr));
    Some(text)
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_shows_what_an_upgrade_does() {
    let world = world();
    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    let Some(shown) = on_a_terminal(&world, &["upgrade", "a", "fine.wasm"]) else {
        return eprintln!("SKIPPED: util-linux's `script`, which has a terminal, is not here");
    };
    let (loading, switching) =
        ("checking and compiling the new version", "starting the other version beside this one");
    let places = [loading, switching, "in place of"].map(|what| shown.find(what));
    assert!(places.is_sorted() && places[0].is_some(), "{shown:?}");
    assert!(shown.contains("held for"), "the answer is as it is elsewhere: {shown:?}");
    let shown = on_a_terminal(&world, &["rollback", "a"]).unwrap();
    assert!(shown.contains(switching) && !shown.contains(loading), "{shown:?}");
    // Programs get the answer alone.
    let (_, told) = world.run_json(&["upgrade", "a", "fine.wasm"]);
    assert_eq!(told.len(), 1, "{told:#?}");
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn a_component_that_runs_is_upgraded_and_rolled_back_and_both_are_on_the_record() {
    let world = world();
    let mut running = world.start(&["run", "."]);
    running.events.wait_for("loaded");
    running.events.wait_for("ready");

    let (code, told) = world.run_json(&["upgrade", "a", "fine.wasm"]);
    assert_eq!(code, Some(0), "{told:#?}");
    let (new, old) = (told[0]["to"].clone(), told[0]["from"].clone());
    assert_eq!((told[0]["state_bytes"].as_u64(), new != old), (Some(32), true), "{told:#?}");
    assert_eq!(running.events.wait_for("upgrade")["to"], new);

    let refused = world.run(&["upgrade", "a", "trap.wasm"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("cannot start the new version; the old one goes on"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("panicked or aborted when it was given a state"), "{}", refused.stderr);

    let (code, told) = world.run_json(&["rollback", "a"]);
    assert_eq!((code, &told[0]["to"]), (Some(0), &old), "{told:#?}");
    let again = world.run(&["rollback", "a"]);
    assert!(again.stderr.contains("cannot roll `a` back: no version ran before"), "{}", again.stderr);
    let unknown = world.run(&["upgrade", "nobody", "fine.wasm"]);
    assert!(unknown.stderr.contains("cannot find the component `nobody`"), "{}", unknown.stderr);
    let no_component = world.run(&["upgrade", "a", "airssys.toml"]);
    assert!(no_component.stderr.contains("cannot load the component"), "{}", no_component.stderr);

    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
    assert!(!world.path(".airssys/control/socket").exists());
    let (_, changes) = world.run_json(&["audit", "query", ".", "--action", "system.upgrade"]);
    let ends: Vec<_> = changes
        .iter()
        .map(|record| record["resource"].as_str().unwrap().rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(ends, ["begun", "done", "begun", "refused", "begun", "done"], "{changes:#?}");
    let (_, history) = world.run_json(&["history", "a"]);
    let outcomes: Vec<_> = history.iter().map(|change| (&change["to"], change["outcome"].as_str())).collect();
    assert_eq!(outcomes[0], (&new, Some("done")));
    assert_eq!((outcomes[1].1, outcomes[2]), (Some("refused"), (&old, Some("done"))), "{history:#?}");
    assert_eq!((history.len(), &history[0]["from"]), (3, &old));
    let shown = world.run(&["history", "a", "."]).stdout;
    assert!(shown.lines().next().unwrap().contains("Z  done        sha256:"), "{shown}");
    assert_eq!(world.run(&["history", "witness"]).stdout, "", "it was not changed");
    let (_, accepted) = world.run_json(&["audit", "query", ".", "--action", "net.accept"]);
    assert_eq!(accepted.len(), 6, "{accepted:#?}");
    assert!(accepted.iter().all(|record| record["principal"] == "program"), "{accepted:#?}");
}

#[test]
fn a_system_that_does_not_run_is_told_from_one_that_was_killed() {
    let world = world();
    let absent = world.run(&["upgrade", "a", "fine.wasm"]);
    assert_eq!(absent.code, Some(1));
    assert!(absent.stderr.contains("does not run"), "{}", absent.stderr);
    assert!(absent.stderr.contains("start it with `airssys run`"), "{}", absent.stderr);

    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    running.signal("KILL");
    running.end();
    assert!(world.path(".airssys/control/socket").exists(), "left behind");
    assert!(world.run(&["rollback", "a"]).stderr.contains("does not run"));

    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    assert_eq!(world.run(&["upgrade", "a", "fine.wasm"]).code, Some(0), "the next run takes the name over");
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn requests_are_served_side_by_side_and_changes_of_one_component_in_turn() {
    let world = world();
    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    let connect = || UnixStream::connect(world.path(".airssys/control/socket")).unwrap();
    // Three that send nothing yet: there is one more attendant.
    let slow: Vec<_> = (0..3).map(|_| connect()).collect();
    assert_eq!(world.run(&["dead", "drop", "--all"]).code, Some(0));
    drop(slow);

    // Of two upgrades at once, each is done whole or refused.
    let upgrade = |file: &str| {
        let mut command = world.command(&["upgrade", "a", file]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = ["fine.wasm", "good.wasm"].map(upgrade).map(|child| child.wait_with_output().unwrap());
    for ended in &both {
        let said = String::from_utf8_lossy(&ended.stderr);
        let is_refused = said.contains("another change of `a` is under way");
        assert!(ended.status.success() || is_refused, "{said}");
    }
    assert!(both.iter().any(|ended| ended.status.success()));
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn the_socket_is_its_owners_alone_and_takes_no_nonsense() {
    let world = world();
    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    let folder = fs::metadata(world.path(".airssys/control")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let socket = fs::metadata(world.path(".airssys/control/socket")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);

    let long = [&b"{\"do\":\""[..], &[b'x'; 40_000], b"\"}\n"].concat();
    let nonsense: [(&[u8], &str); 9] = [
        (b"{\"do\":\"drop\",\"letters\":\"some\"}\n", "`letters` is `all`, or"),
        (b"{\"do\":\"retry\",\"letters\":[-1]}\n", "a letter has a number"),
        (b"hello\n", "cannot read the request"),
        (
            b"{\"component\":\"a\",\"fresh\":false,\"do\":\"upgrade\",\"canary\":{\"percent\":300}}\n",
            "a `canary` has",
        ),
        (b"{\"do\":\"upgrade\"}\n", "`component` is missing"),
        (b"{\"component\":\"a\",\"fresh\":false,\"do\":\"dance\"}\n", "can be asked to"),
        (b"{\"component\":\"a\",\"fresh\":false,\"do\":\"upgrade\",\"bytes\":99999999999}\n", "the most is"),
        (b"{\"component\":\"a\",\"fresh\":false,\"do\":\"upgrade\",\"bytes\":5}\nabc", "5 were announced"),
        (&long, "a line is longer"),
    ];
    for (request, expected) in nonsense {
        let mut stream = UnixStream::connect(world.path(".airssys/control/socket")).unwrap();
        // What is refused before its end is not read to it.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.contains(expected), "{expected}: {answer}");
    }
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

/// A world with a service, another version of it, and the port that it listens on.
pub(crate) fn service() -> (World, tokio::net::TcpSocket, u16) {
    let world = World::new();
    let service = fs::read(repository().join("airssys-wasm/tests/fixtures/web.wasm")).unwrap();
    world.write("web.wasm", &service);
    // A custom section: the same component with another digest.
    world.write("new.wasm", [service, vec![0, 2, 1, b'2']].concat());
    // As long as this is bound, nobody is given the port who does not ask for it by its number.
    let reserved = tokio::net::TcpSocket::new_v4().unwrap();
    reserved.set_reuseaddr(true).unwrap();
    reserved.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = reserved.local_addr().unwrap().port();
    let http = format!("http = {{ listen = \"127.0.0.1:{port}\", timeout = \"10m\" }}");
    let limits = "limits = { deadline = \"10m\", http = { timeout = \"10m\" } }";
    world.write(
        "airssys.toml",
        format!("[system]\nname = \"s\"\n[component.web]\nsource = \"web.wasm\"\n{http}\n{limits}\n"),
    );
    (world, reserved, port)
}

/// What the service answers.
pub(crate) fn hello(port: u16) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_canary_answers_its_share_of_the_requests_and_takes_over() {
    let (world, _reserved, port) = service();
    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    let get = || {
        let answer = hello(port);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    let mut upgrade = world.command(&[
        "upgrade",
        "web",
        "new.wasm",
        "--canary",
        "50",
        "--requests",
        "3",
        "--within",
        "24h",
    ]);
    let mut upgrade = upgrade.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while upgrade.try_wait().unwrap().is_none() {
        get();
    }
    let upgraded = upgrade.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&upgraded.stderr).into_owned();
    assert!(upgraded.status.success(), "{said}");
    running.events.wait_for("upgrade");
    let (_, changes) = world.run_json(&["audit", "query", ".", "--action", "system.upgrade"]);
    let resource = |record: &serde_json::Value| record["resource"].as_str().unwrap().to_owned();
    let ends: Vec<_> = changes.iter().map(resource).collect();
    assert!(ends[0].ends_with(": on trial") && ends[1].ends_with(": done"), "{ends:?}");
    get();
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn a_trial_ends_with_its_client_and_with_a_rollback() {
    let (world, _reserved, _) = service();
    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    let is_recorded = |count: usize, end: &str| {
        let (_, changes) = world.run_json(&["audit", "query", ".", "--action", "system.upgrade"]);
        let last = changes.get(count - 1).map(|change| change["resource"].as_str().unwrap());
        assert!(last.is_none_or(|last| last.ends_with(end)), "{changes:#?}");
        last.is_some()
    };
    // That a trial has ended is on record a little before another can begin: until then that is refused.
    let begin = |count: usize| -> Child {
        for _ in 0..ATTEMPTS {
            let mut upgrade =
                world.command(&["upgrade", "web", "new.wasm", "--canary", "10", "--within", "24h"]);
            let mut upgrade = upgrade.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            loop {
                let is_refused = upgrade.try_wait().unwrap().is_some();
                if is_recorded(count, ": on trial") {
                    return upgrade;
                }
                if is_refused {
                    break;
                }
            }
        }
        panic!("no trial began in {ATTEMPTS} attempts");
    };
    let mut gone = begin(1);
    gone.kill().unwrap();
    gone.wait().unwrap();
    while !is_recorded(2, ": given up") {}

    let trial = begin(3);
    // It is on record before there is an instance of it: until then nothing can be rolled back.
    let back = loop {
        let (code, told) = world.run_json(&["rollback", "web"]);
        if code == Some(0) {
            break told;
        }
    };
    let trial = trial.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&trial.stderr);
    assert!(trial.status.code() == Some(1) && said.contains("its trial was ended"), "{said}");
    assert_ne!(back[0]["from"], back[0]["to"]);
    let long = world.run(&["upgrade", "web", "new.wasm", "--canary", "10", "--within", "25h"]);
    assert!(long.stderr.contains("a trial takes at most 24h"), "{}", long.stderr);
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}
