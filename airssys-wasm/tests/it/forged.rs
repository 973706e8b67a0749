//! Handles are numbers to a guest, and nothing more: one that it was not given, or gave back, ends it. So does what it hands its
//! host and does not have.

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
    let Some((kind, causes)) = ended(forger(body)).await else { return Ok(()) };
    assert!(matches!(kind, TrapKind::Host | TrapKind::Fault), "{kind:?}: {causes}");
    Err(causes)
}

/// Runs a command, and gives what ended it and why.
async fn ended(text: String) -> Option<(TrapKind, String)> {
    let (command, _) = Command::load(&ENGINE, text.into_bytes(), None, || ()).await.unwrap();
    let options = CommandOptions { memory_bytes: 1 << 20, ..CommandOptions::default() };
    let policy = grant_command(Policy::builder(), "forger", &options).build().unwrap();
    let principal = Os::new(policy, MemorySink::new()).principal(&principal_name("forger")).unwrap();
    let error = command.run(&ENGINE, &principal, &options).await.err()?;
    let trap = std::error::Error::source(&error).unwrap().downcast_ref::<Trap>().unwrap();
    let causes = std::iter::successors(std::error::Error::source(trap), |cause| cause.source());
    let causes = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    Some((trap.kind().clone(), causes))
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

/// A command that calls `run` of programs with texts of its own: where the name is and how long, the same for the list of
/// arguments, and a place for the answer.
fn liar(body: &str) -> String {
    format!(
        r#"(component
            (import "airssys:process/process@0.1.0" (instance $process
                (type $cases (variant (case "not-permitted") (case "unsupported")))
                (export "error" (type $error (eq $cases)))
                (export "run" (func (param "program" string) (param "arguments" (list string))
                    (result (result u8 (error $error)))))
            ))
            (core module $memory (memory (export "memory") 3))
            (core instance $memory (instantiate $memory))
            (core func $run (canon lower (func $process "run") (memory $memory "memory")))
            (core module $liar
                (import "" "memory" (memory 3))
                (import "" "run" (func $run (param i32 i32 i32 i32 i32)))
                (func (export "run") (result i32) (local $at i32)
                    {body}
                    (i32.const 0))
            )
            (core instance $instance (instantiate $liar (with "" (instance
                (export "memory" (memory $memory "memory"))
                (export "run" (func $run))
            ))))
            (func $main (result (result)) (canon lift (core func $instance "run")))
            (instance $exported (export "run" (func $main)))
            (export "wasi:cli/run@0.2.12" (instance $exported))
        )"#
    )
}

#[tokio::test]
async fn lengths_that_lie_end_the_guest() {
    let call = |arguments: [i64; 5]| {
        format!("(call $run {})", arguments.map(|number| format!("(i32.const {number})")).join(" "))
    };
    assert_eq!(ended(liar(&call([0, 4, 0, 0, 8]))).await, None);
    for lie in [
        // The text begins or ends outside of the memory, or both.
        [0, -1, 0, 0, 8],
        [196_600, 9, 0, 0, 8],
        [-4, 4, 0, 0, 8],
        // The list does; by its size, by the product of that, and where it begins.
        [0, 4, 0, 100_000, 8],
        [0, 4, 0, 0x2000_0001, 8],
        [0, 4, 0, -1, 8],
        [0, 4, 196_604, 1, 8],
        // It is not aligned; the answer has no place.
        [0, 4, 1, 1, 8],
        [0, 4, 0, 0, -8],
    ] {
        let (kind, causes) = ended(liar(&call(lie))).await.unwrap_or_else(|| panic!("{lie:?} is believed"));
        assert!(matches!(kind, TrapKind::Host | TrapKind::Fault), "{lie:?}: {kind:?}: {causes}");
    }
    let no_text = format!("(i32.store (i32.const 0) (i32.const -1)) {}", call([0, 4, 0, 0, 8]));
    assert!(ended(liar(&no_text)).await.is_some(), "it is no UTF-8");
}

#[tokio::test]
async fn what_is_handed_many_times_over_counts_each_time() {
    // So many arguments, each of which is the same 64 KiB.
    let many = |count: i32| {
        format!(
            "(local.set $at (i32.const 65536))
            (loop
                (i32.store offset=4 (local.get $at) (i32.const 65536))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if 0 (i32.lt_u (local.get $at) (i32.const {}))))
            (call $run (i32.const 0) (i32.const 1) (i32.const 65536) (i32.const {count}) (i32.const 8))",
            65_536 + 8 * count
        )
    };
    assert_eq!(ended(liar(&many(15))).await, None);
    let (kind, causes) = ended(liar(&many(4000))).await.unwrap();
    assert_eq!(kind, TrapKind::Handed, "{causes}");
}
