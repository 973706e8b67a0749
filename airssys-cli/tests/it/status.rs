//! `airssys status` against a system that runs.

use std::fs;

use crate::program::{World, repository};

const MANIFEST: &str = "[system]\nname = \"s\"\n\
    [component.front]\nsource = \"ledger.wasm\"\nafter = \"store\"\n\
    [component.store]\nsource = \"editor.wasm\"\nplug = [\"words.wasm\"]\nhealth = {}\n\
    grants = { fs = [{ path = \"stop\", guest = \"/stop\", rights = [\"read\"] }] }\n";

#[test]
fn who_is_ready_is_told_and_who_is_not_well_ends_the_start() {
    let world = World::new();
    world.write("airssys.toml", MANIFEST);
    for name in ["editor.wasm", "words.wasm", "ledger.wasm"] {
        fs::copy(repository().join("airssys-wasm/tests/fixtures").join(name), world.path(name)).unwrap();
    }
    fs::create_dir(world.path("stop")).unwrap();
    let absent = world.run(&["status"]);
    assert_eq!(absent.code, Some(1));
    assert!(absent.stderr.contains("does not run"), "{}", absent.stderr);

    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    let (code, told) = world.run_json(&["status"]);
    let states: Vec<_> =
        told.iter().map(|member| (member["name"].as_str(), member["state"].as_str())).collect();
    assert_eq!(
        (code, states),
        (Some(0), vec![(Some("front"), Some("ready")), (Some("store"), Some("ready"))])
    );
    assert!(told[1]["version"].as_str().unwrap().starts_with("sha256:"), "{told:#?}");
    let shown = world.run(&["status", "."]);
    assert!(shown.stdout.lines().next().unwrap().starts_with("front      ready "), "{}", shown.stdout);
    assert!(shown.stderr.contains("component  state"), "{}", shown.stderr);
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));

    world.write("stop/sick", "a cold");
    // Given ever more time, until that is enough to ask it once.
    let told = ["100ms", "2s", "20s"].into_iter().find_map(|start| {
        let health = format!("health = {{ start = \"{start}\" }}");
        world.write("airssys.toml", MANIFEST.replace("health = {}", &health));
        let ill = world.run(&["run", "."]);
        assert_eq!(ill.code, Some(1), "{}", ill.stderr);
        (!ill.stderr.contains("it has not answered yet")).then_some(ill.stderr)
    });
    let told = told.expect("it is asked once in 20 s");
    assert!(told.contains("not well  store: a cold"), "{told}");
    assert!(told.contains(" (health.start): a cold"), "{told}");
}
