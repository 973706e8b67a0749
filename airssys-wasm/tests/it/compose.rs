//! Components made of several: what is plugged in answers, by the grants of the component that it is plugged into.

use std::{path::PathBuf, time::Duration};

use airssys_wasm::{Component, ErrorKind, Handover};

use crate::{
    versions::told,
    world::{ENGINE, World},
};

const PLUGGED: &str = "[component.a]\nEDITOR\nplug = [WORDS]\n";

/// The editor that calls itself by another name of three letters.
pub(crate) fn editor(version: &str) -> Vec<u8> {
    let mark = b"editor-version:";
    let mut bytes = fixture("editor.wasm");
    let at = bytes.windows(mark.len()).position(|window| window == mark).unwrap() + mark.len();
    bytes.iter_mut().skip(at).zip(version.bytes()).for_each(|(byte, new)| *byte = new);
    bytes
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

impl World {
    /// Puts other bytes in the place of the component `a`.
    async fn replace(&self, bytes: Vec<u8>) -> Result<airssys_wasm::Switched, airssys_wasm::Error> {
        let version = self.system.load("a", bytes, None).await?;
        self.system.upgrade("a", &version, Handover::State, Duration::from_secs(30)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plug_answers_and_goes_along_with_an_upgrade() {
    let world = World::start(PLUGGED).await;
    assert_eq!(world.ask("a", "add", "one two  three").await, "one 3");

    let switched = world.replace(editor("two")).await.unwrap();
    assert_eq!((switched.from == switched.to, switched.state_bytes), (false, Some(8)));
    assert_eq!(world.ask("a", "add", "four").await, "two 4", "the plug is there, and so is the state");

    // Loaded past the system, it would go without its plug.
    let bare = Component::load(&ENGINE, fixture("ledger.wasm"), None, || ()).await.unwrap().0;
    let bare = world.system.upgrade("a", &bare, Handover::State, Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(bare.kind(), ErrorKind::InvalidComponent);
    assert!(told(&bare).contains("without what the manifest plugs into it"), "{bare:?}");

    // What does not fit the plugs is no version, and neither is what is no component.
    let unfit = world.replace(fixture("ledger.wasm")).await.unwrap_err();
    assert_eq!(unfit.kind(), ErrorKind::InvalidComponent);
    assert!(
        told(&unfit).contains("`words.wasm` fits nowhere: it exports `airssys-test:words/count@0.1.0`"),
        "{unfit:?}"
    );
    let mut cut = editor("bad");
    cut.truncate(cut.len() / 2);
    let cut = world.replace(cut).await.unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::InvalidComponent);
    assert!(told(&cut).contains("`a` is no component"), "{cut:?}");
    assert_eq!(world.ask("a", "report", "").await, "two 4");

    let back = world.system.rollback("a", Handover::State, Duration::from_secs(30)).await.unwrap();
    assert_eq!(back.to, switched.from);
    assert_eq!(world.ask("a", "report", "").await, "one 4");
    assert!(world.told().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_a_version_is_compiled_is_told() {
    let world = World::start(PLUGGED).await;
    assert_eq!(world.compiled(), 1);
    world.replace(editor("two")).await.unwrap();
    assert_eq!(world.compiled(), 2, "the other version, too");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plug_may_what_the_component_may() {
    let start = async |grants: &str| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("stop")).unwrap();
        std::fs::write(dir.path().join("stop/words"), "the a").unwrap();
        World::start_in(dir, &format!("{PLUGGED}{grants}")).await
    };
    let granted =
        start("grants = { fs = [{ path = \"stop\", guest = \"/stop\", rights = [\"read\"] }] }\n").await;
    assert_eq!(granted.ask("a", "add", "the cat on a mat").await, "one 3", "two are on the list");
    let denied = start("").await;
    assert_eq!(denied.ask("a", "add", "the cat on a mat").await, "one 5", "it sees no list");
}
