//! `docs/manifest.md` names every key that there is, and its examples are manifests.

use std::collections::BTreeSet;

use super::*;
use crate::manifest::parse::keys;

const PAGE: &str = include_str!("../../../../docs/manifest.md");

/// Has every section, every kind of target and every form of a grant in it.
const ALL: &str = r#"
    [vars]
    x = { path = "x" }
    [system]
    compile = {}
    [policy.forbid]
    fs = [{ path = "x" }]
    [audit]
    retention = {}
    denials = {}
    redact = {}
    [audit.export.name]
    to = "syslog"
    [audit.export.file]
    to = "jsonl"
    [audit.export.otlp]
    to = "otlp"
    [audit.anchor.name]
    to = "journald"
    [audit.anchor.file]
    to = "file"
    [audit.anchor.otlp]
    to = "otlp"
    [role.name]
    grants = {}
    forbid = {}
    [supervisor.name]
    [component.name]
    config = {}
    limits = { net = {}, http = {} }
    roles = [{}]
    plug = [{}]
    [component.name.http]
    [component.name.job]
    env = {}
    [component.name.health]
    [keyvalue.name]
    [process.name]
    args = [{}]
    env = {}
    backoff = {}
    limits = {}
    [component.name.forbid]
    [component.name.grants]
    fs = [{ conditions = {} }]
    blobstore = [{ conditions = {} }]
    connect = [{ conditions = {} }]
    listen = [{}]
    resolve = [{}]
    trust = [{}]
    send = [{}]
    publish = [{}]
    subscribe = [{}]
    env = [{}]
    keyvalue = [{ conditions = {} }]
    clock = { conditions = {} }
    random = {}
"#;

/// The place of a key as the page writes it: names that users choose in capitals, and what is the same in several places
/// under one of them.
fn settle(key: &str) -> String {
    let mut parts: Vec<String> =
        key.split('.').map(|part| part.split('[').next().unwrap_or(part).to_owned()).collect();
    let depth = match parts[0].as_str() {
        "component" | "keyvalue" | "process" | "role" | "supervisor" | "vars" => 1,
        "audit" if parts.get(1).is_some_and(|part| part == "export" || part == "anchor") => 2,
        _ => usize::MAX,
    };
    if let Some(name) = parts.get_mut(depth) {
        *name = "NAME".to_owned();
    }
    if parts[0] == "role" && parts.get(2).is_some_and(|part| part == "roles") {
        parts.truncate(3);
    }
    let is_form = |parts: &[String]| parts[0] == "forbid" && parts.len() > 2 && parts[1] != "fs";
    if let Some(at) = parts.iter().position(|part| part == "conditions").filter(|at| at + 1 < parts.len()) {
        parts.drain(..at);
    }
    let at = parts.iter().position(|part| part == "grants" || part == "forbid");
    if let Some(at) = at.filter(|at| at + 1 < parts.len()) {
        parts.drain(..at);
    }
    // What is forbidden has the forms of what is granted.
    if is_form(&parts) {
        parts.truncate(2);
    }
    parts.join(".")
}

#[test]
fn every_key_has_its_row() {
    let known: BTreeSet<String> = keys(ALL).iter().map(|key| settle(key)).collect();
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let told: BTreeSet<String> = rows.map(|(key, _)| key.to_owned()).collect();
    let missing: Vec<_> = known.difference(&told).collect();
    let unknown: Vec<_> = told.difference(&known).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "without a row: {missing:#?}\nno keys: {unknown:#?}");
}

#[test]
fn every_example_is_a_manifest() {
    let mut examples = 0;
    for block in PAGE.split("```toml\n").skip(1) {
        let example = block.split("```").next().unwrap();
        let mut text = example.to_owned();
        if !example.contains("[system]") {
            text.push_str("\n[system]\nname = \"s\"\n");
        }
        if !example.contains("[component.") {
            text.push_str("\n[component.other]\nsource = \"other.wasm\"\n");
        }
        parse(&text).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
        examples += 1;
    }
    assert!(examples > 5, "only {examples} examples");
}
