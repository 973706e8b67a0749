//! What a manifest may say, and what it is told when it says something else.

use std::{path::Path, time::Duration};

use airssys_osl::{
    Action,
    policy::{Policy, Request, Resource, Rights},
};
use airssys_rt::{Restart, Shutdown, Strategy};

use super::*;

mod audit;
mod order;
mod policy;
mod process;
mod reference;

const DIR: &str = "/srv/system";

fn parse(text: &str) -> Result<Manifest, Vec<Problem>> {
    Manifest::parse(text, Path::new(DIR), &Overrides::default())
}

fn policy(manifest: &Manifest) -> Policy {
    crate::grant::add_principals(manifest, Policy::builder()).build().expect("it was checked")
}

/// The rule that answers a component.
fn ask(policy: &Policy, component: &str, action: Action, resource: Resource<'_>) -> String {
    let principal = crate::grant::principal_name(component);
    policy.decide(&Request { principal: &principal, action, resource }).rule.to_owned()
}

/// A manifest with one component, plus `text`.
fn with(text: &str) -> String {
    format!("[system]\nname = \"s\"\n[component.a]\nsource = \"a.wasm\"\n{text}")
}

/// Expects exactly these problems, each given by the text it points at, a part of its message and a part of its help.
fn check(text: &str, expected: &[(&str, &str, &str)]) {
    let problems = parse(text).expect_err("the manifest has problems");
    let shown: Vec<_> = problems
        .iter()
        .map(|problem| {
            let at = text.get(problem.span.clone()).expect("a span is within the text");
            (at.lines().next().unwrap_or(""), problem.message.as_str(), problem.help.as_deref().unwrap_or(""))
        })
        .collect();
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
    for (shown, expected) in shown.iter().zip(expected) {
        assert!(
            shown.0.contains(expected.0) && shown.1.contains(expected.1) && shown.2.contains(expected.2),
            "got {shown:?}\nwant {expected:?}"
        );
    }
}

#[test]
fn the_smallest_manifest_has_every_default() {
    let manifest = parse(&with("")).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.root.name.as_str()), ("s", "s"));
    assert_eq!(manifest.state, Path::new("/srv/system/.airssys"));
    assert_eq!(manifest.audit.dir, Path::new("/srv/system/.airssys/audit"));
    let component = &manifest.components[0];
    assert_eq!(component.source.value, Path::new("/srv/system/a.wasm"));
    assert_eq!(
        (component.restart, component.shutdown),
        (Restart::Permanent, Shutdown::Timeout(Duration::from_secs(5)))
    );
    assert_eq!((component.mailbox, component.max_deliver), (1024, 3));
    assert_eq!(component.limits, Limits::default());
    assert!(component.directories.is_empty() && component.rules.forbids.is_empty());
    let policy = policy(&manifest);
    assert_eq!(ask(&policy, "a", Action::ClockRead, Resource::Name("")), "builtin.clock");
    assert_eq!(ask(&policy, "a", Action::RandomRead, Resource::Name("")), "builtin.random");
    assert_eq!(ask(&policy, "a", Action::EnvRead, Resource::Name("HOME")), "default-deny");
}

