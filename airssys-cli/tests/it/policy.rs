//! A manifest's policy through the program: modes, learning, explaining, reloading.

use std::fs;

use serde_json::Value;

use crate::program::{World, patient};

/// The components of the example without what they are granted.
const BARE: &str = r#"
[system]
name = "logwatch"
strategy = "rest_for_one"
[component.stats]
source = "components/stats.wasm"
STATS
[component.rogue]
source = "components/rogue.wasm"
ROGUE
[component.report]
source = "components/report.wasm"
config = { stats = "stats", geo = "rogue", every-ms = 100 }
REPORT
[component.parser]
source = "components/parser.wasm"
config = { to = "stats" }
PARSER
[component.reader]
source = "components/reader.wasm"
config = { to = "parser", poll-ms = 50 }
READER
"#;

const NOTHING: [(&str, &str); 3] = [
    ("ROGUE", "grants = { fs = [{ path = \"geo\", guest = \"/geo\" }] }"),
    ("REPORT", "grants = { fs = [{ path = \"out\", guest = \"/out\" }] }"),
    ("READER", "grants = { fs = [{ path = \"inbox\", guest = \"/inbox\" }] }"),
];

fn manifest(grants: &[(&str, &str)]) -> String {
    let filled = grants.iter().fold(BARE.to_owned(), |text, (name, grant)| text.replace(name, grant));
    let names = ["STATS", "ROGUE", "REPORT", "PARSER", "READER"];
    patient(&names.iter().fold(filled, |text, name| text.replace(name, "")))
}

/// How many lines the log has.
const LINES: usize = 5;

/// How often something is done again where the machine stood still for so long that the system seemed to have nothing left to do,
/// or that the statistics seemed to give no answer.
const ATTEMPTS: usize = 10;

/// The example with a short log and another manifest.
fn world(manifest: &str) -> World {
    let world = World::with_example("logwatch");
    fs::remove_dir_all(world.path("logwatch/inbox")).unwrap();
    // Of a client that the plug-in does not know: so the report is the same where that answered too late.
    let line = "240.0.0.7 - - [24/Oct/2026:06:25:01 +0200] \"GET / HTTP/1.1\" 200 12 \"-\" \"test\"\n";
    world.write("logwatch/inbox/access.log", line.repeat(LINES));
    world.write("logwatch/airssys.toml", manifest);
    world
}

fn run(world: &World, args: &[&str]) -> Vec<Value> {
    let (code, events) = world.run_json(&[&["run", "logwatch", "--until-idle=500ms"], args].concat());
    assert_eq!(code, Some(0), "{events:#?}");
    events
}

/// The report, where it has every line of the log.
fn report(world: &World) -> Option<Vec<u8>> {
    let report = fs::read(world.path("logwatch/out/report.json")).ok()?;
    let is_whole = serde_json::from_slice::<Value>(&report).is_ok_and(|report| report["lines"] == LINES);
    is_whole.then_some(report)
}

fn query(world: &World, args: &[&str]) -> Vec<Value> {
    world.run_json(&[&["audit", "query", "logwatch"], args].concat()).1
}

#[test]
fn what_was_learned_lets_exactly_that_run_pass() {
    let learn = |_| {
        let world = world(&manifest(&NOTHING));
        run(&world, &["--learn"]);
        report(&world).map(|report| (world, report))
    };
    let (world, learned_from) = (0..ATTEMPTS).find_map(learn).expect("a whole report");
    assert!(query(&world, &["--would-deny"]).len() > 5);

    let learned = world.run(&["audit", "learn", "logwatch"]);
    assert_eq!(learned.code, Some(0), "{}", learned.stderr);
    let root = world.dir.path().canonicalize().unwrap();
    let grants = learned.stdout.replace("WORLD", root.to_str().unwrap());
    for table in ["stats", "rogue", "report", "parser", "reader"] {
        assert!(grants.contains(&format!("[component.{table}.grants]\n")), "{grants}");
    }
    assert!(grants.contains("guest = \"/inbox\", rights = [\"read\", \"list\"]"), "{grants}");

    let taught = format!("{}\n{grants}", manifest(&[]));
    world.write("logwatch/airssys.toml", &taught);
    let first = query(&world, &["--denied"]).len();
    let again = |_| {
        // Where the run before wrote none, there is none.
        let _ = fs::remove_file(world.path("logwatch/out/report.json"));
        let before = query(&world, &["--denied"]).len();
        run(&world, &[]);
        report(&world).map(|report| (before, report))
    };
    let (before, report) = (0..ATTEMPTS).find_map(again).expect("a whole report");
    // What is always forbidden was denied in the first run, too.
    let denied = query(&world, &["--denied"]);
    assert_eq!(denied.len() - before, first, "{denied:#?}");
    assert_eq!(report.len(), learned_from.len());

    world.write("logwatch/airssys.toml", taught.replace("send = [\"parser\"]\n", ""));
    let denied = denied_to_the_reader(&world, "--until-idle=500ms");
    assert!(denied.iter().all(|record| record["action"] == "actor.send"), "{denied:#?}");
}

