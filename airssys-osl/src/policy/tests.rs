use std::{path::PathBuf, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    clock::Timestamp,
    limits::{GRANT_RULE_BYTES, GRANTS_PER_PRINCIPAL, PRINCIPAL_BYTES, ROLE_DEPTH, TOPIC_BYTES},
};

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
    for topic in ["a*", "a.*", "a.*.b", "a>", "a.>.b", ">.>", "*"] {
        check_invalid(build(Grant::subscribe(topic)), "one subject, or all below one");
    }
    check_invalid(build(Grant::publish("a".repeat(TOPIC_BYTES + 1))), "too long");
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
            (Given::Bucket(name, rights), Asked::Name(action, asked)) if name == asked => match action {
                Action::KeyvalueOpen => true,
                Action::KeyvalueRead => rights.contains(Rights::READ),
                Action::KeyvalueWrite => rights.contains(Rights::WRITE),
                _ => false,
            },
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
    Bucket(String, Rights),
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
        (
            name(),
            (1_u8..4).prop_map(
                |bits| [Rights::READ, Rights::WRITE, Rights::READ | Rights::WRITE][usize::from(bits) - 1]
            )
        )
            .prop_map(|(name, rights)| Given::Bucket(name, rights)),
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
            Self::Bucket(name, rights) => Grant::keyvalue(&**name, *rights),
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

/// A moment that none of the others is after.
const LATER: Timestamp = Timestamp { seconds: 1_000_000, nanoseconds: 0 };
const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: i64) -> Moment {
    Moment::seen(seconds, seconds, 0)
}

#[track_caller]
fn check_rule(policy: &Policy, principal: &str, action: Action, name: &str, now: Moment, expected: &str) {
    let request = Request { principal, action, resource: Resource::Name(name) };
    assert_eq!(policy.decide_at(&request, now).rule, expected, "{principal} {action} {name}");
}

fn rule_beneath(policy: &Policy, root: &str, needs: Rights, now: Moment) -> String {
    let resource = Resource::Beneath { root: Path::new(root), needs };
    policy.decide_at(&Request { principal: "p", action: Action::FsRead, resource }, now).rule.to_owned()
}

#[test]
fn roles_give_what_they_have() {
    let policy = Policy::builder()
        .role("base", [Grant::clock(), Grant::env("LANG")])
        .role("staff", [Grant::role("base"), Grant::send("printer-*")])
        .principal("alice", [Grant::role("staff"), Grant::env("HOME")])
        .principal("bob", [Grant::role("base")])
        .forbid("base", [Grant::env("LANG").rule("no-lang")])
        .forbid("alice", [Grant::send("printer-9*")])
        .build()
        .unwrap();
    let check =
        |principal, action, name, rule| check_rule(&policy, principal, action, name, Moment::UNKNOWN, rule);
    check("alice", Action::ClockRead, "", "base.clock[0]");
    check("alice", Action::EnvRead, "HOME", "alice.env[1]");
    check("alice", Action::ActorSend, "printer-1", "staff.send[1]");
    check("alice", Action::ActorSend, "printer-91", "alice.forbid.send[0]");
    check("alice", Action::EnvRead, "LANG", "no-lang");
    check("bob", Action::EnvRead, "LANG", "no-lang");
    check("bob", Action::ActorSend, "printer-1", "default-deny");
    assert!(policy.grants("staff").is_none(), "a role is no principal");
}

#[test]
fn a_cycle_of_roles_is_named() {
    let result = Policy::builder()
        .role("a", [Grant::role("b")])
        .role("b", [Grant::clock(), Grant::role("c")])
        .role("c", [Grant::role("a")])
        .build();
    check_invalid(result, "let a role have itself: a has b has c has a");
    check_invalid(Policy::builder().role("a", [Grant::role("a")]).build(), "a has a");
    check_invalid(
        Policy::builder().principal("p", [Grant::role("q")]).build(),
        "`p` the role `q`: there is none",
    );
    let principal = Policy::builder().principal("p", []).principal("q", [Grant::role("p")]).build();
    check_invalid(principal, "the role `p`: there is none");
    check_invalid(
        Policy::builder().forbid("p", [Grant::clock()]).build(),
        "there is no such principal or role",
    );
    check_invalid(Policy::builder().role("everyone", []).build(), "stands for all of them");
    let unused = Policy::builder().role("r", []).forbid("r", [Grant::fs("/", Rights::empty())]).build();
    check_invalid(unused, "it forbids no right");
}