#[test]
fn every_key_is_read() {
    let text = r#"
        [vars]
        dir = { path = "in" }
        word = "hello"
        [system]
        name = "s"
        state = "state"
        strategy = "one_for_all"
        [audit]
        dir = "/var/log/s"
        [supervisor.top]
        strategy = "rest_for_one"
        intensity = 7
        period = "2m"
        children = ["b", "a"]
        [component.a]
        source = "/opt/a.wasm"
        digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        restart = "transient"
        shutdown = "infinity"
        mailbox = 5
        max_deliver = 2
        limits = { memory = "1GiB", deadline = "250ms", payload = "4KiB", tables = 10, cpu_percent = 150 }
        config = { text = "${word}, you", number = 5, flag = true }
        [component.a.grants]
        fs = [{ path = "${dir}/x", guest = "/x", rights = ["read", "delete"] }]
        send = ["b"]
        env = ["LANG"]
        [component.b]
        source = "b.wasm"
        shutdown = "brutal_kill"
    "#;
    let manifest = parse(text).unwrap();
    assert_eq!(manifest.state, Path::new("/srv/system/state"));
    assert_eq!(manifest.audit.dir, Path::new("/var/log/s"));
    assert_eq!(manifest.root.strategy, Strategy::OneForAll);
    let [Child::Supervisor(top)] = &manifest.root.children[..] else { panic!("{:?}", manifest.root) };
    assert_eq!(
        (top.strategy, top.intensity, top.period),
        (Strategy::RestForOne, 7, Duration::from_secs(120))
    );
    assert!(matches!(top.children[..], [Child::Component(1), Child::Component(0)]), "{:?}", top.children);
    let a = &manifest.components[0];
    assert!(a.digest.is_some());
    assert_eq!(
        (a.restart, a.shutdown, a.mailbox, a.max_deliver),
        (Restart::Transient, Shutdown::Infinity, 5, 2)
    );
    let deadline = Some(Duration::from_millis(250));
    let expected = Limits {
        memory_bytes: 1 << 30,
        deadline,
        payload_bytes: 4096,
        table_elements: 10,
        cpu_percent: Some(150),
        ..Limits::default()
    };
    assert_eq!(a.limits, expected);
    let config: Vec<_> = a.config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(config, [("text", "hello, you"), ("number", "5"), ("flag", "true")]);
    let fs = &a.directories[0];
    assert_eq!((fs.path.value.as_path(), fs.guest.as_deref()), (Path::new("/srv/system/in/x"), Some("/x")));
    assert_eq!((fs.rights, fs.rule.as_str()), (Rights::READ | Rights::DELETE, "component.a.grants.fs[0]"));
    let policy = policy(&manifest);
    assert_eq!(ask(&policy, "a", Action::ActorSend, Resource::Name("b")), "component.a.grants.send[0]");
    assert_eq!(ask(&policy, "a", Action::EnvRead, Resource::Name("LANG")), "component.a.grants.env[0]");
    assert_eq!(manifest.components[1].shutdown, Shutdown::BrutalKill);
}

#[test]
fn a_state_is_kept_where_that_is_said() {
    let read = |text: &str| {
        let manifest = parse(&with(text)).unwrap();
        let a = &manifest.components[0];
        (a.snapshots.as_ref().map(|every| every.value), a.limits.snapshot_bytes)
    };
    assert_eq!(read(""), (None, 8 << 20));
    assert_eq!(read("on_restart = \"fresh\""), (None, 8 << 20));
    assert_eq!(read("on_restart = \"snapshot\"\nlimits = { snapshot = \"1KiB\" }"), (Some(1), 1024));
    assert_eq!(read("on_restart = \"snapshot\"\nsnapshot_every = 7"), (Some(7), 8 << 20));
    let help = "it goes with `on_restart = \"snapshot\"`";
    check(&with("snapshot_every = 7"), &[("7", "`component.a.snapshot_every` has no meaning here", help)]);
    assert_eq!(read("limits = { snapshot = \"128MiB\", payload = \"128MiB\" }"), (None, 128 << 20));
    for key in ["snapshot", "payload"] {
        let message = format!("`component.a.limits.{key}` is more than 128MiB");
        let help = "a component hands over 128MiB at once at most; beyond is a trap";
        check(&with(&format!("limits = {{ {key} = \"129MiB\" }}")), &[("129MiB", &message, help)]);
    }
    check(
        &with("on_restart = \"snapshot\"\nsnapshot_every = 0"),
        &[("0", "must be a whole number from 1 to 1000000", "")],
    );
}

