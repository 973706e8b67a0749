//! What holds beneath one granted directory: rights from one or several rules, and prohibitions among them.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use super::{
    Decision, FsTerms, Mode, Rights,
    clause::{Clause, Terms},
    rule,
    when::Moment,
};
use crate::sys;

/// All that is ruled about one directory for one principal.
#[derive(Debug)]
pub(crate) struct FsGrant {
    pub(crate) root: Box<Path>,
    /// What may be permitted at some time.
    pub(crate) rights: Rights,
    /// What is permitted at all times.
    certain: Rights,
    pub(crate) terms: FsTerms,
    permits: Box<[Part]>,
    forbids: Box<[Part]>,
    /// What to answer where rights are missing, by their bits: written at compile time, so that a denial allocates
    /// nothing. Empty where the grant has one of them.
    lacks: [Box<str>; LACKS],
    mode: Mode,
}

/// How many sets of rights there are.
const LACKS: usize = Rights::all().bits() as usize + 1;

/// A directory in the table: nearly always one rule says all about it, and that rule stands here, in one line of a
/// processor's cache, and what to answer where it lacks what nearly all operations need, in the next one.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Rooted {
    pub(super) grant: Arc<FsGrant>,
    /// What one rule permits at all times where nothing is forbidden and denials are carried out.
    only: Option<Rights>,
    /// That rule.
    rule: Box<str>,
    /// What to answer where one right is needed, by its bit, and it lacks that: found by what is asked alone, so that
    /// nothing has to be on its way from memory before.
    lacks: [Box<str>; RIGHTS],
}

/// How many rights there are.
const RIGHTS: usize = Rights::all().bits().count_ones() as usize;

impl Rooted {
    pub(super) fn new(grant: Arc<FsGrant>) -> Self {
        let only = match &*grant.permits {
            [part] if grant.forbids.is_empty() && !part.clause.is_timed() && !grant.mode.lifts() => {
                Some((part.rights, part.clause.rule.clone()))
            }
            _ => None,
        };
        let (only, rule) = only.unzip();
        let lacks = std::array::from_fn(|bit| grant.lacks.get(1 << bit).cloned().unwrap_or_default());
        Self { grant, only, rule: rule.unwrap_or_default(), lacks }
    }

    /// As [`FsGrant::decide`].
    #[inline]
    pub(super) fn decide(&self, needs: Rights, now: Moment) -> Decision<'_> {
        let Some(rights) = self.only else { return self.grant.decide(needs, now) };
        if rights.contains(needs) {
            return Decision::allow(&self.rule);
        }
        if needs.bits().is_power_of_two() {
            let lacks = self.lacks.get(needs.bits().trailing_zeros() as usize);
            return Decision::deny(lacks.map_or(rule::DEFAULT_DENY, |rule| rule));
        }
        self.grant.lacking(needs - rights)
    }
}

/// Some rights, and the rule that is about them.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) rights: Rights,
    pub(super) clause: Clause,
}

/// A directory as it is spelled, and where that leads when the policy is made: a prohibition holds for the place, by
/// whatever links it is granted.
#[derive(Debug)]
pub(super) struct Location {
    spelled: PathBuf,
    real: PathBuf,
}

impl Location {
    pub(super) fn of(spelled: PathBuf) -> Self {
        let real = sys::real_path(&spelled);
        Self { spelled, real }
    }

    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.spelled.starts_with(&other.spelled) || self.real.starts_with(&other.real)
    }

    /// The path to this place from one above it.
    pub(super) fn beneath(&self, above: &Self) -> Option<&Path> {
        let spelled = self.spelled.strip_prefix(&above.spelled);
        spelled.or_else(|_| self.real.strip_prefix(&above.real)).ok()
    }
}

/// What [`Mode::Learn`] records, by the bits of the rights that were needed.
static NEEDS: LazyLock<Box<[Box<str>]>> = LazyLock::new(|| {
    let rights = (0..=Rights::all().bits()).map(Rights::from_bits_truncate);
    rights.map(|rights| format!("{}{rights}", rule::LEARN).into()).collect()
});

