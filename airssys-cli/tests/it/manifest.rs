//! Manifests that are not what they should be: each problem with its file, line, cause and fix.

use insta::assert_snapshot;

use crate::program::World;

/// Checks a manifest, and gives what the user sees.
fn check(manifest: &str) -> String {
    let world = World::new();
    world.write("system/airssys.toml", manifest);
    let ended = world.run(&["check", "system"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn every_problem_is_shown_in_its_place() {
    assert_snapshot!(check(
        r#"
[system]
nmae = "shop"

[supervisor.front]
strategy = "one_for_al"
children = ["cart", "chekout"]

[component.cart]
source = "cart.wasm"
mailbox = "large"

[component.checkout]
source = "checkout.wasm"
grants = { net = ["*"] }
"#
    ));
}

#[test]
fn a_cycle_is_shown() {
    assert_snapshot!(check(
        r#"
[system]
name = "ring"

[supervisor.a]
children = ["b"]

[supervisor.b]
children = ["a"]

[component.c]
source = "c.wasm"
"#
    ));
}

#[test]
fn what_is_no_toml_is_shown() {
    assert_snapshot!(check("[system\nname = 1\n"));
}

#[test]
fn missing_files_are_shown_all_at_once() {
    assert_snapshot!(check(
        r#"
[system]
name = "shop"

[component.cart]
source = "cart.wasm"
grants = { fs = [{ path = "data", guest = "/data", rights = ["read"] }] }

[component.checkout]
source = "checkout.wasm"
"#
    ));
}

#[test]
fn a_component_that_is_none_and_a_wrong_digest_are_shown() {
    let world = World::with_example("logwatch");
    let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    world.write("logwatch/text.wasm", "just text");
    let manifest = format!(
        "[system]\nname = \"x\"\n[component.a]\nsource = \"components/stats.wasm\"\ndigest = \"{digest}\"\n\
         [component.b]\nsource = \"text.wasm\"\n"
    );
    world.write("logwatch/airssys.toml", manifest);
    let ended = world.run(&["check", "logwatch"]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    for told in ["its digest is sha256:", "write its digest here", "cannot load the component", "2 problems"]
    {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
}

#[test]
fn a_folder_without_a_manifest_says_what_to_give() {
    let world = World::new();
    world.write("empty/file", "");
    let ended = world.run(&["run", "empty"]);
    assert_eq!(ended.code, Some(3));
    assert_snapshot!(ended.stderr);
}

#[test]
fn values_for_unknown_variables_are_refused() {
    let world = World::with_example("logwatch");
    let ended = world.run(&["run", "logwatch", "--set", "inbx=/tmp"]);
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.stderr.contains("no variable `inbx`") && ended.stderr.contains("did you mean `inbox`?"),
        "{}",
        ended.stderr
    );
}

#[test]
fn problems_are_told_to_programs_too() {
    let world = World::new();
    world.write("system/airssys.toml", "[system]\nname = \"s\"\n\n[component.c]\nsorce = \"c.wasm\"\n");
    let (code, told) = world.run_json(&["check", "system"]);
    assert_eq!(code, Some(3));
    let problems = told[0]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{told:#?}");
    assert_eq!(
        (problems[1]["line"].as_u64(), problems[1]["help"].as_str()),
        (Some(5), Some("did you mean `source`?"))
    );
}

#[test]
fn a_guest_that_never_starts_ends_the_run_with_its_reason() {
    let world = World::with_example("logwatch");
    world.write(
        "logwatch/airssys.toml",
        "[system]\nname = \"x\"\n[component.reader]\nsource = \"components/reader.wasm\"\nconfig = { speed = 5 }\n",
    );
    let ended = world.run(&["run", "logwatch"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot start") && ended.stderr.contains("speed"), "{}", ended.stderr);
}

#[test]
fn the_policy_is_printed_in_the_words_of_cedar() {
    let world = World::with_example("logwatch");
    let print = |part: &str| {
        let ended = world.run(&["check", "logwatch", "--cedar", part]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    assert!(print("policies").contains("@rule(\"component.reader.grants.fs[0]\")"), "{}", print("policies"));
    let entities: serde_json::Value = serde_json::from_str(&print("entities")).unwrap();
    let is_reader = |entity: &serde_json::Value| entity["uid"]["id"] == "component.reader";
    assert!(entities.as_array().unwrap().iter().any(is_reader), "{entities:#}");
    assert!(print("schema").contains("entity Principal"), "{}", print("schema"));
    let (code, all) = world.run_json(&["check", "logwatch", "--cedar", "policies"]);
    assert_eq!((code, all[0].as_object().unwrap().len()), (Some(0), 3));
    assert!(!world.path("logwatch/.airssys").exists(), "nothing was loaded");
}
