//! One principal with so many rules of one kind, and what it asks.

use std::path::Path;

use airssys_osl::{
    Action, Verdict,
    policy::{Endpoint, Grant, Policy, Protocol, Request, Resource, Rights},
};

use super::figures::{Failure, PRINCIPAL, RULES, asked, figure, root, time_each};

/// How often everything that is asked is asked again.
const ROUNDS: usize = 31;

/// Measures ours.
///
/// # Errors
///
/// A policy was refused, or an answer was wrong.
pub fn run() -> Result<(), Failure> {
    for rules in RULES {
        files(rules)?;
        names("env", Action::EnvRead, rules, Grant::env)?;
        names("send", Action::ActorSend, rules, Grant::send)?;
        hosts(rules)?;
        blocks(rules)?;
    }
    Ok(())
}

fn files(rules: usize) -> Result<(), Failure> {
    let policy = policy((0..rules).map(|number| Grant::fs(root(number), Rights::READ | Rights::LIST)))?;
    let roots: Vec<String> = asked(rules).into_iter().map(root).collect();
    let decide = |root: &String, needs| {
        let resource = Resource::Beneath { root: Path::new(root), needs };
        policy.decide(&Request { principal: PRINCIPAL, action: Action::FsRead, resource }).verdict
    };
    measure(&format!("files-{rules}"), &roots, Verdict::Allow, |root| decide(root, Rights::READ))?;
    measure(&format!("files-denied-{rules}"), &roots, Verdict::Deny, |root| decide(root, Rights::WRITE))
}

fn names(kind: &str, action: Action, rules: usize, grant: impl Fn(String) -> Grant) -> Result<(), Failure> {
    let name = |number| format!("WORKER_{number}");
    let policy = policy((0..rules).map(|number| grant(name(number))))?;
    let names: Vec<String> = asked(rules).into_iter().map(name).collect();
    measure(&format!("{kind}-{rules}"), &names, Verdict::Allow, |name| {
        policy.decide(&Request { principal: PRINCIPAL, action, resource: Resource::Name(name) }).verdict
    })
}

fn hosts(rules: usize) -> Result<(), Failure> {
    let tcp = Protocol::Tcp;
    let exact = (0..rules / 2).map(|number| Grant::connect(tcp, format!("h{number}.example.com"), 443));
    let beneath = (0..rules / 2).map(|number| Grant::connect(tcp, format!("*.z{number}.example.net"), 443));
    let policy = policy(exact.chain(beneath))?;
    let decide = |host: &String| connect(&policy, Some(host), [93, 184, 215, 14], 443);
    let hosts = |of: fn(usize) -> String| asked(rules / 2).into_iter().map(of).collect::<Vec<_>>();
    let named = |name: &str| format!("{name}-{rules}");
    measure(&named("host"), &hosts(|number| format!("h{number}.example.com")), Verdict::Allow, decide)?;
    let inner = hosts(|number| format!("a.z{number}.example.net"));
    measure(&named("host-beneath"), &inner, Verdict::Allow, decide)?;
    measure(
        &named("host-denied"),
        &hosts(|number| format!("a.b.c{number}.example.org")),
        Verdict::Deny,
        decide,
    )
}

fn blocks(rules: usize) -> Result<(), Failure> {
    // Blocks within blocks: /22 to /25, each a few times in the one before.
    let block =
        |number: usize| format!("10.{}.{}.0/{}", number / 256 % 256, (number % 256) & !3, 22 + number % 4);
    let policy =
        policy((0..rules).map(|number| {
            Grant::connect(Protocol::Tcp, block(number), 1_000 + (number / 4 % 60_000) as u16)
        }))?;
    let asks: Vec<([u8; 4], u16)> = asked(rules)
        .into_iter()
        .map(|number| ([10, (number / 256) as u8, (number % 256) as u8 & !3, 1], 1_000 + (number / 4) as u16))
        .collect();
    measure(&format!("block-{rules}"), &asks, Verdict::Allow, |(address, port)| {
        connect(&policy, None, *address, *port)
    })
}

fn connect(policy: &Policy, host: Option<&str>, address: [u8; 4], port: u16) -> Verdict {
    let endpoint = Endpoint { protocol: Protocol::Tcp, host, address: address.into(), port };
    let resource = Resource::Endpoint(endpoint);
    policy.decide(&Request { principal: PRINCIPAL, action: Action::NetConnect, resource }).verdict
}

fn policy(grants: impl Iterator<Item = Grant>) -> Result<Policy, Failure> {
    Ok(Policy::builder().principal(PRINCIPAL, grants).build()?)
}

/// Measures only what is answered rightly.
fn measure<T>(
    name: &str,
    asks: &[T],
    expected: Verdict,
    decide: impl Fn(&T) -> Verdict,
) -> Result<(), Failure> {
    if let Some(wrong) = asks.iter().position(|ask| decide(ask) != expected) {
        return Err(format!("{name}: question {wrong} is not answered by {expected:?}").into());
    }
    figure(&format!("decision-{name}"), "airssys", time_each(asks, ROUNDS, decide));
    Ok(())
}
