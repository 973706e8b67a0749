//! Environment variables.

use crate::{
    Action, Error, Principal,
    os::{Done, Fault, Standing},
    policy::{Decision, Resource, rule},
    sys,
};

impl Principal {
    /// Reads the granted environment variables that are set, sorted by name.
    ///
    /// A variable that is not granted does not exist for the caller, set or not. Leaves one record, which names what
    /// is granted; where nothing is, the record is the denial of `*`.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): no variable is granted.
    /// * [`Invalid`](crate::ErrorKind::Invalid): the value of a granted variable is not UTF-8.
    pub fn env(&self) -> Result<Vec<(String, String)>, Error> {
        let standing = self.standing();
        let lifted = self.lifted(&standing)?;
        let named = standing.grants.as_ref().map(|grants| grants.variables()).unwrap_or_default();
        let decide = |name| standing.decide(Action::EnvRead, Resource::Name(name));
        let mut denied = standing.grants.as_ref().err().copied().unwrap_or(rule::DEFAULT_DENY);
        let mut granted = Vec::new();
        for name in named {
            let decision = decide(name);
            let counted =
                if decision.permits() { decision.take(sys::monotonic_ns) } else { Err(decision.rule) };
            match counted {
                Ok(()) => granted.push((name, decision.uncounted())),
                Err(rule) => denied = rule,
            }
        }
        // The rule on record is that of the first, unless one is only read because denials are not carried out.
        let all = granted.iter().rev().map(|(_, decision)| *decision).reduce(Decision::and);
        let Some(decision) = all else {
            if !lifted.is_empty() {
                return Ok(lifted);
            }
            return Err(self.operation(Action::EnvRead, b"*").deny(denied, standing.epoch));
        };
        let names = granted.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",");
        let running = self.operation(Action::EnvRead, names.as_bytes()).begin(decision, standing.epoch)?;
        let read: Result<Vec<_>, _> = granted.iter().filter_map(|(name, _)| read(name)).collect();
        let mut variables = running.finish(read.map(Done::new))?;
        variables.extend(lifted);
        variables.sort_unstable();
        Ok(variables)
    }

    /// Where denials are not carried out: all other variables that are set, each with a record of its own.
    fn lifted(&self, standing: &Standing) -> Result<Vec<(String, String)>, Error> {
        let mut lifted = Vec::new();
        if !standing.mode().lifts() {
            return Ok(lifted);
        }
        for name in sys::variables() {
            let decision = standing.decide(Action::EnvRead, Resource::Name(&name));
            let granted = standing.grants.as_ref().is_ok_and(|grants| grants.variables().contains(&&*name));
            if granted || !decision.permits() {
                continue;
            }
            let running = self.operation(Action::EnvRead, name.as_bytes()).begin(decision, standing.epoch)?;
            // One that is no text cannot be told, and a program that is only watched does not fail for it.
            let value = read(&name).and_then(Result::ok);
            lifted.extend(running.finish(Ok(Done::new(value)))?);
        }
        Ok(lifted)
    }
}

fn read(name: &str) -> Option<Result<(String, String), Fault>> {
    let value = sys::variable(name)?;
    Some(
        value
            .into_string()
            .map(|value| (name.to_owned(), value))
            .map_err(|_| Fault::errno(sys::errno::INVALID)),
    )
}
