//! More actors than the pool has instances.

use std::sync::Arc;

use airssys_osl::{Os, policy::Policy, testing::MemorySink};
use airssys_wasm::{
    Engine, Event, System, Watch, add_principals, load, load_grants,
    manifest::{Manifest, Overrides},
};

use crate::world::{PATIENCE, fixture};

/// More than the thousand of the pool.
const ACTORS: usize = 1_100;

struct Unwatched;

impl Watch for Unwatched {
    fn event(&self, _: &Event<'_>) {}
}

#[tokio::test]
async fn a_system_has_more_actors_than_the_pool_and_each_has_its_own_memory() {
    let component = |number| format!("[component.a{number}]\n{}\n", fixture("hostile.wasm"));
    let components: String = (0..ACTORS).map(component).collect();
    let dir = tempfile::tempdir().unwrap();
    let text = format!("[system]\nname = \"s\"\n{components}");
    let manifest = Manifest::parse(&text, dir.path(), &Overrides::default()).unwrap();
    assert_eq!(manifest.actors(), ACTORS);
    let policy = add_principals(&manifest, Policy::builder()).principal("program", load_grants(&manifest));
    let os = Os::new(policy.build().unwrap(), MemorySink::new());
    let watch: Arc<dyn Watch> = Arc::new(Unwatched);
    let engine = Engine::holding(manifest.actors()).unwrap();
    let program = os.principal("program").unwrap();
    let loaded = load(&manifest, &engine, None, &os, &program, &watch).await.unwrap();
    let system = System::start(&manifest, &loaded, &engine, &os, watch).await.unwrap();
    let ask = async |number: usize, payload: String| {
        let answer = system.call(&format!("a{number}"), "echo", payload.into(), PATIENCE).await.unwrap();
        String::from_utf8(answer.unwrap()).unwrap()
    };
    for round in 0..2 {
        for number in 0..ACTORS {
            let payload = format!("{number} in {round}");
            assert_eq!(ask(number, payload.clone()).await, payload);
        }
    }
    assert_eq!(system.status().iter().filter(|status| status.handled == 2).count(), ACTORS);
    system.shutdown().await;
}
