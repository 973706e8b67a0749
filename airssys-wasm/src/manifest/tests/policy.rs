//! Grants, prohibitions, roles, conditions and modes.

use std::net::{IpAddr, Ipv4Addr};

use airssys_osl::policy::{Endpoint, Mode, Protocol};

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34));

fn endpoint(protocol: Protocol, host: Option<&'static str>, address: IpAddr, port: u16) -> Resource<'static> {
    Resource::Endpoint(Endpoint { protocol, host, address, port })
}

/// The rule that answers component `a`.
fn rule(text: &str, action: Action, resource: Resource<'_>) -> String {
    let manifest = parse(&with(text)).unwrap_or_else(|problems| panic!("{problems:#?}"));
    ask(&policy(&manifest), "a", action, resource)
}

#[test]
fn the_network_is_granted_by_protocol_host_address_and_port() {
    let text = "[component.a.grants]\nconnect = [\"tcp://*.example.com:443\", \"udp://127.0.0.0/8:50-60\"]\n\
                listen = [\"tcp://127.0.0.1:0\"]\nresolve = [\"example.org\"]";
    let connect = |resource| rule(text, Action::NetConnect, resource);
    let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
    assert_eq!(
        connect(endpoint(tcp, Some("api.example.com"), ELSEWHERE, 443)),
        "component.a.grants.connect[0]"
    );
    assert_eq!(connect(endpoint(tcp, Some("example.com"), ELSEWHERE, 443)), "default-deny");
    assert_eq!(connect(endpoint(tcp, Some("api.example.com"), ELSEWHERE, 80)), "default-deny");
    assert_eq!(connect(endpoint(tcp, Some("api.example.com"), LOOPBACK, 443)), "non-global: loopback");
    assert_eq!(connect(endpoint(udp, None, LOOPBACK, 55)), "component.a.grants.connect[1]");
    assert_eq!(connect(endpoint(tcp, None, LOOPBACK, 55)), "default-deny");
    let listen = |port| rule(text, Action::NetListen, endpoint(tcp, None, LOOPBACK, port));
    assert_eq!((listen(0).as_str(), listen(80).as_str()), ("component.a.grants.listen[0]", "default-deny"));
    let resolve = |host| rule(text, Action::NetResolve, Resource::Host(host));
    assert_eq!(resolve("example.org"), "component.a.grants.resolve[0]");
    assert_eq!(resolve("example.net"), "default-deny");
}

#[test]
fn what_is_no_peer_is_told_in_its_place() {
    let connect = |text: &str| with(&format!("[component.a.grants]\nconnect = [\"{text}\"]"));
    check(&connect("example.com:443"), &[("example.com", "is no peer", "tcp://*.example.com:443")]);
    check(&connect("unix:/run/x"), &[("unix:", "is no peer", "no interface for UNIX sockets")]);
    let problem = "`component.a.grants.connect[0]`: ";
    check(&connect("tcp://exa mple:443"), &[("exa mple", problem, "")]);
    check(&connect("tcp://10.1.2.3/8:443"), &[("10.1.2.3/8", problem, "")]);
    check(&connect("tcp://127.0.0.1:0"), &[("127.0.0.1:0", problem, "")]);
}

#[test]
fn what_is_forbidden_is_forbidden_to_one_or_to_all() {
    let text = "[component.a.grants]\nenv = [\"AWS_KEY\", \"LANG\", \"HOME\"]\n[component.a.forbid]\nenv = [\"AWS_*\"]\n\
                [policy.forbid]\nenv = [\"HOME\"]";
    let env = |name| rule(text, Action::EnvRead, Resource::Name(name));
    assert_eq!(env("AWS_KEY"), "component.a.forbid.env[0]");
    assert_eq!(env("HOME"), "policy.forbid.env[0]");
    assert_eq!(env("LANG"), "component.a.grants.env[2]".replace('2', "1"));
}

#[test]
fn a_forbidden_directory_is_taken_out_of_a_granted_one() {
    let text = "[component.a.grants]\nfs = [{ path = \"in\", guest = \"/in\", rights = [\"read\"] }]\n\
                [component.a.forbid]\nfs = [{ path = \"in/private\" }]";
    assert!(parse(&with(text)).is_ok());
    let some = text.replace("\"in/private\"", "\"in/private\", rights = [\"read\"]");
    check(
        &with(&some),
        &[("{ path = \"in/private\"", "only all rights, at all times, can be forbidden", "")],
    );
}

#[test]
fn roles_give_what_they_have_and_what_theirs_have() {
    let text = "roles = [\"web\"]\n[role.web]\nroles = [\"base\"]\ngrants = { connect = [\"tcp://*:443\"] }\n\
                [role.base]\ngrants = { env = [\"LANG\"], fs = [{ path = \"x\", guest = \"/x\", rights = [\"read\"] }] }\n\
                forbid = { resolve = [\"evil.example\"] }";
    let manifest = parse(&with(text)).unwrap();
    let policy = policy(&manifest);
    assert_eq!(ask(&policy, "a", Action::EnvRead, Resource::Name("LANG")), "role.base.grants.env[0]");
    let connect = endpoint(Protocol::Tcp, None, ELSEWHERE, 443);
    assert_eq!(ask(&policy, "a", Action::NetConnect, connect), "role.web.grants.connect[0]");
    assert_eq!(
        ask(&policy, "a", Action::NetResolve, Resource::Host("evil.example")),
        "role.base.forbid.resolve[0]"
    );
    let guests: Vec<_> =
        manifest.components[0].directories.iter().filter_map(|grant| grant.guest.as_deref()).collect();
    assert_eq!(guests, ["/x"]);
}

#[test]
fn roles_must_exist_and_have_no_cycle() {
    check(
        &with("roles = [\"webs\"]\n[role.web]"),
        &[("\"webs\"", "no role is called `webs`", "did you mean `web`?")],
    );
    let cycle = "[role.x]\nroles = [\"y\"]\n[role.y]\nroles = [\"z\"]\n[role.z]\nroles = [\"x\"]";
    check(&with(cycle), &[("x", "the roles `x` and `z` have each other", "out of the other's `roles`")]);
    check(&with("[role.x]\nroles = [\"x\"]"), &[("x", "the role `x` has itself", "")]);
}

#[test]
fn two_directories_of_roles_need_two_names() {
    let fs =
        |path: &str| format!("{{ fs = [{{ path = \"{path}\", guest = \"/x\", rights = [\"read\"] }}] }}");
    let text =
        |other: &str| format!("roles = [\"r\"]\ngrants = {}\n[role.r]\ngrants = {}", fs("x"), fs(other));
    assert!(parse(&with(&text("x"))).is_ok());
    check(&with(&text("y")), &[("\"x\"", "two directories are called \"/x\"", "another `guest`")]);
}

#[test]
fn conditions_say_when_a_grant_holds() {
    let text = "[component.a.grants]\nclock = { conditions = { until = 2020-01-01T00:00:00Z } }\nrandom = false\n\
                env = [{ name = \"LANG\", conditions = { during = [\"mon 09:00-17:00\", \"sat 10:00-12:00 +01:00\"], \
                at_most = \"10/1m\" } }]";
    // At no moment in particular, nothing holds that depends on one.
    assert_eq!(rule(text, Action::ClockRead, Resource::Name("")), "component.a.grants.clock: expired");
    assert_eq!(rule(text, Action::RandomRead, Resource::Name("")), "default-deny");
    let env = rule(text, Action::EnvRead, Resource::Name("LANG"));
    assert_eq!(env, "component.a.grants.env[0]: outside its hours");
}

#[test]
fn wrong_conditions_are_told() {
    let conditions =
        |text: &str| with(&format!("[component.a.grants]\nclock = {{ conditions = {{ {text} }} }}"));
    check(&conditions("until = \"soon\""), &[("\"soon\"", "a date, a time and an offset", "2027")]);
    check(&conditions("until = 2027-01-31T18:00:00"), &[("2027", "a date, a time and an offset", "")]);
    check(&conditions("during = \"mondays\""), &[("\"mondays\"", "must be hours of the week", "mon-fri")]);
    check(&conditions("at_most = \"ten\""), &[("\"ten\"", "a count and a time", "")]);
    check(&conditions("untli = 5"), &[("untli", "unknown key `untli`", "did you mean `until`?")]);
    check(&conditions("at_most = \"0/1s\""), &[("{", "`component.a.grants.clock`: ", "")]);
}

#[test]
fn quotas_and_limits_are_read() {
    let text = "limits = { net = { connections = 2, receive = \"1MiB\", send = \"1KiB\", resolve_timeout = \"1s\", \
                connect_timeout = \"2s\", idle_timeout = \"1m\", total_timeout = \"1d\" } }\n[component.a.grants]\n\
                fs = [{ path = \"x\", guest = \"/x\", rights = [\"read\", \"write\"], deny = [\".env\"], \
                hard_links = \"refused\", quota = \"1GiB\", quota_files = 9, max_file = \"1MiB\" }]";
    let manifest = parse(&with(text)).unwrap();
    let net = format!("{:?}", manifest.components[0].rules.permits);
    assert!(net.contains("open: 2") && net.contains("received_per_second: Some(1048576)"), "{net}");
    let fs = format!("{:?}", manifest.components[0].directories[0].grant);
    assert!(
        fs.contains(".env") && fs.contains("Refused") && fs.contains("quota_bytes: Some(1073741824)"),
        "{fs}"
    );
    let wrong = |text: &str| with(&format!("limits = {{ net = {{ {text} }} }}"));
    check(&wrong("connections = 0"), &[("0", "from 1 to 65536", "")]);
    check(&wrong("send = \"0B\""), &[("\"0B\"", "must be a size", "")]);
    check(&wrong("idle_timeout = \"0s\""), &[("\"0s\"", "must be a duration", "")]);
}

#[test]
fn a_grant_may_leave_open_what_a_run_is_to_find_out() {
    let open = "[component.a.grants]\nfs = [{ path = \"x\", guest = \"/x\", rights = [] }]";
    check(&with(open), &[("[]", "permits nothing", "airssys run --learn")]);
    let manifest = parse(&with(&format!("{open}\n[policy]\nmode = \"learn\""))).unwrap();
    assert_eq!((manifest.mode, manifest.components[0].directories.len()), (Mode::Learn, 1));
    let overrides = Overrides { mode: Some(Mode::Learn), ..Overrides::default() };
    let missing = with(&open.replace(", rights = []", ""));
    assert_eq!(Manifest::parse(&missing, Path::new(DIR), &overrides).unwrap().mode, Mode::Learn);
}

#[test]
fn what_only_all_rules_together_show_is_told_in_its_place() {
    let twice = "[component.a.grants]\nenv = [\"LANG\", \"LANG\"]";
    check(&with(twice), &[("\"LANG\"", "the same is granted twice", "")]);
    assert_eq!(parse(&with("[policy]\nmode = \"audit-only\"")).unwrap().mode, Mode::AuditOnly);
    check(
        &with("[policy]\nmode = \"learning\""),
        &[("\"learning\"", "\"enforce\" or", "did you mean `learn`?")],
    );
}

#[test]
fn a_long_chain_of_roles_is_answered_at_once() {
    let link = |number: usize| format!("[role.r{number}]\nroles = [\"r{}\"]\n", number + 1);
    let chain = |length: usize| (0..length).map(link).collect::<String>();
    let text = with(&format!("{}[role.r900]", chain(900)));
    check(&text, &[("", "deeper than 32", "")]);
    check(&with(&format!("{}[role.r1500]", chain(1500))), &[("r1000", "more than 1000 roles", "")]);
}

#[test]
fn buckets_are_granted_by_name() {
    let manifest = parse(&with(
        "[component.a.grants]\nkeyvalue = [{ bucket = \"counts\", rights = [\"read\"] }, { bucket = \"cache-*\", rights = [\"read\", \"write\"] }]\n\
         [component.a.forbid]\nkeyvalue = [{ bucket = \"cache-x\" }]\n\
         [keyvalue.counts]\nkeys = 5\nvalue = \"1KiB\"\nmemory = \"2KiB\"\n[keyvalue.cache-x]\n",
    ));
    let manifest = manifest.unwrap();
    let limits = &manifest.buckets[0].limits;
    assert_eq!((limits.keys, limits.value_bytes, limits.bytes), (5, 1024, 2048));
    assert_eq!(manifest.buckets[1].limits, Default::default());
    let policy = policy(&manifest);
    let rule = |action, bucket| ask(&policy, "a", action, Resource::Name(bucket));
    assert_eq!(rule(Action::KeyvalueRead, "counts"), "component.a.grants.keyvalue[0]");
    assert_eq!(rule(Action::KeyvalueWrite, "counts"), "default-deny");
    assert_eq!(rule(Action::KeyvalueWrite, "cache-y"), "component.a.grants.keyvalue[1]");
    assert_eq!(rule(Action::KeyvalueWrite, "cache-x"), "component.a.forbid.keyvalue[0]");
}

#[test]
fn what_is_no_grant_of_a_bucket_is_told() {
    let grants =
        |text: &str| with(&format!("[component.a.grants]\nkeyvalue = [{text}]\n[keyvalue.counts]\n"));
    check(&grants("\"counts\""), &[("\"counts\"", "must be a table", "such as")]);
    check(
        &grants("{ rights = [\"read\"] }"),
        &[("{", "`component.a.grants.keyvalue[0].bucket` is missing", "add")],
    );
    check(&grants("{ bucket = \"counts\" }"), &[("{", "rights` is missing", "add")]);
    check(
        &grants("{ bucket = \"counts\", rights = [\"list\"] }"),
        &[("\"list\"", "must be \"read\" or \"write\"", "")],
    );
    let unknown = grants("{ bucket = \"count\", rights = [\"read\"] }");
    check(&unknown, &[("\"count\"", "no bucket is called `count`", "did you mean `counts`?")]);
}
