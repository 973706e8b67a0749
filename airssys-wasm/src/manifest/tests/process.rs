//! `[process.NAME]`.

use super::*;

fn with_process(text: &str) -> String {
    format!("[system]\nname = \"s\"\n[process.p]\nprogram = \"/bin/cat\"\n{text}")
}

#[test]
fn every_key_is_read() {
    let text = r#"
        args = ["-u", "${word}"]
        env = { LANG = "C" }
        ro = "in"
        rw = ["out", "tmp"]
        directory = "out"
        profile = "build"
        require = ["mounts", "cgroup"]
        without = "host-name"
        digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
        user = "1000:100"
        loopback = true
        connect = ["tcp://api.example.com:443", "tcp://10.0.0.0/8:*"]
        restart = "transient"
        shutdown = "4s"
        backoff = { min = "100ms", max = "10s" }
        framing = "packet_2"
        send_to = "c"
        subject = "said"
        mailbox = 7
        [process.p.limits]
        memory = "64MiB"
        processes = 8
        cpu_time = "1m"
        cpu_percent = 50
        io_weight = 10000
        wall_time = "1h"
        file = "1GiB"
        output = "2GiB"
        frame = "4KiB"
        [vars]
        word = "x"
        [component.c]
        source = "c.wasm"
        grants = { send = ["p"] }
        [supervisor.top]
        children = ["p", "c"]
    "#;
    let manifest = parse(&with_process(text)).unwrap();
    let [Child::Supervisor(top)] = &manifest.root.children[..] else { panic!("{:?}", manifest.root) };
    assert!(matches!(top.children[..], [Child::Process(0), Child::Component(0)]), "{:?}", top.children);
    let process = &manifest.processes[0];
    assert_eq!((process.name.as_str(), process.program.value.as_path()), ("p", Path::new("/bin/cat")));
    assert!(
        matches!(&process.arguments[..], [Argument::Word(u), Argument::Word(x)] if u == "-u" && x == "x")
    );
    assert_eq!((process.restart, process.shutdown), (Restart::Transient, Duration::from_secs(4)));
    assert_eq!(process.backoff, Some((Duration::from_millis(100), Duration::from_secs(10))));
    assert_eq!((process.framing, process.mailbox, process.frame_bytes), (Framing::Packet2, 7, 4096));
    assert_eq!((process.subject.as_str(), process.send_to.as_ref().unwrap().value.as_str()), ("said", "c"));
    let policy = policy(&manifest);
    let ask = |action, resource| {
        policy.decide(&Request { principal: "process.p", action, resource }).rule.to_owned()
    };
    assert_eq!(ask(Action::ProcessSpawn, Resource::Program(Path::new("/bin/cat"))), "process.p");
    assert_eq!(ask(Action::ProcessSpawn, Resource::Program(Path::new("/bin/sh"))), "default-deny");
    assert_eq!(ask(Action::ActorSend, Resource::Name("c")), "process.p.send_to");
    assert_eq!(ask(Action::ActorSend, Resource::Name("p")), "default-deny");
    let endpoint = |host: &'static str, address: [u8; 4], port| {
        let (protocol, address) = (airssys_osl::policy::Protocol::Tcp, address.into());
        Resource::Endpoint(airssys_osl::policy::Endpoint { protocol, host: Some(host), address, port })
    };
    let connect = Action::NetConnect;
    assert_eq!(ask(connect, endpoint("api.example.com", [1, 1, 1, 1], 443)), "process.p.connect[0]");
    assert_eq!(ask(connect, endpoint("other.example.com", [10, 0, 0, 1], 1)), "process.p.connect[1]");
    assert_eq!(ask(connect, endpoint("api.example.com", [1, 1, 1, 1], 80)), "default-deny");
    assert!(manifest.place("process.p.send_to").is_some());
}

#[test]
fn arguments_are_words_files_and_paths() {
    let text =
        "args = [\"-u\", { file = \"conf/a.toml\" }, { path = \"out/deep/x\" }]\nrw = [\"out\", \"other\"]";
    let manifest = parse(&with_process(text)).unwrap();
    let [Argument::Word(word), Argument::File(file), Argument::Path(out, name)] =
        &manifest.processes[0].arguments[..]
    else {
        panic!("{:?}", manifest.processes[0].arguments)
    };
    assert_eq!((word.as_str(), name.as_str()), ("-u", "deep/x"));
    assert!(file.value.ends_with("conf/a.toml") && out.ends_with("out"), "{file:?} {out:?}");
    let resource = Resource::Root(file.value.parent().unwrap());
    let asked = Request { principal: "process.p", action: Action::FsOpenRoot, resource };
    assert_eq!(policy(&manifest).decide(&asked).rule, "process.p.args[1]");
}

#[test]
fn a_system_may_be_programs_alone() {
    let manifest = parse(&with_process("")).unwrap();
    let process = &manifest.processes[0];
    assert_eq!((process.framing, process.restart), (Framing::Lines, Restart::Permanent));
    assert_eq!((process.mailbox, process.frame_bytes), (1024, 1 << 20));
    assert!(process.send_to.is_none() && process.backoff.is_none());
}