#[test]
fn roles_have_limits() {
    let chain = |length: usize| {
        let roles = (0..length).map(|number| (format!("r{number}"), Grant::role(format!("r{}", number + 1))));
        let builder = roles.fold(Policy::builder(), |builder, (name, next)| builder.role(name, [next]));
        builder.role(format!("r{length}"), []).principal("p", [Grant::role("r0")]).build()
    };
    assert!(chain(ROLE_DEPTH - 1).is_ok());
    assert_eq!(chain(2 * ROLE_DEPTH).unwrap_err().kind(), ErrorKind::LimitExceeded);

    // Each way to a role has conditions of its own, and there are twice as many ways with each level.
    let window: Window = "09:00-17:00".parse().unwrap();
    let twice = |name: String| {
        [
            Grant::role(name.clone()).during(window),
            Grant::role(name).until(Timestamp { seconds: 9, nanoseconds: 0 }),
        ]
    };
    let builder = (0..20).fold(Policy::builder(), |builder, number| {
        builder.role(format!("r{number}"), twice(format!("r{}", number + 1)))
    });
    let result = builder.role("r20", [Grant::clock()]).principal("p", [Grant::role("r0")]).build();
    assert_eq!(result.unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn a_prohibition_wins() {
    let policy = Policy::builder()
        .principal("p", [Grant::clock(), Grant::random(), Grant::env("A")])
        .principal("q", [Grant::clock()])
        .forbid("p", [Grant::clock(), Grant::env("*")])
        .forbid_everyone([Grant::random().until(Timestamp { seconds: 100, nanoseconds: 0 })])
        .build()
        .unwrap();
    check_rule(&policy, "p", Action::ClockRead, "", Moment::UNKNOWN, "p.forbid.clock[0]");
    check_rule(&policy, "q", Action::ClockRead, "", Moment::UNKNOWN, "q.clock[0]");
    check_rule(&policy, "p", Action::EnvRead, "A", Moment::UNKNOWN, "p.forbid.env[1]");
    check_rule(&policy, "p", Action::RandomRead, "", at(99), "everyone.forbid.random[0]");
    check_rule(&policy, "p", Action::RandomRead, "", at(100), "p.random[1]");
    check_rule(&policy, "p", Action::RandomRead, "", Moment::UNKNOWN, "everyone.forbid.random[0]");
    let limited = |grant| Policy::builder().principal("p", []).forbid("p", [grant]).build();
    check_invalid(limited(Grant::clock().at_most(1, SECOND)), "no rate");
    check_invalid(limited(Grant::role("p")), "neither a role nor a limit");
    check_invalid(limited(Grant::descriptors(1)), "neither a role nor a limit");
}

#[test]
fn prohibitions_of_directories_reach_down() {
    let forbid = |root: &str, rights| {
        Policy::builder()
            .principal("p", [Grant::fs("/srv/a", Rights::READ | Rights::WRITE).rule("r")])
            .forbid("p", [Grant::fs(root, rights).rule("no")])
            .build()
    };
    for above in ["/srv/a", "/srv", "/"] {
        let policy = forbid(above, Rights::WRITE | Rights::DELETE).unwrap();
        assert_eq!(rule_beneath(&policy, "/srv/a", Rights::READ, at(0)), "r");
        assert_eq!(rule_beneath(&policy, "/srv/a", Rights::WRITE, at(0)), "no");
        assert_eq!(rule_beneath(&policy, "/srv/a", Rights::empty(), at(0)), "r");
        assert_eq!(
            rule_beneath(&forbid(above, Rights::all()).unwrap(), "/srv/a", Rights::empty(), at(0)),
            "no"
        );
    }
    let beside = forbid("/srv/ab", Rights::all()).unwrap();
    assert_eq!(rule_beneath(&beside, "/srv/a", Rights::WRITE, at(0)), "r");
    let beneath = forbid("/srv/a/secret", Rights::all()).unwrap();
    assert_eq!(
        beneath.grants("p").unwrap().fs(Path::new("/srv/a")).unwrap().terms.denied,
        [Path::new("secret")]
    );
    check_invalid(forbid("/srv/a/secret", Rights::WRITE), "only all rights, at all times");
}

#[test]
fn rights_of_several_lists_add_up() {
    let hours: Window = "mon 00:00-24:00".parse().unwrap();
    let terms = FsTerms::new().quota_bytes(10).hard_links(HardLinks::Shared);
    let policy = Policy::builder()
        .role("writer", [Grant::fs("/srv", Rights::WRITE).during(hours)])
        .role("maker", [Grant::fs_with("/srv", Rights::CREATE, terms.clone().deny("x"))])
        .principal(
            "p",
            [
                Grant::fs_with("/srv", Rights::READ, FsTerms::new().quota_bytes(20)),
                Grant::role("writer"),
                Grant::role("maker"),
            ],
        )
        .build()
        .unwrap();
    let monday = at(4 * 86_400);
    let rule = |needs, now| rule_beneath(&policy, "/srv", needs, now);
    assert_eq!(rule(Rights::READ, at(0)), "p.fs[0]");
    assert_eq!(rule(Rights::WRITE, monday), "writer.fs[0]");
    assert_eq!(rule(Rights::WRITE, at(0)), "writer.fs[0]: outside its hours");
    assert_eq!(rule(Rights::CREATE | Rights::WRITE, monday), "writer.fs[0]");
    assert_eq!(rule(Rights::CREATE | Rights::WRITE, at(0)), "writer.fs[0]: outside its hours");
    assert_eq!(rule(Rights::DELETE, monday), "p.fs[0]: lacks delete");
    let grant = policy.grants("p").unwrap().fs(Path::new("/srv")).unwrap();
    assert_eq!(grant.terms, FsTerms::new().quota_bytes(10).deny("x"));
}

#[test]
fn conditions_of_a_role_hold_for_all_it_gives() {
    let policy = Policy::builder()
        .role("staff", [Grant::clock(), Grant::fs("/srv", Rights::READ)])
        .principal("p", [Grant::role("staff").until(Timestamp { seconds: 50, nanoseconds: 0 })])
        .build()
        .unwrap();
    check_rule(&policy, "p", Action::ClockRead, "", at(49), "staff.clock[0]");
    check_rule(&policy, "p", Action::ClockRead, "", at(50), "staff.clock[0]: expired");
    check_rule(&policy, "p", Action::ClockRead, "", Moment::UNKNOWN, "staff.clock[0]: expired");
    assert_eq!(rule_beneath(&policy, "/srv", Rights::READ, at(50)), "staff.fs[1]: expired");
    assert_eq!(rule_beneath(&policy, "/srv", Rights::empty(), at(50)), "staff.fs[1]: expired");
}

#[test]
fn each_set_of_missing_rights_is_told_of_each_directory() {
    let sets = || (1..=Rights::all().bits()).map(Rights::from_bits_truncate);
    let root = |rights: Rights| format!("/srv/{}", rights.bits());
    let one = Policy::builder().principal("p", sets().map(|rights| Grant::fs(root(rights), rights)));
    let timed = sets().map(|rights| Grant::fs(root(rights), rights).until(LATER));
    for (policy, is_timed) in [(one, false), (Policy::builder().principal("p", timed), true)] {
        let policy = policy.build().unwrap();
        for (place, rights) in sets().enumerate() {
            for needs in sets().filter(|needs| !rights.contains(*needs)) {
                let expected = format!("p.fs[{place}]: lacks {}", needs - rights);
                let found = rule_beneath(&policy, &root(rights), needs, at(0));
                assert_eq!(found, expected, "{needs} of {rights}, {is_timed}");
            }
        }
    }
}

#[test]
fn a_role_that_comes_by_two_ways_has_one_rate() {
    let hours: Window = "00:00-24:00".parse().unwrap();
    let policy = Policy::builder()
        .role("teller", [Grant::clock().at_most(2, SECOND)])
        .role("day", [Grant::role("teller").during(hours)])
        .role("night", [Grant::role("teller").until(LATER)])
        .principal("p", [Grant::role("day"), Grant::role("night")])
        .principal("q", [Grant::role("teller")])
        .build()
        .unwrap();
    let ask = |principal| Request { principal, action: Action::ClockRead, resource: Resource::Name("") };
    assert!(crate::testing::spend(&policy, &ask("p"), at(0)));
    assert_eq!(policy.spent("p", at(0)).count(), 0);
    assert!(crate::testing::spend(&policy, &ask("p"), at(0)));
    assert!(!crate::testing::spend(&policy, &ask("p"), at(0)), "not twice what was granted");
    assert_eq!(policy.spent("p", at(0)).collect::<Vec<_>>(), ["teller.clock[0]"]);
    assert_eq!(policy.spent("q", at(0)).count(), 0, "each has its own");
}

#[test]
fn a_directory_that_comes_by_two_ways_has_one_rate() {
    let day: Window = "08:00-20:00".parse().unwrap();
    let night: Window = "18:00-08:00".parse().unwrap();
    let policy = |role: fn(Grant) -> Grant| {
        Policy::builder()
            .role("reader", [Grant::fs("/srv", Rights::READ).at_most(2, SECOND)])
            .role("day", [Grant::role("reader").during(day)])
            .role("night", [role(Grant::role("reader").during(night))])
            .principal("p", [Grant::role("day"), Grant::role("night")])
            .build()
    };
    let one = policy(|role| role).unwrap();
    let resource = Resource::Beneath { root: Path::new("/srv"), needs: Rights::READ };
    let ask = Request { principal: "p", action: Action::FsRead, resource };
    // In the evening both hold, and count in one bucket.
    let [noon, evening] = [12, 19].map(|hour| at(hour * 3600));
    for now in [evening, noon] {
        assert!(crate::testing::spend(&one, &ask, now));
    }
    for now in [evening, noon] {
        assert!(!crate::testing::spend(&one, &ask, now), "not twice what was granted");
    }
    check_invalid(policy(|role| role.at_most(1, SECOND)), "a directory has one rate");
    let two = [Rights::READ, Rights::WRITE].map(|rights| Grant::fs("/srv", rights).at_most(2, SECOND));
    check_invalid(Policy::builder().principal("p", two).build(), "a directory has one rate");
}

#[test]
fn a_rate_of_a_directory_is_counted_behind_a_part_that_ends_some_day() {
    let parts =
        [Grant::fs("/srv", Rights::READ).until(LATER), Grant::fs("/srv", Rights::WRITE).at_most(1, SECOND)];
    let policy = Policy::builder().principal("p", parts).build().unwrap();
    let needs = Rights::READ | Rights::WRITE;
    let resource = Resource::Beneath { root: Path::new("/srv"), needs };
    let ask = Request { principal: "p", action: Action::FsOpen, resource };
    assert!(crate::testing::spend(&policy, &ask, at(0)));
    assert!(!crate::testing::spend(&policy, &ask, at(0)));
    assert_eq!(rule_beneath(&policy, "/srv", Rights::READ, at(0)), "p.fs[0]", "what has no rate goes on");
}

#[test]
fn a_rate_is_looked_at_and_counted_apart() {
    let policy = || build(Grant::clock().at_most(2, SECOND)).unwrap();
    let (one, other) = (policy(), policy());
    let request = Request { principal: "p", action: Action::ClockRead, resource: Resource::Name("") };
    let now = |ns| Moment::seen(0, 0, ns);
    for _ in 0..3 {
        assert_eq!(one.decide_at(&request, now(5)).rule, "p.clock[0]", "looking counts nothing");
    }
    assert_eq!(one.decide_at(&request, now(5)).take(|| 5), Ok(()));
    let decision = one.decide_at(&request, now(5));
    assert_eq!(decision.take(|| 5), Ok(()));
    assert_eq!(
        decision.take(|| 5),
        Err("p.clock[0]: over its rate"),
        "two tasks cannot both have the last one"
    );
    assert_eq!(one.decide_at(&request, now(5)).rule, "p.clock[0]: over its rate");
    assert_eq!(one.decide_at(&request, now(5).without_rates()).rule, "p.clock[0]");

    other.continue_from(&one);
    assert_eq!(other.decide_at(&request, now(5)).rule, "p.clock[0]: over its rate", "a reload is no refill");
    decision.give_back();
    assert_eq!(one.decide_at(&request, now(5)).rule, "p.clock[0]");
    assert_eq!(other.decide_at(&request, now(500_000_005)).rule, "p.clock[0]");
    check_invalid(build(Grant::clock().at_most(0, SECOND)), "its rate is nothing");
    check_invalid(build(Grant::clock().at_most(2, Duration::from_nanos(1))), "its rate is nothing");
    check_invalid(build(Grant::descriptors(5).at_most(2, SECOND)), "a limit has no conditions");
}

#[test]
fn modes_lift_what_is_denied_and_not_what_always_is() {
    let grants = || [Grant::fs("/srv", Rights::READ).rule("r"), Grant::clock()];
    let policy = |mode| {
        Policy::builder().principal("p", grants()).forbid("p", [Grant::clock()]).mode(mode).build().unwrap()
    };
    let audit = policy(Mode::AuditOnly);
    let ask = |action, resource| audit.decide(&Request { principal: "p", action, resource });
    let name = Resource::Name("");
    assert_eq!(
        (ask(Action::ClockRead, name).verdict, ask(Action::ClockRead, name).rule),
        (Verdict::WouldDeny, "p.forbid.clock[0]")
    );
    assert_eq!(ask(Action::RandomRead, name).verdict, Verdict::WouldDeny);
    let beneath = |root: &'static str, needs| Resource::Beneath { root: Path::new(root), needs };
    assert_eq!(ask(Action::FsRead, beneath("/srv", Rights::READ)).verdict, Verdict::Allow);
    let write = ask(Action::FsWrite, beneath("/srv", Rights::WRITE));
    assert_eq!((write.verdict, write.rule), (Verdict::WouldDeny, "r: lacks write"));
    assert_eq!(ask(Action::FsWrite, beneath("/etc", Rights::WRITE)).verdict, Verdict::WouldDeny);
    let forbids =
        [Grant::connect(Protocol::Tcp, "*", Ports::ALL), Grant::connect(Protocol::Tcp, "::/0", Ports::ALL)];
    let forbidden = Policy::builder().principal("p", grants()).forbid("p", forbids);
    let forbidden = forbidden.mode(Mode::AuditOnly).build().unwrap();
    for address in ["169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"] {
        let address = address.parse().unwrap();
        let endpoint = Endpoint { protocol: Protocol::Tcp, host: Some("a.example"), address, port: 80 };
        let resource = Resource::Endpoint(endpoint);
        for policy in [&audit, &forbidden] {
            let metadata = policy.decide(&Request { principal: "p", action: Action::NetConnect, resource });
            assert_eq!((metadata.verdict, metadata.rule), (Verdict::Deny, rule::METADATA), "{address}");
        }
    }
    let unknown = audit.decide(&Request { principal: "q", action: Action::ClockRead, resource: name });
    assert_eq!(unknown.verdict, Verdict::Deny, "nobody is nobody in every mode");

    let learn = policy(Mode::Learn);
    let resource = beneath("/srv", Rights::READ | Rights::CREATE);
    let decision = learn.decide(&Request { principal: "p", action: Action::FsOpen, resource });
    assert_eq!((decision.verdict, decision.rule), (Verdict::WouldDeny, "learn: needs read+create"));
}

#[test]
fn prohibitions_on_the_network() {
    let tcp = Protocol::Tcp;
    let policy = Policy::builder()
        .principal("p", [Grant::connect(tcp, "*", 1..=65535), Grant::connect(tcp, "10.0.0.0/8", 80)])
        .forbid(
            "p",
            [
                Grant::connect(tcp, "*.evil.org", 1..=65535).rule("evil"),
                Grant::connect(tcp, "10.6.0.0/16", 80).rule("six"),
                Grant::connect(tcp, "8.8.0.0/16", 53).rule("dns"),
                Grant::resolve("a.example").rule("lookup"),
            ],
        )
        .build()
        .unwrap();
    let rule = |host, address: [u8; 4], port| {
        let endpoint = Endpoint { protocol: tcp, host, address: address.into(), port };
        let request =
            Request { principal: "p", action: Action::NetConnect, resource: Resource::Endpoint(endpoint) };
        policy.decide(&request).rule.to_owned()
    };
    assert_eq!(rule(Some("x.evil.org"), [1, 1, 1, 1], 80), "evil");
    assert_eq!(rule(Some("evil.org"), [1, 1, 1, 1], 80), "p.connect[0]");
    assert_eq!(rule(None, [10, 6, 0, 1], 80), "six");
    assert_eq!(rule(None, [10, 5, 0, 1], 80), "p.connect[1]");
    assert_eq!(rule(Some("h"), [8, 8, 8, 8], 53), "dns");
    assert_eq!(rule(Some("h"), [8, 8, 8, 8], 54), "p.connect[0]");
    let lookup = |host| {
        let request = Request { principal: "p", action: Action::NetResolve, resource: Resource::Host(host) };
        policy.decide(&request).rule.to_owned()
    };
    assert_eq!(lookup("x.evil.org"), "evil", "what is never connected to is not asked for");
    assert_eq!(lookup("a.example"), "lookup");
    assert_eq!(lookup("b.example"), "p.connect[0]");
}

#[test]
fn what_would_permit_metadata_is_its_own_address() {
    let policy = build(Grant::connect(Protocol::Tcp, "*", 80)).unwrap();
    let address = "169.254.169.254".parse().unwrap();
    let endpoint = Endpoint { protocol: Protocol::Tcp, host: None, address, port: 80 };
    let request =
        Request { principal: "p", action: Action::NetConnect, resource: Resource::Endpoint(endpoint) };
    let remedy = policy.explain(&request, Moment::UNKNOWN).remedy.unwrap();
    assert_eq!(&*remedy, "connect = [\"tcp://169.254.169.254:80\"]\n");
    let named = Grant::connect(Protocol::Tcp, "169.254.169.254", 80);
    assert_eq!(build(named).unwrap().decide(&request).verdict, Verdict::Allow);
}

#[test]
fn what_forbids_one_protocol_leaves_the_lookups_of_the_other() {
    let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
    let lookup = |grants: &[Grant]| {
        let forbids = [Grant::connect(tcp, "h", Ports::ALL).rule("tcp")];
        let policy = Policy::builder().principal("p", grants.to_vec()).forbid("p", forbids).build().unwrap();
        let request = Request { principal: "p", action: Action::NetResolve, resource: Resource::Host("h") };
        policy.decide(&request).rule.to_owned()
    };
    assert_eq!(lookup(&[Grant::connect(tcp, "h", 80)]), "tcp");
    assert_eq!(lookup(&[Grant::connect(tcp, "h", 80), Grant::connect(udp, "h", 53)]), "p.connect[1]");
    assert_eq!(lookup(&[Grant::connect(tcp, "*", 80), Grant::resolve("*").rule("names")]), "names");
    assert_eq!(lookup(&[Grant::clock()]), "default-deny");
}

#[test]
fn a_policy_in_the_words_of_cedar() {
    let policy = Policy::builder()
        .role("staff", [Grant::send("printer-*")])
        .principal(
            "p",
            [
                Grant::role("staff"),
                Grant::fs("/srv", Rights::READ).until(Timestamp { seconds: 9, nanoseconds: 0 }),
                Grant::connect(Protocol::Tcp, "10.0.0.0/8", 80),
                Grant::clock().during("mon 09:00-10:00 +01:00".parse().unwrap()),
            ],
        )
        .forbid("staff", [Grant::fs("/srv/b", Rights::all())])
        .build()
        .unwrap();
    let Cedar { policies, entities, schema } = policy.to_cedar();
    for part in [
        "@rule(\"staff.send[0]\")\npermit(principal in Role::\"staff\", action == Action::\"actor.send\", resource is Actor)\nwhen { context.name like \"printer-*\" };",
        "permit(principal == Principal::\"p\", action in [Action::\"fs.read\", Action::\"fs.use\"], resource == Directory::\"/srv\")\nwhen { context.latest < 9 };",
        "when { context.protocol == \"tcp\" && context.port >= 80 && context.port <= 80 && context.address.isInRange(ip(\"10.0.0.0/8\")) };",
        "when { ([0].contains(context.at_p60.day) && context.at_p60.minute >= 540 && context.at_p60.minute < 600) };",
        "forbid(principal in Held::\"staff\"",
    ] {
        // A list of one pattern is still in parentheses.
        let flat = policies.replace("((", "(").replace("))", ")");
        assert!(
            policies.contains(part) || flat.contains(&part.replace("((", "(").replace("))", ")")),
            "{part}\nnot in\n{policies}"
        );
    }
    assert!(entities.contains("{\"uid\":{\"type\":\"Directory\",\"id\":\"/srv/b\"},\"attrs\":{},\"parents\":[{\"type\":\"Directory\",\"id\":\"/srv\"}]}"), "{entities}");
    assert!(schema.contains("\"at_p60\": { day: Long, minute: Long }"), "{schema}");
}
