//! Random trees, random failures and random requests, against a model of OTP's supervisor that is as naive as can be:
//! one recursive function at a time, no events, no tasks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::AutoShutdown::{self, AllSignificant, AnySignificant, Never};
use airssys_rt::Restart::{self, Permanent, Temporary, Transient};
use airssys_rt::Strategy::{OneForAll, OneForOne, RestForOne};
use airssys_rt::testing::{self, Chance, Sim};
use airssys_rt::{
    ActorId, Backoff, ChildError, ChildInfo, ChildSpec, ChildState, Event, EventKind, ExitReason, Observer,
    Probe, Shutdown, Supervisor, SupervisorRef, System,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::time::Instant;

use crate::stage::{Do, Plan, Stage, crash, settle, start};

const PERIOD: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
struct Node {
    name: String,
    restart: Restart,
    significant: bool,
    up: bool,
    team: Option<Team>,
    extras: Extras,
}

/// What the model knows nothing of: how a child is stopped, and what OTP does not have.
#[derive(Clone, Debug, Default)]
struct Extras {
    shutdown: Option<Shutdown>,
    backoff: bool,
    drain: bool,
    probe: bool,
}

/// What makes a node a supervisor.
#[derive(Clone, Debug)]
struct Team {
    strategy: airssys_rt::Strategy,
    auto: AutoShutdown,
    max: usize,
    restarts: Vec<Duration>,
    spec: Vec<Node>,
    live: Vec<Node>,
}

#[derive(Default)]
struct Model {
    journal: Vec<String>,
    /// How many of its next starts fail.
    fails: HashMap<String, usize>,
}

impl Model {
    fn start(&mut self, node: &mut Node) -> bool {
        let Some(team) = &mut node.team else {
            self.journal.push(format!("+{}", node.name));
            let fails = self.fails.entry(node.name.clone()).or_default();
            node.up = *fails == 0;
            *fails = fails.saturating_sub(1);
            return node.up;
        };
        team.restarts.clear();
        team.live = team.spec.clone();
        node.up = (0..team.live.len()).all(|index| self.start(&mut team.live[index]));
        if !node.up {
            team.live.iter_mut().rev().for_each(|child| self.stop(child));
        }
        node.up
    }

    fn stop(&mut self, node: &mut Node) {
        match &mut node.team {
            _ if !std::mem::take(&mut node.up) => {}
            Some(team) => team.live.iter_mut().rev().for_each(|child| self.stop(child)),
            None => self.journal.push(format!("-{} shutdown", node.name)),
        }
    }

    /// Ends the leaf `name` somewhere below `node`; says how `node` took it.
    fn end(&mut self, node: &mut Node, name: &str, reason: &ExitReason, now: Duration) -> Option<Fate> {
        let Some(team) = &mut node.team else {
            return (node.up && node.name == name).then(|| {
                self.journal.push(format!("-{name} {reason}"));
                node.up = false;
                Fate::Ended { failed: reason.is_abnormal() }
            });
        };
        let (index, fate) = (0..team.live.len())
            .find_map(|index| Some((index, self.end(&mut team.live[index], name, reason, now)?)))?;
        let Fate::Ended { failed } = fate else { return Some(Fate::LivesOn) };
        let Node { restart, significant, .. } = team.live[index];
        let others = |team: &Team| team.live.iter().any(|child| child.significant && child.up);
        let over = match restart {
            _ if restart == Permanent || restart == Transient && failed => !self.restart(team, index, now),
            _ => {
                if restart == Temporary {
                    drop(team.live.remove(index));
                }
                significant
                    && match team.auto {
                        Never => false,
                        AnySignificant => true,
                        AllSignificant => !others(team),
                    }
            }
        };
        if !over {
            return Some(Fate::LivesOn);
        }
        team.live.iter_mut().rev().for_each(|child| self.stop(child));
        node.up = false;
        Some(Fate::Ended { failed: false })
    }

    /// Does what someone asked of a supervisor; says what it answered.
    fn ask(&mut self, team: &mut Team, request: &Request) -> &'static str {
        let (Request::Start(child), name) = (request, request.name()) else {
            return self.ask_about(team, request);
        };
        let mut child = child.clone();
        match team.live.iter().find(|known| known.name == name) {
            Some(known) if known.up => return "already started",
            Some(_) => return "already present",
            None if child.significant && (child.restart == Permanent || team.auto == Never) => {
                return "invalid";
            }
            None => {}
        }
        if !self.start(&mut child) {
            return "failed";
        }
        team.live.push(child);
        "ok"
    }

    fn ask_about(&mut self, team: &mut Team, request: &Request) -> &'static str {
        let Some(index) = team.live.iter().position(|child| child.name == request.name()) else {
            return "not found";
        };
        let child = &mut team.live[index];
        match request {
            Request::Terminate(_) => {
                self.stop(child);
                if child.restart == Temporary {
                    team.live.remove(index);
                }
            }
            _ if child.up => return "running",
            Request::Delete(_) => drop(team.live.remove(index)),
            Request::Restart(_) if !self.start(child) => return "failed",
            Request::Restart(_) | Request::Start(_) => {}
        }
        "ok"
    }

    fn restart(&mut self, team: &mut Team, failed: usize, now: Duration) -> bool {
        team.restarts.push(now);
        if team.restarts.iter().filter(|&&then| now <= then + PERIOD).count() > team.max {
            return false;
        }
        let set = match team.strategy {
            OneForOne => failed..failed + 1,
            RestForOne => failed..team.live.len(),
            OneForAll => 0..team.live.len(),
        };
        team.live[set.clone()].iter_mut().rev().for_each(|child| self.stop(child));
        let rest = team.live.split_off(set.end);
        let stopped = team.live.split_off(set.start);
        team.live.extend(stopped.into_iter().filter(|child| child.restart != Temporary));
        let end = team.live.len();
        team.live.extend(rest);
        match (set.start..end).find(|&index| !self.start(&mut team.live[index])) {
            Some(failed) => self.restart(team, failed, now),
            None => true,
        }
    }
}

