//! A dynamic supervisor whose children are asked for, given up, ended and killed from everywhere at once, in thousands of
//! orders: with pauses before restarts, probes, drains and every way to stop. In the end those are there that should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::testing::{self, Chance};
use airssys_rt::{
    Actor, ActorId, ActorRef, Backoff, ChildError, ChildSpec, Context, DynamicRef, DynamicSupervisor, Event,
    EventKind, ExitReason, Init, Observer, Probe, Reply, Restart, Shutdown, Strategy, Supervisor,
    SupervisorRef, System,
};

use crate::stage::{LONG, crash};

const MILLI: Duration = Duration::from_millis(1);

/// Longer than all pauses, probes and farewells here.
const CALM: Duration = Duration::from_secs(1);

/// What there is of sessions, by all accounts.
#[derive(Clone, Default)]
struct House(Arc<Inner>);

#[derive(Default)]
struct Inner {
    chance: Mutex<Option<Chance>>,
    /// From now on nothing goes wrong.
    is_calm: AtomicBool,
    /// The guests of sessions that are there, and how often each was started.
    there: Mutex<BTreeSet<(u64, ActorId)>>,
    starts: Mutex<BTreeMap<u64, u32>>,
    /// Those who run by the observer's account, and how many there were at most.
    running: Mutex<BTreeSet<ActorId>>,
    most: Mutex<usize>,
    /// How often the supervisor itself was started.
    supervisors: Mutex<u32>,
    /// Guests whose order was taken back, and those whose session was told to end for good.
    given_up: Mutex<BTreeSet<u64>>,
    ended: Mutex<BTreeSet<u64>>,
    /// Sessions that were handed out.
    known: Mutex<Vec<(u64, ActorRef<Visit>)>>,
}

impl House {
    fn below(&self, bound: u64) -> u64 {
        self.0.chance.lock().unwrap().as_mut().unwrap().below(bound)
    }

    fn one_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Whether what happens once in so many times happens now.
    fn mishap(&self, times: u64) -> bool {
        !self.0.is_calm.load(Ordering::Relaxed) && self.one_in(times)
    }

    async fn pause(&self) {
        match self.below(4) {
            0 => tokio::time::sleep(self.below(3) as u32 * MILLI).await,
            1 => tokio::task::yield_now().await,
            _ => {}
        }
    }

    fn pick(&self) -> Option<(u64, ActorRef<Visit>)> {
        let known = self.0.known.lock().unwrap().clone();
        known.get(self.below(known.len().max(1) as u64) as usize).cloned()
    }
}

impl Observer for House {
    fn event(&self, event: &Event) {
        let mut running = self.0.running.lock().unwrap();
        match event.kind {
            EventKind::Started if &*event.path == "top/sessions" => *self.0.supervisors.lock().unwrap() += 1,
            _ if !event.path.starts_with("top/sessions/") => {}
            EventKind::Started => {
                assert!(running.insert(event.id));
                let mut most = self.0.most.lock().unwrap();
                *most = running.len().max(*most);
            }
            EventKind::Exited { .. } | EventKind::Stopped => {
                assert!(running.remove(&event.id), "{} ended twice", event.id);
            }
            _ => {}
        }
    }
}

/// Serves a guest; fails at times, and hears no questions at others.
struct Session {
    guest: u64,
    house: House,
    id: Option<ActorId>,
}

enum Visit {
    Work,
    Ping(Reply<()>),
}

