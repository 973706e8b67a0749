use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn build(grant: Grant) -> Result<Policy, Error> {
    Policy::builder().principal("p", [grant]).build()
}

#[track_caller]
fn check_invalid(result: Result<Policy, Error>, part: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn malformed_grants_are_refused() {
    check_invalid(
        build(Grant::fs("inbox", Rights::READ)),
        "`p.fs[0]` to `p`: the directory is not an absolute path",
    );
    check_invalid(build(Grant::fs("/srv/../etc", Rights::READ)), "`..`");
    check_invalid(build(Grant::fs("/srv\0", Rights::READ)), "NUL");
    check_invalid(build(Grant::fs(format!("/{}", "a".repeat(PATH_BYTES)), Rights::READ)), "too long");
    check_invalid(build(Grant::fs("/srv", Rights::empty())), "no right");
    check_invalid(build(Grant::env("A=B")), "no `=`");
    check_invalid(build(Grant::env("")), "empty");
    check_invalid(build(Grant::send("a\nb")), "control character");
    check_invalid(build(Grant::clock().rule("r".repeat(GRANT_RULE_BYTES + 1))), "too long");
}

#[test]
fn malformed_principals_are_refused() {
    let named = |name: &str| Policy::builder().principal(name, []).build();
    check_invalid(named(""), "empty");
    check_invalid(named("host"), "stands for the program itself");
    check_invalid(named("a\0"), "control character");
    check_invalid(named(&"a".repeat(PRINCIPAL_BYTES + 1)), "too long");
    check_invalid(Policy::builder().principal("p", []).principal("p", []).build(), "second principal `p`");
}

#[test]
fn nothing_is_granted_twice() {
    let twice = |one: Grant, other: Grant| Policy::builder().principal("p", [one, other]).build();
    check_invalid(twice(Grant::clock(), Grant::clock()), "granted twice");
    check_invalid(twice(Grant::send("q"), Grant::send("q")), "`p.send[1]`");
    check_invalid(twice(Grant::fs("/a", Rights::READ), Grant::fs("/a/", Rights::WRITE)), "granted twice");
    assert!(twice(Grant::fs("/a", Rights::READ), Grant::fs("/a/b", Rights::WRITE)).is_ok());
}

#[test]
fn grants_have_a_limit() {
    let many = |count| (0..count).map(|number| Grant::send(format!("a{number}"))).collect::<Vec<_>>();
    assert!(Policy::builder().principal("p", many(GRANTS_PER_PRINCIPAL)).build().is_ok());
    let error = Policy::builder().principal("p", many(GRANTS_PER_PRINCIPAL + 1)).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn a_denial_names_all_that_is_missing() {
    let policy = build(Grant::fs("/srv", Rights::READ).rule("r".repeat(GRANT_RULE_BYTES))).unwrap();
    let ask = |needs| Request {
        principal: "p",
        action: Action::FsRename,
        resource: Resource::Beneath { root: Path::new("/srv"), needs },
    };
    let request = ask(Rights::all());
    let decision = policy.decide(&request);
    assert!(decision.rule.ends_with(": lacks list+write+create+delete"), "{}", decision.rule);
    assert!(decision.rule.len() <= crate::limits::RULE_BYTES);
    assert_eq!(policy.decide(&ask(Rights::READ)).verdict, Verdict::Allow);
}

#[test]
fn rights_by_name() {
    assert_eq!(Rights::named("create"), Some(Rights::CREATE));
    assert_eq!(Rights::named("CREATE"), None);
    assert_eq!((Rights::READ | Rights::DELETE).to_string(), "read+delete");
    assert_eq!(Rights::NAMES.iter().fold(Rights::empty(), |all, (_, right)| all | *right), Rights::all());
}

/// What a policy says by its words alone: go through all grants, and allow what one of them names.
fn naive(principals: &[(String, Vec<Given>)], principal: &str, asked: &Asked) -> bool {
    principals.iter().filter(|(name, _)| name == principal).flat_map(|(_, grants)| grants).any(
        |given| match (given, asked) {
            (Given::Fs(root, rights), Asked::Beneath(path, needs)) => root == path && rights.contains(*needs),
            (Given::Fs(root, _), Asked::Root(path)) => root == path,
            (Given::Env(name), Asked::Name(Action::EnvRead, asked)) => name == asked,
            (Given::Send(name), Asked::Name(Action::ActorSend, asked)) => name == asked,
            (Given::Clock, Asked::Name(Action::ClockRead, _)) => true,
            (Given::Random, Asked::Name(Action::RandomRead, _)) => true,
            _ => false,
        },
    )
}

#[derive(Clone, Debug)]
enum Given {
    Fs(PathBuf, Rights),
    Env(String),
    Send(String),
    Clock,
    Random,
}

#[derive(Clone, Debug)]
enum Asked {
    Root(PathBuf),
    Beneath(PathBuf, Rights),
    Name(Action, String),
}

fn name() -> impl Strategy<Value = String> {
    "[abc]{1,2}"
}

fn root() -> impl Strategy<Value = PathBuf> {
    "/[ab](/[ab])?".prop_map(PathBuf::from)
}

fn rights() -> impl Strategy<Value = Rights> {
    (0..=Rights::all().bits()).prop_map(Rights::from_bits_truncate)
}

fn given() -> impl Strategy<Value = Given> {
    prop_oneof![
        (root(), rights().prop_filter("a grant grants something", |rights| !rights.is_empty()))
            .prop_map(|(root, rights)| Given::Fs(root, rights)),
        name().prop_map(Given::Env),
        name().prop_map(Given::Send),
        Just(Given::Clock),
        Just(Given::Random),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        root().prop_map(Asked::Root),
        (root(), rights()).prop_map(|(root, rights)| Asked::Beneath(root, rights)),
        (prop::sample::select(Action::ALL), name()).prop_map(|(action, name)| Asked::Name(action, name)),
    ]
}

impl Given {
    fn grant(&self) -> Grant {
        match self {
            Self::Fs(root, rights) => Grant::fs(root, *rights),
            Self::Env(name) => Grant::env(&**name),
            Self::Send(name) => Grant::send(&**name),
            Self::Clock => Grant::clock(),
            Self::Random => Grant::random(),
        }
    }
}

proptest! {
    #[test]
    fn the_table_says_what_the_words_say(
        principals in prop::collection::vec((name(), prop::collection::vec(given(), 0..6)), 0..4),
        asks in prop::collection::vec((name(), asked()), 1..40),
    ) {
        let mut builder = Policy::builder();
        for (name, grants) in &principals {
            builder = builder.principal(&**name, grants.iter().map(Given::grant));
        }
        // Some are refused because they say a thing twice; those have no table.
        let Ok(policy) = builder.build() else { return Ok(()) };
        for (principal, asked) in &asks {
            let (action, resource) = match asked {
                Asked::Root(root) => (Action::FsOpenRoot, Resource::Root(root)),
                Asked::Beneath(root, needs) => (Action::FsRead, Resource::Beneath { root, needs: *needs }),
                Asked::Name(action, name) => (*action, Resource::Name(name)),
            };
            let decision = policy.decide(&Request { principal, action, resource });
            prop_assert_eq!(decision.verdict == Verdict::Allow, naive(&principals, principal, asked));
            prop_assert_eq!(decision.verdict == Verdict::Allow, !decision.rule.contains("lacks") && decision.rule != "default-deny");
        }
    }
}
