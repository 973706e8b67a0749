//! Environment variables.

use crate::{
    Action, Error, Principal,
    os::{Done, Fault},
    policy::{Resource, rule},
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
        let granted = standing.grants.as_ref().map(|grants| grants.variables()).unwrap_or_default();
        let Some((first, _)) = granted.first() else {
            let rule = standing.grants.as_ref().err().copied().unwrap_or(rule::DEFAULT_DENY);
            return Err(self.operation(Action::EnvRead, b"*").deny(rule, standing.epoch));
        };
        let decision = standing.decide(Action::EnvRead, Resource::Name(first));
        let names = granted.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",");
        let running = self.operation(Action::EnvRead, names.as_bytes()).begin(decision, standing.epoch)?;
        running.finish(
            granted.iter().filter_map(|(name, _)| read(name)).collect::<Result<_, _>>().map(Done::new),
        )
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
