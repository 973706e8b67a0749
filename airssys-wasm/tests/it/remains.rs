//! What a guest wrote ends with it: slots of the pool are used again, and the next guest finds them as new.

use airssys_osl::{Os, Principal, policy::Policy, testing::MemorySink};
use airssys_wasm::{Command, CommandOptions, Ended, Engine, Invocation, grant_command, principal_name};

use crate::world::ENGINE;

/// So many guests after each other have the slot of the one before.
const GUESTS: usize = 20;

/// So many tenants, each with code of its own, run after each other, twice. The pool keeps slots for those that it knows, up to
/// a hundred: from then on each has the slot of another, and the second time it has it of one that came since.
const TENANTS: usize = 130;

/// Counts what is not as it has to be in a memory of three pages that grows by so many: zero everywhere, but for a word of
/// its own. Then it soils all of it.
fn visitor(grown_pages: u32, word: &str) -> String {
    format!(
        r#"(module
            (memory 3)
            (data (i32.const 70000) "{word}")
            (func (export "visit") (result i32) (local $at i32) (local $end i32) (local $found i32)
                (drop (memory.grow (i32.const {grown_pages})))
                (local.set $end (i32.mul (memory.size) (i32.const 65536)))
                (local.set $found (i32.ne (i32.load (i32.const 70000)) (i32.load (i32.const 70004))))
                (i64.store (i32.const 70000) (i64.const 0))
                (loop $next
                    (local.set $found (i32.add (local.get $found)
                        (i64.ne (i64.load (local.get $at)) (i64.const 0))))
                    (local.set $at (i32.add (local.get $at) (i32.const 8)))
                    (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
                (memory.fill (i32.const 0) (i32.const 0xa5) (local.get $end))
                (local.get $found)))"#
    )
}

fn visit() -> (CommandOptions, Principal) {
    let options = CommandOptions {
        memory_bytes: 64 << 20,
        invoke: Some(Invocation { function: "visit".to_owned(), arguments: Vec::new() }),
        ..CommandOptions::default()
    };
    let policy = grant_command(Policy::builder(), "visitor", &options).build().unwrap();
    let principal = Os::new(policy, MemorySink::new()).principal(&principal_name("visitor")).unwrap();
    (options, principal)
}

async fn check(grown_pages: u32) {
    let (options, principal) = visit();
    for word in ["pagepage", "slotslot"] {
        let bytes = visitor(grown_pages, word).into_bytes();
        let (command, _) = Command::load(&ENGINE, bytes, None, || ()).await.unwrap();
        for guest in 0..GUESTS {
            let ended = command.run(&ENGINE, &principal, &options).await.unwrap();
            assert_eq!(ended, Ended::Returned(vec!["0".to_owned()]), "guest {guest}, {grown_pages} pages");
        }
    }
}

#[tokio::test]
async fn no_byte_of_one_guest_reaches_the_next() {
    // All of it is cleared in place; it is more than that; and most of it is given back.
    for grown_pages in [0, 16, 100] {
        check(grown_pages).await;
    }
}

#[tokio::test]
async fn no_byte_of_one_tenant_reaches_another() {
    // Where an engine is somebody else's, too, others take slots meanwhile; so it has its own.
    tenants(Engine::new().unwrap()).await;
}

#[tokio::test]
async fn no_byte_of_one_tenant_reaches_another_without_the_pool() {
    tenants(Engine::holding(usize::MAX).unwrap()).await;
}

async fn tenants(engine: Engine) {
    let (options, principal) = visit();
    let mut tenants = Vec::with_capacity(TENANTS);
    for number in 0..TENANTS {
        let word = format!("{number:04}").repeat(2);
        let bytes = visitor(number as u32 % 20, &word).into_bytes();
        tenants.push(Command::load(&engine, bytes, None, || ()).await.unwrap().0);
    }
    for (visit, tenant) in tenants.iter().chain(&tenants).enumerate() {
        let ended = tenant.run(&engine, &principal, &options).await.unwrap();
        assert_eq!(ended, Ended::Returned(vec!["0".to_owned()]), "visit {visit}");
    }
}
