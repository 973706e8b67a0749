use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{
    Action, Verdict,
    net::address::{embedded, special},
    policy::{Policy, Request, Resource},
};

const TCP: Protocol = Protocol::Tcp;
const UDP: Protocol = Protocol::Udp;

fn policy(grants: impl IntoIterator<Item = Grant>) -> Policy {
    Policy::builder().principal("p", grants).build().unwrap()
}

/// `host@address:port` or `address:port`.
fn ask(policy: &Policy, action: Action, protocol: Protocol, text: &str) -> (Verdict, String) {
    let (host, socket) = match text.split_once('@') {
        Some((host, socket)) => (Some(host), socket),
        None => (None, text),
    };
    let socket: std::net::SocketAddr = socket.parse().unwrap();
    let endpoint = Endpoint { protocol, host, address: socket.ip(), port: socket.port() };
    let request = Request { principal: "p", action, resource: Resource::Endpoint(endpoint) };
    let decision = policy.decide(&request);
    (decision.verdict, decision.rule.to_owned())
}

#[track_caller]
fn check(grants: &[(&str, std::ops::RangeInclusive<u16>)], asked: &str, expected: &str) {
    let grants = grants.iter().map(|(peer, ports)| Grant::connect(TCP, *peer, ports.clone()));
    let (verdict, rule) = ask(&policy(grants), Action::NetConnect, TCP, asked);
    assert_eq!(rule, expected, "{asked}");
    assert_eq!(verdict == Verdict::Allow, expected.starts_with("p."), "{asked}");
}

const FIRST: &str = "p.connect[0]";
const SECOND: &str = "p.connect[1]";
const NONE: &str = "default-deny";

#[test]
fn hosts() {
    let exact = &[("api.example.com", 443..=443)];
    check(exact, "api.example.com@93.184.215.14:443", FIRST);
    check(exact, "api.example.com@[2606:4700::1]:443", FIRST);
    check(exact, "api.example.com@93.184.215.14:80", NONE);
    check(exact, "93.184.215.14:443", NONE);
    check(exact, "example.com@93.184.215.14:443", NONE);
    check(exact, "x.api.example.com@93.184.215.14:443", NONE);
    check(exact, "api.example.com.evil.org@93.184.215.14:443", NONE);
    check(exact, "evilapi.example.com@93.184.215.14:443", NONE);

    let suffix = &[("*.example.com", 1..=65535), ("a.b.example.com", 80..=80)];
    check(suffix, "a.example.com@1.1.1.1:1", FIRST);
    check(suffix, "a.b.c.example.com@1.1.1.1:1", FIRST);
    check(suffix, "a.b.example.com@1.1.1.1:80", SECOND);
    check(suffix, "example.com@1.1.1.1:80", NONE);
    check(suffix, "notexample.com@1.1.1.1:80", NONE);

    let every = &[("*", 443..=443)];
    check(every, "x.y@1.1.1.1:443", FIRST);
    check(every, "1.1.1.1:443", FIRST);
    check(every, "x.y@10.0.0.1:443", "non-global: private");
}

#[test]
fn what_is_spelled_in_upper_case_is_the_same_host() {
    check(&[("API.Example.COM", 443..=443)], "api.example.com@1.1.1.1:443", FIRST);
}

