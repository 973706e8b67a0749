//! When actors get their first turn that other actors have started.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use airssys_rt::{Actor, Context, ExitReason, Init, Reply, System};
use tokio::task::yield_now;

use crate::stage::LONG;

/// What a test looks at.
#[derive(Default)]
struct Family {
    started: AtomicUsize,
    there: AtomicUsize,
    most: AtomicUsize,
    enough: AtomicBool,
}

/// Starts `children` more in its `init`, each of `generations` less; then it is gone.
struct Parent {
    family: Arc<Family>,
    children: usize,
    generations: usize,
}

impl Parent {
    fn new(family: &Arc<Family>, children: usize, generations: usize) -> Self {
        let there = family.there.fetch_add(1, Ordering::Relaxed) + 1;
        family.most.fetch_max(there, Ordering::Relaxed);
        Self { family: Arc::clone(family), children, generations }
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.family.there.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Actor for Parent {
    type Msg = ();

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        self.family.started.fetch_add(1, Ordering::Relaxed);
        if let Some(generations) = self.generations.checked_sub(1)
            && !self.family.enough.load(Ordering::Relaxed)
        {
            for _ in 0..self.children {
                cx.system().spawn(Self::new(&self.family, self.children, generations));
            }
        }
        Ok(Init::Ignore)
    }

    async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> {
        Ok(())
    }
}

struct Echo;

impl Actor for Echo {
    type Msg = Reply<()>;

    async fn handle(&mut self, reply: Reply<()>, _: &mut Context<Self>) -> Result<(), ExitReason> {
        reply.send(());
        Ok(())
    }
}

/// Starts an only child, and then one that has offspring without end.
struct Elder(Arc<Family>, Arc<AtomicBool>);

impl Actor for Elder {
    type Msg = ();

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        cx.system().spawn(Only(Arc::clone(&self.1)));
        cx.system().spawn(Parent::new(&self.0, 2, usize::MAX));
        Ok(Init::Ignore)
    }

    async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> {
        Ok(())
    }
}

struct Only(Arc<AtomicBool>);

impl Actor for Only {
    type Msg = ();

    async fn init(&mut self, _: &mut Context<Self>) -> Result<Init, ExitReason> {
        self.0.store(true, Ordering::Relaxed);
        Ok(Init::Ignore)
    }

    async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> {
        Ok(())
    }
}

async fn until_nobody_is_there(family: &Family) {
    while family.there.load(Ordering::Relaxed) > 0 {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_tree_that_ends_soon_is_never_there_as_a_whole() {
    let family = Arc::new(Family::default());
    System::new().spawn(Parent::new(&family, 10, 4));
    until_nobody_is_there(&family).await;
    assert_eq!(family.started.load(Ordering::Relaxed), 11_111);
    let most = family.most.load(Ordering::Relaxed);
    assert!(most < 1_000, "{most} of them were there at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_tree_is_shared_by_threads() {
    let family = Arc::new(Family::default());
    System::new().spawn(Parent::new(&family, 10, 4));
    until_nobody_is_there(&family).await;
    assert_eq!(family.started.load(Ordering::Relaxed), 11_111);
}

#[tokio::test]
async fn births_without_end_keep_nobody_waiting() {
    let (system, family) = (System::new(), Arc::new(Family::default()));
    let echo = system.spawn(Echo);
    // Each has two: there are always more.
    system.spawn(Parent::new(&family, 2, usize::MAX));
    // A task, because tokio lets the test itself wait for 61 of those.
    let calls = tokio::spawn(async move {
        for _ in 0..100 {
            echo.call(|reply| reply, LONG).await.unwrap();
        }
    });
    calls.await.unwrap();
    let started = family.started.load(Ordering::Relaxed);
    assert!(started < 100_000, "{started} were started between 100 calls");
    family.enough.store(true, Ordering::Relaxed);
    until_nobody_is_there(&family).await;
}

#[tokio::test]
async fn the_eldest_is_not_forgotten() {
    let (family, begun) = (Arc::new(Family::default()), Arc::new(AtomicBool::new(false)));
    System::new().spawn(Elder(Arc::clone(&family), Arc::clone(&begun)));
    while !begun.load(Ordering::Relaxed) {
        let started = family.started.load(Ordering::Relaxed);
        assert!(started < 10_000, "{started} others were started first");
        yield_now().await;
    }
    family.enough.store(true, Ordering::Relaxed);
    until_nobody_is_there(&family).await;
}

#[tokio::test]
async fn those_that_wait_for_their_first_turn_end_with_the_runtime() {
    let family = Arc::new(Family::default());
    let inner = Arc::clone(&family);
    let runtime = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            System::new().spawn(Parent::new(&inner, 2, usize::MAX));
            while inner.there.load(Ordering::Relaxed) < 100 {
                yield_now().await;
            }
        });
    });
    runtime.join().unwrap();
    assert_eq!(family.there.load(Ordering::Relaxed), 0);
}
