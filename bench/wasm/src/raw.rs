//! The same component in Wasmtime alone, set up as fast as it goes: a pool, the memory of ended instances cleaned by what
//! was written of it, calls on fibers. No limits, no records, nobody who starts it again.

use airssys_bench::osl::Failure;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{Component, Linker},
};

use crate::system::PACE;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package bench:raw;

            world raw {
                export airssys:actor/actor@0.1.0;
            }
        ",
        world: "bench:raw/raw",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::{Raw, RawPre, airssys::actor::types::Message};

/// The component, ready to be instantiated.
pub(crate) struct Code<T: 'static> {
    engine: Engine,
    pre: RawPre<T>,
}

/// An instance that was initialised.
pub(crate) struct Actor<T: 'static> {
    store: Store<T>,
    guest: Raw,
}

/// An engine as fast as it goes that still can be interrupted.
pub(crate) fn engine() -> Result<Engine, Failure> {
    let mut pool = PoolingAllocationConfig::default();
    pool.pagemap_scan(Enabled::Auto);
    pool.linear_memory_keep_resident(1 << 20);
    pool.table_keep_resident(1 << 20);
    // A component has more than one module.
    pool.total_core_instances(4000);
    pool.total_memories(2000);
    pool.total_tables(4000);
    let mut config = Config::new();
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(Engine::new(&config)?)
}

impl<T: Send + 'static> Code<T> {
    /// Compiles the component. All that it imports is a trap: nothing that is measured so calls it.
    pub(crate) fn new() -> Result<Self, Failure> {
        Self::linked(|linker, component| linker.define_unknown_imports_as_traps(component))
    }

    /// Compiles the component, with these imports.
    pub(crate) fn linked(
        link: impl FnOnce(&mut Linker<T>, &Component) -> wasmtime::Result<()>,
    ) -> Result<Self, Failure> {
        let engine = engine()?;
        let component = Component::new(&engine, PACE)?;
        let mut linker = Linker::new(&engine);
        link(&mut linker, &component)?;
        let pre = RawPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, pre })
    }

    /// Makes an instance and initialises it.
    pub(crate) async fn start(&self, data: T) -> Result<Actor<T>, Failure> {
        let mut store = Store::new(&self.engine, data);
        // Nobody raises the epoch.
        store.set_epoch_deadline(1);
        let guest = self.pre.instantiate_async(&mut store).await?;
        guest.airssys_actor_actor().call_init(&mut store, &[]).await??;
        Ok(Actor { store, guest })
    }
}

impl<T: Send + 'static> Actor<T> {
    /// One call on a fiber.
    pub(crate) async fn ask(&mut self, subject: &str, payload: &[u8]) -> Result<Vec<u8>, Failure> {
        let message = Message { sender: "host", subject, payload };
        let answer = self.guest.airssys_actor_actor().call_handle_message(&mut self.store, message).await??;
        answer.ok_or_else(|| format!("no answer to `{subject}`").into())
    }
}
