//! A start with the code of a large component in the cache.

use std::{
    fs,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use airssys_bench::{osl::Failure, turns::Turns};
use airssys_osl::{
    Os,
    audit::{Log, LogOptions},
    fs::OpenOptions,
    policy::{Grant, Policy, Rights},
};
use airssys_wasm::{Cache, Component, Engine, Origin};
use tokio::time::sleep;
use wasmtime::component::Component as RawComponent;

use crate::raw;

/// About what a component written in JavaScript has.
pub(crate) const COMPONENT_BYTES: usize = 12_000_000;
/// How long the cache takes a file for one that still changes, and some more.
const SETTLED: Duration = Duration::from_secs(5);
/// Steps of each function, each of some eight bytes.
const STEPS: usize = 64;

/// Measures the way from a component's file to code that can be instantiated, beside that from a file of compiled code
/// which is trusted. What takes long to compile is kept in `folder`.
pub(crate) async fn run(folder: &Path, rounds: usize, bytes: usize) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    let (source, compiled) = (folder.join("large.wasm"), folder.join("large.cwasm"));
    if !source.exists() {
        fs::write(&source, component(bytes))?;
    }
    let raw_engine = raw::engine()?;
    if load_raw(&raw_engine, &compiled).is_err() {
        fs::write(&compiled, raw_engine.precompile_component(&fs::read(&source)?)?)?;
    }

    let cache_dir = folder.join("cache");
    airssys_osl::bootstrap::create_dir(&cache_dir)?;
    let logs = tempfile::tempdir()?;
    let log = Log::open(logs.path(), "example.org/bench", LogOptions::default())?;
    let grants = [Grant::fs(&folder, Rights::READ), Grant::fs(&cache_dir, Rights::all()), Grant::random()];
    let os = Os::new(Policy::builder().principal("program", grants).build()?, log.clone());
    let program = os.principal("program")?;
    let cache = Cache::open(program.dir(&cache_dir).await?, &program).await?;
    let engine = Engine::new()?;
    let load = async || {
        let file = program.dir(&folder).await?.open("large.wasm", &OpenOptions::new().read(true)).await?;
        Component::open(&engine, file, Some(&cache), || ()).await.map_err(Failure::from)
    };
    // Compiled, and then verified when nothing has happened to it for a while: the starts behind that are measured.
    load().await?;
    sleep(SETTLED).await;
    load().await?;

    let mut turns = Turns::new();
    for _ in 0..rounds {
        let start = Instant::now();
        let (component, origin) = load().await?;
        turns.add("airssys", start.elapsed().as_nanos() as f64);
        if origin != Origin::Cached {
            return Err("the cache does not have what was just stored".into());
        }
        drop(black_box(component));
        let start = Instant::now();
        let component = load_raw(&raw_engine, &compiled)?;
        turns.add("deserialize_file", start.elapsed().as_nanos() as f64);
        drop(black_box(component));
    }
    turns.tell("cold-start-12m");
    Ok(log.close()?)
}

#[expect(unsafe_code, reason = "it is what is compared with")]
fn load_raw(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<RawComponent> {
    // SAFETY: nobody but this program writes into the folder that it is given.
    unsafe { RawComponent::deserialize_file(engine, path) }
}

/// A component that is one module of functions that compute something, about as large as is wanted.
fn component(bytes: usize) -> Vec<u8> {
    let mut seed = 17_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 8
    };
    let mut bodies = Vec::with_capacity(bytes);
    let mut count = 0;
    while bodies.len() < bytes {
        // No locals beside the two parameters.
        let mut body = vec![0];
        for _ in 0..STEPS {
            // local.get 0, i32.const, add or xor or multiply, local.get 1, i32.add, local.set 0
            body.extend([0x20, 0, 0x41]);
            number(&mut body, next() % (1 << 13));
            body.push([0x6a, 0x73, 0x6c, 0x71].get(next() as usize % 4).copied().unwrap_or(0x6a));
            body.extend([0x20, 1, 0x6a, 0x21, (next() % 2) as u8]);
        }
        body.extend([0x20, 0, 0x0b]);
        number(&mut bodies, body.len() as u32);
        bodies.extend(body);
        count += 1;
    }
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // (i32, i32) -> i32
    section(&mut module, 1, vec![1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f]);
    let mut functions = Vec::new();
    number(&mut functions, count);
    functions.resize(functions.len() + count as usize, 0);
    section(&mut module, 3, functions);
    let mut code = Vec::new();
    number(&mut code, count);
    code.extend(bodies);
    section(&mut module, 10, code);

    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    section(&mut component, 1, module);
    component
}

fn section(to: &mut Vec<u8>, id: u8, content: Vec<u8>) {
    to.push(id);
    number(to, content.len() as u32);
    to.extend(content);
}

/// LEB128. A number below 2^13 is the same signed and unsigned, where it has two bytes.
fn number(to: &mut Vec<u8>, mut value: u32) {
    let signed_too = value < 1 << 13;
    while value >= 0x80 || (signed_too && value >= 0x40) {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}