impl Actor for Session {
    type Msg = Visit;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        *self.house.0.starts.lock().unwrap().entry(self.guest).or_default() += 1;
        self.id = Some(cx.id());
        self.house.pause().await;
        match self.house.mishap(6) {
            true if self.house.one_in(3) => Ok(Init::Ignore),
            true => Err(crash()),
            false => {
                self.house.0.there.lock().unwrap().insert((self.guest, cx.id()));
                Ok(Init::Ready)
            }
        }
    }

    async fn handle(&mut self, visit: Visit, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.house.pause().await;
        match visit {
            Visit::Ping(reply) if self.house.mishap(3) => drop(reply),
            Visit::Ping(reply) => reply.send(()),
            Visit::Work if self.house.mishap(3) => return Err(crash()),
            Visit::Work if self.house.mishap(6) => return Err(ExitReason::Normal),
            Visit::Work => {}
        }
        Ok(())
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        self.house.pause().await;
        if self.house.mishap(4) {
            tokio::time::sleep(10 * MILLI).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.house.0.there.lock().unwrap().remove(&(self.guest, id));
        }
    }
}

/// What the supervisor of a run is like.
#[derive(Clone, Copy, Debug)]
struct Rules {
    restart: Restart,
    most: usize,
}

fn sessions(house: &House, rules: Rules) -> DynamicSupervisor<u64, Session> {
    let shutdown = match house.below(3) {
        0 => Shutdown::BrutalKill,
        1 => Shutdown::Infinity,
        _ => Shutdown::Timeout(4 * MILLI),
    };
    let make = {
        let house = house.clone();
        move |guest| Session { guest, house: house.clone(), id: None }
    };
    let sessions = DynamicSupervisor::new("sessions", make)
        .restart(rules.restart)
        .max_children(rules.most)
        .shutdown(shutdown)
        .drain(house.one_in(2))
        .intensity(4 + house.below(60) as usize, LONG)
        .seed(house.below(1_000));
    let sessions = match house.one_in(2) {
        true => sessions.backoff(Backoff::exponential(MILLI, 8 * MILLI).jitter(0.5)),
        false => sessions,
    };
    match house.one_in(2) {
        true => sessions.probe(Probe::new(5 * MILLI, Visit::Ping).timeout(3 * MILLI).threshold(2)),
        false => sessions,
    }
}

/// Asks for sessions, and does to them, and to others' and to their supervisor, what comes to its mind.
async fn visitor(number: u64, house: House, door: DynamicRef<u64, Visit>, top: SupervisorRef) {
    for round in 0..8 {
        let guest = number * 100 + round;
        match house.below(16) {
            0..=5 => match door.start_child(guest).await {
                Ok(session) => house.0.known.lock().unwrap().push((guest, session)),
                Err(
                    ChildError::MaxChildren
                    | ChildError::Ignored
                    | ChildError::Failed(_)
                    | ChildError::NoProc,
                ) => {}
                Err(error) => panic!("{error}"),
            },
            6 | 7 => {
                let asked = tokio::time::timeout(house.below(3) as u32 * MILLI, door.start_child(guest));
                match asked.await {
                    Ok(Ok(session)) => house.0.known.lock().unwrap().push((guest, session)),
                    Ok(Err(_)) => {}
                    Err(_) => drop(house.0.given_up.lock().unwrap().insert(guest)),
                }
            }
            8 | 9 => {
                let Some((guest, session)) = house.pick() else { continue };
                if door.terminate_child(session.id()).await.is_ok() {
                    house.0.ended.lock().unwrap().insert(guest);
                    assert!(!session.is_alive(), "it was said to have ended");
                }
            }
            10 => {
                if let Some((_, session)) = house.pick() {
                    session.kill();
                }
            }
            11 => {
                let count = door.count_children().await;
                assert!(count.specs <= 1 && count.supervisors == 0);
                drop(door.which_children().await);
            }
            12 if house.one_in(4) => drop(top.terminate_child("sessions").await),
            12 => drop(top.restart_child("sessions").await),
            _ => {
                if let Some((_, session)) = house.pick() {
                    drop(session.try_cast(Visit::Work));
                }
            }
        }
        house.pause().await;
    }
}

