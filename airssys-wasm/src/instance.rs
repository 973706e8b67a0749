//! One instance of a component: its store, and the ceilings over it.

use std::{
    fmt, io, mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use airssys_osl::{ErrorKind, Principal};
use wasmtime::{CallHook, ResourceLimiter, Store, UpdateDeadline, component::ResourceTable};

use crate::{
    actor::Port,
    engine::{Engine, TICK},
    error::Error,
    grant::Preopen,
    host::{Config, Host, LogRate, Stdio, http::Http},
    manifest::{HANDED_BYTES, Limits, Trust},
    share::{CpuShare, Usage},
};

/// The least that a guest and its host may hand each other in one call, in bytes, however little memory the guest may have.
const LEAST_HANDED_BYTES: usize = 1 << 20;

/// What belongs to one instance.
pub(crate) struct State {
    pub(crate) host: Host,
    ceiling: Ceiling,
    budget: Budget,
    calls: Calls,
    /// What it may compute for one message; its engine counts that.
    fuel: Option<u32>,
    /// What it uses of its component's share of a processor, where that is bounded.
    usage: Option<Usage>,
}

/// What an instance starts with.
pub(crate) struct Setup<'a> {
    pub(crate) name: Arc<str>,
    pub(crate) principal: &'a Principal,
    pub(crate) preopens: &'a [Preopen],
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) config: Config,
    pub(crate) stdio: Stdio,
    pub(crate) log: Arc<LogRate>,
    pub(crate) limits: &'a Limits,
    pub(crate) share: Option<Arc<CpuShare>>,
    /// Whether it is counted but not held back, until [`State::pay_later`] says otherwise.
    pub(crate) on_credit: bool,
    pub(crate) trust: &'a [Trust],
    pub(crate) port: Option<Port>,
}