#[test]
fn a_component_is_one_thing() {
    let of = |text: &str| parse(&with(text)).unwrap().components.remove(0);
    let job = of("job = { args = [\"-v\"], env = { LANG = \"C\" }, timeout = \"1m\", ready = \"done\" }");
    let expected = JobSpec {
        arguments: vec!["-v".to_owned()],
        variables: vec![("LANG".to_owned(), "C".to_owned())],
        timeout: Some(Duration::from_secs(60)),
        ready: JobReady::Done,
    };
    assert_eq!((job.job, job.restart, job.limits.deadline), (Some(expected), Restart::Transient, None));
    let given = of("restart = \"permanent\"\njob = {}\nlimits = { deadline = \"2s\" }");
    assert_eq!((given.restart, given.limits.deadline), (Restart::Permanent, Some(Duration::from_secs(2))));
    assert_eq!(of("workers = 4").workers, Some(4));

    for key in ["mailbox = 4", "max_deliver = 2", "on_restart = \"snapshot\"", "health = {}", "workers = 2"] {
        let name = key.split(' ').next().unwrap();
        let message = format!("`component.a.{name}` has no meaning here");
        check(&with(&format!("{key}\njob = {{}}")), &[("", &message, "")]);
    }
    for one in ["job = {}", "workers = 2"] {
        let two = format!("{one}\nhttp = {{ listen = \"127.0.0.1:80\" }}");
        check(&with(&two), &[("", "`component.a.http` has no meaning here", "")]);
    }
    let why = "a worker is a fresh instance for each message";
    check(
        &with("workers = 2\non_restart = \"snapshot\""),
        &[("", "`component.a.on_restart` has no meaning here", why)],
    );
    check(&with("workers = 0"), &[("0", "must be a whole number from 1 to 1000", "")]);
}

#[test]
fn requests_at_one_address_are_for_one_component() {
    let two = |one: &str, other: &str| {
        let http = |route: &str| format!("http = {{ listen = \"127.0.0.1:80\"{route} }}");
        with(&format!("{}\n[component.b]\nsource = \"b.wasm\"\n{}\n", http(one), http(other)))
    };
    let manifest = parse(&two(", path = \"/a/\"", ", host = \"A.test\"")).unwrap();
    let route = |index: usize| manifest.components[index].http.clone().unwrap().route;
    assert_eq!((route(0).host, route(0).path.as_str()), (None, "/a"));
    assert_eq!((route(1).host.as_deref(), route(1).path.as_str()), (Some("a.test"), ""));
    assert!(route(0).takes("x", "/a") && route(0).takes("x", "/a/b") && !route(0).takes("x", "/ab"));
    assert!(route(1).takes("A.TEST", "/") && !route(1).takes("b.test", "/"));
    check(&two("", ""), &[("b", "`a` and `b` answer the same requests at 127.0.0.1:80", "`http.path`")]);
    check(&two(", path = \"a\"", ", path = \"/b\""), &[("a", "must be a path without a query", "")]);
    check(&two(", path = \"/a?b\"", ", path = \"/b\""), &[("/a?b", "must be a path without a query", "")]);
    check(&two(", host = \"a:80\"", ", path = \"/b\""), &[("a:80", "must be a host without a port", "")]);
}