/// Those who should be there are, and nobody else.
async fn judge(house: &House, rules: Rules, door: &DynamicRef<u64, Visit>) {
    let listed: BTreeSet<ActorId> = door.which_children().await.iter().map(ActorRef::id).collect();
    assert_eq!(listed, *house.0.running.lock().unwrap(), "who is listed runs, and the other way round");
    assert_eq!(door.count_children().await.active, listed.len());
    let there = house.0.there.lock().unwrap().clone();
    assert_eq!(there.iter().map(|(_, id)| *id).collect::<BTreeSet<_>>(), listed);
    let guests: BTreeSet<u64> = there.iter().map(|(guest, _)| *guest).collect();
    assert_eq!(guests.len(), there.len(), "nobody is there twice");
    assert!(*house.0.most.lock().unwrap() <= rules.most);

    let (given_up, ended) = (house.0.given_up.lock().unwrap(), house.0.ended.lock().unwrap());
    assert!(guests.is_disjoint(&given_up), "of those that were given up, {guests:?} are there");
    assert!(guests.is_disjoint(&ended), "of those that were ended, {guests:?} are there");
    if rules.restart == Restart::Temporary {
        assert!(house.0.starts.lock().unwrap().values().all(|starts| *starts == 1));
    }
    // What it owes to whom it gave a session: another one after each failure, as long as it is the same supervisor. (One
    // that ignores its restart is done.)
    let ignored = |guest: &u64| house.0.starts.lock().unwrap()[guest] > 1;
    if rules.restart == Restart::Permanent && *house.0.supervisors.lock().unwrap() == 1 && !listed.is_empty()
    {
        let known = house.0.known.lock().unwrap();
        for (guest, _) in known.iter().filter(|(guest, _)| !ended.contains(guest) && !ignored(guest)) {
            assert!(guests.contains(guest), "{guest} is lost");
        }
    }
}

/// What happened in all runs, lest it is nothing.
#[derive(Default)]
struct Score {
    restarts: u32,
    left: usize,
}

impl Score {
    fn add(&mut self, house: &House) {
        self.restarts += house.0.starts.lock().unwrap().values().map(|starts| starts - 1).sum::<u32>();
        self.left += house.0.there.lock().unwrap().len();
    }
}

#[test]
fn a_dynamic_supervisor_loses_nobody() {
    let restarted = Arc::new(Mutex::new(Score::default()));
    testing::sim(0..2_000, |system| {
        let restarted = Arc::clone(&restarted);
        async move {
            let house = House::default();
            *house.0.chance.lock().unwrap() = Some(Chance::new(system.seed().unwrap()));
            let restart =
                [Restart::Permanent, Restart::Transient, Restart::Temporary][house.below(3) as usize];
            let most = if house.one_in(3) { 3 } else { usize::MAX };
            let rules = Rules { restart, most };
            let system = System::builder().observer(Arc::new(house.clone())).build();
            let sessions = sessions(&house, rules);
            let door = sessions.dynamic_ref();
            let top = Supervisor::new("top", Strategy::OneForOne)
                .intensity(3, LONG)
                .child(ChildSpec::dynamic(sessions));
            let top = system.start(top).await.unwrap();
            let visitors: Vec<_> = (1..=4)
                .map(|number| tokio::spawn(visitor(number, house.clone(), door.clone(), top.clone())))
                .collect();
            if house.one_in(4) {
                // In the middle of it.
                tokio::time::sleep(house.below(8) as u32 * MILLI).await;
                top.shutdown().await;
                assert!(house.0.running.lock().unwrap().is_empty());
            }
            for visitor in visitors {
                visitor.await.unwrap();
            }
            house.0.is_calm.store(true, Ordering::Relaxed);
            tokio::time::sleep(CALM).await;
            judge(&house, rules, &door).await;
            restarted.lock().unwrap().add(&house);
            top.shutdown().await;
            assert!(house.0.running.lock().unwrap().is_empty());
            assert!(house.0.there.lock().unwrap().is_empty());
            assert!(matches!(door.start_child(0).await, Err(ChildError::NoProc)));
        }
    });
    let Score { restarts, left } = *restarted.lock().unwrap();
    assert!(restarts > 0 && left > 0, "{restarts} restarts, {left} sessions left to judge");
}
