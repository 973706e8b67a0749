//! `airssys:process`: programs of the operating system.

use airssys_osl::{Action, ErrorKind};
use wasmtime::Result;

use super::{Host, bindings::airssys::process::process};

impl process::Host for Host {
    /// The manifest has no grant of programs for components, so the door always says no; it is the door that says it,
    /// on the record.
    fn run(&mut self, program: String, _arguments: Vec<String>) -> Result<Result<u8, process::Error>> {
        let refused = match self.principal.attempt(Action::ProcessSpawn, &program) {
            Ok(never) => match never {},
            Err(refused) => refused,
        };
        Ok(Err(match refused.kind() {
            ErrorKind::Denied => process::Error::NotPermitted,
            _ => process::Error::Unsupported,
        }))
    }
}
