//! What hostile bytes are given to of components: the messages that they get, the states that they hand on, and their own
//! bytes.

use std::{error::Error, fs, path::Path, sync::Arc, time::Duration};

use airssys_osl::{Os, Principal, policy::Policy, testing::MemorySink};
use airssys_wasm::{
    Command, Engine, ErrorKind, Event, LoadError, System, Watch, add_principals, load, load_grants,
    manifest::{Manifest, Overrides},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::targets::Target;

/// What takes this long does not come.
const PATIENCE: Duration = Duration::from_secs(600);

/// An actor that does what a message says, and another one that it may send to. Many crashes are what is asked for.
const TWO: &str = "[system]\nname = \"s\"\nintensity = 1000000\n\
    [component.a]\nsource = \"hostile.wasm\"\nmax_deliver = 1\nlimits = { memory = \"8MiB\", deadline = \"100ms\", payload = \"64KiB\" }\n\
    [component.a.grants]\nsend = [\"b\"]\n\
    [component.b]\nsource = \"hostile.wasm\"\nmax_deliver = 1\nlimits = { payload = \"64KiB\" }\n";

/// An actor that keeps its state, and hands on what it is told to in its place.
const KEEPER: &str = "[system]\nname = \"s\"\nintensity = 1000000\n\
    [component.a]\nsource = \"ledger.wasm\"\nmax_deliver = 1\non_restart = \"snapshot\"\nlimits = { payload = \"64KiB\" }\n";

/// A component that another one is plugged into.
const SOCKET: &str =
    "[system]\nname = \"s\"\n[component.a]\nsource = \"editor.wasm\"\nplug = [\"plug.wasm\"]\n";

struct Silent;

impl Watch for Silent {
    fn event(&self, _: &Event<'_>) {}
}

/// A folder with copies of fixtures, a manifest that names them, and whoever may load them.
struct Place {
    dir: TempDir,
    manifest: Manifest,
    engine: Engine,
    os: Os,
    program: Principal,
    records: MemorySink,
}

impl Place {
    fn new(text: &str, fixtures: &[&str]) -> Result<Self, Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        for name in fixtures {
            fs::copy(fixture(name), dir.path().join(name))?;
        }
        let manifest = Manifest::parse(text, &dir.path().canonicalize()?, &Overrides::default())
            .map_err(|problems| format!("{problems:?}"))?;
        let grants = load_grants(&manifest);
        let policy = add_principals(&manifest, Policy::builder()).principal("program", grants).build()?;
        let records = MemorySink::new();
        let os = Os::new(policy, records.clone());
        let program = os.principal("program")?;
        Ok(Self { dir, manifest, engine: Engine::new()?, os, program, records })
    }

    async fn load(&self) -> Result<Vec<airssys_wasm::Component>, Vec<LoadError>> {
        let watch: Arc<dyn Watch> = Arc::new(Silent);
        load(&self.manifest, &self.engine, None, &self.os, &self.program, &watch).await
    }

    fn start(&self, runtime: &Runtime) -> Result<System, Box<dyn Error>> {
        let started = runtime.block_on(async {
            let loaded = self.load().await.map_err(|errors| format!("{errors:?}"))?;
            let watch = Arc::new(Silent);
            let system = System::start(&self.manifest, &loaded, &self.engine, &self.os, watch).await;
            system.map_err(|error| format!("{error:?}"))
        });
        Ok(started?)
    }
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../airssys-wasm/tests/fixtures").join(name)
}

pub(crate) fn all() -> Result<Vec<Target>, Box<dyn Error>> {
    Ok(vec![messages()?, snapshots()?, components()?])
}

fn runtime() -> Result<Runtime, Box<dyn Error>> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Calls, and gives the answer as far as there is one.
async fn ask(system: &System, to: &str, subject: &str, payload: &[u8]) -> Option<Vec<u8>> {
    system.call(to, subject, payload.to_vec(), PATIENCE).await.ok().flatten()
}

/// The first line is a subject, the rest a payload. Whatever an actor is told, both answer what comes next, and nobody lies
/// about who sent it.
fn messages() -> Result<Target, Box<dyn Error>> {
    let (runtime, place) = (runtime()?, Place::new(TWO, &["hostile.wasm"])?);
    let system = place.start(&runtime)?;
    let seeds = include_str!("../corpus/messages.txt").lines();
    let seeds = seeds.map(|line| line.replace("\\n", "\n").into_bytes()).collect();
    let run = move |bytes: &[u8]| {
        let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (subject, payload) = bytes.split_at(at);
        let payload = payload.get(1..).unwrap_or_default();
        let told = runtime.block_on(async {
            ask(&system, "a", &String::from_utf8_lossy(subject), payload).await;
            for actor in ["a", "b"] {
                if ask(&system, actor, "echo", payload).await.as_deref() != Some(payload) {
                    return Err(format!("`{actor}` does not answer with what it was sent"));
                }
                if ask(&system, actor, "sender", b"").await.as_deref() != Some(b"host") {
                    return Err(format!("`{actor}` takes another one for the sender"));
                }
            }
            Ok(())
        });
        drop(place.records.take());
        told
    };
    Ok(Target { name: "messages", seeds, run: Box::new(run) })
}

/// What an actor hands on as its state: the next one takes it over where it is one, and begins anew where it is none.
fn snapshots() -> Result<Target, Box<dyn Error>> {
    let (runtime, place) = (runtime()?, Place::new(KEEPER, &["ledger.wasm"])?);
    let system = place.start(&runtime)?;
    let state = |numbers: [u64; 4]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let seeds = vec![state([0; 4]), state([1, 2, 3, 4]), state([u64::MAX; 4]), Vec::new()];
    let run = move |bytes: &[u8]| {
        let numbers = bytes.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok()).map(u64::from_le_bytes);
        let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        let expected = if numbers.len() == 4 { numbers.join(" ") } else { "0 0 0 0".to_owned() };
        let report = runtime.block_on(async {
            ask(&system, "a", "forge", bytes).await;
            ask(&system, "a", "trap", b"").await;
            ask(&system, "a", "report", b"").await
        });
        drop(place.records.take());
        match report.map(|report| String::from_utf8_lossy(&report).into_owned()) {
            Some(report) if report == expected => Ok(()),
            report => Err(format!("it has {report:?}, not {expected:?}")),
        }
    };
    Ok(Target { name: "snapshots", seeds, run: Box::new(run) })
}

