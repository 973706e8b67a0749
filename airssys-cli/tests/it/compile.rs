//! Compiling hostile bytes: in a process of its own, held and bounded; and what is kept of compiled code.

#[cfg(target_os = "linux")]
use std::process::{Command, Stdio};
use std::{fs, process::Output};

#[cfg(target_os = "linux")]
use crate::upgrade::{hello, service};
use crate::{program::World, upgrade::ledger};

/// How often the body of each function of a bomb does its little.
#[cfg(target_os = "linux")]
const STEPS: usize = 60_000;

/// The bytes of a length, or of a count, in a module.
#[cfg(target_os = "linux")]
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(target_os = "linux")]
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &*leb(content.len()), content].concat()
}

/// A core module of some megabytes, valid and with nothing unusual in it, that takes any compiler for minutes of its time
/// and gigabytes of memory: functions of many small blocks.
#[cfg(target_os = "linux")]
fn module_bomb() -> Vec<u8> {
    const FUNCTIONS: usize = 16;
    // local.get 0, i32.eqz, if, local.get 0, i32.const 1, i32.add, local.set 0, end
    let step = [0x20, 0, 0x45, 0x04, 0x40, 0x20, 0, 0x41, 1, 0x6a, 0x21, 0, 0x0b];
    let body = [&[0][..], &step.repeat(STEPS), &[0x0b]].concat();
    let body = [leb(body.len()), body].concat();
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // One type: a function of a number.
    module.extend(section(1, &[1, 0x60, 1, 0x7f, 0]));
    module.extend(section(3, &[leb(FUNCTIONS), vec![0; FUNCTIONS]].concat()));
    module.extend(section(10, &[leb(FUNCTIONS), body.repeat(FUNCTIONS)].concat()));
    module
}

/// The same in a component.
#[cfg(target_os = "linux")]
fn component_bomb() -> Vec<u8> {
    [&b"\0asm\x0d\0\x01\0"[..], &section(1, &module_bomb())].concat()
}

/// Whether the machine can hold a program: where it cannot, bytes are compiled in the program itself, without bounds.
#[cfg(target_os = "linux")]
fn can_hold() -> bool {
    use airssys_osl::process::{Profile, host};
    let missing = Profile::Strict.least() - host().available();
    if !missing.is_empty() {
        eprintln!("SKIPPED: nothing holds a compiler here: no {missing}");
    }
    missing.is_empty()
}

/// Runs the program with a code cache of this world's own.
fn run(world: &World, args: &[&str]) -> Output {
    world.command(args).env("XDG_CACHE_HOME", world.path("cache")).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(output)))
}