/// Runs it until something was denied to the reader, which crashes of that, and its supervisor gives up.
fn denied_to_the_reader(world: &World, until_idle: &str) -> Vec<Value> {
    let run = |_| {
        let (code, _) = world.run_json(&["run", "logwatch", until_idle]);
        assert!(code.is_some());
        let denied = query(world, &["--denied", "--principal", "component.reader"]);
        (!denied.is_empty()).then_some(denied)
    };
    (0..ATTEMPTS).find_map(run).unwrap_or_else(|| panic!("nothing was denied in {ATTEMPTS} runs"))
}

#[test]
fn a_policy_that_is_only_tried_stops_nothing() {
    let tried = |_| {
        let world = world(&manifest(&NOTHING).replace("guest =", "rights = [\"list\"], guest ="));
        let events = run(&world, &["--audit-only"]);
        report(&world).map(|_| (world, events))
    };
    let (world, events) = (0..ATTEMPTS).find_map(tried).expect("it was written all the same");
    let mode = events.iter().find(|event| event["event"] == "mode").unwrap();
    assert_eq!(mode["mode"], "audit-only", "{mode}");
    let would = query(&world, &["--would-deny"]);
    assert!(
        would.iter().any(|record| record["rule"].as_str().unwrap().ends_with(": lacks read")),
        "{would:#?}"
    );
}

#[test]
fn an_explanation_names_the_line_and_what_would_permit_it() {
    let text = manifest(&GRANTED)
        .replace("guest = \"/inbox\", rights = [\"read\", ", "guest = \"/inbox\", rights = [");
    let world = world(&text);
    let line = text.lines().position(|line| line.contains("/inbox")).unwrap() + 1;
    let denied = denied_to_the_reader(&world, "--until-idle=300ms");
    let number = denied[0]["seq"].to_string();
    let told = world.run(&["explain", &number, "logwatch"]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let expected = [
        &format!(
            "decided by component.reader.grants.fs[0]: lacks read, at WORLD/logwatch/airssys.toml:{line}"
        ),
        "  [component.reader.grants]\n",
        "guest = \"/inbox\", rights = [\"read\", \"list\"]",
    ];
    assert!(expected.iter().all(|line: &&str| told.stdout.contains(line)), "{}", told.stdout);
    let (_, same) = world.run_json(&["audit", "explain", &number, "logwatch"]);
    assert!(same[0]["place"].as_str().unwrap().ends_with(&format!("airssys.toml:{line}")), "{same:#?}");
    let unknown = world.run(&["explain", "999999", "logwatch"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("has no record 999999"), "{}", unknown.stderr);
}

const GRANTED: [(&str, &str); 4] = [
    ("ROGUE", "grants = { fs = [{ path = \"geo\", guest = \"/geo\", rights = [\"read\"] }] }"),
    (
        "REPORT",
        "grants = { send = [\"stats\", \"rogue\"], fs = [{ path = \"out\", guest = \"/out\", rights = [\"create\", \"write\"] }] }",
    ),
    ("PARSER", "grants = { send = [\"stats\"] }"),
    (
        "READER",
        "grants = { send = [\"parser\"], fs = [{ path = \"inbox\", guest = \"/inbox\", rights = [\"read\", \"list\"] }] }",
    ),
];

#[test]
fn a_running_system_takes_over_a_changed_policy_and_open_handles_lose() {
    let world = world(&manifest(&GRANTED));
    let mut running = world.start(&["run", "logwatch"]);
    running.events.wait_for("first_message");

    world.write("logwatch/airssys.toml", "[system]\nname = 5\n");
    running.signal("HUP");
    running.events.wait_for("reload_failed");

    let without = manifest(&GRANTED[..3]);
    world.write("logwatch/airssys.toml", without.replace("poll-ms = 50", "poll-ms = 60"));
    running.signal("HUP");
    let reloaded = running.events.wait_for("reloaded");
    assert_eq!(reloaded["epoch"], 2, "the broken one was not put in place");
    assert_eq!(reloaded["restart"], serde_json::json!(["`config` of the component `reader` changed"]));
    // Its directory is open, and looked at again and again.
    let denied = loop {
        let denied = running.events.wait_for("denied");
        if denied["principal"] == "component.reader" {
            break denied;
        }
    };
    assert_eq!(denied["rule"], "default-deny", "{denied}");
    running.signal("TERM");
    running.end();

    let reloads = query(&world, &["--action", "system.reload"]);
    assert_eq!(reloads.len(), 1, "{reloads:#?}");
    assert!(reloads[0]["resource"].as_str().unwrap().contains("airssys.toml sha256:"), "{reloads:#?}");
    let denied = query(&world, &["--denied", "--principal", "component.reader"]);
    assert!(denied.iter().all(|record| record["epoch"] == 2), "{denied:#?}");
}
