//! Handles are numbers to a guest, and nothing more: one that it was not given, or gave back, ends it.

use airssys_osl::{Os, policy::Policy, testing::MemorySink};
use airssys_wasm::{Command, CommandOptions, Trap, TrapKind, grant_command, principal_name};

use crate::world::ENGINE;

/// A command that calls `block` and `drop` of pollables with numbers of its own.
fn forger(body: &str) -> String {
    format!(
        r#"(component
            (import "wasi:io/poll@0.2.12" (instance $poll
                (export "pollable" (type $pollable (sub resource)))
                (export "[method]pollable.block" (func (param "self" (borrow $pollable))))
            ))
            (alias export $poll "pollable" (type $pollable))
            (import "wasi:clocks/monotonic-clock@0.2.12" (instance $clock
                (alias outer 1 $pollable (type $outer))
                (export "pollable" (type $pollable (eq $outer)))
                (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))
            ))
            (core func $block (canon lower (func $poll "[method]pollable.block")))
            (core func $subscribe (canon lower (func $clock "subscribe-duration")))
            (core func $drop (canon resource.drop $pollable))
            (core module $forger
                (import "" "block" (func $block (param i32)))
                (import "" "subscribe" (func $subscribe (param i64) (result i32)))
                (import "" "drop" (func $drop (param i32)))
                (func (export "run") (result i32) (local $handle i32)
                    {body}
                    (i32.const 0))
            )
            (core instance $instance (instantiate $forger (with "" (instance
                (export "block" (func $block))
                (export "subscribe" (func $subscribe))
                (export "drop" (func $drop))
            ))))
            (func $run (result (result)) (canon lift (core func $instance "run")))
            (instance $exported (export "run" (func $run)))
            (export "wasi:cli/run@0.2.12" (instance $exported))
        )"#
    )
}

async fn run(body: &str) -> Result<(), String> {
    let (command, _) = Command::load(&ENGINE, forger(body).into_bytes(), None, || ()).await.unwrap();
    let options = CommandOptions { memory_bytes: 1 << 20, ..CommandOptions::default() };
    let policy = grant_command(Policy::builder(), "forger", &options).build().unwrap();
    let principal = Os::new(policy, MemorySink::new()).principal(&principal_name("forger")).unwrap();
    let Err(error) = command.run(&ENGINE, &principal, &options).await else { return Ok(()) };
    let trap = std::error::Error::source(&error).unwrap().downcast_ref::<Trap>().unwrap();
    assert!(matches!(trap.kind(), TrapKind::Host | TrapKind::Fault), "{trap:?}");
    let causes = std::iter::successors(std::error::Error::source(trap), |cause| cause.source());
    Err(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

#[tokio::test]
async fn a_handle_that_was_given_works_once() {
    let used = "(local.set $handle (call $subscribe (i64.const 1))) (call $block (local.get $handle)) \
                (call $drop (local.get $handle))";
    assert_eq!(run(used).await, Ok(()));
    let twice = run(&format!("{used} (call $drop (local.get $handle))")).await.unwrap_err();
    assert!(twice.contains("handle"), "{twice}");
    let after = run(&format!("{used} (call $block (local.get $handle))")).await.unwrap_err();
    assert!(after.contains("handle"), "{after}");
}

#[tokio::test]
async fn a_handle_that_was_never_given_ends_the_guest() {
    for number in ["0", "1", "7", "4096", "-1", "0x7fffffff"] {
        for call in ["block", "drop"] {
            let forged = run(&format!("(call ${call} (i32.const {number}))")).await.unwrap_err();
            assert!(forged.contains("handle"), "{call} {number}: {forged}");
        }
    }
}
