//! What holds where callers run components on their own stacks, as they do where those are quick. Code that is not optimised is
//! not, so here every turn counts as quick.

use std::{path::Path, sync::LazyLock};

use airssys_osl::{
    audit::{Log, LogOptions, Sink},
    policy::Policy,
    testing::MemorySink,
    trace as osl_trace,
};

use super::*;
use crate::{grant::add_principals, manifest::Overrides};

const PATIENCE: Duration = Duration::from_secs(3600);

/// So many calls in a row prove that a component is quick.
const WARM: usize = 40;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("it runs here"));

tokio::task_local! {
    /// Holds in what the test itself polls: there, and in what runs on its stack.
    static ON_CALLER: ();
}

/// Which actors ended, and whether on the stack of whoever called.
#[derive(Default)]
struct Ends(Mutex<Vec<(String, bool)>>);

impl Watch for Ends {
    fn event(&self, event: &Event<'_>) {
        if let Event::Life(life) = event
            && let EventKind::Exited { .. } = life.kind
        {
            let is_on_caller = ON_CALLER.try_with(|()| ()).is_ok();
            self.0.lock().expect("nobody panics").push((life.path.to_string(), is_on_caller));
        }
    }
}

struct World {
    system: System,
    ends: Arc<Ends>,
}

impl World {
    /// Starts components of these names, each of which may call the next: the last is the hostile fixture, the others are
    /// `deep.wat`.
    async fn start(names: &[&str], sink: impl Sink) -> Self {
        let mut text = "[system]\nname = \"s\"\nintensity = 1000\n".to_owned();
        for (index, name) in names.iter().enumerate() {
            let next = names.get(index + 1).map_or_else(String::new, |next| format!("\"{next}\""));
            text += &format!(
                "[component.{name}]\nsource = \"x.wasm\"\nmax_deliver = 1\nlimits = {{ deadline = \"1h\" }}\n\
                 grants = {{ send = [{next}] }}\n"
            );
        }
        let manifest = Manifest::parse(&text, Path::new("/srv"), &Overrides::default()).expect("it is sound");
        let deep = wat::parse_str(include_str!("deep.wat")).expect("it is well-formed");
        let mut components = Vec::new();
        for index in 1..=names.len() {
            let bytes = match index == names.len() {
                true => include_bytes!("../../tests/fixtures/hostile.wasm").to_vec(),
                false => deep.clone(),
            };
            components.push(Component::load(&ENGINE, bytes, None, || ()).await.expect("it loads").0);
        }
        let policy = add_principals(&manifest, Policy::builder()).build().expect("it was checked");
        let os = Os::new(policy, sink);
        let ends = Arc::<Ends>::default();
        let runtime = Runtime::builder().quick(PATIENCE);
        let system = System::start_on(runtime, &manifest, &components, &ENGINE, &os, ends.clone()).await;
        Self { system: system.expect("it starts"), ends }
    }

    async fn ask(&self, to: &str, subject: &str, payload: Vec<u8>) -> Result<Vec<u8>, Error> {
        let answer = ON_CALLER.scope((), self.system.call(to, subject, payload, PATIENCE)).await;
        answer.map(Option::unwrap_or_default)
    }

    /// Has them prove that they are quick.
    async fn warm(&self, names: &[&str]) {
        for name in names.iter().flat_map(|name| [name; WARM]) {
            assert_eq!(self.ask(name, "echo", Vec::new()).await.expect("it is well"), b"");
        }
        self.ends.0.lock().expect("nobody panics").clear();
    }

    fn ended(&self) -> Vec<(String, bool)> {
        std::mem::take(&mut *self.ends.0.lock().expect("nobody panics"))
    }

    /// From how deep in its stack the first can just call the second.
    async fn deepest(&self, to: &str) -> u32 {
        let (mut works, mut fails) = (0_u32, 1 << 16);
        while fails - works > 1 {
            let depth = works.midpoint(fails);
            match self.ask("a", "deep", dive(depth, to, "echo", &[])).await {
                Ok(_) => works = depth,
                Err(_) => fails = depth,
            }
        }
        assert!(works > 1000, "{works}");
        works
    }
}

fn dive(depth: u32, to: &str, subject: &str, payload: &[u8]) -> Vec<u8> {
    [&depth.to_le_bytes(), to.as_bytes(), subject.as_bytes(), payload].concat()
}

/// How the call at the end of a dive ended: nothing where it was answered, else which `send-error` it was.
fn outcome(answer: &[u8]) -> Option<u8> {
    (answer[0] == 1).then_some(answer[4])
}

const GONE: Option<u8> = Some(3);

#[tokio::test]
async fn a_guest_at_the_end_of_its_stack_has_room_for_those_that_it_calls() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = Log::open(dir.path(), "test/log", LogOptions::default()).expect("a log");
    let names = ["a", "b", "c", "d"];
    let world = World::start(&names, log.clone()).await;
    let deep = world.deepest("b").await;

    // All four, one inside of the other; the innermost crashes.
    world.warm(&names).await;
    let payload = dive(deep, "c", "deep", &dive(deep, "d", "trap", &[]));
    let answer = world.ask("a", "deep", dive(deep, "b", "deep", &payload)).await.expect("it is well");
    assert_eq!(outcome(&answer), None);
    assert_eq!(world.ended(), [("s/d".to_owned(), true)]);

    // One that overflows its stack on the stack of one that is about to.
    world.warm(&names).await;
    let answer = world.ask("a", "deep", dive(deep, "b", "deep", &dive(1 << 16, "c", "deep", &[]))).await;
    assert_eq!(outcome(&answer.expect("it is well")), GONE);
    assert_eq!(world.ended(), [("s/b".to_owned(), true)]);

    // In a tree that stops it begins anew where it is.
    world.warm(&names).await;
    world.system.routes.stop();
    let answer = world.ask("a", "deep", dive(deep, "b", "deep", &dive(1 << 16, "c", "deep", &[]))).await;
    assert_eq!(outcome(&answer.expect("it is well")), GONE);
    assert_eq!(world.ended(), []);
    world.warm(&names).await;
    world.system.shutdown().await;
    log.close().expect("it is written");
}

#[tokio::test]
async fn what_a_component_does_for_itself_is_not_of_its_callers_trace() {
    let records = MemorySink::new();
    let world = World::start(&["a"], records.clone()).await;
    world.warm(&["a"]).await;
    records.take();
    let crashed = osl_trace::scope([7; 16], world.ask("a", "trap", Vec::new())).await;
    assert_eq!(crashed.expect_err("it was told to").kind(), ErrorKind::Unavailable);
    assert_eq!(world.ended(), [("s/a".to_owned(), true)]);
    let records: Vec<_> = records.take().iter().map(|record| (record.action.name(), record.trace)).collect();
    let expected = [("actor.dead_letter", [7; 16]), ("actor.exit", osl_trace::NONE)];
    assert!(expected.iter().all(|one| records.contains(one)), "{records:?}");
    assert!(!records.contains(&("actor.exit", [7; 16])), "{records:?}");
    world.system.shutdown().await;
}
