//! Scripts of functions of WASI 0.2: the component `caller` calls them one after the other and says what each answered.
//!
//! A line is `interface.function arguments = answer`; `guests/caller` tells how they are written. The answer may be one of
//! several, with `|` between, and `trap` where the call ends the guest, as the last line does then. Each script runs through
//! the program and through Wasmtime's own WASI: `(wasmtime: answer)` behind an answer pins what that says where it differs,
//! and docs/wasi.md tells why. `(wasmtime: -)` is not asked.

use std::{path::Path, process::Stdio, sync::OnceLock};

use wasmtime::{
    Engine, Store,
    component::{Component, Linker, ResourceTable, ResourceType, types::ComponentItem},
};
use wasmtime_wasi::{
    FsPerms, WasiCtx, WasiCtxView, WasiView,
    p2::{
        DynInputStream, DynOutputStream, add_to_linker_with_options_sync,
        bindings::sync::{Command, LinkOptions},
        pipe::MemoryOutputPipe,
    },
};
use wasmtime_wasi_http::{
    WasiHttpCtx, WasiHttpCtxView, WasiHttpView, p2::add_only_http_to_linker_sync as add_http_to_linker,
};

use crate::{
    program::{World, fixture},
    script::{Line, lines},
    served::Requests,
};

/// The most that a script answers, in bytes.
const ANSWER_BYTES: usize = 1 << 20;

/// What a script's arguments and variables are, beside itself.
const ARGUMENTS: [&str; 2] = ["one", "two words"];
const VARIABLE: (&str, &str) = ("A", "b=c");

/// What a guest answered, and whether it went on to its end.
pub(crate) struct Answers {
    pub(crate) lines: Vec<String>,
    pub(crate) ended: bool,
}

/// Runs a script in a world with a folder `data`, which the guest has as `/`, and the network; compares every answer with
/// the script's, and Wasmtime's.
pub(crate) fn check(prepare: impl Fn(&World), script: &str) {
    let lines = lines(script);
    compare(&lines.iter().collect::<Vec<_>>(), |line| line.ours, "airssys", &prepare, ours);
    let theirs: Vec<_> = lines.iter().filter(|line| line.wasmtimes != "-").collect();
    compare(&theirs, |line| line.wasmtimes, "wasmtime", &prepare, wasmtimes);
}

/// What the program answers to a script, whatever that expects.
pub(crate) fn answers_to(prepare: impl Fn(&World), script: &str) -> Vec<String> {
    let world = World::new();
    prepare(&world);
    answers_in(&world, script)
}

/// The same in a world that is there to be looked at afterwards.
pub(crate) fn answers_in(world: &World, script: &str) -> Vec<String> {
    let script: Vec<_> = lines(script).iter().map(|line| line.what).collect();
    ours(world, &script.join("\n")).lines
}

/// Runs lines by one of the two, in a world of its own, and compares what each answers.
pub(crate) fn compare<'a>(
    lines: &[&Line<'a>],
    expected: impl Fn(&Line<'a>) -> &'a str,
    by: &str,
    prepare: &impl Fn(&World),
    run: impl Fn(&World, &str) -> Answers,
) {
    let script: Vec<_> = lines.iter().map(|line| line.what).collect();
    let world = World::new();
    prepare(&world);
    let answers = run(&world, &script.join("\n"));
    let mut differing = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let answer = answers.lines.get(index).map_or("trap", String::as_str);
        if !expected(line).split('|').any(|one| one.trim() == answer) {
            differing.push(format!("{answer}: {}", line.text));
        }
        if answer == "trap" {
            break;
        }
    }
    assert!(differing.is_empty(), "{by}:\n{}", differing.join("\n"));
    let to_the_end = lines.last().is_some_and(|last| expected(last) != "trap");
    assert_eq!(answers.ended, to_the_end, "{by}: how it ended");
}

/// What the program says.
fn ours(world: &World, script: &str) -> Answers {
    let (caller, (name, value)) = (fixture("caller.wasm"), VARIABLE);
    let variable = format!("{name}={value}");
    let options = ["run", "--dir", "data::/", "--env", &variable, "--inherit-network", &caller, script];
    let mut command = world.command(&[&options[..], &ARGUMENTS].concat());
    let output = command.stdin(Stdio::null()).output().unwrap();
    answers(&output.stdout, output.status.success(), &String::from_utf8_lossy(&output.stderr))
}

