//! `airssys precompile`: what this program does when it was started by itself, in a sandbox, to compile hostile bytes.

use std::{
    io::{self, Read as _},
    process::ExitCode,
};

use airssys_wasm::{COMPILING, COMPONENT_BYTES};

use crate::report::{Failure, Terminal};

/// Takes the bytes from stdin, and puts the code on stdout.
pub(super) fn precompile(recipe: &str, terminal: &Terminal) -> Result<ExitCode, Failure> {
    // Who writes to this memory chooses the machine code that our parent loads. What cannot have it so compiles nothing.
    let forbidden = airssys_osl::bootstrap::forbid_tracing();
    forbidden.map_err(|error| Failure::failed("cannot compile unwatched").caused_by(error))?;
    terminal.say(&COMPILING);
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(COMPONENT_BYTES).read_to_end(&mut bytes);
    read.map_err(|error| Failure::failed("cannot read what to compile").caused_by(error))?;
    match airssys_wasm::precompile(recipe, &bytes) {
        Ok(code) => terminal.raw(&code).map(|_| ExitCode::SUCCESS),
        Err(refusal) => {
            terminal.say(&refusal);
            Ok(ExitCode::from(refusal.status()))
        }
    }
}
