//! `airssys sandbox` and `airssys doctor`: programs of the machine, and what holds them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::program::{Ended, World};

/// A world whose folders everybody may enter: programs of root's run as nobody.
pub(crate) fn world() -> World {
    open(World::new())
}

/// A world that everybody may use: programs of root's run as nobody.
pub(crate) fn open(world: World) -> World {
    for path in [world.path(""), world.path("given")] {
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    world
}

pub(crate) fn sandbox(world: &World, args: &[&str]) -> Ended {
    world.run(&[&["sandbox"], args].concat())
}

#[track_caller]
fn check(ended: &Ended, code: i32, stdout: &str) {
    assert_eq!((ended.code, &*ended.stdout), (Some(code), stdout), "{}", ended.stderr);
}

#[test]
fn it_says_what_the_program_says_and_ends_as_it_does() {
    let world = world();
    check(&sandbox(&world, &["--", "echo", "--not-ours", "two words"]), 0, "--not-ours two words\n");
    check(&sandbox(&world, &["--", "/bin/sh", "-c", "exit 7"]), 7, "");
    check(&sandbox(&world, &["--", "sh", "-c", "kill -TERM $$"]), 143, "");
    check(
        &sandbox(&world, &["--", "sh", "-c", "echo $PATH:$HOME; exit 0"]),
        0,
        "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:/tmp\n",
    );
}

#[test]
fn it_sees_what_it_is_given_and_changes_what_it_is_given_so() {
    let world = world();
    world.write("given/text", "here\n");
    let given = world.path("given").display().to_string();
    check(&sandbox(&world, &["--", "cat", &format!("{given}/text")]), 1, "");
    check(&sandbox(&world, &["--ro", "given", "--", "cat", &format!("{given}/text")]), 0, "here\n");
    // A folder of which some files are every program's.
    check(&sandbox(&world, &["--ro", "/etc", "--", "test", "-s", "/etc/passwd"]), 0, "");
    check(
        &sandbox(&world, &["--ro", "given", "--chdir", "given", "--", "sh", "-c", "pwd; echo x > new"]),
        2,
        "WORLD/given\n",
    );
    check(
        &sandbox(&world, &["--rw", "given", "--chdir", "given", "--", "sh", "-c", "echo made > new"]),
        0,
        "",
    );
    assert_eq!(fs::read_to_string(world.path("given/new")).unwrap(), "made\n");
    let own = format!("/tmp/airssys-own-{}", std::process::id());
    check(&sandbox(&world, &["--", "sh", "-c", &format!("echo x > {own} && cat {own}")]), 0, "x\n");
    assert!(!fs::exists(own).unwrap());
}

/// How long something that is to come may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(600);

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited too long until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn ctrl_c_is_heard_while_somebody_left_behind_has_the_output() {
    let world = world();
    // It has a session of its own before its parent ends: who is in the program's ends with it.
    let script = "setsid sh -c ': > \"$0\"; exec sleep 100000' \"$0\" & \
                  while ! [ -e \"$0\" ]; do sleep 0.01; done; echo $$ $!; exit 3";
    let up = world.path("up").display().to_string();
    let args = ["sandbox", "--profile", "none", "--output", "1M", "--", "sh", "-c", script, &up];
    let mut ours = world.command(&args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(ours.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let (program, left) = line.trim().split_once(' ').unwrap();
    let signal = |name: &str, who: &str| Command::new("kill").args(["-s", name, who]).status().unwrap();
    until("the program has ended", || !fs::exists(format!("/proc/{program}")).unwrap());
    let outlives = fs::exists(format!("/proc/{left}")).unwrap() && ours.try_wait().unwrap().is_none();
    let pid = ours.id().to_string();
    until("airssys has ended, too", || {
        signal("INT", &pid);
        ours.try_wait().unwrap().is_some()
    });
    signal("KILL", left);
    assert!(outlives, "nobody was left behind");
    assert_eq!(ours.wait().unwrap().code(), Some(3));
}

#[test]
fn variables_are_those_that_are_given() {
    let world = world();
    let print = ["--", "sh", "-c", "echo $WORD$SECRET"];
    let run = |args: &[&str]| {
        let mut command = world.command(&[&["sandbox"], args, &print].concat());
        let output = command.env("WORD", "ours").env("SECRET", "x").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&["--env", "WORD"]), "ours\n");
    assert_eq!(run(&["--env", "WORD=theirs"]), "theirs\n");
    let refused = sandbox(&world, &["--env", "LD_PRELOAD=x", "--", "true"]);
    assert_eq!(refused.code, Some(3));
    assert!(refused.stderr.contains("code gets into other programs"), "{}", refused.stderr);
}

#[test]
fn limits_are_told() {
    let world = world();
    let check = |args: &[&str], told: &str| {
        let ended = sandbox(&world, args);
        assert!(ended.code > Some(128) && ended.stderr.contains(told), "{:?} {}", ended.code, ended.stderr);
    };
    check(&["--time", "100ms", "--", "sleep", "100"], "longer than --time allows");
    check(
        &["--file-size", "1K", "--", "sh", "-c", "exec head -c 9999 /dev/zero > /tmp/x"],
        "longer file than --file-size",
    );
    // Nothing of ours did: a shell would be told no more.
    check(&["--", "sh", "-c", "kill -KILL $$"], "it was killed");
    check(&["--", "sh", "-c", "kill -SYS $$"], "a system call of another architecture");
    check(&["--cpu-time", "1s", "--", "sh", "-c", "while :; do :; done"], "longer than --cpu-time allows");
    let hog = ["--mem", "64M", "--", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"];
    if has_control_groups(&world) {
        check(&hog, "it needed more memory than --mem allows");
    } else {
        let ended = sandbox(&world, &hog);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("count the memory of all its processes"), "{}", ended.stderr);
    }
    check(
        &["--output", "10K", "--", "sh", "-c", "while :; do echo yes; done"],
        "said more than --output allows",
    );
}

fn has_control_groups(world: &World) -> bool {
    let (_, values) = world.run_json(&["doctor"]);
    let has = |layer: &serde_json::Value| layer["layer"] == "cgroup" && layer["available"] == json!(true);
    values[0]["layers"].as_array().unwrap().iter().any(has)
}

#[test]
fn what_is_bounded_is_bounded_so() {
    let world = world();
    let script = "echo out; echo err >&2; exit 3";
    let ended = sandbox(&world, &["--output", "1K", "--", "sh", "-c", script]);
    check(&ended, 3, "out\n");
    assert_eq!(ended.stderr, "err\n");
    check(&sandbox(&world, &["--descriptors", "17", "--", "sh", "-c", "ulimit -n"]), 0, "17\n");
    let fills = "head -c 3000000 /dev/zero > /tmp/x; wc -c < /tmp/x";
    check(&sandbox(&world, &["--tmp", "1M", "--", "sh", "-c", fills]), 0, "1048576\n");
    let refused = sandbox(&world, &["--landlock", "1000", "--", "true"]);
    assert!(
        refused.code == Some(1) && refused.stderr.contains("version 1000 is required"),
        "{}",
        refused.stderr
    );
    assert_eq!(sandbox(&world, &["--io-weight", "0", "--", "true"]).code, Some(2));
    let (_, values) = world.run_json(&["doctor"]);
    let limit =
        |name| values[0]["limits"].as_array().unwrap().iter().find(|limit| limit["limit"] == name).cloned();
    let weighed = sandbox(&world, &["--io-weight", "50", "--", "true"]);
    let expected = if limit("io_weight").unwrap()["available"] == json!(true) { 0 } else { 1 };
    assert_eq!(weighed.code, Some(expected), "what the doctor says: {}", weighed.stderr);
}

#[test]
fn placeholders_are_files_and_paths_and_nothing_else() {
    let world = world();
    world.write("given/text", "here\n");
    world.write("outside", "secret\n");
    std::os::unix::fs::symlink("../outside", world.path("given/link")).unwrap();
    let args = ["--placeholders", "--", "sh", "-c", "cat \"$0\"; ls \"$1\" 2>/dev/null"];
    let ended = sandbox(
        &world,
        &[&args[..], &["{file:given/text}", &world.path("given").display().to_string()]].concat(),
    );
    // The file alone, and nothing that lies beside it.
    check(&ended, 2, "here\n");
    let made = |name: &str| {
        let word = format!("{{path:given:{name}}}");
        let script = "echo made > \"$0\" && cat \"$0\"";
        sandbox(&world, &["--placeholders", "--rw", "given", "--", "sh", "-c", script, &word])
    };
    check(&made("new"), 0, "made\n");
    check(&made("-rf"), 0, "made\n");
    for hostile in ["../outside", "/etc/passwd", "link", ""] {
        let ended = made(hostile);
        assert_eq!(ended.code, Some(1), "{hostile}: {}", ended.stderr);
        assert!(ended.stderr.contains("is one beneath DIR"), "{hostile}: {}", ended.stderr);
    }
    assert_eq!(fs::read_to_string(world.path("outside")).unwrap(), "secret\n");
    let cannot = sandbox(&world, &["--placeholders", "--", "cat", "{file:given/link}"]);
    assert!(cannot.code == Some(3) && cannot.stderr.contains("cannot hand over"), "{}", cannot.stderr);
    // Without the flag a word is a word.
    check(&sandbox(&world, &["--", "echo", "{file:given/text}"]), 0, "{file:given/text}\n");
}

#[test]
fn processes_that_it_could_not_start_are_told() {
    let world = world();
    if !has_control_groups(&world) {
        eprintln!("SKIPPED: there are no control groups to count processes by");
        return;
    }
    let ended = sandbox(&world, &["--pids", "2", "--", "sh", "-c", "sleep 100 & sleep 100 & sleep 100"]);
    assert!(ended.stderr.contains("denied: to start a process, "), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_started_is_told_with_what_to_do() {
    let world = world();
    world.write("script", "#!/bin/sh\necho hi\n");
    let check = |args: &[&str], code: i32, told: &str| {
        let ended = sandbox(&world, args);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    };
    check(&["--", "./script"], 1, "start its interpreter");
    check(&["--", "no-such-program"], 3, "there is no program `no-such-program`");
    check(&["--ro", "/", "--", "true"], 3, "name what it needs of it");
    check(&["--profile", "tight", "--", "true"], 2, "the profiles are strict, network, build, none");
    check(&["--without", "network", "--require", "network", "--", "true"], 1, "the grant leaves it out");
    check(
        &["--profile", "network", "--require", "network", "--", "true"],
        1,
        "it is not part of the profile",
    );
}

#[test]
fn a_loopback_is_its_own() {
    let world = world();
    let connect = |args: &[&str]| {
        sandbox(&world, &[args, &["--", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9"]].concat()).stderr
    };
    assert!(connect(&["--loopback"]).contains("refused"));
    assert!(!connect(&[]).contains("refused"));
}

/// A server on this machine that answers with `hello`; its port.
pub(crate) fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let (mut asked, mut piece) = (Vec::new(), [0; 512]);
            while !asked.ends_with(b"\r\n\r\n") {
                match connection.read(&mut piece) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => asked.extend(&piece[..read]),
                }
            }
            // Who went away is no reason to answer nobody else.
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n");
        }
    });
    port.to_string()
}

/// Asks the proxy for a URL, and prints the first and the last line of the answer.
pub(crate) fn asks(url: &str) -> String {
    format!(
        "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'GET {url} HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3 | sed -n '1p;$p'"
    )
}

#[test]
fn it_reaches_the_hosts_that_are_named_and_is_told_of_the_others() {
    let (world, port) = (world(), server());
    let granted = format!("127.0.0.1:{port}");
    let reach = |net: &[&str], url: &str| {
        let flags: Vec<&str> = net.iter().flat_map(|peer| ["--net", peer]).collect();
        sandbox(&world, &[&flags[..], &["--", "bash", "-c", &asks(url)]].concat())
    };
    check(&reach(&[&granted], &format!("http://{granted}/")), 0, "HTTP/1.1 200 OK\r\nhello\n");

    let denied = reach(&[&granted], "http://evil.example/");
    check(&denied, 0, "HTTP/1.1 403 Forbidden\r\nairssys: evil.example is not granted to this program\n");
    let told = "denied: to connect to evil.example:80: no flag permits it; --net evil.example:80 would\n";
    assert_eq!(denied.stderr, told);

    // A name does not speak for an address that is not global.
    let named = format!("localhost:{port}");
    let url = format!("http://{named}/");
    let denied = reach(&[&named], &url);
    assert!(denied.stdout.starts_with("HTTP/1.1 403"), "{}", denied.stdout);
    let least = format!("its address is not global (loopback); --net {granted} would\n");
    assert!(denied.stderr.ends_with(&least), "{}", denied.stderr);
    check(&reach(&[&named, &granted], &url), 0, "HTTP/1.1 200 OK\r\nhello\n");
}

#[test]
fn what_was_denied_is_told_to_programs_too() {
    let world = world();
    let script = format!("({0}); ({0})", asks("http://evil.example:8080/"));
    let args = ["--json", "sandbox", "--net", "good.example:80", "--", "bash", "-c", &script];
    let ended = world.run(&args);
    let event: serde_json::Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    let denied = json!([{
        "action": "net.connect",
        "resource": "evil.example:8080",
        "rule": "default-deny",
        "count": 2,
        "flag": "--net evil.example:8080",
    }]);
    assert_eq!(event["denied"], denied, "{event}");
    let log = world.path("home/.local/state/airssys/audit-0").display().to_string();
    let records = world.run(&["audit", "query", &log, "--denied"]);
    assert_eq!(records.stdout.matches("tcp://evil.example:8080").count(), 2, "{}", records.stdout);
}

#[test]
fn a_network_that_is_the_machines_is_not_held_to_hosts() {
    let ended = sandbox(&world(), &["--net", "example.com:443", "--profile", "network", "--", "true"]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("--net would hold the program to nothing"), "{}", ended.stderr);
}

#[test]
fn its_end_is_explained_and_on_record() {
    let world = world();
    let ended = sandbox(&world, &["--explain", "--ro", "given", "--", "true"]);
    for line in ["program: /", "held by: strict: seccomp+landlock", "ended: code 0 by itself"] {
        assert!(ended.stderr.contains(line), "{line}: {}", ended.stderr);
    }
    let (code, events) = world.run_json(&["sandbox", "--time", "100ms", "--", "sleep", "100"]);
    let event = events.last().unwrap();
    assert_eq!((code, &event["cause"], &event["status"]), (Some(137), &json!("wall time"), &json!(137)));
    let log = world.path("home/.local/state/airssys/audit-0").display().to_string();
    let records = world.run(&["audit", "query", &log, "--action", "process.exit"]);
    assert!(
        records.stdout.contains("sleep 100") && records.stdout.contains("by wall time"),
        "{}",
        records.stdout
    );
    assert_eq!(world.run(&["audit", "verify", &log]).code, Some(0));
}

#[test]
fn the_doctor_tells_each_layer() {
    let world = world();
    let text = world.run(&["doctor"]);
    assert_eq!(text.code, Some(0), "{}", text.stderr);
    for word in ["seccomp", "landlock", "cgroup-view", "profiles", "strict", "io_weight", "one host", "/proc"]
    {
        assert!(text.stdout.contains(word), "{word}: {}", text.stdout);
    }
    let (_, values) = world.run_json(&["doctor"]);
    let layers = values[0]["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 9);
    assert!(layers.iter().all(|layer| layer["available"] == json!(true) || layer["why_not"].is_string()));
    let limits = values[0]["limits"].as_array().unwrap();
    assert!(limits.iter().any(|limit| limit["limit"] == "output" && limit["available"] == json!(true)));
    assert!(limits.iter().all(|limit| limit["available"] == json!(true) || limit["why_not"].is_string()));
    let has =
        |name: &str| layers.iter().any(|layer| layer["layer"] == name && layer["available"] == json!(true));
    assert_eq!(values[0]["cgroup_version"].is_number(), has("cgroup"), "{}", values[0]);
    assert_eq!(values[0]["egress"]["available"], json!(has("network")));
    assert!(values[0]["proc"]["available"].is_boolean());
    assert_eq!(values[0]["profiles"][3], json!({"profile": "none", "starts": true, "missing": []}));
}
