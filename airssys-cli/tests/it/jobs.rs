//! Programs that a system runs from their start to their end.

use std::fs;

use crate::program::{World, repository};

fn world(keys: &str) -> World {
    let world = World::new();
    let hello = repository().join("airssys-cli/tests/fixtures/hello.wasm");
    fs::copy(hello, world.path("hello.wasm")).unwrap();
    let limits = "limits = { deadline = \"10m\" }";
    world.write(
        "airssys.toml",
        format!("[system]\nname = \"s\"\n[component.job]\nsource = \"hello.wasm\"\n{limits}\n{keys}\n"),
    );
    world
}

#[test]
fn a_job_has_its_arguments_and_variables_and_says_what_it_says_to_the_log() {
    let world = world("job = { args = [\"one\", \"two\"], env = { LANG = \"C\" } }");
    let ended = world.run(&["run", ".", "--until-idle"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in ["hello", "arguments: one two", "variables: 1", "files: no directory is granted"] {
        assert!(ended.stderr.contains(line), "{line}: {}", ended.stderr);
    }
    assert_eq!(ended.stdout, "", "the streams are not this program's");
}

#[test]
fn a_job_that_fails_is_told_with_its_status() {
    let failing = "job = { args = [\"--fail\"], ready = \"done\" }";
    let ended = world(failing).run(&["run", ".", "--until-idle"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("the guest exited with status 1"), "{}", ended.stderr);
    let ended = world("").run(&["check", "."]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("a job has `job = {}` in the manifest"), "{}", ended.stderr);
}
