//! The engine: how guests are compiled, where they live, and the clock that interrupts them.

#[cfg(target_os = "linux")]
mod arena;

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use airssys_osl::bootstrap;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, component::Linker};

#[cfg(target_os = "linux")]
use crate::compiler::Compiler;
use crate::{
    error::{Error, ErrorKind},
    host,
    instance::{SharedMemory, State},
    manifest::Limits,
};

/// How often a running guest is interrupted, and the unit in which its deadline is counted.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The most live instances of the pool: each has its slot of address space reserved.
const POOL_INSTANCES: u32 = 1000;

/// The most of them that are there all the time. The others are for what comes and goes: requests, workers, new versions.
const POOL_ACTORS: usize = 900;

/// The largest linear memory that a slot of the pool can hold; `limits.memory` is what a component may use of it.
const MEMORY_BYTES: usize = 4 << 30;

/// The most linear memories of one component. Composed components have several.
const MEMORIES: u32 = 16;

/// The most tables of one core module. Compilers make one; modules that keep references have some.
const TABLES: u32 = 8;

/// The largest stack of a guest, in bytes. Beyond it is a trap.
const GUEST_STACK_BYTES: usize = 512 * 1024;

/// The stack of a fiber, in bytes: the guest's, and what host functions need on top of it. One of them is a call, which may
/// run its receiver there, its crash and new start included: `system/tests.rs` does, from the end of the guest's.
const FIBER_STACK_BYTES: usize = GUEST_STACK_BYTES + 512 * 1024;

/// How much memory of an instance is cleared in place when it ends, written or not.
const SWEPT_BYTES: usize = 64 * 1024;

/// How much of it where the kernel tells what was written.
const SCANNED_BYTES: usize = 1 << 20;

/// Compiles and runs components. Cheap to clone; one is enough for a program.
///
/// Instances come from a pool of reserved memory, so that starting one costs microseconds. Where the pool cannot be
/// reserved (a limit on address space, say), instances are allocated on demand, and the log says so. So they are for
/// [more actors](Self::holding) than the pool has room for; on Linux their memories and stacks then share large mappings.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    /// Shared, for it is hundreds of names, and each actor has a clone of its engine.
    linker: Arc<Linker<State>>,
    /// What core modules import: WASI 0.1.
    module_linker: Arc<wasmtime::Linker<State>>,
    settings: Settings,
    /// Where it compiles; without, in this process.
    #[cfg(target_os = "linux")]
    compiler: Option<Arc<Compiler>>,
    /// What the instances of a system have together.
    memory: Arc<SharedMemory>,
    /// Its twin, whose code counts fuel: made for the first component that wants it.
    metered: Arc<Mutex<Option<Engine>>>,
    /// Its twin for components of WASI 0.3: made for the first of them.
    concurrent: Arc<Mutex<Option<Engine>>>,
}

/// All in which the code of two engines of this program differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Whether it counts fuel.
    pub(crate) metered: bool,
    /// Whether its memories have their address space reserved.
    pub(crate) reserved: bool,
    /// Whether a component may have several calls under way: what WASI 0.3 needs.
    pub(crate) concurrent: bool,
}

impl Engine {
    /// Makes an engine and starts its clock, which stops with the last clone.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported): this machine cannot run compiled WebAssembly.
    pub fn new() -> Result<Self, Error> {
        Self::make(Settings { metered: false, reserved: true, concurrent: false })
    }

