//! Random trees and random failures, against a model of OTP's supervisor that is as naive as can be: one recursive
//! function at a time, no events, no tasks.

use std::collections::HashMap;
use std::time::Duration;

use airssys_rt::Restart::{self, Permanent, Temporary, Transient};
use airssys_rt::Strategy::{OneForAll, OneForOne, RestForOne};
use airssys_rt::{ChildSpec, ExitReason, Supervisor};
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::time::Instant;

use crate::stage::{Plan, Stage, crash, start};

const PERIOD: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
struct Node {
    name: String,
    restart: Restart,
    up: bool,
    team: Option<Team>,
}

/// What makes a node a supervisor.
#[derive(Clone, Debug)]
struct Team {
    strategy: airssys_rt::Strategy,
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
        let restart = team.live[index].restart;
        match restart {
            Temporary => drop(team.live.remove(index)),
            Transient if !failed => {}
            _ if self.restart(team, index, now) => {}
            _ => {
                team.live.iter_mut().rev().for_each(|child| self.stop(child));
                node.up = false;
                return Some(Fate::Ended { failed: false });
            }
        }
        Some(Fate::LivesOn)
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

/// Gives each node the name of its place, so that the names in the journal are unique.
fn name(mut node: Node, name: &str) -> Node {
    node.name = name.to_owned();
    if let Some(team) = &mut node.team {
        let named = |(index, child)| self::name(child, &format!("{name}.{index}"));
        team.spec = std::mem::take(&mut team.spec).into_iter().enumerate().map(named).collect();
    }
    node
}

fn supervisor(node: &Node, stage: &Stage) -> Supervisor {
    let team = node.team.as_ref().unwrap();
    let top = Supervisor::new(node.name.as_str(), team.strategy).intensity(team.max, PERIOD);
    team.spec.iter().fold(top, |top, child| {
        let spec = match child.team {
            Some(_) => ChildSpec::supervisor(supervisor(child, stage)),
            None => stage.child(&child.name),
        };
        top.child(spec.restart(child.restart))
    })
}

#[derive(Clone, Debug)]
struct Blow {
    victim: Index,
    reason: &'static str,
    fails: usize,
    pause_ms: u64,
}

fn blows() -> impl Strategy<Value = Vec<Blow>> {
    let reason = prop_oneof![3 => Just("crash"), 1 => Just("normal"), 1 => Just("shutdown")];
    let fails = prop_oneof![3 => Just(0), 1 => 1..3_usize];
    let blow = (any::<Index>(), reason, fails, 0..80_u64)
        .prop_map(|(victim, reason, fails, pause_ms)| Blow { victim, reason, fails, pause_ms });
    prop::collection::vec(blow, 1..12)
}

fn team(children: impl Strategy<Value = Node>) -> impl Strategy<Value = Node> {
    let strategy = prop_oneof![Just(OneForOne), Just(OneForAll), Just(RestForOne)];
    let spec = prop::collection::vec(children, 1..5);
    (restart(), strategy, 0..5_usize, spec).prop_map(|(restart, strategy, max, spec)| {
        let team = Team { strategy, max, restarts: Vec::new(), spec, live: Vec::new() };
        Node { name: String::new(), restart, up: false, team: Some(team) }
    })
}

fn restart() -> impl Strategy<Value = Restart> {
    prop_oneof![3 => Just(Permanent), 1 => Just(Transient), 1 => Just(Temporary)]
}

fn tree() -> impl Strategy<Value = Node> {
    let leaf = restart().prop_map(|restart| Node { name: String::new(), restart, up: false, team: None });
    team(leaf.prop_recursive(2, 20, 4, |inner| team(inner).boxed())).prop_map(|root| name(root, "0"))
}

async fn play(mut root: Node, blows: Vec<Blow>) {
    let (stage, mut model) = (Stage::default(), Model::default());
    let supervisor = start(supervisor(&root, &stage)).await;
    assert!(model.start(&mut root));
    assert_eq!(stage.journal(), std::mem::take(&mut model.journal));
    let born = Instant::now();
    for blow in blows {
        let mut alive = Vec::new();
        leaves(&root, &mut alive);
        if !root.up || alive.is_empty() {
            break;
        }
        let victim = blow.victim.get(&alive);
        stage.plan(victim, (0..blow.fails).map(|_| Plan::Fail));
        *model.fails.entry(victim.clone()).or_default() += blow.fails;
        let reason = || match blow.reason {
            "crash" => crash(),
            "normal" => ExitReason::Normal,
            _ => ExitReason::Shutdown,
        };
        model.end(&mut root, victim, &reason(), born.elapsed());
        stage.exit(victim, reason()).await;
        assert_eq!(stage.journal(), std::mem::take(&mut model.journal), "after {blow:?} at {victim}");
        tokio::time::sleep(Duration::from_millis(blow.pause_ms)).await;
    }
    model.stop(&mut root);
    supervisor.shutdown().await;
    assert_eq!(stage.journal(), model.journal);
}

proptest! {
    #[test]
    fn a_tree_does_what_the_model_does(root in tree(), blows in blows()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(play(root, blows));
    }
}
