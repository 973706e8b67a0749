//! A rule as it stands in a compiled table: its name, and when it holds.

use std::sync::Arc;

use super::{
    Decision, rule,
    when::{self, Moment, Unmet, When},
};

/// One rule for one object.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    pub(super) rule: Box<str>,
    /// Which list of grants it comes from.
    pub(super) owner: u32,
    terms: Option<Box<Terms>>,
}

/// What a rule depends on, and what to answer where that is not so: written at compile time, so that a denial
/// allocates nothing.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    whens: Box<[Arc<When>]>,
    expired: Box<str>,
    outside: Box<str>,
    spent: Box<str>,
}

impl Clause {
    pub(super) fn new(name: &str, owner: u32, whens: &[Arc<When>]) -> Self {
        let terms = (!whens.is_empty()).then(|| {
            Box::new(Terms {
                whens: whens.into(),
                expired: format!("{name}{}", rule::EXPIRED).into(),
                outside: format!("{name}{}", rule::OUTSIDE_HOURS).into(),
                spent: format!("{name}{}", rule::OVER_RATE).into(),
            })
        });
        Self { rule: name.into(), owner, terms }
    }

    /// Permits, or says what is in the way.
    #[inline]
    pub(super) fn permit(&self, now: Moment) -> Decision<'_> {
        match &self.terms {
            None => Decision::allow(&self.rule),
            Some(terms) => self.permit_under(terms, now),
        }
    }

    fn permit_under<'a>(&'a self, terms: &'a Terms, now: Moment) -> Decision<'a> {
        match terms.whens.iter().find_map(|when| when.unmet(now)) {
            None => Decision { spends: Some(terms), ..Decision::allow(&self.rule) },
            Some(Unmet::Expired) => Decision::deny(&terms.expired),
            Some(Unmet::Outside) => Decision::deny(&terms.outside),
            Some(Unmet::Spent) => Decision::deny(&terms.spent),
        }
    }

    /// Whether it permits now.
    #[inline]
    pub(super) fn holds(&self, now: Moment) -> bool {
        self.terms.is_none() || self.permit(now).permits()
    }

    /// Whether it forbids now.
    pub(super) fn forbids(&self, now: Moment) -> bool {
        self.terms.as_ref().is_none_or(|terms| terms.whens.iter().all(|when| when.forbids(now)))
    }

    pub(super) fn is_timed(&self) -> bool {
        self.terms.is_some()
    }

    /// Whether both count their uses, and not as uses of the same: a rule that comes by two ways counts in one bucket.
    pub(super) fn has_other_rate(&self, other: &Self) -> bool {
        let (mut mine, mut others) = (self.rates().peekable(), other.rates().peekable());
        mine.peek().is_some() && others.peek().is_some() && !mine.map(Arc::as_ptr).eq(others.map(Arc::as_ptr))
    }

    fn rates(&self) -> impl Iterator<Item = &Arc<When>> {
        let whens = self.terms.iter().flat_map(|terms| &terms.whens);
        whens.filter(|when| when.rate.is_some())
    }

    /// Whether both come from one list and hold at all times: then one of them is a mistake.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        self.owner == other.owner && !self.is_timed() && !other.is_timed()
    }
}

impl Terms {
    /// Whether a use is counted at all.
    pub(super) fn has_rate(&self) -> bool {
        self.whens.iter().any(|when| when.rate.is_some())
    }

    /// Counts one use; says by which rule not, where too many were.
    pub(super) fn take(&self, now_ns: u64) -> Result<(), &str> {
        if when::take_all(&self.whens, now_ns) { Ok(()) } else { Err(&self.spent) }
    }

    pub(super) fn give_back(&self) {
        when::give_back(&self.whens);
    }
}

/// All rules for one object. Nearly always there is one, which then stands where the table does, in one line of a
/// processor's cache.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Clauses {
    first: Clause,
    more: Vec<Clause>,
}

impl Clauses {
    pub(super) fn new(first: Clause) -> Self {
        Self { first, more: Vec::new() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Clause> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// The first that permits, or what is in the way of the first.
    #[inline]
    pub(super) fn permit(&self, now: Moment) -> Decision<'_> {
        let first = self.first.permit(now);
        if first.permits() || self.more.is_empty() {
            return first;
        }
        self.permit_more(now).unwrap_or(first)
    }

    /// It stands by itself, so that where there is one clause nobody has to step around it.
    #[inline(never)]
    fn permit_more(&self, now: Moment) -> Option<Decision<'_>> {
        self.more.iter().map(|clause| clause.permit(now)).find(Decision::permits)
    }

    pub(super) fn forbids(&self, now: Moment) -> Option<&Clause> {
        self.iter().find(|clause| clause.forbids(now))
    }
}

/// Where clauses for one object are collected.
pub(super) trait Collect {
    /// Adds a clause, and says whether it says again what one of the same list said.
    fn add(&mut self, clause: Clause) -> bool;
}

impl Collect for Clauses {
    fn add(&mut self, clause: Clause) -> bool {
        let twice = self.iter().any(|known| known.repeats(&clause));
        self.more.push(clause);
        twice
    }
}

impl Collect for Option<Clauses> {
    fn add(&mut self, clause: Clause) -> bool {
        if let Some(clauses) = self {
            return clauses.add(clause);
        }
        *self = Some(Clauses::new(clause));
        false
    }
}
