//! Grants of programs among others: roles, prohibitions, conditions, modes, and what is learned of them.

use std::time::Duration;

use airssys_osl::{
    Action, Os, Principal, Verdict,
    clock::Timestamp,
    policy::{ExecTerms, Grant, Mode, Moment, Policy, PolicyBuilder, Request, Resource, learn::learn, rule},
    process::{Cause, Launch, Stdio},
    testing::MemorySink,
};

use crate::{
    fixture::assert_denied,
    process::{said, shell},
};

const LONG_AGO: Timestamp = Timestamp { seconds: 1_000_000_000, nanoseconds: 0 };

fn door(policy: PolicyBuilder) -> (Os, MemorySink) {
    let sink = MemorySink::new();
    (Os::new(policy.build().unwrap(), sink.clone()), sink)
}

fn says(word: &str) -> Grant {
    Grant::exec("/bin/sh", shell(&format!("echo {word}")))
}

/// What the shell that policy grants says.
async fn heard(principal: &Principal) -> String {
    let exec = principal.exec("/bin/sh").await.unwrap();
    let process = exec.spawn(Launch::new().stdout(Stdio::Pipe)).await.unwrap();
    said(&process.collect().await.unwrap()).to_owned()
}

#[tokio::test]
async fn ones_own_terms_come_before_those_of_a_role() {
    let (os, _) = door(
        Policy::builder()
            .role("staff", [says("staff")])
            .principal("own", [Grant::role("staff"), says("own")])
            .principal("ended", [Grant::role("staff"), says("own").until(LONG_AGO)])
            .principal("plain", [Grant::role("staff")]),
    );
    for (name, word) in [("own", "own"), ("ended", "staff"), ("plain", "staff")] {
        assert_eq!(heard(&os.principal(name).unwrap()).await, word, "{name}");
    }
}

#[test]
fn terms_are_not_ambiguous() {
    let build = |grants: Vec<Grant>| {
        let policy = Policy::builder().role("r", [says("r").rule("it")]).principal("p", grants);
        policy.build().map(drop).map_err(|error| error.to_string())
    };
    let twice = build(vec![says("a"), says("b")]).unwrap_err();
    assert!(twice.ends_with("the same is granted twice"), "{twice}");
    let one_rule = build(vec![Grant::role("r"), says("a").rule("it")]).unwrap_err();
    assert!(one_rule.ends_with("another grant of the program has this rule"), "{one_rule}");
    build(vec![Grant::role("r"), says("r").rule("it")]).unwrap();
}

#[tokio::test]
async fn what_is_forbidden_is_not_started_and_what_runs_is_killed() {
    let policy = |forbidden: bool| {
        let policy = Policy::builder().principal("p", [Grant::exec("/bin/sh", shell("sleep 10000"))]);
        if forbidden {
            policy.forbid("p", [Grant::exec("/bin/sh", ExecTerms::new()).rule("no")])
        } else {
            policy
        }
    };
    let (os, _) = door(policy(false));
    let principal = os.principal("p").unwrap();
    let exec = principal.exec("/bin/sh").await.unwrap();
    let mut process = exec.spawn(Launch::new()).await.unwrap();
    os.reload(policy(true).build().unwrap());
    assert_eq!(process.wait().await.cause, Cause::Revoked);
    assert_denied(exec.spawn(Launch::new()).await.map(drop), "no", "a start");
    assert_denied(principal.exec("/bin/sh").await.map(drop), "no", "opening");
    let terms = Policy::builder().principal("p", []).forbid("p", [says("x")]).build().unwrap_err();
    assert!(terms.to_string().ends_with("what is forbidden has no terms"), "{terms}");
}

#[tokio::test]
async fn starts_are_counted_and_nothing_else() {
    let grant =
        Grant::exec("/bin/true", ExecTerms::new()).at_most(2, Duration::from_secs(86_400)).rule("few");
    let (os, _) = door(Policy::builder().principal("p", [grant]));
    let principal = os.principal("p").unwrap();
    let exec = principal.exec("/bin/true").await.unwrap();
    principal.exec("/bin/true").await.unwrap();
    for _ in 0..2 {
        let mut process = exec.spawn(Launch::new()).await.unwrap();
        process.wait().await;
    }
    let over = format!("few{}", rule::OVER_RATE);
    assert_denied(exec.spawn(Launch::new()).await.map(drop), &over, "the third start");
}

#[tokio::test]
async fn a_policy_that_only_watches_starts_what_has_terms_and_nothing_else() {
    for mode in [Mode::AuditOnly, Mode::Learn] {
        let ended = Grant::exec("/bin/true", ExecTerms::new()).until(LONG_AGO);
        let forbidden = [Grant::exec("/bin/false", ExecTerms::new())];
        let policy = Policy::builder().principal("p", [ended]).forbid("p", forbidden).mode(mode);
        let (os, sink) = door(policy);
        let principal = os.principal("p").unwrap();
        for program in ["/bin/sh", "/bin/false"] {
            principal.exec(program).await.map(drop).unwrap_err();
        }
        assert!(sink.take().iter().all(|record| record.verdict == Verdict::Deny));
        let exec = principal.exec("/bin/true").await.unwrap();
        assert!(exec.spawn(Launch::new()).await.unwrap().wait().await.is_success());
        let records = sink.take();
        let spawned = records.iter().find(|record| record.action == Action::ProcessSpawn).unwrap();
        assert_eq!(spawned.verdict, Verdict::WouldDeny);
        let arguments = exec.spawn(Launch::new().text("--more")).await.map(drop).unwrap_err();
        assert_eq!(arguments.rule(), Some(rule::OTHER_ARGUMENTS), "what no schema has");
        assert!(arguments.to_string().contains("`/bin/true`"), "{arguments}");
        let records = sink.take();
        assert!(records.last().unwrap().resource.starts_with(b"/bin/true\0"), "{records:?}");
    }
}

#[tokio::test]
async fn programs_are_learned_and_explained() {
    let (os, sink) = door(Policy::builder().principal("component.p", []).mode(Mode::Learn));
    os.principal("component.p").unwrap().exec("/bin/true").await.map(drop).unwrap_err();
    let records = sink.take();
    let learned = learn(&records);
    assert_eq!(
        learned.toml(),
        "[component.p.grants]\n# start \"/bin/true\"\nclock = false\nrandom = false\n"
    );
    let (os, _) = door(learned.builder());
    os.principal("component.p").unwrap().exec("/bin/true").await.unwrap();

    let policy = Policy::builder().principal("p", [says("a").rule("one")]).build().unwrap();
    let request = |program: &'static str| Request {
        principal: "p",
        action: Action::ProcessSpawn,
        resource: Resource::Program(program.as_ref()),
    };
    let explained = policy.explain(&request("/bin/true"), Moment::UNKNOWN);
    assert_eq!(&*explained.rule, rule::DEFAULT_DENY);
    assert_eq!(explained.others, [("one".into(), "it names something else".into())]);
    assert_eq!(explained.remedy.as_deref(), Some("# start \"/bin/true\"\n"));
    assert_eq!(policy.explain(&request("/bin/sh"), Moment::UNKNOWN).verdict, Verdict::Allow);
    let cedar = policy.to_cedar();
    assert!(cedar.policies.contains("\"process.spawn\"") && cedar.policies.contains("Program::\"/bin/sh\""));
}
