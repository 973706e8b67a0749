//! A system of hostile components, its records and its events.

use std::{
    path::Path,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use airssys_osl::{
    Os,
    policy::{
        Grant, Policy,
        learn::{Learned, learn},
    },
    testing::{MemorySink, Recorded, ScriptedResolver},
};
use airssys_rt::EventKind;
use airssys_wasm::{
    Component, Engine, Error, Event, System, Watch, add_principals, load, load_grants,
    manifest::{HttpLimits, Limits, Manifest, Overrides},
};
use tempfile::TempDir;
use tokio::net::TcpSocket;

/// One engine for all tests: each reserves address space for a thousand instances.
pub(crate) static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().unwrap());

/// What takes this long does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// What a guest may take where no test wants it to be late. Its time is counted in turns, and on a busy machine each
/// call to the host can cost one.
const LONG: Duration = Duration::from_secs(3600);

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) system: System,
    pub(crate) os: Os,
    records: MemorySink,
    told: Arc<Told>,
}

/// What the system told, as text, and how often it compiled something.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<String>>, Option<Hear>, AtomicUsize);

/// Hears of each thing as it is told, and of starts and ailments, too.
pub(crate) type Hear = Box<dyn Fn(&str) + Send + Sync>;

impl Watch for Told {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::DeadLetter(letter) => {
                format!(
                    "dead {} {} after {}: {}",
                    letter.component, letter.subject, letter.deliveries, letter.reason
                )
            }
            Event::TakenBack { component, reason, .. } => format!("taken back {component}: {reason}"),
            Event::Compiling { .. } => {
                self.2.fetch_add(1, Ordering::SeqCst);
                return;
            }
            Event::Unwell { component, why } => return self.hear(&format!("unwell {component}: {why}")),
            Event::Life(life) => match &life.kind {
                EventKind::Started => return self.hear(&format!("started {}", life.path)),
                EventKind::Exited { reason } => format!("exited {}: {reason}", life.path),
                EventKind::InitFailed { reason } => format!("exited {}: {reason}", life.path),
                EventKind::Restarting { .. } => format!("restarting {}", life.path),
                EventKind::GaveUp => format!("gave up {}", life.path),
                _ => return,
            },
            _ => return,
        };
        self.hear(&line);
        self.0.lock().unwrap().push(line);
    }
}

impl Told {
    fn hear(&self, line: &str) {
        if let Some(hear) = &self.1 {
            hear(line);
        }
    }
}

impl World {
    /// Starts a system. In `components`, `SOURCE` is the hostile component, `SOCKETS` the one that uses the network, `WEB`
    /// the one that speaks HTTP, `COURIER` the program of WASI 0.3 that does, `PORTER` the service of WASI 0.3, `LEDGER` the one with a state, `TALKER` the one that publishes and answers later, `KEYVALUE` the one that uses buckets, `BLOBS` the one that uses containers of objects,
    /// and `EDITOR` the one that `WORDS` is plugged into; `data` is a folder with a file `a`, `api.test` a host at
    /// 127.0.0.1, and `private.test` one at 10.0.0.1. Deadlines and time limits of HTTP that the test does not set are long.
    pub(crate) async fn start(components: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        std::fs::write(dir.path().join("data/a"), "content").unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        Self::start_in(dir, components).await
    }