#[test]
fn what_is_wrong_is_told_in_its_place() {
    let refused = |text: &str, at, message, help| check(&with_process(text), &[(at, message, help)]);
    refused("send_to = \"x\"", "\"x\"", "`process.p.send_to`: no component is called `x`", "");
    refused("send_to = \"p\"", "\"p\"", "`process.p.send_to`: no component is called `p`", "");
    refused("framing = \"line\"", "\"line\"", "must be \"lines\" or", "did you mean `lines`?");
    refused("require = \"mount\"", "\"mount\"", "`process.p.require` must be", "did you mean `mounts`?");
    refused("without = [1]", "1", "must be a string", "");
    refused("calls = \"few\"", "\"few\"", "`process.p.calls` must be \"all\" or \"usual\"", "");
    refused("landlock = 0", "0", "must be a whole number from 1", "");
    refused(
        "args = [{ file = \"a\", path = \"b\" }]",
        "{",
        "`process.p.args[0]` must be a file or a path",
        "",
    );
    let neither = ("{ files", "`process.p.args[0]` must be a file or a path", "handed over open");
    let unknown = ("files", "unknown key `files`", "did you mean `file`?");
    check(&with_process("args = [{ files = \"a\" }]"), &[neither, unknown]);
    let beneath = "`process.p.args[0].path` is beneath nothing that the program sees";
    refused("args = [{ path = \"out/a\" }]", "\"out/a\"", beneath, "name its folder in `ro` or `rw`");
    refused("args = [{ path = \"out\" }]\nrw = \"out\"", "\"out\"", beneath, "");
    let changed = "args = [{ file = \"out/a\" }]\nrw = \"out\"";
    refused(
        changed,
        "\"out/a\"",
        "`process.p.args[0]` lies beneath `process.p.rw`, which may be changed",
        "",
    );
    refused("digest = \"0\"", "\"0\"", "must be `sha256:` and 64 hexadecimal digits", "");
    refused("user = \"root\"", "\"root\"", "must be two numbers", "");
    refused("loopback = 1", "1", "must be true or false", "");
    refused("connect = \"udp://a:1\"", "\"udp://a:1\"", "is no peer of a process", "such as `tcp://");
    refused("connect = \"tcp://10.1.0.0/8:1\"", "\"tcp", "`process.p.connect[0]`", "");
    let both = "profile = \"network\"\nconnect = \"tcp://a:1\"";
    refused(both, "\"tcp", "would hold it to nothing", "");
    refused("env = { LD_PRELOAD = \"x\" }", "p", "code gets into other programs", "");
    refused("rw = \".\"", "\".\"", "`process.p.rw` reaches the system's own folder", "grant a folder beside");
    refused("ro = \"/srv\"", "\"/srv\"", "`process.p.ro` reaches the system's own folder", "");
    refused("directory = \"/srv\"", "p", "the working directory is in none that the program sees", "");
    refused("backoff = { min = \"1s\" }", "{", "`process.p.backoff.max` is missing", "add `max =");
    refused("[component.p]\nsource = \"p.wasm\"", "p", "`p` is both a component and a process", "rename");
    check(
        "[system]\nname = \"s\"\n[process.p]\nargs = [1]",
        &[("p", "`process.p.program` is missing", "add `program ="), ("1", "must be a string", "")],
    );
}

#[test]
fn what_a_program_changes_holds_nothing_that_somebody_is_given() {
    let component = "[component.a]\nsource = \"a.wasm\"\n[[component.a.grants.fs]]\npath = \"out/in\"\n\
                     guest = \"/in\"\nrights = [\"read\"]\n";
    let text = with_process(&format!("rw = \"out\"\n{component}"));
    let message = "`component.a.grants.fs[0]` lies beneath `process.p.rw`, which may be changed";
    check(&text, &[("\"out/in\"", message, "beside each other")]);
    let text = "[system]\nname = \"s\"\n[process.p]\nprogram = \"out/tool\"\nrw = \"out\"";
    let message = "`process.p.program` lies beneath `process.p.rw`, which may be changed";
    check(text, &[("\"out/tool\"", message, "")]);
}

#[test]
fn all_about_it_takes_a_restart() {
    let one = parse(&with_process("")).unwrap();
    let differs = |text: &str| one.restart_for(&parse(text).unwrap());
    assert_eq!(differs(&with_process("args = [\"-u\"]")), ["the process `p` changed"]);
    assert_eq!(differs(&format!("# further down\n{}", with_process(""))), Vec::<String>::new());
    for held in [
        "landlock = 4",
        "calls = \"usual\"",
        "limits = { temporary = \"1MiB\" }",
        "limits = { descriptors = 32 }",
    ] {
        assert_eq!(differs(&with_process(held)), ["the process `p` changed"], "{held}");
    }
    let handed = with_process("args = [{ file = \"a\" }]");
    assert_eq!(differs(&handed), ["the process `p` changed"]);
    let further_down = parse(&format!("# further down\n{handed}")).unwrap();
    assert_eq!(parse(&handed).unwrap().restart_for(&further_down), Vec::<String>::new());
    let renamed = with_process("").replace("[process.p]", "[process.q]");
    let gone = "the process `p` is gone: it runs on as it was";
    assert_eq!(differs(&renamed), ["the tree of supervisors changed", gone, "the process `q` is new"]);
}