enum Fate {
    LivesOn,
    Ended { failed: bool },
}

fn leaves(node: &Node, found: &mut Vec<String>) {
    match &node.team {
        Some(team) => team.live.iter().for_each(|child| leaves(child, found)),
        None if node.up => found.push(node.name.clone()),
        None => {}
    }
}

/// The supervisors that run.
fn teams(node: &Node, found: &mut Vec<String>) {
    if let Some(team) = node.team.as_ref().filter(|_| node.up) {
        found.push(node.name.clone());
        team.live.iter().for_each(|child| teams(child, found));
    }
}

fn find<'a>(node: &'a mut Node, name: &str) -> Option<&'a mut Team> {
    let team = node.team.as_mut()?;
    if node.name == name {
        return Some(team);
    }
    team.live.iter_mut().find_map(|child| find(child, name))
}

/// Gives each node the name of its place, so that the names in the journal are unique; and lets only those be
/// significant that may be.
fn name(mut node: Node, name: &str) -> Node {
    node.name = name.to_owned();
    if let Some(team) = &mut node.team {
        for (index, child) in team.spec.iter_mut().enumerate() {
            *child = self::name(child.clone(), &format!("{name}.{index}"));
            child.significant &= child.restart != Permanent && team.auto != Never;
        }
    }
    node
}

fn supervisor(node: &Node, stage: &Stage) -> Supervisor {
    let team = node.team.as_ref().unwrap();
    let top = Supervisor::new(node.name.as_str(), team.strategy)
        .auto_shutdown(team.auto)
        .intensity(team.max, PERIOD);
    team.spec.iter().fold(top, |top, child| top.child(spec(child, stage)))
}

fn spec(node: &Node, stage: &Stage) -> ChildSpec {
    let Extras { shutdown, backoff, drain, probe } = node.extras;
    let milli = Duration::from_millis(1);
    let spec = match node.team {
        Some(_) => ChildSpec::supervisor(supervisor(node, stage)),
        None if probe => {
            stage.probed(&node.name, Probe::new(3 * milli, Do::Ping).timeout(milli).threshold(2)).drain(drain)
        }
        None => stage.child(&node.name).drain(drain),
    };
    let spec = if backoff { spec.backoff(Backoff::exponential(milli, 4 * milli)) } else { spec };
    let spec = match shutdown {
        Some(shutdown) => spec.shutdown(shutdown),
        None => spec,
    };
    spec.restart(node.restart).significant(node.significant)
}

#[derive(Clone, Debug)]
enum Act {
    Blow(Blow),
    /// Asks a supervisor, of those that run, for something about one of its children, or one that it does not have.
    Ask {
        team: Index,
        child: usize,
        what: What,
        fails: usize,
    },
}

#[derive(Clone, Debug)]
enum What {
    Start(Node),
    Terminate,
    Restart,
    Delete,
}

enum Request {
    Start(Node),
    Terminate(String),
    Restart(String),
    Delete(String),
}