    pub(crate) async fn start_in(dir: TempDir, components: &str) -> Self {
        Self::try_start(dir, components, None).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// As [`start_in`](Self::start_in), for a system that may not start.
    pub(crate) async fn try_start(dir: TempDir, components: &str, hear: Option<Hear>) -> Result<Self, Error> {
        let manifest = parse(&dir, components);

        let records = MemorySink::new();
        let grants: Vec<Grant> = load_grants(&manifest);
        let policy =
            add_principals(&manifest, Policy::builder()).principal("program", grants).build().unwrap();
        let resolver =
            ScriptedResolver::new().answer("api.test", &["127.0.0.1"]).answer("private.test", &["10.0.0.1"]);
        let os = Os::builder(policy, records.clone()).resolver(resolver).build();
        let told = Arc::new(Told(Mutex::default(), hear, AtomicUsize::new(0)));
        let watch: Arc<dyn Watch> = told.clone();
        let program = os.principal("program").unwrap();
        let loaded: Vec<Component> = load(&manifest, &ENGINE, None, &os, &program, &watch).await.unwrap();
        let system = System::start(&manifest, &loaded, &ENGINE, &os, watch).await?;
        records.take();
        Ok(Self { dir, system, os, records, told })
    }

    /// Waits until so many messages were handled or given up; gives how many were given up. An answer goes out before it is
    /// counted.
    pub(crate) async fn given_up_of(&self, all: u64) -> u64 {
        let counted = async {
            loop {
                let status = self.system.status();
                let dead: u64 = status.iter().map(|status| status.dead).sum();
                if status.iter().map(|status| status.handled).sum::<u64>() + dead == all {
                    break dead;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let counted = tokio::time::timeout(PATIENCE, counted).await;
        counted.unwrap_or_else(|_| panic!("not each of {all} was handled or given up"))
    }

    /// Puts the policy of another manifest in place.
    pub(crate) fn reload(&self, components: &str) {
        let manifest = parse(&self.dir, components);
        self.os.reload(add_principals(&manifest, Policy::builder()).build().unwrap());
        self.system.reload(&manifest);
    }

    /// Waits until something was told, and gives all that was told so far.
    pub(crate) async fn until_told(&self, what: &str) -> Vec<String> {
        let began = std::time::Instant::now();
        loop {
            let told = self.told.0.lock().unwrap().clone();
            if told.iter().any(|line| line.starts_with(what)) {
                return told;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {told:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Calls a component, and gives its answer as text.
    pub(crate) async fn ask(&self, to: &str, subject: &str, payload: &str) -> String {
        let answer = self.system.call(to, subject, payload.into(), PATIENCE).await;
        String::from_utf8(answer.unwrap_or_else(|error| panic!("{subject}: {error:?}")).unwrap()).unwrap()
    }

    /// Calls a component that crashes of it each time; the call ends when the message is given up.
    pub(crate) async fn crash(&self, to: &str, subject: &str) {
        self.crash_by(to, subject, "").await;
    }

    /// The same, with a payload.
    pub(crate) async fn crash_by(&self, to: &str, subject: &str, payload: &str) {
        let error = self.system.call(to, subject, payload.into(), PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), airssys_wasm::ErrorKind::Unavailable, "{error:?}");
        let cause = std::error::Error::source(&error).unwrap().downcast_ref::<airssys_rt::CallError>();
        assert_eq!(cause, Some(&airssys_rt::CallError::Dropped), "the message was given up, not forgotten");
    }

    /// How often the system has said that it compiles something.
    pub(crate) fn compiled(&self) -> usize {
        self.told.2.load(Ordering::SeqCst)
    }

    /// What was told since the last look.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.0.lock().unwrap())
    }

    /// What was needed for all that was done since the last look.
    pub(crate) fn learned(&self) -> Learned {
        learn(&self.records.take())
    }

    /// The traces of what was done since the last look.
    pub(crate) fn traces(&self) -> Vec<[u8; 16]> {
        self.records.take().iter().map(|record| record.trace).collect()
    }

    /// What was done to files since the last look: action, how it ended, and the bytes that went through.
    pub(crate) fn files(&self) -> Vec<String> {
        let records =
            self.records.take().into_iter().filter(|record| record.action.name().starts_with("fs."));
        let done = records.filter(|record| record.phase == airssys_osl::audit::Phase::Done);
        done.map(|record| format!("{} {:?} {}", record.action, record.outcome, record.bytes)).collect()
    }

    /// What was done on the network since the last look: action and rule.
    pub(crate) fn network(&self) -> Vec<String> {
        let records =
            self.records.take().into_iter().filter(|record| record.action.name().starts_with("net."));
        let done = records.filter(|record| record.phase == airssys_osl::audit::Phase::Done);
        done.map(|record| format!("{} {}", record.action, record.rule)).collect()
    }

    /// The requests over HTTP since the last look: what was asked, the rule, and what came of it.
    pub(crate) fn requests(&self) -> Vec<String> {
        let records = self.records.take().into_iter().filter(|record| record.action.name() == "net.http");
        let asked = |resource: &[u8]| {
            String::from_utf8_lossy(resource).split('\0').next().unwrap_or_default().to_owned()
        };
        records
            .map(|record| format!("{} {} {:?}", asked(&record.resource), record.rule, record.outcome))
            .collect()
    }

    /// What became of actors since the last look, as it is on record: principal, action, what.
    pub(crate) fn incidents(&self) -> Vec<String> {
        let of = |record: Recorded| {
            let what = String::from_utf8_lossy(&record.resource).into_owned();
            let is_one = ["actor.exit", "actor.dead_letter"].contains(&record.action.name());
            is_one.then(|| format!("{} {} {what}", record.principal, record.action))
        };
        self.records.take().into_iter().filter_map(of).collect()
    }

    /// What was denied since the last look: principal, action, resource, rule.
    pub(crate) fn denied(&self) -> Vec<String> {
        let denied = |record: &Recorded| {
            (record.verdict == airssys_osl::Verdict::Deny
                || record.outcome == airssys_osl::audit::Outcome::Denied)
                .then(|| format!("{} {} {}", record.principal, record.action, record.rule))
        };
        self.records.take().iter().filter_map(denied).collect()
    }
}

/// A port of this machine that nobody listens on, and that nobody else is given as long as this lives: only who asks for
/// it by its number gets it.
pub(crate) struct Reserved(pub(crate) u16, #[expect(dead_code, reason = "what reserves it")] TcpSocket);

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self(socket.local_addr().unwrap().port(), socket)
    }
}

/// The key of a manifest that says which component it is.
pub(crate) fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    format!("source = \"{}\"", path.display())
}

fn parse(dir: &TempDir, components: &str) -> Manifest {
    let components = components.replace("SOURCE", &fixture("hostile.wasm"));
    let components = components.replace("SOCKETS", &fixture("sockets.wasm"));
    let components = components.replace("LEDGER", &fixture("ledger.wasm"));
    let components = components.replace("EDITOR", &fixture("editor.wasm"));
    let words = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/words.wasm");
    let components = components.replace("WORDS", &format!("\"{}\"", words.display()));
    let components = components.replace("KEYVALUE", &fixture("keyvalue.wasm"));
    let components = components.replace("BLOBS", &fixture("blobs.wasm"));
    let components = components.replace("TALKER", &fixture("talker.wasm"));
    let components = components.replace("WEB", &fixture("web.wasm"));
    let components = components.replace("COURIER", &fixture("courier.wasm"));
    let components = components.replace("PORTER", &fixture("porter.wasm"));
    let text = format!("[system]\nname = \"s\"\nintensity = 20\n{components}");
    let manifest = Manifest::parse(&text, &dir.path().canonicalize().unwrap(), &Overrides::default());
    let mut manifest = manifest.unwrap_or_else(|problems| panic!("{problems:#?}"));
    for spec in &mut manifest.components {
        if spec.limits.deadline == Limits::default().deadline {
            spec.limits.deadline = Some(LONG);
        }
        if spec.limits.http.timeout == HttpLimits::default().timeout {
            spec.limits.http.timeout = LONG;
        }
        // Of those that answer requests; it is the default, too.
        if let Some(http) = spec.http.as_mut().filter(|http| http.timeout == HttpLimits::default().timeout) {
            http.timeout = LONG;
        }
    }
    manifest
}