impl FsGrant {
    pub(super) fn new(
        root: PathBuf,
        terms: FsTerms,
        permits: Vec<Part>,
        forbids: Vec<Part>,
        mode: Mode,
    ) -> Self {
        let union = |parts: &mut dyn Iterator<Item = &Part>| {
            parts.fold(Rights::empty(), |rights, part| rights | part.rights)
        };
        let always = |part: &&Part| !part.clause.is_timed();
        let rights = union(&mut permits.iter());
        let certain = union(&mut permits.iter().filter(always)) - union(&mut forbids.iter());
        let rule = permits.first().map_or(rule::DEFAULT_DENY, |part| &part.clause.rule);
        let lacks = std::array::from_fn(|bits| {
            let missing = Rights::from_bits_truncate(bits as u8);
            if missing.is_empty() || missing.intersects(rights) {
                return Box::default();
            }
            format!("{rule}{}{missing}", rule::LACKS).into_boxed_str()
        });
        Self {
            root: root.into(),
            rights,
            certain,
            terms,
            lacks,
            permits: permits.into(),
            forbids: forbids.into(),
            mode,
        }
    }

    /// The grant of a directory that none names, where denials are not carried out.
    pub(super) fn lifted(root: &Path, mode: Mode) -> Self {
        Self::new(root.to_path_buf(), FsTerms::new(), Vec::new(), Vec::new(), mode)
    }

    /// Whether an answer may be another one at another time.
    pub(crate) fn is_timed(&self) -> bool {
        self.permits.iter().chain(&self.forbids).any(|part| part.clause.is_timed())
    }

    /// What a handle that is opened now may do at most.
    pub(crate) fn reach(&self) -> Rights {
        if self.mode.lifts() { Rights::all() } else { self.rights }
    }

    /// Whether whoever has this can do with an object, at any time, all that `other` ever permits, both cut to what
    /// their handles permit; and whether the terms there are not laxer.
    pub(crate) fn outreaches(&self, held: Rights, other: &Self, other_held: Rights) -> bool {
        let here = if self.mode.lifts() { Rights::all() } else { self.certain };
        (here & held).contains(other.reach() & other_held) && !other.terms.laxer_than(&self.terms)
    }

    pub(crate) fn decide(&self, needs: Rights, now: Moment) -> Decision<'_> {
        let decision = self.decide_strictly(needs, now).under(self.mode);
        match self.mode {
            Mode::Learn if decision.permits() => {
                let needed = NEEDS.get(usize::from(needs.bits())).map_or(rule::DEFAULT_DENY, |rule| rule);
                Decision { rule: needed, ..decision }
            }
            _ => decision,
        }
    }

    fn lacking(&self, missing: Rights) -> Decision<'_> {
        Decision::deny(self.lacks.get(usize::from(missing.bits())).map_or(rule::DEFAULT_DENY, |rule| rule))
    }

    fn decide_strictly(&self, needs: Rights, now: Moment) -> Decision<'_> {
        // What needs no right is the directory itself: it takes a prohibition of all to forbid that.
        let concerns = |part: &&Part| match needs.is_empty() {
            true => part.rights.is_all(),
            false => part.rights.intersects(needs),
        };
        if let Some(part) = self.forbids.iter().filter(concerns).find(|part| part.clause.forbids(now)) {
            return Decision::deny(&part.clause.rule);
        }
        let (mut missing, mut permitted, mut unmet) = (needs, None::<Decision<'_>>, None);
        for part in &self.permits {
            if permitted.is_some() && !part.rights.intersects(missing) {
                continue;
            }
            let decision = part.clause.permit(now);
            if !decision.permits() {
                // One that has nothing of what is needed is not in the way.
                if needs.is_empty() || part.rights.intersects(needs) {
                    unmet.get_or_insert(decision);
                }
            } else if needs.is_empty() || part.rights.intersects(missing) {
                missing -= part.rights;
                // A rate is counted wherever it is among the parts; all that have one have the same (`Draft::add_fs`).
                let counts = |decision: Decision<'_>| decision.spends.is_some_and(Terms::has_rate);
                let keeps = permitted.is_some_and(|before| counts(before) || !counts(decision));
                permitted = if keeps { permitted } else { Some(spending(permitted, decision)) };
            }
            if missing.is_empty() && permitted.is_some() {
                break;
            }
        }
        match (permitted, unmet) {
            (Some(permitted), _) if missing.is_empty() => permitted,
            (_, Some(unmet)) if self.rights.contains(missing) => unmet,
            _ => self.lacking(needs - self.rights),
        }
    }
}

/// The name of the first rule, with what the second one counts.
fn spending<'a>(first: Option<Decision<'a>>, second: Decision<'a>) -> Decision<'a> {
    match first {
        Some(first) => Decision { spends: second.spends, ..first },
        None => second,
    }
}