impl Request {
    fn name(&self) -> &str {
        match self {
            Self::Start(node) => &node.name,
            Self::Terminate(name) | Self::Restart(name) | Self::Delete(name) => name,
        }
    }

    /// Asks the real one.
    async fn ask(&self, supervisor: &SupervisorRef, stage: &Stage) -> &'static str {
        let result = match self {
            Self::Start(node) => supervisor.start_child(spec(node, stage)).await.map(drop),
            Self::Terminate(name) => supervisor.terminate_child(name).await,
            Self::Restart(name) => supervisor.restart_child(name).await.map(drop),
            Self::Delete(name) => supervisor.delete_child(name).await,
        };
        match result {
            Ok(()) => "ok",
            Err(ChildError::AlreadyStarted(_)) => "already started",
            Err(ChildError::AlreadyPresent) => "already present",
            Err(ChildError::Running) => "running",
            Err(ChildError::NotFound) => "not found",
            Err(ChildError::Invalid(_)) => "invalid",
            Err(ChildError::Failed(_)) => "failed",
            Err(_) => "something else",
        }
    }
}

#[derive(Clone, Debug)]
struct Blow {
    victim: Index,
    reason: &'static str,
    fails: usize,
    pause_ms: u64,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let reason = prop_oneof![3 => Just("crash"), 1 => Just("normal"), 1 => Just("shutdown")];
    let blow = (any::<Index>(), reason, fails(), 0..80_u64)
        .prop_map(|(victim, reason, fails, pause_ms)| Act::Blow(Blow { victim, reason, fails, pause_ms }));
    let what = prop_oneof![
        2 => leaf().prop_map(What::Start),
        2 => Just(What::Terminate),
        2 => Just(What::Restart),
        1 => Just(What::Delete),
    ];
    let ask = (any::<Index>(), 0..5_usize, what, fails()).prop_map(|(team, child, what, fails)| Act::Ask {
        team,
        child,
        what,
        fails,
    });
    prop::collection::vec(prop_oneof![blow, ask], 1..20)
}

fn fails() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 1 => 1..3_usize]
}

fn team(children: impl Strategy<Value = Node>) -> impl Strategy<Value = Node> {
    let strategy = prop_oneof![Just(OneForOne), Just(OneForAll), Just(RestForOne)];
    let auto = prop_oneof![2 => Just(Never), 1 => Just(AnySignificant), 1 => Just(AllSignificant)];
    let spec = prop::collection::vec(children, 1..5);
    (leaf(), strategy, auto, 0..5_usize, spec).prop_map(|(node, strategy, auto, max, spec)| {
        let team = Team { strategy, auto, max, restarts: Vec::new(), spec, live: Vec::new() };
        Node { team: Some(team), ..node }
    })
}

fn leaf() -> impl Strategy<Value = Node> {
    let restart = prop_oneof![3 => Just(Permanent), 1 => Just(Transient), 1 => Just(Temporary)];
    (restart, any::<bool>()).prop_map(|(restart, significant)| Node {
        name: String::new(),
        restart,
        significant,
        up: false,
        team: None,
        extras: Extras::default(),
    })
}

fn tree() -> impl Strategy<Value = Node> {
    team(leaf().prop_recursive(2, 20, 4, |inner| team(inner).boxed())).prop_map(|root| name(root, "0"))
}

/// A tree that plays, and the one that the model has of it.
struct Game {
    stage: Stage,
    model: Model,
    root: Node,
    supervisor: SupervisorRef,
    born: Instant,
}

impl Game {
    async fn blow(&mut self, blow: &Blow) {
        let mut alive = Vec::new();
        leaves(&self.root, &mut alive);
        if alive.is_empty() {
            return;
        }
        let victim = blow.victim.get(&alive);
        self.plan(victim, blow.fails);
        let reason = || match blow.reason {
            "crash" => crash(),
            "normal" => ExitReason::Normal,
            _ => ExitReason::Shutdown,
        };
        self.model.end(&mut self.root, victim, &reason(), self.born.elapsed());
        self.stage.exit(victim, reason()).await;
        tokio::time::sleep(Duration::from_millis(blow.pause_ms)).await;
    }