    /// Makes an engine for a system with so many actors at a time: more than 900 do not come from the pool. How many there
    /// can be is up to the machine then. Starting one costs several times as much, and what it computes a few per cent more.
    ///
    /// On Linux the address space of their memories and stacks stays mapped for as long as the program runs, also behind the
    /// engine: make one, not one after the other.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn holding(actors: usize) -> Result<Self, Error> {
        Self::make(Settings { metered: false, reserved: actors <= POOL_ACTORS, concurrent: false })
    }

    /// About how many actors there can be before the kernel's areas of address space (`vm.max_map_count`) are used up; `None`
    /// where something else bounds them, as memory does.
    pub fn most_actors() -> Option<u64> {
        #[cfg(target_os = "linux")]
        return arena::most_stacks();
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Has `compiler` compile from here on, in processes of their own. Without, it is done in this process, where what a
    /// component costs has no bound but the length of its bytes.
    ///
    /// Give it before the first component is loaded.
    #[cfg(target_os = "linux")]
    pub fn compiling_with(self, compiler: Compiler) -> Self {
        let compiler = Some(Arc::new(compiler));
        Self { compiler, metered: Arc::default(), concurrent: Arc::default(), ..self }
    }

    /// The engine for components with these limits.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(crate) fn within(&self, limits: &Limits) -> Result<Self, Error> {
        if limits.fuel.is_none() {
            return Ok(self.clone());
        }
        self.twin(&self.metered, Settings { metered: true, ..self.settings })
    }

    /// The engine for components of WASI 0.3, which costs every call several times over.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(crate) fn concurrent(&self) -> Result<Self, Error> {
        self.twin(&self.concurrent, Settings { concurrent: true, ..self.settings })
    }

    /// An engine with other settings, made where there is none yet, for the instances that this one is for.
    fn twin(&self, place: &Mutex<Option<Self>>, settings: Settings) -> Result<Self, Error> {
        let within = |twin: &Self| Self { memory: self.memory.clone(), ..twin.clone() };
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*place {
            return Ok(within(engine));
        }
        let twin = Self::make(settings)?;
        #[cfg(target_os = "linux")]
        let twin = Self { compiler: self.compiler.clone(), ..twin };
        Ok(within(place.insert(twin)))
    }

    /// The same engine for the instances of one system, which have so much memory together; without, no bound.
    pub(crate) fn sharing(&self, memory_bytes: Option<usize>) -> Self {
        Self { memory: Arc::new(SharedMemory::new(memory_bytes)), ..self.clone() }
    }

    pub(crate) fn memory(&self) -> &Arc<SharedMemory> {
        &self.memory
    }

    fn make(mut settings: Settings) -> Result<Self, Error> {
        let pooled = settings.reserved.then(|| settings.engine(pool())).and_then(|engine| {
            let warn = |error: &wasmtime::Error| {
                tracing::warn!(cause = %error, "cannot reserve the instance pool; instances are allocated on demand");
            };
            engine.inspect_err(warn).ok()
        });
        settings.reserved = pooled.is_some();
        let inner = pooled.map_or_else(|| settings.engine(InstanceAllocationStrategy::OnDemand), Ok);
        let inner =
            inner.map_err(|error| Error::new(ErrorKind::Unsupported, "start the engine").caused_by(error))?;

        let unlinked = |error| Error::new(ErrorKind::Bug, "link the imports").caused_by(error);
        let mut linker = Linker::new(&inner);
        host::link(&mut linker).map_err(unlinked)?;
        if settings.concurrent {
            host::preview3::link(&mut linker).map_err(unlinked)?;
        }
        let mut module_linker = wasmtime::Linker::new(&inner);
        host::preview1::link(&mut module_linker).map_err(unlinked)?;
        start_clock(&inner)?;
        Ok(Self {
            inner,
            linker: Arc::new(linker),
            module_linker: Arc::new(module_linker),
            settings,
            #[cfg(target_os = "linux")]
            compiler: None,
            memory: Arc::new(SharedMemory::new(None)),
            metered: Arc::default(),
            concurrent: Arc::default(),
        })
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn settings(&self) -> Settings {
        self.settings
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn compiler(&self) -> Option<&Compiler> {
        self.compiler.as_deref()
    }

    pub(crate) fn inner(&self) -> &wasmtime::Engine {
        &self.inner
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.linker
    }

    pub(crate) fn module_linker(&self) -> &wasmtime::Linker<State> {
        &self.module_linker
    }
}

impl Settings {
    /// An engine with these settings. How it allocates instances says nothing about its code.
    pub(crate) fn engine(self, allocation: InstanceAllocationStrategy) -> wasmtime::Result<wasmtime::Engine> {
        let mut config = config(allocation);
        config.consume_fuel(self.metered);
        // Concurrency inside a component costs every call several times over: those of WASI 0.3 have an engine of their
        // own. docs/adr/0025-second-engine.md.
        config.concurrency_support(self.concurrent);
        if !self.reserved {
            config.memory_reservation(0).memory_guard_size(0).memory_init_cow(false);
            #[cfg(target_os = "linux")]
            {
                let arena = Arc::new(arena::Arena::default());
                config.with_host_memory(Arc::new(arena::Creator(arena.clone())));
                config.with_host_stack(Arc::new(arena::Creator(arena)));
            }
        }
        wasmtime::Engine::new(&config)
    }
}

fn config(allocation: InstanceAllocationStrategy) -> Config {
    let mut config = Config::new();
    config.allocation_strategy(allocation);
    // Epochs cost a few per cent where fuel costs up to 83: preemption and deadlines are counted in ticks.
    config.epoch_interruption(true);
    config.max_wasm_stack(GUEST_STACK_BYTES);
    config.async_stack_size(FIBER_STACK_BYTES);
    // Proposals that no supported toolchain needs are attack surface.
    config.wasm_memory64(false);
    config.wasm_relaxed_simd(false);
    // What is between two components within one copies from memory to memory. A module of a guest's that has several
    // itself is refused by the pool.
    config.wasm_multi_memory(true);
    config
}

fn pool() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::default();
    pool.max_memory_size(MEMORY_BYTES);
    pool.total_component_instances(POOL_INSTANCES);
    pool.total_core_instances(POOL_INSTANCES * 4);
    pool.total_memories(POOL_INSTANCES * 2);
    pool.total_tables(POOL_INSTANCES * 4);
    pool.total_stacks(POOL_INSTANCES);
    pool.max_tables_per_module(TABLES);
    pool.max_memories_per_component(MEMORIES);
    pool.max_core_instances_per_component(64);
    // What a guest touched stays resident up to some size: cheaper to clear than to give back and fault in again.
    pool.table_keep_resident(SWEPT_BYTES);
    if PoolingAllocationConfig::is_pagemap_scan_available() && !bootstrap::may_swap() {
        // Only what was written is cleared. The kernel would not tell of a page that was written and is in swap;
        // docs/adr/0015-clearing-instances.md.
        pool.pagemap_scan(Enabled::Yes);
        pool.linear_memory_keep_resident(SCANNED_BYTES);
    } else {
        pool.linear_memory_keep_resident(SWEPT_BYTES);
    }
    InstanceAllocationStrategy::Pooling(pool)
}

/// Starts the thread that raises the epoch once a tick for as long as the engine lives.
fn start_clock(engine: &wasmtime::Engine) -> Result<(), Error> {
    let engine = engine.weak();
    thread::Builder::new()
        .name("airssys-epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
            }
        })
        .map_err(|error| Error::new(ErrorKind::Io, "start the engine's clock").caused_by(error))?;
    Ok(())
}