impl State {
    /// Makes a store for one instance. Its directories are opened by the door, each on the record; one that is denied now
    /// is left out.
    ///
    /// # Errors
    ///
    /// A granted directory cannot be opened.
    pub(crate) async fn store(engine: &Engine, setup: Setup<'_>) -> Result<Store<Self>, Error> {
        if let Some(share) = setup.share.clone().filter(|_| !setup.on_credit) {
            share.earned(setup.name.clone()).await;
        }
        let mut preopens = Vec::with_capacity(setup.preopens.len());
        let mut blobs = None;
        for preopen in setup.preopens {
            match setup.principal.dir(&preopen.host).await {
                Ok(dir) => {
                    let dir = preopen.narrowed.map_or_else(|| dir.clone(), |rights| dir.narrow(rights));
                    match &preopen.guest {
                        Some(guest) => preopens.push((dir, guest.clone())),
                        None => blobs = Some(dir),
                    }
                }
                // Granted at other times than now, or not any more: it is not there, and the record says why.
                Err(error) if error.kind() == ErrorKind::Denied => {}
                Err(error) => return Err(Error::door(format!("start `{}`", setup.name), error)),
            }
        }
        let handed_bytes = setup.limits.memory_bytes.clamp(LEAST_HANDED_BYTES, HANDED_BYTES);
        let mut table = ResourceTable::new();
        table.set_max_capacity(setup.limits.handles);
        let state = Self {
            host: Host {
                table,
                principal: setup.principal.clone(),
                name: setup.name,
                arguments: setup.arguments,
                variables: setup.variables,
                preopens,
                blobs,
                config: setup.config,
                log: setup.log,
                handed_bytes,
                open_files: Arc::default(),
                stdio: setup.stdio,
                clock: None,
                random: None,
                http: Http::new(setup.principal, &setup.limits.http, setup.trust),
                port: setup.port,
                preview1: None,
            },
            ceiling: Ceiling::new(setup.limits, engine.memory().clone()),
            budget: Budget::new(setup.limits.deadline),
            calls: Calls { made: 0, allowed: setup.limits.host_calls },
            fuel: setup.limits.fuel,
            usage: setup.share.map(|share| Usage::new(share, setup.on_credit)),
        };
        let is_watched = setup.limits.host_calls.is_some() || state.usage.is_some();
        let mut store = Store::new(engine.inner(), state);
        store.set_hostcall_fuel(handed_bytes);
        if let Some(table) = store.concurrent_resource_table() {
            // What a component of WASI 0.3 has under way: its tasks, calls, streams and futures.
            table.set_max_capacity(setup.limits.handles);
            store.set_max_component_handles(setup.limits.handles);
        }
        store.limiter(|state| &mut state.ceiling);
        // Nobody counts what nobody bounds: the hook costs each call a little.
        if is_watched {
            store.call_hook(|mut context, hook| context.data_mut().called(hook));
        }
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| context.data_mut().tick());
        Self::refill(&mut store);
        Ok(store)
    }

    /// The guest calls its host, or the other way, or comes back from there.
    fn called(&mut self, hook: CallHook) -> wasmtime::Result<()> {
        if let Some(usage) = &mut self.usage {
            usage.hook(hook);
        }
        match hook {
            CallHook::CallingHost => self.calls.count(),
            _ => Ok(()),
        }
    }

    /// Counts what the host does for a stream of the guest's as a call: between two streams of its own it goes on without
    /// the guest.
    pub(crate) fn count_call(&mut self) -> wasmtime::Result<()> {
        self.calls.count()
    }

    /// A tick has passed in which the guest ran.
    fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        if !self.budget.spend() {
            return Err(OutOfTime.into());
        }
        let wait = self.usage.as_mut().and_then(|usage| usage.tick(&self.host.name));
        // Other actors on this thread get their turn.
        Ok(match wait {
            Some(wait) => UpdateDeadline::YieldCustom(1, Box::pin(wait)),
            None => UpdateDeadline::Yield(1),
        })
    }

    /// Waits until it may be called, as far as the share of its component goes.
    pub(crate) async fn earned(store: &mut Store<Self>) {
        let state = store.data();
        let wait = state.usage.as_ref().and_then(|usage| usage.earned(&state.host.name));
        if let Some(wait) = wait {
            // Few have a share, and what each message carries for it should be little.
            Box::pin(wait).await;
        }
    }

    /// Says whether what it uses from here on is counted but not held back: of a time that is bounded otherwise.
    /// Gives what it was before.
    pub(crate) fn pay_later(&mut self, on_credit: bool) -> bool {
        self.usage.as_mut().is_some_and(|usage| std::mem::replace(&mut usage.on_credit, on_credit))
    }

    /// Refills the time that the guest may run, the calls that it may make and what it may compute: called before each
    /// call into it.
    pub(crate) fn refill(store: &mut Store<Self>) {
        let state = store.data_mut();
        state.budget.spent = 0;
        state.calls.made = 0;
        if let Some(fuel) = state.fuel
            && let Err(error) = store.set_fuel(fuel.into())
        {
            // INVARIANT: `Engine::within` gave it an engine that counts.
            tracing::error!(cause = %error, "cannot bound what a guest computes");
        }
    }

    /// What an actor reaches of the runtime.
    pub(crate) fn port(&mut self) -> Option<&mut Port> {
        self.host.port.as_mut()
    }
}

/// The guest ran past its deadline.
#[derive(Debug)]
pub(crate) struct OutOfTime;

impl fmt::Display for OutOfTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline for one call passed")
    }
}

impl std::error::Error for OutOfTime {}

/// The guest called its host more often than it may.
#[derive(Debug)]
pub(crate) struct OutOfCalls {
    allowed: u32,
}

impl fmt::Display for OutOfCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {} calls to the host", self.allowed)
    }
}

impl std::error::Error for OutOfCalls {}

/// The guest wanted more memory than it may have.
#[derive(Debug)]
pub(crate) struct OutOfMemory {
    wanted: usize,
    limit: usize,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of memory wanted, {} allowed", self.wanted, self.limit)
    }
}

