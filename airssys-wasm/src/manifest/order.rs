//! `after`: who starts before whom, within what `children` and the order of the file leave open.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use super::{
    section::{Notes, nearest},
    tree::{Declared, Node, name},
};

/// That one child of a supervisor starts behind another one, and where that was said.
struct Edge {
    first: Node,
    then: Node,
    span: Range<usize>,
}

/// Puts the children of each supervisor, and of the system (`top`), into an order in which everybody starts behind those that
/// its `after` names. What says nothing of another keeps its place.
pub(super) fn sort(
    declared: &Declared,
    names: &HashMap<&str, Node>,
    parents: &HashMap<Node, usize>,
    (children, top): (&mut [Vec<Node>], &mut Vec<Node>),
    notes: &mut Notes<'_>,
) {
    let mut edges: BTreeMap<Option<usize>, Vec<Edge>> = BTreeMap::new();
    for (index, component) in declared.components.iter().enumerate() {
        let own = Node::Component(index);
        for wanted in &component.after {
            let Some(first) = names.get(wanted.value.as_str()).copied() else {
                let help = nearest(&wanted.value, names.keys().copied());
                let message = format!("no component, process or supervisor is called `{}`", wanted.value);
                notes.problem(&wanted.span, message, help);
                continue;
            };
            match siblings(first, own, parents) {
                Some((parent, first, then)) => {
                    let edge = Edge { first, then, span: wanted.span.clone() };
                    edges.entry(parent).or_default().push(edge);
                }
                None => {
                    let message = format!(
                        "`{}` cannot start behind `{}`, which it is a part of",
                        component.name, wanted.value
                    );
                    notes.problem(&wanted.span, message, None);
                }
            }
        }
    }
    for (parent, edges) in edges {
        let nodes = match parent {
            Some(index) => children.get_mut(index),
            None => Some(&mut *top),
        };
        if let Some(nodes) = nodes
            && let Err(edge) = sort_siblings(nodes, &edges)
        {
            let (first, then) = (name(declared, edge.first), name(declared, edge.then));
            let message = format!("`{then}` starts behind `{first}`, and that behind it");
            notes.problem(&edge.span, message, Some("take one `after` away".to_owned()));
        }
    }
}

/// Where the ways from the root to two nodes part: the supervisor, or the system, and its children there. None where one of
/// the two is above the other.
fn siblings(one: Node, other: Node, parents: &HashMap<Node, usize>) -> Option<(Option<usize>, Node, Node)> {
    let way = |node: Node| {
        let mut way = vec![node];
        let mut here = node;
        while let Some(parent) = parents.get(&here) {
            here = Node::Supervisor(*parent);
            way.push(here);
        }
        way.reverse();
        way
    };
    let (one, other) = (way(one), way(other));
    let (first, second) = one.iter().zip(&other).find(|(one, other)| one != other)?;
    Some((parents.get(first).copied(), *first, *second))
}

/// Each node in its turn, as soon as all are placed that it is behind. The error is where nobody can be the next.
fn sort_siblings<'e>(nodes: &mut Vec<Node>, edges: &'e [Edge]) -> Result<(), &'e Edge> {
    let places: HashMap<Node, usize> = nodes.iter().enumerate().map(|(place, node)| (*node, place)).collect();
    // By places: for how many each waits, and who waits for it.
    let (mut waits, mut behind) = (vec![0_usize; nodes.len()], vec![Vec::new(); nodes.len()]);
    for edge in edges {
        let ends = places.get(&edge.first).zip(places.get(&edge.then));
        if let Some((behind, (waits, then))) =
            ends.and_then(|(first, then)| behind.get_mut(*first).zip(waits.get_mut(*then).zip(Some(*then))))
        {
            *waits += 1;
            behind.push(then);
        }
    }
    let mut ready: BTreeSet<usize> =
        waits.iter().enumerate().filter(|(_, count)| **count == 0).map(|(place, _)| place).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(place) = ready.pop_first() {
        order.extend(nodes.get(place));
        for then in behind.get(place).into_iter().flatten() {
            if let Some(count) = waits.get_mut(*then) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(*then);
                }
            }
        }
    }
    let is_left =
        |node: &Node| places.get(node).and_then(|place| waits.get(*place)).is_some_and(|count| *count > 0);
    match edges.iter().find(|edge| is_left(&edge.first) && is_left(&edge.then)) {
        Some(edge) => Err(edge),
        None => {
            *nodes = order;
            Ok(())
        }
    }
}
