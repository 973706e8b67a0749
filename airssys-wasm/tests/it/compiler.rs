//! A compiler in a process of its own, where the program that is started is none.

use airssys_osl::{
    Os,
    policy::{Grant, Policy},
    testing::MemorySink,
};
use airssys_wasm::{Compiler, Component, Engine, ErrorKind, Origin, manifest::CompileLimits};

fn engine(policy: Policy) -> Engine {
    let principal = Os::new(policy, MemorySink::new()).principal("compiler").unwrap();
    Engine::new().unwrap().compiling_with(Compiler::new(principal, CompileLimits::default()))
}

const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

#[tokio::test]
async fn what_ends_before_it_has_a_byte_says_nothing_about_them() {
    // It is this program, which lists its tests and ends.
    let grant = Compiler::grant(&["--list", "--exact"], &CompileLimits::default());
    let engine = engine(Policy::builder().principal("compiler", [grant]).build().unwrap());
    let (_, origin) = Component::load(&engine, EMPTY.to_vec(), None, || ()).await.unwrap();
    assert_eq!(origin, Origin::Compiled);
}

#[tokio::test]
async fn what_policy_refuses_is_not_done_otherwise() {
    let engine = engine(Policy::builder().principal("compiler", Vec::<Grant>::new()).build().unwrap());
    let refused = Component::load(&engine, EMPTY.to_vec(), None, || ()).await;
    assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::Denied));
}