impl std::error::Error for OutOfMemory {}

/// The guest wanted more memory than is left of what all instances of its system may have together.
#[derive(Debug)]
pub(crate) struct OutOfSystemMemory {
    wanted: usize,
    limit: usize,
}

impl fmt::Display for OutOfSystemMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, limit } = self;
        write!(f, "{wanted} more bytes of memory wanted, {limit} allowed to all instances together")
    }
}

impl std::error::Error for OutOfSystemMemory {}

/// The machine has no room for a memory or a stack.
#[derive(Debug)]
pub(crate) struct NoRoom(pub(crate) io::Error);

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there is no room for one more instance ({}): the machine's memory, a limit of address space, or \
             `vm.max_map_count` is used up; root raises the last one with `sysctl`",
            self.0
        )
    }
}

impl std::error::Error for NoRoom {}

/// The guest wanted more elements in its tables than it may have.
#[derive(Debug)]
pub(crate) struct OutOfTables {
    wanted: usize,
    limit: usize,
}

impl fmt::Display for OutOfTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} elements of tables wanted, {} allowed", self.wanted, self.limit)
    }
}

impl std::error::Error for OutOfTables {}

/// The time of one call, counted in ticks in which the guest itself ran.
///
/// The callback fires at most once a tick and only while guest code runs, so the time that a guest waits in a host
/// function, for a full mailbox or a slow disk, is not held against it.
struct Budget {
    spent: u128,
    allowed: Option<u128>,
}

impl Budget {
    fn new(deadline: Option<Duration>) -> Self {
        let ticks = |deadline: Duration| deadline.as_nanos().div_ceil(TICK.as_nanos()).max(1);
        Self { spent: 0, allowed: deadline.map(ticks) }
    }

    /// Counts one tick. False where that was one too many.
    fn spend(&mut self) -> bool {
        self.spent += 1;
        self.allowed.is_none_or(|allowed| self.spent <= allowed)
    }
}

/// The calls to the host for one message.
struct Calls {
    made: u32,
    allowed: Option<u32>,
}

impl Calls {
    fn count(&mut self) -> wasmtime::Result<()> {
        let Some(allowed) = self.allowed else { return Ok(()) };
        if self.made == allowed {
            return Err(OutOfCalls { allowed }.into());
        }
        self.made += 1;
        Ok(())
    }
}

/// What the memories of all instances of a system have together.
pub(crate) struct SharedMemory {
    limit: Option<usize>,
    bytes: AtomicUsize,
}

impl SharedMemory {
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self { limit, bytes: AtomicUsize::new(0) }
    }

    fn take(&self, wanted: usize) -> Result<(), OutOfSystemMemory> {
        // Nobody counts what nobody bounds: all instances would write to one place.
        let Some(limit) = self.limit else { return Ok(()) };
        let more = |bytes: usize| bytes.checked_add(wanted).filter(|bytes| *bytes <= limit);
        let taken = self.bytes.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more);
        taken.map(drop).map_err(|_| OutOfSystemMemory { wanted, limit })
    }

    fn give_back(&self, bytes: usize) {
        if self.limit.is_some() {
            self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
    }
}

/// What all memories and all tables of an instance may grow to, together.
struct Ceiling {
    memory_limit: usize,
    memory_bytes: usize,
    /// What was granted last: it may yet turn out that there is no room for it.
    granted: usize,
    shared: Arc<SharedMemory>,
    table_limit: usize,
    table_elements: usize,
}

impl Ceiling {
    fn new(limits: &Limits, shared: Arc<SharedMemory>) -> Self {
        let (memory_limit, table_limit) = (limits.memory_bytes, limits.table_elements);
        Self { memory_limit, memory_bytes: 0, granted: 0, shared, table_limit, table_elements: 0 }
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        self.shared.give_back(self.memory_bytes);
    }
}

