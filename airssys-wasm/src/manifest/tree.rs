//! From names of children to a tree: one parent each, no cycle, nobody forgotten.

use std::{collections::HashMap, ops::Range};

use super::{
    Child, SupervisorSpec,
    component::ReadComponent,
    order,
    parse::{ReadRole, ReadSupervisor},
    process::ReadProcess,
    section::{Notes, nearest},
};
use crate::actor::HOST;

/// The deepest tree of supervisors.
const DEPTH: usize = 32;

/// What the file declares, in its order.
#[derive(Default)]
pub(super) struct Declared {
    pub(super) supervisors: Vec<ReadSupervisor>,
    pub(super) components: Vec<ReadComponent>,
    pub(super) processes: Vec<ReadProcess>,
    pub(super) roles: Vec<ReadRole>,
    /// Where the name of each component stands.
    pub(super) component_spans: Vec<Range<usize>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Supervisor(usize),
    Component(usize),
    Process(usize),
}

impl Node {
    fn kind(self) -> &'static str {
        match self {
            Self::Supervisor(_) => "supervisor",
            Self::Component(_) => "component",
            Self::Process(_) => "process",
        }
    }
}

/// Builds the tree under `system`: who is nobody's child is a child of the system, in the order of the file.
pub(super) fn build(
    system: ReadSupervisor,
    declared: &Declared,
    notes: &mut Notes<'_>,
) -> Option<SupervisorSpec> {
    let before = notes.problems.len();
    let names = names(declared, notes);
    let mut children: Vec<Vec<Node>> =
        declared.supervisors.iter().map(|supervisor| resolve(supervisor, &names, notes)).collect();
    let parents = parents(declared, &children, notes);
    check_cycles(declared, &parents, notes);
    if notes.problems.len() > before {
        return None;
    }

    let all = (0..declared.supervisors.len()).map(Node::Supervisor);
    let all = all.chain((0..declared.components.len()).map(Node::Component));
    let all = all.chain((0..declared.processes.len()).map(Node::Process));
    let mut top: Vec<Node> = all.filter(|node| !parents.contains_key(node)).collect();
    top.sort_by_key(|node| span(declared, *node).start);
    order::sort(declared, &names, &parents, (&mut children, &mut top), notes);
    let grow = Grow { declared, children: &children };
    Some(grow.supervisor(&system, &top))
}

struct Grow<'a> {
    declared: &'a Declared,
    children: &'a [Vec<Node>],
}

impl Grow<'_> {
    /// The depth is bounded: `check_cycles` has seen every path to the root.
    fn supervisor(&self, read: &ReadSupervisor, nodes: &[Node]) -> SupervisorSpec {
        let child = |node: &Node| match *node {
            Node::Component(index) => Some(Child::Component(index)),
            Node::Process(index) => Some(Child::Process(index)),
            Node::Supervisor(index) => {
                let (read, nodes) = (self.declared.supervisors.get(index)?, self.children.get(index)?);
                Some(Child::Supervisor(self.supervisor(read, nodes)))
            }
        };
        SupervisorSpec {
            name: read.name.value.clone(),
            strategy: read.strategy,
            intensity: read.intensity,
            period: read.period,
            children: nodes.iter().filter_map(child).collect(),
        }
    }
}

fn names<'a>(declared: &'a Declared, notes: &mut Notes<'_>) -> HashMap<&'a str, Node> {
    let mut names = HashMap::new();
    for (index, supervisor) in declared.supervisors.iter().enumerate() {
        names.insert(supervisor.name.value.as_str(), Node::Supervisor(index));
    }
    let components = (0..declared.components.len()).map(Node::Component);
    for node in components.chain((0..declared.processes.len()).map(Node::Process)) {
        let called = name(declared, node);
        if called == HOST {
            let message = format!("`{HOST}` is what the system itself is called, as a sender");
            notes.problem(&span(declared, node), message, Some("rename it".to_owned()));
        }
        if let Some(other) = names.insert(called, node) {
            let message = format!("`{called}` is both a {} and a {}", other.kind(), node.kind());
            notes.problem(&span(declared, node), message, Some("rename one of them".to_owned()));
        }
    }
    names
}

