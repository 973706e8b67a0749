//! An actor as text, which does what a test says where no fixture does.

use airssys_wasm::Component;

use crate::world::ENGINE;

/// Has its timer `tick` armed for a minute later.
pub(crate) const ARM: &str = "(call $arm)";

/// Sends the ledger `witness` its first number.
pub(crate) const TELL: &str = "(call $tell)";

/// Crashes.
pub(crate) const TRAP: &str = "(unreachable)";

/// An actor that does these things in its exports and answers nothing. Its state is empty.
pub(crate) fn actor(init: &str, handle: &str, snapshot: &str) -> Vec<u8> {
    let text = include_str!("text/actor.wat")
        .replace("(; init ;)", init)
        .replace("(; handle ;)", handle)
        .replace("(; snapshot ;)", snapshot);
    wat::parse_str(text).unwrap()
}

pub(crate) async fn component(bytes: Vec<u8>) -> Component {
    Component::load(&ENGINE, bytes, None, || ()).await.unwrap().0
}

/// An actor without a state, which does this with a message and answers nothing.
pub(crate) fn stateless(handle: &str) -> Vec<u8> {
    let text = include_str!("text/actor.wat").replace("(; handle ;)", handle);
    let state = "(export \"airssys:actor/state@0.1.0\" (instance $state))";
    assert!(text.contains(state));
    wat::parse_str(text.replace(state, "")).unwrap()
}

/// The actor, importing something of WASI 0.3.
pub(crate) fn newer() -> Vec<u8> {
    let exit =
        r#"(import "wasi:cli/exit@0.3.0" (instance (export "exit" (func (param "status" (result))))))"#;
    let text = include_str!("text/actor.wat").replacen("(component", &format!("(component {exit}"), 1);
    wat::parse_str(text).unwrap()
}

/// What is run once: does this, and leaves the status on the stack.
pub(crate) fn job(run: &str) -> Vec<u8> {
    wat::parse_str(include_str!("text/job.wat").replace("(; run ;)", run)).unwrap()
}
