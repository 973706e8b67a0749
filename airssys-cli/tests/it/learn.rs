//! `airssys sandbox --learn` and `--explain`: what a program asks for, and the flags for it.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use serde_json::Value;

use crate::{
    program::World,
    sandbox::{asks, open, sandbox, server, world},
};

/// The last event of a run, as it is: with the paths of this machine. None where the machine cannot hold it so.
fn ended(world: &World, args: &[&str]) -> Value {
    let output =
        world.command(&[&["--json", "sandbox"], args].concat()).stdin(Stdio::null()).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let last = stdout.lines().rfind(|line| line.starts_with('{'));
    let last =
        last.unwrap_or_else(|| panic!("no event: {stdout}{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(last).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn exactly_what_a_run_needs_is_learned() {
    let world = world();
    for (path, text) in [("given/text", "here\n"), ("given/other", "x"), ("aside/list", "y")] {
        world.write(path, text);
        fs::set_permissions(world.path(path), fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::create_dir(world.path("out")).unwrap();
    for path in ["out", "aside"] {
        fs::set_permissions(world.path(path), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let peer = format!("127.0.0.1:{}", server());
    let script = format!(
        "set -e; cat given/text > out/new; mv out/new out/newer; test ! -e given/missing; ls aside; \
         ls > /dev/null $HOME; echo own > /tmp/airssys-own-$$; rm /tmp/airssys-own-$$; {{ {}; }} | grep hello",
        asks(&format!("http://{peer}/"))
    );
    // Without it bash looks its user up, in files that are not its own to find.
    let program = ["--env", "SHELL=/bin/sh", "--", "bash", "-c", &script];
    let learning = ended(&world, &[&["--learn"][..], &program].concat());
    assert_eq!(learning["status"], 0, "{learning}");
    let flags = texts(&learning["learned"]["flags"]);
    let path = |path: &str| world.path(path).display().to_string();
    let (text, aside, out, start) = (path("given/text"), path("aside"), path("out"), path(""));
    let start = start.trim_end_matches('/');
    let expected = ["--ro", &aside, "--ro", &text, "--rw", &out, "--chdir", start, "--net", &peer];
    assert_eq!(flags, expected, "{learning}");
    assert_eq!(learning["learned"]["notes"], Value::Array(Vec::new()));

    assert_eq!(ended(&world, &[&flags[..], &program].concat())["status"], 0);
    // None of them is too much.
    for gone in 0..flags.len() / 2 {
        let mut fewer = flags.clone();
        fewer.drain(2 * gone..2 * gone + 2);
        let event = ended(&world, &[&fewer[..], &program].concat());
        assert_ne!(event["status"], 0, "without {:?}: {event}", &flags[2 * gone..2 * gone + 2]);
    }
    let manifest = format!("[system]\nname = \"s\"\n{}\n", learning["learned"]["manifest"].as_str().unwrap());
    world.write("system/airssys.toml", &manifest);
    let checked = world.run(&["check", "system"]);
    assert_eq!(checked.code, Some(0), "{manifest}{}", checked.stderr);
}

#[test]
fn it_is_learned_for_people_too() {
    let world = world();
    world.write("given/two words", "x");
    let learned = sandbox(&world, &["--learn", "--", "cat", "given/two words"]);
    let expected = "learned: --ro 'WORLD/given/two words' --chdir WORLD\n\n[process.cat]\n";
    assert!(learned.stderr.starts_with(expected), "{}", learned.stderr);
    assert!(learned.stderr.contains("\nro = [\"WORLD/given/two words\"]\n"), "{}", learned.stderr);
    let nothing = sandbox(&world, &["--learn", "--chdir", "/tmp", "--", "true"]);
    assert!(nothing.stderr.starts_with("learned: it needs no flag\n"), "{}", nothing.stderr);
    let refused = sandbox(&world, &["--learn", "--profile", "none", "--", "true"]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert_eq!(sandbox(&world, &["--learn", "--ro", "given", "--", "true"]).code, Some(2));
}

#[test]
fn what_executes_what_it_wrote_is_told_to_build() {
    let world = world();
    let script = "cp /bin/true given/own && given/own";
    let program = ["--", "sh", "-c", script];
    let learning = ended(&world, &[&["--learn"][..], &program].concat());
    let flags = texts(&learning["learned"]["flags"]);
    assert!(flags.ends_with(&["--profile", "build"]), "{learning}");
    fs::remove_file(world.path("given/own")).unwrap();
    assert_eq!(ended(&world, &[&flags[..], &program].concat())["status"], 0);
}

#[test]
fn files_that_it_did_not_find_are_told_with_the_flags_for_them() {
    let world = open(World::outside_tmp());
    world.write("given/text", "here\n");
    fs::set_permissions(world.path("given/text"), fs::Permissions::from_mode(0o666)).unwrap();
    let given = world.path("given").display().to_string();
    let denied = |args: &[&str]| {
        let ended = sandbox(&world, &[&["--explain"], args].concat());
        let lines = ended.stderr.lines().filter(|line| line.starts_with("denied:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let text = format!("{given}/text");
    assert_eq!(
        denied(&["--", "cat", &text, "/no/such"]),
        ["denied: to find WORLD/given/text: no flag permits it; --ro WORLD/given/text would"]
    );
    assert_eq!(denied(&["--ro", "given", "--", "cat", &text]), [""; 0]);
    assert_eq!(
        denied(&["--ro", "given", "--", "sh", "-c", &format!("echo x >> {text}")]),
        ["denied: to change WORLD/given/text: no flag permits it; --rw WORLD/given/text would"]
    );
    // Of other processors the names are not known.
    let call = if cfg!(target_arch = "x86_64") { "unshare (272)" } else { "system call 97" };
    assert_eq!(
        denied(&["--", "sh", "-c", "unshare -U true; exit 0"]),
        [format!("denied: to call {call}: seccomp refuses it to every program")]
    );
    // Who does not ask for it is not watched.
    assert_eq!(
        sandbox(&world, &["--", "cat", &text])
            .stderr
            .lines()
            .filter(|line| line.starts_with("denied"))
            .count(),
        0
    );
}

/// A program that asks for its number as one of 32 bits does, and ends.
#[cfg(target_arch = "x86_64")]
fn foreign() -> Vec<u8> {
    let code = [0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
    let mut image = b"\x7fELF\x02\x01\x01".to_vec();
    image.resize(16, 0);
    // The file's header, that of one segment, and the code of it.
    image.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0x40_0078_u64, 64, 0] {
        image.extend(word.to_le_bytes());
    }
    image.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    image.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, 0x40_0000, 0x40_0000, 136, 136, 0x1000_u64] {
        image.extend(word.to_le_bytes());
    }
    image.extend(code);
    image
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_call_that_it_was_ended_for_is_told_by_name() {
    let world = world();
    fs::write(world.path("given/foreign"), foreign()).unwrap();
    fs::set_permissions(world.path("given/foreign"), fs::Permissions::from_mode(0o755)).unwrap();
    let program = ["--", "given/foreign"];
    let killed = sandbox(&world, &program);
    assert_eq!(killed.code, Some(159), "{}", killed.stderr);
    assert!(killed.stderr.contains("--explain tells which call"), "{}", killed.stderr);
    let told = sandbox(&world, &[&["--explain"][..], &program].concat());
    assert_eq!(told.code, Some(137), "{}", told.stderr);
    let named =
        "ended: seccomp ended it, or a process of it, for getpid (20): a call of another architecture";
    assert!(told.stderr.contains(named), "{}", told.stderr);
    // Where another process was, the program went on.
    let script = format!("{}; exit 3", world.path("given/foreign").display());
    let child = sandbox(&world, &["--explain", "--ro", "given", "--", "sh", "-c", &script]);
    let named =
        "denied: to call getpid (20), as another architecture does: seccomp ended the process of it that did";
    assert!(child.stderr.contains(named) && !child.stderr.contains("seccomp ended it"), "{}", child.stderr);
    assert_eq!(child.code, Some(3));
}

#[test]
fn who_is_watched_holds_programs_that_he_cannot_watch() {
    let world = world();
    let airssys = std::path::Path::new(env!("CARGO_BIN_EXE_airssys"));
    let (place, all) =
        (airssys.parent().unwrap().display().to_string(), world.path("").display().to_string());
    let home = format!("HOME={}", world.path("given").display());
    let outer = ["--explain", "--profile", "build", "--ro", &place, "--rw", &all, "--env", &home, "--"];
    let airssys = airssys.display().to_string();
    let inner = [airssys.as_str(), "sandbox", "--explain", "--", "sh", "-c", "exit 7"];
    let explained = sandbox(&world, &[&outer[..], &inner].concat());
    assert_eq!(explained.code, Some(7), "{}", explained.stderr);
    assert!(explained.stderr.contains(" watched: not, for that takes seccomp"), "{}", explained.stderr);
}

#[test]
fn what_it_has_in_a_tmp_of_its_own_is_not_the_machines() {
    let world = world();
    world.write("given/text", "here\n");
    fs::set_permissions(world.path("given/text"), fs::Permissions::from_mode(0o666)).unwrap();
    let text = world.path("given/text").display().to_string();
    let held = sandbox(&world, &["--explain", "--", "true"]).stderr;
    if !text.starts_with("/tmp/") || !held.contains("+mounts") {
        return;
    }
    let hidden = sandbox(&world, &["--explain", "--", "cat", &text]);
    assert!(!hidden.stderr.contains("denied:"), "{}", hidden.stderr);
    let change = format!("echo x >> {text}");
    let seen = sandbox(&world, &["--explain", "--ro", "given", "--", "sh", "-c", &change]);
    assert!(seen.stderr.contains("denied: to change WORLD/given/text"), "{}", seen.stderr);
}
