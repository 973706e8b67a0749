//! The compiled form of one principal's grants.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Decision, FsTerms, Resource, Rights, hash::Table, net::NetGrants, rule};
use crate::{Action, Verdict, limits::DESCRIPTORS, net::Limits};

/// All grants of one principal, indexed by what is asked for.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    pub(super) fs: Table<PathBuf, Arc<FsGrant>>,
    /// Name to rule, as in the tables below.
    pub(super) env: Table<Box<str>, Box<str>>,
    pub(super) send: Table<Box<str>, Box<str>>,
    pub(super) clock: Option<Box<str>>,
    pub(super) random: Option<Box<str>>,
    /// How many files and directories may be open at a time, where that was said.
    pub(super) descriptors: Option<usize>,
    pub(super) net: NetGrants,
}

/// The grant of one directory.
#[derive(Debug)]
pub(crate) struct FsGrant {
    pub(crate) root: Box<Path>,
    pub(crate) rights: Rights,
    pub(crate) terms: FsTerms,
    rule: Box<str>,
    /// What to answer where rights are missing, by their bits: written at compile time, so that a denial allocates
    /// nothing. Empty where the grant has one of them.
    lacks: Box<[Box<str>]>,
}

impl Grants {
    pub(crate) fn decide(&self, action: Action, resource: Resource<'_>) -> Decision<'_> {
        let rule = match (action, resource) {
            (Action::FsOpenRoot, Resource::Root(root)) => self.fs.get(root).map(|grant| &grant.rule),
            (_, Resource::Beneath { root, needs }) => {
                return self.fs.get(root).map_or(Decision::DEFAULT, |grant| grant.decide(needs));
            }
            (
                _,
                Resource::Endpoint(_) | Resource::Host(_) | Resource::Unix(_) | Resource::AbstractUnix(_),
            )
            | (Action::NetTrust, _) => return self.net.decide(action, resource),
            (Action::EnvRead, Resource::Name(name)) => self.env.get(name),
            (Action::ActorSend, Resource::Name(name)) => self.send.get(name),
            (Action::ClockRead, _) => self.clock.as_ref(),
            (Action::RandomRead, _) => self.random.as_ref(),
            _ => None,
        };
        rule.map_or(Decision::DEFAULT, |rule| Decision::allow(rule))
    }

    pub(crate) fn fs(&self, root: &Path) -> Option<&Arc<FsGrant>> {
        self.fs.get(root)
    }

    pub(crate) fn descriptors(&self) -> usize {
        self.descriptors.unwrap_or(DESCRIPTORS)
    }

    pub(crate) fn net_limits(&self) -> &Limits {
        &self.net.limits
    }

    /// The variables that are granted and their rules, sorted by name.
    pub(crate) fn variables(&self) -> Vec<(&str, &str)> {
        let mut variables: Vec<_> = self.env.iter().map(|(name, rule)| (&**name, &**rule)).collect();
        variables.sort_unstable();
        variables
    }
}

impl FsGrant {
    pub(super) fn new(root: PathBuf, rights: Rights, terms: FsTerms, rule: Box<str>) -> Self {
        let lacks = (0..=Rights::all().bits()).map(|bits| {
            let missing = Rights::from_bits_truncate(bits);
            if missing.is_empty() || missing.intersects(rights) {
                return Box::default();
            }
            format!("{rule}: lacks {missing}").into_boxed_str()
        });
        Self { root: root.into(), rights, terms, lacks: lacks.collect(), rule }
    }

    pub(crate) fn decide(&self, needs: Rights) -> Decision<'_> {
        let missing = needs - self.rights;
        if missing.is_empty() {
            return Decision::allow(&self.rule);
        }
        let rule = self.lacks.get(usize::from(missing.bits())).map_or(rule::DEFAULT_DENY, |rule| rule);
        Decision { verdict: Verdict::Deny, rule }
    }
}