#[test]
fn special_addresses_must_be_named() {
    let all = &[("*", 1..=65535), ("0.0.0.0/0", 1..=65535), ("::/0", 1..=65535), ("h", 1..=65535)];
    for (address, class) in [
        ("127.0.0.1", "loopback"),
        ("[::1]", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("[::]", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.0.1", "private"),
        ("[fd00::1]", "private"),
        ("100.64.0.1", "carrier-grade"),
        ("169.254.1.1", "link-local"),
        ("[fe80::1]", "link-local"),
        ("169.254.169.254", "metadata"),
        ("[fd00:ec2::254]", "metadata"),
        ("224.0.0.1", "multicast"),
        ("[ff02::1]", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("192.0.2.1", "documentation"),
        ("[2001:db8::1]", "documentation"),
        ("198.18.0.1", "benchmark"),
        ("240.0.0.1", "reserved"),
        ("[::ffff:127.0.0.1]", "mapped-v4"),
        ("[::ffff:1.1.1.1]", "mapped-v4"),
        ("[::127.0.0.1]", "compatible-v4"),
        ("[64:ff9b::7f00:1]", "translated"),
        ("[2002:7f00:1::]", "tunnel"),
        ("[2001::1]", "tunnel"),
    ] {
        check(all, &format!("{address}:80"), &format!("non-global: {class}"));
        check(all, &format!("h@{address}:80"), &format!("non-global: {class}"));
    }
}

#[test]
fn a_block_names_a_special_address_where_it_lies_within_the_special_block() {
    let any = 1..=65535;
    check(&[("127.0.0.1", any.clone())], "127.0.0.1:80", FIRST);
    check(&[("127.0.0.0/8", any.clone())], "127.1.2.3:80", FIRST);
    check(&[("126.0.0.0/7", any.clone())], "127.0.0.1:80", "non-global: loopback");
    check(&[("126.0.0.0/7", any.clone())], "126.0.0.1:80", FIRST);
    check(&[("10.1.0.0/16", any.clone())], "10.1.2.3:80", FIRST);
    check(&[("10.1.0.0/16", any.clone())], "10.2.2.3:80", NONE);
    check(&[("10.1.0.0/16", any.clone())], "db.internal@10.1.2.3:80", FIRST);
    check(&[("169.254.0.0/16", any.clone())], "169.254.169.254:80", "non-global: metadata");
    check(&[("169.254.0.0/16", any.clone())], "169.254.169.253:80", FIRST);
    check(&[("fd00::/8", any.clone())], "[fd00:ec2::254]:80", "non-global: metadata");
    check(&[("localhost", any.clone())], "localhost@127.0.0.1:80", "non-global: loopback");
    check(&[("localhost", any.clone()), ("127.0.0.1", any)], "localhost@127.0.0.1:80", SECOND);
}

#[test]
fn only_its_own_address_names_metadata() {
    let exact = &[("169.254.169.254", 80..=80), ("fd00:ec2::254/128", 80..=80)];
    check(exact, "169.254.169.254:80", FIRST);
    check(exact, "metadata.example@169.254.169.254:80", FIRST);
    check(exact, "[fd00:ec2::254]:80", SECOND);
    check(exact, "169.254.169.254:81", "non-global: metadata");
    check(exact, "169.254.170.2:80", "non-global: metadata");
    check(exact, "[64:ff9b::a9fe:a9fe]:80", NONE);
    check(&[("metadata.example", 80..=80)], "metadata.example@169.254.169.254:80", "non-global: metadata");
    check(&[], "169.254.169.254:80", "non-global: metadata");
    let embedded = &[("64:ff9b::/96", 80..=80), ("169.254.169.254", 80..=80)];
    check(embedded, "[64:ff9b::a9fe:a9fe]:80", FIRST);
    let near = &[("169.254.169.252/30", 80..=80), ("64:ff9b::/96", 80..=80), ("168.63.129.0/24", 80..=80)];
    check(near, "169.254.169.253:80", FIRST);
    check(near, "169.254.169.254:80", "non-global: metadata");
    check(near, "168.63.129.16:80", "non-global: metadata");
    check(near, "[64:ff9b::a9fe:a9fe]:80", "non-global: metadata");
}

#[test]
fn what_is_embedded_must_be_permitted_too() {
    let any = 1..=65535;
    let nat64 = |more| [("64:ff9b::/96", any.clone()), more];
    check(&[("64:ff9b::/96", any.clone())], "[64:ff9b::808:808]:80", NONE);
    check(&nat64(("*", any.clone())), "h@[64:ff9b::808:808]:80", FIRST);
    check(&nat64(("*", any.clone())), "h@[64:ff9b::7f00:1]:80", "non-global: loopback");
    check(&nat64(("*", any.clone())), "h@[64:ff9b::a9fe:a9fe]:80", "non-global: metadata");
    check(&nat64(("10.0.0.0/8", any.clone())), "h@[64:ff9b::a00:1]:80", FIRST);
    check(
        &[("::ffff:0:0/96", any.clone()), ("*", any.clone())],
        "[::ffff:10.0.0.1]:80",
        "non-global: private",
    );
    check(&[("2002::/16", any.clone()), ("*", any.clone())], "[2002:a00:1::1]:80", "non-global: private");
    check(&[("*", any)], "[2a00::5efe:10.0.0.1]:80", "non-global: private");
}

#[test]
fn protocol_and_direction_are_apart() {
    let policy = policy([
        Grant::connect(TCP, "127.0.0.1", 80),
        Grant::connect(UDP, "127.0.0.1", 53),
        Grant::listen(TCP, "127.0.0.1", Ports::PICKED),
    ]);
    let allowed = |action, protocol, text| ask(&policy, action, protocol, text).0 == Verdict::Allow;
    assert!(allowed(Action::NetConnect, TCP, "127.0.0.1:80"));
    assert!(!allowed(Action::NetConnect, UDP, "127.0.0.1:80"));
    assert!(allowed(Action::NetSend, UDP, "127.0.0.1:53"));
    assert!(!allowed(Action::NetSend, TCP, "127.0.0.1:53"));
    assert!(!allowed(Action::NetListen, TCP, "127.0.0.1:80"));
    assert!(allowed(Action::NetListen, TCP, "127.0.0.1:0"));
    assert!(!allowed(Action::NetListen, TCP, "0.0.0.0:0"));
    assert!(!allowed(Action::FsRead, TCP, "127.0.0.1:80"));
}

#[test]
fn lookups() {
    let policy = policy([
        Grant::connect(TCP, "api.example.com", 443),
        Grant::connect(TCP, "10.0.0.0/8", 443),
        Grant::resolve("*.internal").rule("r"),
    ]);
    let rule = |host| {
        let request = Request { principal: "p", action: Action::NetResolve, resource: Resource::Host(host) };
        policy.decide(&request).rule.to_owned()
    };
    assert_eq!(rule("api.example.com"), FIRST, "who may connect may look up");
    assert_eq!(rule("db.internal"), "r");
    assert_eq!(rule("internal"), NONE);
    assert_eq!(rule("secret.evil.org"), NONE);
}

#[test]
fn unix_sockets() {
    let policy = policy([
        Grant::unix(Direction::Connect, "/run/app").rule("u"),
        Grant::abstract_unix(Direction::Listen, *b"name").rule("a"),
    ]);
    let rule =
        |action, resource| policy.decide(&Request { principal: "p", action, resource }).rule.to_owned();
    let (run, other) = (Resource::Unix(Path::new("/run/app")), Resource::Unix(Path::new("/run")));
    assert_eq!(rule(Action::NetConnect, run), "u");
    assert_eq!(rule(Action::NetListen, run), NONE);
    assert_eq!(rule(Action::NetConnect, other), NONE);
    assert_eq!(rule(Action::NetListen, Resource::AbstractUnix(b"name")), "a");
    assert_eq!(rule(Action::NetConnect, Resource::AbstractUnix(b"name")), NONE);
    assert_eq!(rule(Action::NetListen, Resource::AbstractUnix(b"name2")), NONE);
}

#[track_caller]
fn check_invalid(grant: Grant, part: &str) {
    let error = Policy::builder().principal("p", [grant]).build().unwrap_err();
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn malformed_grants_are_refused() {
    check_invalid(Grant::connect(TCP, "exa mple", 80), "white space");
    check_invalid(Grant::connect(TCP, "bücher.example", 80), "punycode");
    check_invalid(Grant::connect(TCP, "*.10.0.0.1", 80), "nothing beneath");
    check_invalid(Grant::connect(TCP, "*example.com", 80), "no host has");
    check_invalid(Grant::connect(TCP, "a.*.com", 80), "no host has");
    check_invalid(Grant::connect(TCP, "10.0.0.1/8", 80), "behind its prefix");
    check_invalid(Grant::connect(TCP, "2130706433", 80), "a number");
    check_invalid(Grant::connect(TCP, "a", 0), "port 0");
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    check_invalid(Grant::connect(TCP, "a", 9..=8), "end before they begin");
    check_invalid(Grant::listen(TCP, "localhost", 80), "listens on an address");
    check_invalid(Grant::listen(TCP, "*", 80), "listens on an address");
    check_invalid(Grant::resolve("10.0.0.1"), "no lookup");
    check_invalid(Grant::unix(Direction::Listen, "run"), "not an absolute path");
    check_invalid(Grant::abstract_unix(Direction::Listen, *b""), "empty or too long");
    let twice = [Grant::connect(TCP, "a", 80), Grant::connect(TCP, "A", 80)];
    let error = Policy::builder().principal("p", twice).build().unwrap_err();
    assert!(error.to_string().contains("granted twice"), "{error}");
}

/// What the text of a grant says by its words alone.
fn names(peer: &str, host: Option<&str>, address: IpAddr) -> (bool, bool) {
    match peer.parse::<Cidr>() {
        Ok(block) => {
            let named = special(address).is_none_or(|(_, special)| special.covers(&block));
            (block.contains(address) && named, false)
        }
        Err(_) if peer == "*" => (false, true),
        Err(_) => match (peer.strip_prefix("*."), host) {
            (Some(suffix), Some(host)) => (false, host.ends_with(&format!(".{suffix}"))),
            (None, Some(host)) => (false, host == peer),
            (_, None) => (false, false),
        },
    }
}

fn naive(grants: &[(String, u16)], endpoint: &Endpoint<'_>) -> bool {
    let one = |address: IpAddr| {
        grants.iter().filter(|(_, port)| *port == endpoint.port).any(|(peer, _)| {
            let (by_block, by_name) = names(peer, endpoint.host, address);
            by_block || (by_name && special(address).is_none())
        })
    };
    one(endpoint.address) && embedded(endpoint.address).into_iter().flatten().all(|inner| one(inner.into()))
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (prop::sample::select(&[10_u8, 127, 1, 192][..]), 0..2_u8)
            .prop_map(|(first, last)| IpAddr::from([first, 0, 0, last])),
        (prop::sample::select(&[0x64ff_9b00_u32, 0x2002_0a00, 0, 0x2600_0000, 0xfd00_0ec2][..]), 0..2_u32)
            .prop_map(|(head, tail)| IpAddr::from((u128::from(head) << 96 | u128::from(tail)).to_be_bytes())),
        any::<IpAddr>(),
    ]
}

fn peers() -> impl Strategy<Value = String> {
    prop_oneof![
        (addresses(), 0..=128_u8).prop_map(|(address, prefix)| Cidr::around(address, prefix).to_string()),
        "(\\*\\.)?[ab](\\.[ab]){0,2}",
        Just("*".to_owned()),
    ]
}

proptest! {
    #[test]
    fn the_table_says_what_the_words_say(
        grants in prop::collection::vec((peers(), 1..3_u16), 0..8),
        asks in prop::collection::vec((proptest::option::of("[ab](\\.[ab]){0,3}"), addresses(), 1..3_u16), 1..30),
    ) {
        let all = grants.iter().map(|(peer, port)| Grant::connect(TCP, &**peer, *port));
        // Some say a thing twice; those have no table.
        let Ok(policy) = Policy::builder().principal("p", all).build() else { return Ok(()) };
        for (host, address, port) in &asks {
            let endpoint = Endpoint { protocol: TCP, host: host.as_deref(), address: *address, port: *port };
            let resource = Resource::Endpoint(endpoint);
            let request = Request { principal: "p", action: Action::NetConnect, resource };
            let decision = policy.decide(&request);
            prop_assert_eq!(
                decision.verdict == Verdict::Allow, naive(&grants, &endpoint), "{:?} by {}", endpoint, decision.rule
            );
        }
    }
}