impl ResourceLimiter for Ceiling {
    /// Beyond the limit is a trap, not a failed `memory.grow`: the exit reason then names the limit.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.granted = 0;
        let wanted = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if wanted > self.memory_limit {
            return Err(OutOfMemory { wanted, limit: self.memory_limit }.into());
        }
        let grows = maximum.is_none_or(|maximum| desired <= maximum);
        if grows {
            let granted = wanted - self.memory_bytes;
            self.shared.take(granted)?;
            (self.memory_bytes, self.granted) = (wanted, granted);
        }
        Ok(grows)
    }

    /// What there is no room for is given back. A growth fails for other reasons as well, some before it was granted: who
    /// could have those counted back would pass the limit.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if error.is::<NoRoom>() {
            let granted = mem::take(&mut self.granted);
            self.memory_bytes -= granted;
            self.shared.give_back(granted);
        }
        Ok(())
    }

    /// As for memory.
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.table_elements.saturating_add(desired.saturating_sub(current));
        if wanted > self.table_limit {
            return Err(OutOfTables { wanted, limit: self.table_limit }.into());
        }
        let grows = maximum.is_none_or(|maximum| desired <= maximum);
        if grows {
            self.table_elements = wanted;
        }
        Ok(grows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks_until_stopped(deadline: Duration) -> usize {
        let mut budget = Budget::new(Some(deadline));
        (1..10_000).find(|_| !budget.spend()).expect("a deadline stops the guest")
    }

    #[test]
    fn a_deadline_is_counted_in_whole_ticks() {
        assert_eq!(ticks_until_stopped(TICK * 5), 6);
        assert_eq!(ticks_until_stopped(TICK * 5 - Duration::from_nanos(1)), 6);
    }

    #[test]
    fn the_shortest_deadline_is_one_tick() {
        assert_eq!(ticks_until_stopped(Duration::ZERO), 2);
    }

    #[test]
    fn without_a_deadline_nothing_stops_it() {
        let mut budget = Budget::new(None);
        assert!((0..10_000).all(|_| budget.spend()));
    }

    #[tokio::test]
    async fn a_guest_that_never_returns_is_stopped_at_the_second_tick_behind_its_deadline_at_the_latest() {
        const DEADLINE_TICKS: u32 = 3;
        let policy = airssys_osl::policy::Policy::builder().principal("guest", []).build().unwrap();
        let os = airssys_osl::Os::new(policy, airssys_osl::testing::MemorySink::new());
        let engine = Engine::new().unwrap();
        let limits = Limits { deadline: Some(TICK * DEADLINE_TICKS), ..Limits::default() };
        let setup = Setup {
            name: "guest".into(),
            principal: &os.principal("guest").unwrap(),
            preopens: &[],
            arguments: Vec::new(),
            variables: Vec::new(),
            config: Arc::default(),
            stdio: Stdio::Log,
            log: Arc::default(),
            limits: &limits,
            share: None,
            on_credit: false,
            trust: &[],
            port: None,
        };
        let mut store = State::store(&engine, setup).await.unwrap();
        let bytes = wat::parse_str("(module (func (export \"spin\") (loop (br 0))))").unwrap();
        let module = wasmtime::Module::new(engine.inner(), &bytes).unwrap();
        let instance = wasmtime::Instance::new_async(&mut store, &module, &[]).await.unwrap();
        let spin = instance.get_typed_func::<(), ()>(&mut store, "spin").unwrap();
        for message in 1..=2 {
            State::refill(&mut store);
            let ended = spin.call_async(&mut store, ()).await;
            assert!(ended.is_err_and(|trap| trap.is::<OutOfTime>()), "message {message}");
            // Of the first it may have had but a part: counted are those that came while it ran, and none came unheard.
            assert_eq!(store.data().budget.spent, u128::from(DEADLINE_TICKS) + 1, "message {message}");
        }
    }

    fn limited(memory_bytes: usize, shared: Arc<SharedMemory>) -> Ceiling {
        Ceiling::new(&Limits { memory_bytes, table_elements: 100, ..Limits::default() }, shared)
    }

    fn ceiling(memory_limit: usize) -> Ceiling {
        limited(memory_limit, Arc::new(SharedMemory::new(None)))
    }

    #[test]
    fn all_instances_of_a_system_count_together_and_give_back_what_they_had() {
        let shared = Arc::new(SharedMemory::new(Some(100_000)));
        let instance = || limited(80_000, shared.clone());
        let (mut one, mut other) = (instance(), instance());
        assert!(one.memory_growing(0, 60_000, None).is_ok());
        assert!(!one.memory_growing(60_000, 70_000, Some(65_000)).is_ok_and(|granted| granted));
        let error = other.memory_growing(0, 50_000, None).unwrap_err();
        let expected = "50000 more bytes of memory wanted, 100000 allowed to all instances together";
        assert_eq!(error.to_string(), expected);
        assert!(other.memory_growing(0, 40_000, None).is_ok(), "what was refused was not taken");
        drop(one);
        assert!(other.memory_growing(40_000, 80_000, None).is_ok());
        drop(other);
        assert_eq!(shared.bytes.load(Ordering::Acquire), 0);
    }

    #[test]
    fn memory_that_there_was_no_room_for_is_not_counted() {
        let shared = Arc::new(SharedMemory::new(Some(100_000)));
        let mut ceiling = limited(100_000, shared.clone());
        assert!(ceiling.memory_growing(0, 60_000, None).is_ok_and(|granted| granted));
        let no_room = || NoRoom(io::ErrorKind::OutOfMemory.into()).into();
        assert!(ceiling.memory_growing(60_000, 90_000, None).is_ok_and(|granted| granted));
        ceiling.memory_grow_failed(no_room()).unwrap();
        assert_eq!((ceiling.memory_bytes, shared.bytes.load(Ordering::Acquire)), (60_000, 60_000));
        ceiling.memory_grow_failed(no_room()).unwrap();
        assert_eq!(ceiling.memory_bytes, 60_000, "once");
        assert!(ceiling.memory_growing(60_000, 90_000, None).is_ok_and(|granted| granted));
        ceiling.memory_grow_failed(wasmtime::Error::msg("beyond its type, and never granted")).unwrap();
        assert!(!ceiling.memory_growing(90_000, 95_000, Some(90_000)).is_ok_and(|granted| granted));
        ceiling.memory_grow_failed(no_room()).unwrap();
        assert_eq!((ceiling.memory_bytes, shared.bytes.load(Ordering::Acquire)), (90_000, 90_000));
    }

    #[test]
    fn a_refusal_of_memory_names_the_limit() {
        let mut ceiling = ceiling(65536);
        assert!(ceiling.memory_growing(0, 65536, None).is_ok_and(|granted| granted));
        let error = ceiling.memory_growing(65536, 131_072, None).unwrap_err();
        assert_eq!(error.to_string(), "131072 bytes of memory wanted, 65536 allowed");
    }

    #[test]
    fn a_refusal_of_tables_names_the_limit() {
        let mut ceiling = ceiling(0);
        assert!(ceiling.table_growing(0, 100, None).is_ok_and(|granted| granted));
        let error = ceiling.table_growing(0, 1, None).unwrap_err();
        assert_eq!(error.to_string(), "101 elements of tables wanted, 100 allowed");
    }

    #[test]
    fn all_memories_of_an_instance_count_together() {
        let mut ceiling = ceiling(65536);
        assert!(ceiling.memory_growing(0, 40_000, None).is_ok());
        assert!(ceiling.memory_growing(0, 40_000, None).is_err(), "another memory");
        assert!(ceiling.memory_growing(40_000, 65_536, None).is_ok(), "the first one");
    }
}