/// The bytes of a component, or its text: it is loaded or refused, alone and plugged into another one, and that it is
/// refused is never our mistake.
fn components() -> Result<Target, Box<dyn Error>> {
    let (runtime, place) = (runtime()?, Place::new(SOCKET, &["editor.wasm"])?);
    let plug = place.dir.path().join("plug.wasm");
    let text = |text: &str| text.as_bytes().to_vec();
    let seeds = vec![
        fs::read(fixture("words.wasm"))?,
        text(include_str!("../../airssys-wasm/tests/it/text/job.wat")),
        text(include_str!("../../airssys-wasm/tests/it/text/actor.wat")),
        text("(module (memory 1) (func (export \"_start\") (unreachable)))"),
        text("(component (import \"wasi:cli/exit@0.2.0\" (instance)))"),
    ];
    let run = move |bytes: &[u8]| {
        fs::write(&plug, bytes).map_err(|error| error.to_string())?;
        let (alone, plugged) = runtime.block_on(async {
            (Command::load(&place.engine, bytes.to_vec(), None, || ()).await, place.load().await)
        });
        drop(place.records.take());
        let plugged = plugged.err().unwrap_or_default().into_iter().map(|refused| refused.error);
        match alone.err().into_iter().chain(plugged).find(|error| error.kind() == ErrorKind::Bug) {
            Some(bug) => Err(format!("{bug:?}")),
            None => Ok(()),
        }
    };
    Ok(Target { name: "components", seeds, run: Box::new(run) })
}
