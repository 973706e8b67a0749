//! A system that a manifest made: loaded, decided upon and recorded as `airssys run` has it.

use std::{fs, path::Path, sync::Arc, time::Duration};

use airssys_bench::osl::{Failure, audit::log_options};
use airssys_osl::{Os, audit::Log, policy::Policy};
use airssys_wasm::{
    Component, Engine, Event, System, Watch, add_principals, load, load_grants,
    manifest::{Manifest, Overrides},
};
use tempfile::TempDir;

/// The actor of `guests/pace`.
pub(crate) const PACE: &[u8] = include_bytes!("../fixtures/pace.wasm");

/// The service of `guests/greet`.
pub(crate) const GREET: &[u8] = include_bytes!("../fixtures/greet.wasm");

/// Nothing that is measured takes this long.
const PATIENCE: Duration = Duration::from_secs(600);

/// A system that can be started, any number of times.
pub(crate) struct Plan {
    manifest: Manifest,
    components: Vec<Component>,
    engine: Engine,
    os: Os,
    log: Log,
    /// Holds the components, the log, and `data/file` with 4 KiB. It goes last: a log that has lost its folder waits for it.
    pub(crate) dir: TempDir,
}

/// Nobody looks.
struct Unwatched;

impl Watch for Unwatched {
    fn event(&self, _: &Event<'_>) {}
}

impl Plan {
    /// Loads the components of a manifest, which has `pace.wasm`, `greet.wasm` and a folder `data`.
    pub(crate) async fn load(components: &str) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().canonicalize()?;
        fs::write(root.join("pace.wasm"), PACE)?;
        fs::write(root.join("greet.wasm"), GREET)?;
        fs::create_dir(root.join("data"))?;
        fs::write(root.join("data/file"), [7; 4096])?;
        // As often as it crashes, it is started again.
        let text = format!("[system]\nname = \"bench\"\nintensity = 1000000\n{components}");
        let manifest = Manifest::parse(&text, &root, &Overrides::default())
            .map_err(|problems| format!("the manifest has problems: {problems:?}"))?;

        let log = Log::open(&root.join("log"), "example.org/bench", log_options())?;
        let policy = add_principals(&manifest, Policy::builder());
        let policy = policy.principal("program", load_grants(&manifest)).build()?;
        let os = Os::new(policy, log.clone());
        let engine = Engine::holding(manifest.actors())?;
        let program = os.principal("program")?;
        let watch: Arc<dyn Watch> = Arc::new(Unwatched);
        let components = load(&manifest, &engine, None, &os, &program, &watch)
            .await
            .map_err(|errors| format!("cannot load: {errors:?}"))?;
        Ok(Self { manifest, components, engine, os, log, dir })
    }

    /// So many actors, called `a0`, `a1` and so on.
    pub(crate) async fn actors(count: usize) -> Result<Self, Failure> {
        let components: String =
            (0..count).map(|number| format!("[component.a{number}]\nsource = \"pace.wasm\"\n")).collect();
        Self::load(&components).await
    }

    pub(crate) async fn start(&self) -> Result<System, Failure> {
        let watch = Arc::new(Unwatched);
        Ok(System::start(&self.manifest, &self.components, &self.engine, &self.os, watch).await?)
    }

    /// Ends what was started, whose last records are written.
    pub(crate) async fn end(self, system: System) -> Result<(), Failure> {
        system.shutdown().await;
        Ok(self.log.close()?)
    }
}

/// Calls an actor that has an answer.
pub(crate) async fn ask(
    system: &System,
    to: &str,
    subject: &str,
    payload: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let answer = system.call(to, subject, payload, PATIENCE).await?;
    answer.ok_or_else(|| format!("`{to}` had no answer to `{subject}`").into())
}

/// Calls an actor that gives no answer, because of what it is told.
pub(crate) async fn break_with(system: &System, to: &str, subject: &str) -> Result<(), Failure> {
    match system.call(to, subject, Vec::new(), PATIENCE).await {
        Err(_) => Ok(()),
        Ok(_) => Err(format!("`{to}` answered to `{subject}`").into()),
    }
}

/// What this process has in memory, in bytes.
pub(crate) fn resident_bytes() -> Result<u64, Failure> {
    let status = fs::read_to_string(Path::new("/proc/self/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}