fn answers(stdout: &[u8], ended: bool, why: &str) -> Answers {
    if !ended {
        eprintln!("the guest ended early: {why}");
    }
    Answers { lines: String::from_utf8_lossy(stdout).lines().map(str::to_owned).collect(), ended }
}

/// What Wasmtime's own WASI says.
fn wasmtimes(world: &World, script: &str) -> Answers {
    let guest = Guest::get();
    let stdout = MemoryOutputPipe::new(ANSWER_BYTES);
    let context = WasiCtx::builder()
        .args(&[&["caller.wasm", script][..], &ARGUMENTS].concat())
        .env(VARIABLE.0, VARIABLE.1)
        .preopened_dir(world.path("data"), "/", FsPerms::ReadWrite)
        .unwrap()
        .inherit_network()
        .allow_tcp(true)
        .allow_udp(true)
        .allow_ip_name_lookup(true)
        .stdout(stdout.clone())
        .build();
    let mut store = Store::new(&guest.engine, Wasi::new(context));
    let command = Command::instantiate(&mut store, &guest.component, &guest.linker).unwrap();
    let ended = command.wasi_cli_run().call_run(&mut store);
    let (is_ok, why) = match &ended {
        Ok(result) => (result.is_ok(), String::new()),
        Err(trap) => (trap.downcast_ref::<wasmtime_wasi::I32Exit>().is_some(), format!("{trap:?}")),
    };
    answers(&stdout.contents(), is_ok, &why)
}

/// The guest as Wasmtime's own WASI runs it, compiled once for all scripts.
pub(crate) struct Guest {
    pub(crate) engine: Engine,
    pub(crate) component: Component,
    pub(crate) linker: Linker<Wasi>,
}

impl Guest {
    pub(crate) fn get() -> &'static Self {
        static GUEST: OnceLock<Guest> = OnceLock::new();
        GUEST.get_or_init(|| {
            let engine = Engine::default();
            let component = Component::from_file(&engine, Path::new(&fixture("caller.wasm"))).unwrap();
            let mut linker = Linker::new(&engine);
            let mut options = LinkOptions::default();
            options.network_error_code(true);
            add_to_linker_with_options_sync(&mut linker, &options).unwrap();
            add_http_to_linker(&mut linker).unwrap();
            leave_out(&mut linker, &component, &engine);
            Self { engine, component, linker }
        })
    }
}

/// What Wasmtime's own WASI has not. Who calls it ends.
const LEFT_OUT: [&str; 4] = ["wasi:blobstore/", "wasi:config/", "wasi:keyvalue/", "wasi:logging/"];

/// What a handle stands for that nobody gives.
struct Nothing;

/// Links what is left out, with the streams that it shares with the rest.
fn leave_out(linker: &mut Linker<Wasi>, component: &Component, engine: &Engine) {
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !LEFT_OUT.iter().any(|package| name.starts_with(package)) {
            continue;
        }
        let mut linked = linker.instance(name).unwrap();
        for (name, export) in interface.exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => {
                    linked.func_new(name, |_, _, _, _| Err(wasmtime::Error::msg("left out"))).unwrap();
                }
                ComponentItem::Resource(_) => {
                    let kind = match name {
                        "input-stream" | "incoming-value-async-body" => {
                            ResourceType::host::<DynInputStream>()
                        }
                        "output-stream" => ResourceType::host::<DynOutputStream>(),
                        _ => ResourceType::host::<Nothing>(),
                    };
                    linked.resource(name, kind, |_, _| Ok(())).unwrap();
                }
                _ => {}
            }
        }
    }
}

pub(crate) struct Wasi {
    context: WasiCtx,
    http: WasiHttpCtx,
    requests: Requests,
    table: ResourceTable,
}

impl Wasi {
    pub(crate) fn new(context: WasiCtx) -> Self {
        Self { context, http: WasiHttpCtx::new(), requests: Requests, table: ResourceTable::new() }
    }
}

impl WasiHttpView for Wasi {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.requests }
    }
}

impl WasiView for Wasi {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.context, table: &mut self.table }
    }
}