    async fn ask(&mut self, team: &Index, child: usize, what: &What, fails: usize) {
        let mut alive = Vec::new();
        teams(&self.root, &mut alive);
        let path = team.get(&alive).clone();
        let supervisor = self.reach(&path).await;
        let team = find(&mut self.root, &path).unwrap();
        let name =
            team.live.get(child).map_or_else(|| format!("{path}.x{child}"), |child| child.name.clone());
        self.plan(&name, fails);
        let request = match what {
            What::Start(node) => Request::Start(Node { name, ..node.clone() }),
            What::Terminate => Request::Terminate(name),
            What::Restart => Request::Restart(name),
            What::Delete => Request::Delete(name),
        };
        let team = find(&mut self.root, &path).unwrap();
        let expected = self.model.ask(team, &request);
        let answer = request.ask(&supervisor, &self.stage).await;
        assert_eq!(answer, expected, "of {} about {}", path, request.name());
        settle().await;
    }

    fn plan(&mut self, name: &str, fails: usize) {
        self.stage.plan(name, (0..fails).map(|_| Plan::Fail));
        *self.model.fails.entry(name.to_owned()).or_default() += fails;
    }

    async fn reach(&self, path: &str) -> SupervisorRef {
        fn below(children: &[ChildInfo], path: &str) -> Option<SupervisorRef> {
            children.iter().find_map(|child| match &child.supervisor {
                Some(supervisor) if &*child.name == path => Some(supervisor.clone()),
                _ => below(&child.children, path),
            })
        }
        below(&self.supervisor.which_children().await, path).unwrap_or_else(|| self.supervisor.clone())
    }

    /// Both have the same children, and count them alike.
    async fn compare(&mut self, after: &dyn std::fmt::Debug) {
        assert_eq!(self.stage.journal(), std::mem::take(&mut self.model.journal), "after {after:?}");
        let mut alive = Vec::new();
        teams(&self.root, &mut alive);
        for path in alive {
            let count = self.reach(&path).await.count_children().await;
            let children = &find(&mut self.root, &path).unwrap().live;
            let counted = |rule: fn(&Node) -> bool| children.iter().filter(|child| rule(child)).count();
            assert_eq!(
                (count.specs, count.active, count.supervisors),
                (children.len(), counted(|child| child.up), counted(|child| child.team.is_some())),
                "below {path} after {after:?}"
            );
        }
    }
}

async fn play(mut root: Node, acts: Vec<Act>) {
    let (stage, mut model) = (Stage::default(), Model::default());
    let supervisor = start(supervisor(&root, &stage)).await;
    assert!(model.start(&mut root));
    let mut game = Game { stage, model, root, supervisor, born: Instant::now() };
    game.compare(&"the start").await;
    for act in acts {
        match &act {
            _ if !game.root.up => break,
            Act::Blow(blow) => game.blow(blow).await,
            Act::Ask { team, child, what, fails } => game.ask(team, *child, what, *fails).await,
        }
        game.compare(&act).await;
    }
    game.model.stop(&mut game.root);
    game.supervisor.shutdown().await;
    assert_eq!(game.stage.journal(), game.model.journal);
}

proptest! {
    #[test]
    fn a_tree_does_what_the_model_does(root in tree(), acts in acts(), seed in any::<u64>()) {
        Sim::new(seed).run(|_| play(root, acts)).unwrap();
    }
}

/// A tree and what is done to it, as the seed of the simulation wants it.
fn drawn(system: &System) -> (Node, Vec<Act>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&system.seed().unwrap().to_le_bytes());
    let chance = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), chance);
    (tree(), acts()).new_tree(&mut runner).unwrap().current()
}

#[test]
fn every_order_comes_to_what_the_model_does() {
    testing::sim(0..2_000, |system| async move {
        let (root, acts) = drawn(&system);
        play(root, acts).await;
    });
}

/// Who is alive, by what the observer was told.
#[derive(Clone, Default)]
struct Census(Arc<Mutex<BTreeMap<ActorId, Arc<str>>>>);

impl Census {
    fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.0.lock().unwrap().values().cloned().collect();
        names.sort();
        names
    }
}

impl Observer for Census {
    fn event(&self, event: &Event) {
        let mut alive = self.0.lock().unwrap();
        match event.kind {
            EventKind::Started => assert!(alive.insert(event.id, Arc::clone(&event.path)).is_none()),
            EventKind::Exited { .. } | EventKind::Stopped => {
                assert!(alive.remove(&event.id).is_some(), "{} ended twice", event.path);
            }
            _ => {}
        }
    }
}

/// Those that run below, by their paths, in start order.
fn running(path: &str, children: &[ChildInfo], found: &mut Vec<Arc<str>>) {
    for child in children {
        let path = format!("{path}/{}", child.name);
        if child.id.is_some() {
            assert_eq!(child.state, ChildState::Running, "{path}");
            found.push(path.as_str().into());
        } else {
            assert_eq!(child.state, ChildState::Stopped, "{path}");
        }
        running(&path, &child.children, found);
    }
}