#[test]
fn variables_are_overridden_and_paths_are_the_users() {
    let text =
        with("config = { x = \"${x}\", dir = \"${dir}\" }\n[vars]\nx = \"1\"\ndir = { path = \"in\" }");
    let values = [("x", "2"), ("dir", "logs")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let overrides = Overrides { values: values.into_iter().collect(), base: "/home/me".into(), mode: None };
    let manifest = Manifest::parse(&text, Path::new(DIR), &overrides).unwrap();
    assert_eq!(manifest.components[0].config[0].1, "2");
    assert_eq!(manifest.components[0].config[1].1, "/home/me/logs");
}

#[test]
fn an_override_of_nothing_is_a_problem() {
    let overrides = Overrides { values: [("inbx".to_owned(), String::new())].into(), ..Overrides::default() };
    let text = with("[vars]\ninbox = \"x\"");
    let problems = Manifest::parse(&text, Path::new(DIR), &overrides).unwrap_err();
    assert!(problems[0].message.contains("`--set inbx=…`"), "{problems:?}");
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `inbox`?"));
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "[system]\nnmae = \"s\"\n[component.A]\nsource = 5\nmailbox = 0\n[supervisor.x]\nchildren = [\"y\"]\n";
    check(
        text,
        &[
            ("", "`system.name` is missing", "add `name ="),
            ("nmae", "unknown key `nmae` in `system`", "did you mean `name`?"),
            ("A", "`A` is no name", "a letter first"),
            ("5", "`component.A.source` must be a string, not a whole number", ""),
            ("0", "`component.A.mailbox` must be a whole number from 1 to 1000000", ""),
            ("\"y\"", "no component, process or supervisor is called `y`", "`[component.y]`"),
        ],
    );
}

#[test]
fn what_is_no_toml_is_told_with_its_place() {
    check("[system\nname = 1", &[("", "", "")]);
}

#[test]
fn an_empty_manifest_says_what_is_needed() {
    check("", &[("", "`system` is missing", "my-system"), ("", "no components", "[component.NAME]")]);
}

#[test]
fn an_unknown_section_is_told() {
    check(
        &with("[compnent.b]\nsource = \"x\""),
        &[("compnent", "unknown key `compnent`", "did you mean `component`?")],
    );
}

#[test]
fn wrong_types_are_told() {
    check(&with("config = 5"), &[("5", "`component.a.config` must be a table, not a whole number", "")]);
    check(&with("config = { x = [1] }"), &[("[1]", "a string, a number or a boolean, not an array", "")]);
    check(&with("mailbox = \"many\""), &[("\"many\"", "`component.a.mailbox` must be a whole number", "")]);
    check(&with("restart = true"), &[("true", "`component.a.restart` must be a string, not a boolean", "")]);
}

#[test]
fn wrong_words_are_told_with_the_right_ones() {
    check(
        &with("restart = \"permanant\""),
        &[("permanant", "\"permanent\" or \"transient\"", "did you mean `permanent`?")],
    );
    check(&with("shutdown = \"soon\""), &[("soon", "\"brutal_kill\", \"infinity\" or a duration", "")]);
    check(&with("limits = { memory = \"64MB\" }"), &[("64MB", "a size", "")]);
    check(&with("digest = \"sha256:123\""), &[("sha256:123", "64 hexadecimal digits", "")]);
}

#[test]
fn grants_outside_of_the_forms_are_refused() {
    let forms = "this version grants `fs`, `connect`, `listen`";
    check(&with("grants = { net = [] }"), &[("net", "unknown key `net` in `component.a.grants`", forms)]);
    check(&with("grants = { exec = [\"/bin/sh\"] }"), &[("exec", "unknown key `exec`", forms)]);
    let fs = |grant: &str| with(&format!("grants = {{ fs = [{grant}] }}"));
    check(&fs("\"/srv\""), &[("\"/srv\"", "must be a table, not a string", "rights =")]);
    check(
        &fs("{ path = \"x\", guest = \"/x\", rights = [\"execute\"] }"),
        &[("\"execute\"", "\"read\" or \"list\"", "")],
    );
    check(
        &fs("{ path = \"x\", guest = \"x/../y\", rights = [\"read\"] }"),
        &[("x/../y", "an absolute path without `.` and `..`", "")],
    );
    check(
        &fs("{ path = \"x\", guest = \"/x\" }"),
        &[("{ path", "`component.a.grants.fs[0].rights` is missing", "")],
    );
    let twice = "{ path = \"x\", guest = \"/x\", rights = [\"read\"] }, { path = \"y\", guest = \"/x\", rights = [\"read\"] }";
    check(&fs(twice), &[("\"/x\"", "two directories are called \"/x\"", "")]);
}

#[test]
fn containers_of_objects_are_in_one_directory() {
    let blobs = |text: &str| with(&format!("grants = {{ blobstore = [{text}] }}"));
    let one = "{ path = \"blobs\", rights = [\"read\", \"create\"], quota = \"1MiB\" }";
    let manifest = parse(&blobs(one)).unwrap();
    let grant = &manifest.components[0].directories[0];
    let expected = (Path::new("/srv/system/blobs"), None, "component.a.grants.blobstore[0]");
    assert_eq!((grant.path.value.as_path(), grant.guest.as_deref(), grant.rule.as_str()), expected);
    assert_eq!(grant.rights, Rights::READ | Rights::CREATE);
    let second = one.replace("blobs", "more");
    let message = "`component.a.grants.blobstore` has more than one element";
    check(&blobs(&format!("{one}, {second}")), &[(&second, message, "in one directory")]);
    let message = "containers are in two directories: `component.a.grants.blobstore[0]` and `role.r.grants.blobstore[0]`";
    let role = format!("roles = [\"r\"]\n[role.r.grants]\nblobstore = [{second}]\n");
    let text = format!("grants = {{ blobstore = [{one}] }}\n{role}");
    check(&with(&text), &[("\"blobs\"", message, "its roles have the same")]);
    let named = one.replace("rights", "guest = \"/x\", rights");
    check(&blobs(&named), &[("guest", "unknown key `guest` in `component.a.grants.blobstore[0]`", "")]);
    check(
        &blobs("{ rights = [\"read\"] }"),
        &[("{ rights", "`component.a.grants.blobstore[0].path` is missing", "")],
    );
    check(&blobs("\"blobs\""), &[("\"blobs\"", "must be a table", "")]);
    // Nor is it among the directories that have names: the rights to one place add up.
    let files = "fs = [{ path = \"./blobs\", guest = \"/x\", rights = [\"list\"] }]";
    let both = with(&format!("grants = {{ blobstore = [{one}], {files} }}"));
    let message = "`component.a.grants.blobstore[0]` and `component.a.grants.fs[0]` grant the same directory";
    check(&both, &[("\"blobs\"", message, "a directory of their own")]);
    let role = format!("roles = [\"r\"]\n[role.r.grants]\n{files}\n");
    let message = "`component.a.grants.blobstore[0]` and `role.r.grants.fs[0]` grant the same directory";
    let text = format!("grants = {{ blobstore = [{one}] }}\n{role}");
    check(&with(&text), &[("\"blobs\"", message, "the rights of both would add up")]);
}

#[test]
fn the_systems_own_folders_cannot_be_granted() {
    let fs = |path: &str| {
        with(&format!("grants = {{ fs = [{{ path = \"{path}\", guest = \"/x\", rights = [\"read\"] }}] }}"))
    };
    for path in [".", ".airssys", ".airssys/audit/x", "./.airssys", "/srv", "/"] {
        check(&fs(path), &[(path, "reaches the system's own folder", "beside it")]);
    }
    for path in ["..", "x/../.airssys"] {
        check(&fs(path), &[(path, "must be a path without `..`", "write where it is")]);
    }
    assert!(parse(&fs("airssys")).is_ok() && parse(&fs(".airssys-not")).is_ok());
}

#[test]
fn a_grant_beneath_one_that_may_be_changed_is_refused() {
    let two = |outer: &str, rights: &str, inner: &str| {
        let fs = |path: &str, rights: &str| {
            format!("{{ path = \"{path}\", guest = \"/{path}\", rights = [\"{rights}\"] }}")
        };
        with(&format!("grants = {{ fs = [{}, {}] }}", fs(outer, rights), fs(inner, "read")))
    };
    for rights in ["write", "create", "delete"] {
        check(
            &two("x", rights, "x/y"),
            &[("x/y", "lies beneath `component.a.grants.fs[0]`", "beside each other")],
        );
    }
    assert!(parse(&two("x", "read", "x/y")).is_ok() && parse(&two("x", "write", "xy")).is_ok());
}

#[test]
fn receivers_must_exist() {
    check(
        &with("grants = { send = [\"pasrer\"] }\n[component.parser]\nsource = \"p\""),
        &[("\"pasrer\"", "no component is called `pasrer`", "did you mean `parser`?")],
    );
}

#[test]
fn topics_are_granted_as_one_or_as_all_below() {
    let text = "grants = { publish = [\"orders.eu\"], subscribe = [{ topic = \"orders.>\", conditions = { at_most = \"5/1m\" } }] }";
    let policy = policy(&parse(&with(text)).unwrap());
    let publish = |topic| ask(&policy, "a", Action::ActorPublish, Resource::Name(topic));
    let subscribe = |pattern| ask(&policy, "a", Action::ActorSubscribe, Resource::Name(pattern));
    assert_eq!(publish("orders.eu"), "component.a.grants.publish[0]");
    assert_eq!((publish("orders.us"), subscribe(">")), ("default-deny".into(), "default-deny".into()));
    assert_eq!(subscribe("orders.*.paid"), "component.a.grants.subscribe[0]");
    for (topic, problem, help) in [
        ("orders..eu", "no topic: an empty token at byte 7", "`orders.>` for all below"),
        ("orders.>.eu", "no topic: `>` at byte 7 is not the last token", "`orders.>` for all below"),
        ("orders.*.eu", "a topic is one subject, or all below one", ""),
        ("*", "a topic is one subject, or all below one", ""),
    ] {
        let place = format!("\"{topic}\"");
        check(&with(&format!("grants = {{ publish = [\"{topic}\"] }}")), &[(&place, problem, help)]);
    }
}

#[test]
fn variables_must_exist() {
    check(
        &with("config = { x = \"${ibox}\" }\n[vars]\ninbox = \"y\""),
        &[("ibox", "no variable is called `ibox`", "`inbox`")],
    );
    check(
        &with("config = { x = \"${inbox\" }\n[vars]\ninbox = \"y\""),
        &[("${inbox", "`${` without `}`", "")],
    );
}

#[test]
fn a_tree_has_one_parent_a_child() {
    let text = with("[supervisor.x]\nchildren = [\"a\"]\n[supervisor.y]\nchildren = [\"a\"]");
    check(&text, &[("\"a\"", "`a` is a child of `x` already, and cannot be one of `y`", "")]);
    let text = with("[supervisor.x]\nchildren = [\"a\", \"a\"]");
    check(&text, &[("\"a\"", "`a` is a child of `x` already, and cannot be one of `x`", "")]);
}

#[test]
fn a_tree_has_no_cycle() {
    let text = with("[supervisor.x]\nchildren = [\"y\"]\n[supervisor.y]\nchildren = [\"x\"]");
    check(&text, &[("x", "the supervisors x, y are each other's children", "one root")]);
    check(&with("[supervisor.x]\nchildren = [\"x\"]"), &[("x", "`x` is its own child", "one root")]);
}

#[test]
fn a_name_is_one_thing() {
    check(&with("[supervisor.a]\nchildren = []"), &[("a", "both a supervisor and a component", "rename")]);
}

#[test]
fn a_deep_chain_is_refused_before_anything_recurses() {
    let link = |number: usize| format!("[supervisor.s{number}]\nchildren = [\"s{}\"]\n", number + 1);
    let chain: String = (0..5000).map(link).collect();
    let text = with(&format!("{chain}[supervisor.s5000]\nchildren = [\"a\"]"));
    check(&text, &[("s32", "supervisors are nested deeper than 32", "")]);
}

#[test]
fn any_text_gives_a_manifest_or_problems() {
    proptest::proptest!(|(text in "(\\[[a-z.]{1,12}\\]\n|[a-z]{1,8} = (\"[^\"]{0,9}\"|[0-9]{1,9}|\\[[^\\]]{0,9}\\]|\\{\\})\n){0,12}")| {
        if let Err(problems) = parse(&text) {
            proptest::prop_assert!(!problems.is_empty());
            for problem in problems {
                proptest::prop_assert!(text.get(problem.span.clone()).is_some(), "{problem:?}");
            }
        }
    });
}
