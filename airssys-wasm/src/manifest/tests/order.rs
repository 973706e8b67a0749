//! `after` and `health`.

use super::*;

/// The tree as text: `s(a b(c))`.
fn shape(manifest: &Manifest, supervisor: &SupervisorSpec) -> String {
    let children = supervisor.children.iter().map(|child| match child {
        Child::Supervisor(below) => shape(manifest, below),
        Child::Component(index) => manifest.components[*index].name.clone(),
        Child::Process(index) => manifest.processes[*index].name.clone(),
    });
    format!("{}({})", supervisor.name, children.collect::<Vec<_>>().join(" "))
}

fn component(name: &str, more: &str) -> String {
    format!("[component.{name}]\nsource = \"x.wasm\"\n{more}\n")
}

#[test]
fn who_is_after_another_starts_behind_it_and_nobody_else_moves() {
    let order = |components: &[(&str, &str)], more: &str, expected: &str| {
        let components: String = components.iter().map(|(name, more)| component(name, more)).collect();
        let manifest = parse(&format!("[system]\nname = \"s\"\n{components}{more}")).expect("it is one");
        assert_eq!(shape(&manifest, &manifest.root), expected);
    };
    order(&[("a", ""), ("b", ""), ("c", "")], "", "s(a b c)");
    order(&[("a", "after = \"c\""), ("b", ""), ("c", "")], "", "s(b c a)");
    order(&[("a", "after = [\"b\", \"c\"]"), ("b", "after = [\"c\"]"), ("c", "")], "", "s(c b a)");
    let under = "[supervisor.x]\nchildren = [\"a\", \"b\"]\n";
    order(&[("a", "after = \"b\""), ("b", ""), ("c", "")], under, "s(c x(b a))");
    order(&[("a", "after = \"c\""), ("b", ""), ("c", "")], under, "s(c x(a b))");
    let two = "[supervisor.x]\nchildren = [\"a\"]\n[supervisor.y]\nchildren = [\"b\"]\n";
    order(&[("a", "after = \"b\""), ("b", "")], two, "s(y(b) x(a))");
    order(&[("a", "after = \"y\""), ("b", "")], two, "s(y(b) x(a))");
    let process = "[process.p]\nprogram = \"/bin/cat\"\n";
    order(&[("a", "after = \"p\"")], process, "s(p a)");
}

#[test]
fn what_cannot_be_in_any_order_is_told() {
    let text = |more: &str| with(&format!("{more}{}", component("b", "after = \"a\"")));
    check(&text("after = \"c\"\n"), &[("c", "no component, process or supervisor is called `c`", "")]);
    check(&with("after = \"a\"\n"), &[("a", "`a` cannot start behind `a`", "")]);
    let under = "[supervisor.x]\nchildren = [\"a\"]\n";
    check(
        &with(&format!("after = \"x\"\n{under}")),
        &[("x", "`a` cannot start behind `x`, which it is a part of", "")],
    );
    let problems = parse(&text("after = \"b\"\n")).expect_err("a cycle");
    assert!(problems[0].message.contains("and that behind it"), "{problems:#?}");
}

#[test]
fn many_in_the_wrong_order_are_put_right() {
    let chain = |index: usize| component(&format!("c{index}"), &format!("after = \"c{}\"", index + 1));
    let text: String = (0..3_000).map(chain).collect();
    let manifest = parse(&format!("[system]\nname = \"s\"\n{text}{}", component("c3000", "")));
    let manifest = manifest.expect("it is one");
    let backward: Vec<String> = (0..=3_000).rev().map(|index| format!("c{index}")).collect();
    assert_eq!(shape(&manifest, &manifest.root), format!("s({})", backward.join(" ")));
}

#[test]
fn the_systems_own_name_is_nobodys() {
    let text = format!("[system]\nname = \"s\"\n{}", component("host", ""));
    check(&text, &[("host", "`host` is what the system itself is called", "rename")]);
    let names: Vec<String> = (0..257).map(|index| format!("\"c{index}\"")).collect();
    let problems = parse(&with(&format!("after = [{}]\n", names.join(", ")))).expect_err("too many");
    assert!(problems.iter().any(|problem| problem.message.contains("more than 256")), "{problems:#?}");
}

#[test]
fn health_is_asked_for_by_a_subject_or_a_path() {
    let health = |more: &str| parse(&with(more)).expect("it is one").components.remove(0).health;
    assert_eq!(health(""), None);
    let asked = health("health = {}\n").expect("it is asked");
    assert_eq!(
        (asked.question.as_str(), asked.failures, asked.every),
        ("health", 3, Duration::from_secs(10))
    );
    let http = "http = { listen = \"127.0.0.1:80\" }\n";
    assert_eq!(
        health(&format!("{http}health = {{}}\n")).map(|health| health.question).as_deref(),
        Some("/health")
    );
    let path = health(&format!("{http}health = {{ path = \"/a?b=c\" }}\n"));
    assert_eq!(path.map(|health| health.question).as_deref(), Some("/a?b=c"));
    check(
        &with("health = { path = \"/a\" }\n"),
        &[("\"/a\"", "`component.a.health.path` has no meaning", "subject")],
    );
    check(
        &with(&format!("{http}health = {{ path = \"a b\" }}\n")),
        &[("\"a b\"", "cannot be asked for", "/health")],
    );
    check(&with("health = { every = \"0s\" }\n"), &[("\"0s\"", "must be a duration", "")]);
    let long = format!("health = {{ subject = \"{}\" }}\n", "x".repeat(257));
    check(&with(&long), &[("\"xxx", "cannot be asked for", "256")]);
}