/// All supervisors of a tree that run.
fn heads(top: &SupervisorRef, children: &[ChildInfo], found: &mut Vec<SupervisorRef>) {
    found.push(top.clone());
    for child in children {
        child.supervisor.iter().for_each(|head| heads(head, &child.children, found));
    }
}

/// Gives all children in a tree what the model does not know of. Supervisors have all the time they need to stop.
fn dress(node: &mut Node, chance: &mut Chance) {
    let is_leaf = node.team.is_none();
    node.extras = Extras {
        shutdown: match chance.below(4) {
            0 if is_leaf => Some(Shutdown::BrutalKill),
            1 if is_leaf => Some(Shutdown::Timeout(Duration::from_millis(1))),
            2 => Some(Shutdown::Infinity),
            _ => None,
        },
        backoff: chance.one_in(3),
        drain: chance.one_in(3),
        probe: chance.one_in(3),
    };
    for child in node.team.iter_mut().flat_map(|team| &mut team.spec) {
        dress(child, chance);
    }
}

/// The next starts of `name` are slow, and then fail; and its end is slow.
fn trouble(stage: &Stage, name: &str, fails: usize) {
    let slow = Duration::from_millis(2);
    stage.plan(name, (0..fails).flat_map(|_| [Plan::Wait(slow), Plan::Fail]));
    if fails == 2 {
        stage.slow_farewell(name, slow);
    }
}

/// Does it, and does not wait until anything has settled.
async fn storm(act: Act, stage: Stage, root: SupervisorRef) {
    let children = root.which_children().await;
    match act {
        Act::Blow(blow) => {
            tokio::time::sleep(Duration::from_millis(blow.pause_ms % 4)).await;
            let names = stage.names();
            let Some(victim) = names.get(blow.victim.index(names.len().max(1))) else { return };
            trouble(&stage, victim, blow.fails);
            let player = stage.player(victim);
            match blow.reason {
                "crash" => drop(player.try_cast(Do::Exit(crash()))),
                "normal" => drop(player.try_cast(Do::Exit(ExitReason::Normal))),
                // Longer than some have to drain or to stop, and than probes have patience.
                _ if blow.pause_ms % 2 == 0 => drop(player.try_cast(Do::Work(Duration::from_millis(6)))),
                _ => player.kill(),
            }
        }
        Act::Ask { team, child, what, fails } => {
            let mut found = Vec::new();
            heads(&root, &children, &mut found);
            let head = team.get(&found);
            let children = head.which_children().await;
            let name =
                children.get(child).map_or_else(|| format!("x{child}"), |child| child.name.to_string());
            trouble(&stage, &name, fails);
            let request = match what {
                What::Start(node) => Request::Start(Node { name, ..node }),
                What::Terminate => Request::Terminate(name),
                What::Restart => Request::Restart(name),
                What::Delete => Request::Delete(name),
            };
            request.ask(head, &stage).await;
        }
    }
}

/// Failures and requests come from everywhere at once. Whatever the tree makes of them, those that run are those that
/// it knows of, and when it ends nobody is left.
#[test]
fn a_tree_in_a_storm_loses_nobody() {
    testing::sim(0..2_000, |system| async move {
        let (mut root, acts) = drawn(&system);
        let mut chance = Chance::new(system.seed().unwrap());
        dress(&mut root, &mut chance);
        let census = Census::default();
        let system = System::builder().observer(Arc::new(census.clone())).build();
        let stage = Stage::default();
        let top = system.start(supervisor(&root, &stage)).await.unwrap();
        let storms: Vec<_> =
            acts.into_iter().map(|act| tokio::spawn(storm(act, stage.clone(), top.clone()))).collect();
        if chance.one_in(2) {
            // In the middle of it.
            tokio::time::sleep(Duration::from_millis(chance.below(6))).await;
            top.shutdown().await;
            assert!(census.names().is_empty(), "{:?}", census.names());
        }
        for storm in storms {
            storm.await.unwrap();
        }
        tokio::time::sleep(PERIOD).await;
        let mut known = Vec::new();
        let children = top.which_children().await;
        running("0", &children, &mut known);
        if tokio::time::timeout(Duration::ZERO, top.exited()).await.is_err() {
            known.push("0".into());
        }
        known.sort();
        assert_eq!(census.names(), known);
        top.shutdown().await;
        assert!(census.names().is_empty(), "{:?}", census.names());
    });
}
