//! A guest reads a file of 4 KiB, opening it each time.

use std::{fs, path::Path, time::Instant};

use airssys_bench::{
    osl::{Failure, figures::figure},
    turns::Turns,
};
use wasmtime::{
    Store, bail,
    component::{Component, Linker, ResourceTable, TypedFunc},
};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};

use crate::{
    raw,
    system::{Plan, ask},
};

/// Reads of a turn, all in one call of the guest.
const READS: u32 = 1_000;

/// A guest that has its host read, by a function of its own: as little as a guest can do to read a file. What it gets lies
/// always at the same place.
const IMPORTER: &str = r#"(component
  (import "read" (func $read (result (list u8))))
  (core module $memory
    (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
  (core instance $memory (instantiate $memory))
  (core func $lowered (canon lower (func $read)
    (memory $memory "memory") (realloc (func $memory "realloc"))))
  (core module $main
    (import "host" "read" (func $read (param i32)))
    (import "host" "memory" (memory 2))
    (func (export "run") (param $times i32) (result i32) (local $bytes i32)
      (loop $again
        (call $read (i32.const 16))
        (local.set $bytes (i32.add (local.get $bytes) (i32.load (i32.const 20))))
        (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
      (local.get $bytes)))
  (core instance $main (instantiate $main (with "host" (instance
    (export "read" (func $lowered)) (export "memory" (memory $memory "memory"))))))
  (func (export "run") (param "times" u32) (result u32) (canon lift (core func $main "run"))))"#;

/// Its export: reads so often, and answers how many bytes that were.
type Reads = TypedFunc<(u32,), (u32,)>;

struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Wasi {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.context, table: &mut self.table }
    }
}

/// Measures reads that are decided and recorded: by an import of our own beside one that only reads, and through
/// `wasi:filesystem` beside Wasmtime's own.
pub(crate) async fn run(rounds: usize) -> Result<(), Failure> {
    let grant = "{ path = \"data\", guest = \"/data\", rights = [\"read\"] }";
    let limits = "limits = { deadline = \"1m\" }";
    let component =
        format!("[component.a]\nsource = \"pace.wasm\"\n{limits}\ngrants = {{ fs = [{grant}] }}\n");
    let plan = Plan::load(&component).await?;
    let system = plan.start().await?;
    let data = plan.dir.path().join("data");

    let code = raw::Code::linked(|linker, _| {
        wasmtime_wasi::p2::add_to_linker_async(linker)?;
        linker.instance("airssys:actor/log@0.1.0")?.func_new("write", |_, _, _, _| Ok(()))?;
        // Nothing that is measured there calls it.
        linker.instance("airssys:actor/files@0.1.0")?.func_new("read", |_, _, _, _| bail!("only here"))
    })?;
    let mut builder = WasiCtx::builder();
    // Its best: else each of its calls goes to another thread and back.
    builder.allow_blocking_current_thread(true);
    builder.preopened_dir(&data, "/data", FsPerms::ReadOnly)?;
    let mut wasi = code.start(Wasi { context: builder.build(), table: ResourceTable::new() }).await?;
    let (mut store, import) = importer(&data.join("file"))?;

    let times = READS.to_string().into_bytes();
    let mut turns = Turns::new();
    for _ in 0..rounds {
        for (subject, by) in [("read", "airssys"), ("read-wasi", "airssys-wasi")] {
            let start = Instant::now();
            is_all(&ask(&system, "a", subject, times.clone()).await?)?;
            turns.add(by, each(start));
        }
        let start = Instant::now();
        is_all(&wasi.ask("read-wasi", &times).await?)?;
        turns.add("wasmtime-wasi", each(start));
        let start = Instant::now();
        is_all(import.call(&mut store, (READS,))?.0.to_string().as_bytes())?;
        turns.add("raw", each(start));
    }
    for (measure, ours, peer) in
        [("read-4k", "airssys", "raw"), ("read-4k-wasi", "airssys-wasi", "wasmtime-wasi")]
    {
        figure(measure, "airssys", turns.median(ours));
        figure(measure, peer, turns.median(peer));
    }
    plan.end(system).await
}

fn importer(path: &Path) -> Result<(Store<()>, Reads), Failure> {
    let engine = raw::engine()?;
    let component = Component::new(&engine, wat::parse_str(IMPORTER)?)?;
    let mut linker = Linker::new(&engine);
    let path = path.to_owned();
    linker.root().func_wrap("read", move |_, (): ()| Ok((fs::read(&path)?,)))?;
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(1);
    let instance = linker.instantiate(&mut store, &component)?;
    let run = instance.get_typed_func(&mut store, "run")?;
    Ok((store, run))
}

fn is_all(answer: &[u8]) -> Result<(), Failure> {
    match answer == (READS * 4096).to_string().as_bytes() {
        true => Ok(()),
        false => Err(format!("{} bytes were read", String::from_utf8_lossy(answer)).into()),
    }
}

fn each(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64 / f64::from(READS)
}