fn resolve(supervisor: &ReadSupervisor, names: &HashMap<&str, Node>, notes: &mut Notes<'_>) -> Vec<Node> {
    let mut nodes = Vec::new();
    for child in &supervisor.children {
        match names.get(child.value.as_str()) {
            Some(node) => nodes.push(*node),
            None => {
                let help = nearest(&child.value, names.keys().copied())
                    .unwrap_or_else(|| format!("add `[component.{}]`", child.value));
                let message = format!("no component, process or supervisor is called `{}`", child.value);
                notes.problem(&child.span, message, Some(help));
            }
        }
    }
    nodes
}

fn parents(declared: &Declared, children: &[Vec<Node>], notes: &mut Notes<'_>) -> HashMap<Node, usize> {
    let mut parents: HashMap<Node, usize> = HashMap::new();
    for (parent, nodes) in children.iter().enumerate() {
        for node in nodes {
            if let Some(first) = parents.insert(*node, parent) {
                let parent_name =
                    |index: usize| declared.supervisors.get(index).map_or("", |s| s.name.value.as_str());
                let message = format!(
                    "`{}` is a child of `{}` already, and cannot be one of `{}`",
                    name(declared, *node),
                    parent_name(first),
                    parent_name(parent)
                );
                let child = declared.supervisors.get(parent).and_then(|supervisor| {
                    supervisor.children.iter().rev().find(|child| child.value == name(declared, *node))
                });
                notes.problem(&child.map_or(0..0, |child| child.span.clone()), message, None);
            }
        }
    }
    parents
}

/// Walks from each supervisor towards the root. A walk that comes back to where it began is a cycle.
fn check_cycles(declared: &Declared, parents: &HashMap<Node, usize>, notes: &mut Notes<'_>) {
    let mut told = Vec::new();
    for start in 0..declared.supervisors.len() {
        let mut path = vec![start];
        let mut here = start;
        while let Some(parent) = parents.get(&Node::Supervisor(here)).copied() {
            if parent == start {
                path.sort_unstable();
                if !told.contains(&path) {
                    tell_cycle(declared, start, &path, notes);
                    told.push(path);
                }
                break;
            }
            if path.contains(&parent) {
                break;
            }
            if path.len() == DEPTH {
                let message = format!("supervisors are nested deeper than {DEPTH}");
                notes.problem(&span(declared, Node::Supervisor(start)), message, None);
                return;
            }
            path.push(parent);
            here = parent;
        }
    }
}

fn tell_cycle(declared: &Declared, start: usize, path: &[usize], notes: &mut Notes<'_>) {
    let names: Vec<&str> = path.iter().map(|index| name(declared, Node::Supervisor(*index))).collect();
    let message = match names.as_slice() {
        [alone] => format!("`{alone}` is its own child"),
        _ => format!("the supervisors {} are each other's children", names.join(", ")),
    };
    let help = "a tree has one root: take one of them out of the other's `children`".to_owned();
    notes.problem(&span(declared, Node::Supervisor(start)), message, Some(help));
}

pub(super) fn name(declared: &Declared, node: Node) -> &str {
    match node {
        Node::Supervisor(index) => declared.supervisors.get(index).map_or("", |found| &found.name.value),
        Node::Component(index) => declared.components.get(index).map_or("", |found| &found.name),
        Node::Process(index) => declared.processes.get(index).map_or("", |found| &found.name.value),
    }
}

fn span(declared: &Declared, node: Node) -> Range<usize> {
    match node {
        Node::Supervisor(index) => declared.supervisors.get(index).map(|found| found.name.span.clone()),
        Node::Component(index) => declared.component_spans.get(index).cloned(),
        Node::Process(index) => declared.processes.get(index).map(|found| found.name.span.clone()),
    }
    .unwrap_or(0..0)
}