#[test]
#[cfg(target_os = "linux")]
fn a_bomb_for_the_compiler_ends_at_its_time() {
    if !can_hold() {
        return;
    }
    let world = World::new();
    world.write("bomb.wasm", module_bomb());
    let ended = world.run(&["run", "--compile-time", "300ms", "bomb.wasm"]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let why = "cannot compile the component within 300ms, its limit (system.compile.time, --compile-time)";
    assert!(ended.stderr.contains(why), "{}", ended.stderr);
}

#[test]
#[cfg(target_os = "linux")]
fn a_bomb_for_the_compiler_ends_at_its_memory() {
    if !can_hold() {
        return;
    }
    let world = World::new();
    world.write("bomb.wasm", module_bomb());
    let ended = world.run(&["run", "--compile-memory", "96MiB", "--compile-time", "30m", "bomb.wasm"]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let why = "of memory, its limit (system.compile.memory, --compile-memory)";
    assert!(ended.stderr.contains(why), "{}", ended.stderr);
}

#[test]
#[cfg(target_os = "linux")]
fn a_bomb_in_a_manifest_is_told_where_it_stands_and_costs_its_neighbour_nothing() {
    if !can_hold() {
        return;
    }
    let world = World::new();
    world.write("bomb.wasm", component_bomb());
    world.write("good.wasm", ledger("good"));
    let system = "[system]\nname = \"s\"\ncompile = { time = \"30m\", memory = \"256MiB\" }\n";
    let good = "[component.good]\nsource = \"good.wasm\"\n";
    world.write("airssys.toml", format!("{system}{good}[component.bomb]\nsource = \"bomb.wasm\"\n"));
    let checked = run(&world, &["check"]);
    assert_eq!(checked.status.code(), Some(3));
    assert!(told(&checked).contains("bomb.wasm\""), "{}", told(&checked));
    assert!(told(&checked).contains("(system.compile."), "{}", told(&checked));
    assert!(told(&checked).contains("has 1 problem"), "the other one is none: {}", told(&checked));
}

#[test]
#[cfg(target_os = "linux")]
fn a_bomb_as_a_new_version_leaves_the_old_one_at_work() {
    if !can_hold() {
        return;
    }
    let world = World::new();
    world.write("bomb.wasm", component_bomb());
    world.write("ledger.wasm", ledger("good"));
    world.write("fine.wasm", ledger("fine"));
    let system = "[system]\nname = \"s\"\ncompile = { time = \"30m\", memory = \"256MiB\" }\n";
    world.write("airssys.toml", format!("{system}[component.a]\nsource = \"ledger.wasm\"\n"));
    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    let refused = world.run(&["upgrade", "a", "bomb.wasm"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("(system.compile."), "{}", refused.stderr);
    assert_eq!(world.run(&["upgrade", "a", "fine.wasm"]).code, Some(0), "the next one is taken");
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

/// What compiles for the program with this number, and whether it stands still: the numbers of all processes below it whose
/// arguments say so.
#[cfg(target_os = "linux")]
fn compilers(program: u32) -> Vec<(u32, bool)> {
    let stat = |number: u32| {
        let text = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        // Behind the name, which may have anything in it: the state, and the parent.
        let mut words = text.rsplit_once(") ")?.1.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?.parse::<u32>().ok()?))
    };
    let is_below = |number: u32| {
        let mut above = std::iter::successors(Some(number), |number| stat(*number).map(|(_, parent)| parent));
        above.any(|number| number == program)
    };
    let numbers =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let compiles = |number: &u32| {
        let arguments = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == b"precompile") && is_below(*number)
    };
    numbers.filter(compiles).filter_map(|number| Some((number, stat(number)?.0 == "T"))).collect()
}

#[cfg(target_os = "linux")]
fn signal(name: &str, processes: &[(u32, bool)]) {
    for (number, _) in processes {
        // One that has ended meanwhile is looked at again.
        let _ = Command::new("kill").args(["-s", name, &number.to_string()]).status();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_compilation_that_stands_still_keeps_no_other_and_no_request_waiting() {
    if !can_hold() {
        return;
    }
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return eprintln!("SKIPPED: one processor compiles one component at a time");
    }
    let (world, _reserved, port) = service();
    let manifest = fs::read_to_string(world.path("airssys.toml")).unwrap();
    let manifest =
        manifest.replace("[system]\n", "[system]\ncompile = { time = \"1h\", memory = \"512MiB\" }\n");
    let actors = "[component.a]\nsource = \"ledger.wasm\"\n[component.b]\nsource = \"ledger.wasm\"\n";
    world.write("airssys.toml", format!("{manifest}{actors}"));
    world.write("ledger.wasm", ledger("good"));
    world.write("bomb.wasm", component_bomb());
    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");

    // What compiles it is stopped on its way. Where it was at its end before anybody looked, it is begun again.
    let (mut asking, stopped) = loop {
        let mut upgrade = world.command(&["upgrade", "a", "bomb.wasm"]);
        let mut asking = upgrade.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let stopped = loop {
            let found = compilers(running.child.id());
            if !found.is_empty() && found.iter().all(|(_, stopped)| *stopped) {
                break Some(found);
            }
            signal("STOP", &found);
            std::thread::sleep(std::time::Duration::from_millis(1));
            if asking.try_wait().unwrap().is_some() {
                break None;
            }
        };
        if let Some(stopped) = stopped {
            break (asking, stopped);
        }
    };

    // Bytes that no cache has: the name of this world is in them.
    let name = world.dir.path().as_os_str().as_encoded_bytes();
    let name = [&leb(1)[..], b"w", name].concat();
    world.write("new.wasm", [ledger("fine"), section(0, &name)].concat());
    let (code, told) = world.run_json(&["upgrade", "b", "new.wasm"]);
    assert_eq!(code, Some(0), "{told:#?}");
    assert_eq!(running.events.wait_for("compiled")["component"], "b");
    assert!(hello(port).starts_with("HTTP/1.1 200"), "requests are answered");
    assert_eq!(world.run(&["status", "."]).code, Some(0));
    assert_eq!(compilers(running.child.id()), stopped, "it stood still all the while");

    signal("KILL", &stopped);
    assert_eq!(asking.wait().unwrap().code(), Some(1), "what compiled it is gone");
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn what_compiles_is_held_by_every_layer_and_on_the_record() {
    if !can_hold() {
        return;
    }
    let world = World::new();
    world.write("good.wasm", ledger("good"));
    world.write("airssys.toml", "[system]\nname = \"s\"\n[component.a]\nsource = \"good.wasm\"\n");
    let ran = run(&world, &["run", "--until-idle=100ms", "."]);
    assert!(ran.status.success(), "{}", told(&ran));
    let (_, records) = world.run_json(&["audit", "query", ".", "--principal", "compiler"]);
    let find = |action: &str| {
        let found = records.iter().rfind(|record| record["action"] == action);
        found.unwrap_or_else(|| panic!("no {action}: {records:#?}")).to_string()
    };
    let spawned = find("process.spawn");
    assert!(spawned.contains("builtin.compiler"), "{spawned}");
    assert!(spawned.contains("precompile component"), "{spawned}");
    assert!(spawned.contains("strict: seccomp+landlock"), "{spawned}");
    assert!(find("process.exit").contains("code 0 by itself"), "{records:#?}");

    // What is compiled is kept: nothing is started for it the next time.
    let again = run(&world, &["run", "--until-idle=100ms", "."]);
    assert!(told(&again).contains("0 compiled, 1 from the cache"), "{}", told(&again));
    let (_, later) = world.run_json(&["audit", "query", ".", "--principal", "compiler"]);
    assert_eq!(later.len(), records.len(), "{later:#?}");
}

#[test]
fn what_has_no_place_for_a_log_is_inspected_all_the_same() {
    let world = World::new();
    world.write("one.wat", "(module (func (export \"one\")))");
    world.write("file", "");
    let inspect = || world.command(&["inspect", "one.wat"]);
    let homeless = inspect().env_remove("HOME").output().unwrap();
    assert!(homeless.status.success(), "{}", told(&homeless));
    let refused = inspect().env("HOME", world.path("file")).output().unwrap();
    assert!(refused.status.success(), "{}", told(&refused));
}

#[test]
fn the_cache_is_bounded_shown_and_cleaned() {
    let world = World::new();
    let empty = run(&world, &["--json", "cache", "show"]);
    assert_eq!(json(&empty)["entries"], 0, "{}", told(&empty));
    for name in ["one", "two", "three"] {
        world.write(&format!("{name}.wat"), format!("(module (func (export \"{name}\")))"));
        assert!(run(&world, &["run", "--invoke", name, &format!("{name}.wat")]).status.success());
    }
    let full = json(&run(&world, &["--json", "cache", "show"]));
    assert_eq!(full["entries"], 3);
    let bytes = full["bytes"].as_u64().unwrap();
    assert_eq!(full["dir"].as_str().unwrap(), world.path("cache/airssys/code").to_str().unwrap());

    let keep = format!("{}B", bytes - 1);
    let shrunk = json(&run(&world, &["--json", "cache", "clean", "--keep", &keep]));
    assert_eq!((&shrunk["entries"], &shrunk["removed"]["entries"]), (&2.into(), &1.into()), "{shrunk}");
    let cleaned = run(&world, &["cache", "clean"]);
    let cleaned = String::from_utf8_lossy(&cleaned.stdout).into_owned();
    assert!(cleaned.contains("0 entries, 0 bytes; 2 entries"), "{cleaned}");

    // A system bounds what it shares.
    world.write("good.wasm", ledger("good"));
    world.write("fine.wasm", ledger("fine"));
    let held_after = |name: &str, cache: &str| {
        let system = format!("[system]\nname = \"s\"\ncache = \"{cache}\"\n");
        world.write("airssys.toml", format!("{system}[component.a]\nsource = \"{name}.wasm\"\n"));
        assert!(run(&world, &["run", "--until-idle=100ms", "."]).status.success());
        json(&run(&world, &["--json", "cache", "show"]))
    };
    let one = held_after("good", "1GiB")["bytes"].as_u64().unwrap();
    let bounded = held_after("fine", &format!("{}B", one + one / 2));
    assert_eq!(bounded["entries"], 1, "the first went for the second: {bounded}");
    assert!(fs::exists(world.path("cache/airssys/code/key")).unwrap(), "the key stays");
}
