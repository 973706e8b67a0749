//! The whole example, from its inbox to its report.

use std::{fs, io::Write as _, path::Path};

use serde_json::Value;

use crate::{count::Count, program::World};

/// The rogue's six attempts: action, the end of the resource, and the rule that stopped it.
const DENIALS: [(&str, &str, &str); 6] = [
    ("fs.open", "/etc/passwd", "beneath-root"),
    ("fs.open", "/geo/../../../etc/passwd", "beneath-root"),
    ("fs.open", "/geo/escape", "beneath-root"),
    ("net.connect", "169.254.169.254:80", "non-global: metadata"),
    ("env.read", "*", "default-deny"),
    ("process.spawn", "/bin/sh", "default-deny"),
];

fn report(world: &World) -> Value {
    serde_json::from_slice(&fs::read(world.path("logwatch/out/report.json")).unwrap()).unwrap()
}

/// How often a run is done again of which there is no report.
const ATTEMPTS: usize = 5;

/// Runs the example in a world until it has nothing left to do, and gives what it told.
fn run(world: &World) -> Vec<Value> {
    let ended = world.run(&["--json", "run", "logwatch", "--until-idle"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    world.write("stderr", ended.stderr);
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Does something in a world that is new, whose program's words are kept in `stderr`. The report gives the statistics five
/// seconds for their answer: where the machine stood still for longer, it says that there is no report, and all is done again.
fn with_a_report<T>(attempt: impl Fn() -> (World, T)) -> (World, T) {
    for _ in 1..ATTEMPTS {
        let (world, done) = attempt();
        if !fs::read_to_string(world.path("stderr")).unwrap().contains("no report:") {
            return (world, done);
        }
    }
    attempt()
}

/// The example, run until it had nothing left to do.
fn whole_run() -> (World, Vec<Value>) {
    with_a_report(|| {
        let world = World::with_example("logwatch");
        let events = run(&world);
        (world, events)
    })
}

fn named<'e>(events: &'e [Value], name: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn the_whole_example_counts_every_line_but_the_poison_and_denies_every_attempt() {
    let (world, events) = whole_run();
    let count = Count::of(&world.path("logwatch/inbox"));
    let report = report(&world);
    assert_eq!(report["lines"], count.lines);
    assert_eq!(report["malformed"], count.malformed);
    assert_eq!(report["statuses"], serde_json::to_value(&count.statuses).unwrap());
    assert_eq!(report["bytes"]["total"], count.bytes);
    check_percentile(&report, &count, 50, "p50");
    check_percentile(&report, &count, 95, "p95");
    assert_eq!(report["hours"], serde_json::to_value(&count.hours).unwrap());
    assert_eq!(report["errors"], count.errors);
    let well_formed = (count.lines - count.malformed) as f64;
    let error_rate = report["error_rate"].as_f64().unwrap();
    assert!((error_rate - count.errors as f64 / well_formed).abs() < 1e-6, "{error_rate}");
    check_top(&report["paths"], &count.paths);
    check_top(&report["clients"], &count.clients);
    check_page(&fs::read_to_string(world.path("logwatch/out/report.html")).unwrap());

    // The poison line, and nothing else, went to the dead letters, after three crashes of the parser.
    assert_eq!(count.poison.len(), 1);
    let dead = named(&events, "dead_letter");
    assert_eq!(dead.len(), 1, "{dead:#?}");
    assert_eq!((dead[0]["component"].as_str(), dead[0]["deliveries"].as_u64()), (Some("parser"), Some(3)));
    assert_eq!(dead[0]["payload"], count.poison[0].as_str());
    assert_eq!(named(&events, "crashed").len(), 3);
    let (_, kept) = world.run_json(&["dead", "show", "1", "logwatch"]);
    for key in ["letter", "subject", "payload", "reason"] {
        assert_eq!(kept[0][key], dead[0][key], "{key}");
    }

    check_denials(&world, &events);
}

/// A ranking is complete and in order.
fn check_top(told: &Value, counted: &std::collections::BTreeMap<String, u64>) {
    assert_eq!(told["distinct"], counted.len());
    let top = told["top"].as_array().unwrap().iter();
    let top: Vec<_> =
        top.map(|row| (row["name"].as_str().unwrap(), row["count"].as_u64().unwrap())).collect();
    assert_eq!(top, Count::top(counted));
}

/// The report's percentiles are of a histogram, and say how far they may be off.
fn check_percentile(report: &Value, count: &Count, percent: usize, name: &str) {
    let (told, exact) = (report["bytes"][name].as_f64().unwrap(), count.percentile(percent) as f64);
    let allowed = report["bytes"]["relative_error"].as_f64().unwrap();
    assert!(
        (told - exact).abs() <= exact * allowed,
        "{name}: {told} told, {exact} counted, {allowed} allowed"
    );
    assert!(allowed <= 0.01, "{allowed}");
}

/// The page draws its charts itself and asks nobody for anything.
fn check_page(page: &str) {
    assert!(page.contains("<svg"), "no chart");
    for asked in ["<script", "<link", "<img", "src=", "url(", "@import"] {
        assert!(!page.contains(asked), "the page has `{asked}`");
    }
}

fn check_denials(world: &World, events: &[Value]) {
    let told = named(events, "denied");
    let (code, records) = world.run_json(&["audit", "query", "logwatch", "--denied"]);
    assert_eq!(code, Some(0));
    assert_eq!(records.len(), DENIALS.len(), "{records:#?}");
    for (index, (action, resource, rule)) in DENIALS.iter().enumerate() {
        for denial in [told[index], &records[index]] {
            assert_eq!(denial["principal"], "component.rogue", "{denial}");
            assert_eq!(denial["action"], *action, "{denial}");
            assert!(denial["resource"].as_str().unwrap().ends_with(resource), "{denial}");
            assert_eq!(denial["rule"], *rule, "{denial}");
        }
    }
    check_explanations(world, &records);
    let (code, verified) = world.run_json(&["audit", "verify", "logwatch"]);
    assert_eq!((code, &verified[0]["state"]), (Some(0), &Value::from("closed")));
}

/// Each attempt has its rule, and what would permit it where anything does.
fn check_explanations(world: &World, records: &[Value]) {
    let remedies = [
        None,
        None,
        None,
        Some("connect = [\"tcp://169.254.169.254:80\"]"),
        Some("# env = [\"NAME\"]"),
        Some("[process.NAME]"),
    ];
    for (record, remedy) in records.iter().zip(remedies) {
        let told = world.run(&["explain", &record["seq"].to_string(), "logwatch"]).stdout;
        assert!(told.contains(&format!("decided by {}", record["rule"].as_str().unwrap())), "{told}");
        match remedy {
            Some(remedy) => {
                assert!(told.contains("what would permit it:\n") && told.contains(remedy), "{told}");
                assert_eq!(
                    told.contains("[component.rogue.grants]"),
                    !remedy.starts_with(['#', '[']),
                    "{told}"
                );
            }
            None => assert!(
                told.ends_with("nothing in a manifest permits it: it is always forbidden\n"),
                "{told}"
            ),
        }
    }
}

#[test]
fn no_guest_touches_what_its_manifest_does_not_grant() {
    let (world, _) = whole_run();
    let (_, records) = world.run_json(&["audit", "query", "logwatch", "--allowed"]);
    // `run` shows the world's folder so.
    let root = Path::new("WORLD/logwatch");
    let granted = [("component.reader", "inbox"), ("component.report", "out"), ("component.rogue", "geo")];
    let mut seen = 0;
    for record in records.iter().filter(|record| record["action"].as_str().unwrap().starts_with("fs.")) {
        let principal = record["principal"].as_str().unwrap();
        if principal == "program" {
            continue;
        }
        let (_, folder) = granted.iter().find(|(name, _)| *name == principal).expect(principal);
        assert!(Path::new(record["resource"].as_str().unwrap()).starts_with(root.join(folder)), "{record}");
        seen += 1;
    }
    assert!(seen > 10, "only {seen} records of files");
}

#[test]
fn what_one_request_led_to_is_found_by_its_trace() {
    let (world, _) = whole_run();
    let query = |args: &[&str]| world.run_json(&[&["audit", "query", "logwatch"], args].concat()).1;
    // The report's timer has the plug-in asked, which tries its doors; then the report is written.
    let denied = query(&["--denied", "--action", "net.connect"]);
    let trace = denied[0]["trace"].as_str().unwrap();
    let records = query(&["--trace", trace]);
    let of = |name: &str| records.iter().filter(|record| record["principal"] == name).count();
    assert!(of("component.rogue") >= DENIALS.len() && of("component.report") > 0, "{records:#?}");
    assert!(records.iter().all(|record| record["trace"] == trace), "{records:#?}");
    assert!(query(&["--principal", "component.reader"]).iter().all(|record| record["trace"] != trace));
}

#[test]
fn a_growing_log_is_followed_and_ctrl_c_stops_in_reverse_start_order() {
    let (world, stopped) = with_a_report(follow_and_stop);
    let expected = [
        "logwatch/ingest/reader",
        "logwatch/ingest/parser",
        "logwatch/ingest",
        "logwatch/results/report",
        "logwatch/results/plugins/rogue",
        "logwatch/results/plugins",
        "logwatch/results/stats",
        "logwatch/results",
        "logwatch",
    ];
    assert_eq!(stopped, expected);
    assert_eq!(report(&world)["lines"], 4, "what was on its way was handled before the end");
}

/// Has a log grow, and then the system stop; gives who ended, in order.
fn follow_and_stop() -> (World, Vec<String>) {
    let world = World::with_example("logwatch");
    fs::remove_dir_all(world.path("logwatch/inbox")).unwrap();
    let line = |path: &str| {
        format!("192.0.2.7 - - [24/Oct/2026:06:25:01 +0200] \"GET {path} HTTP/1.1\" 200 12 \"-\" \"test\"\n")
    };
    world.write("logwatch/inbox/access.log", line("/first"));

    let mut running = world.start(&["run", "logwatch"]);
    running.events.wait_for("first_message");
    let log = world.path("logwatch/inbox/access.log");
    let mut log = fs::OpenOptions::new().append(true).open(log).unwrap();
    write!(log, "{}{}", line("/second"), line("/third")).unwrap();
    // Half a line, which nobody ends: it is sent when the reader stops.
    write!(log, "{}", line("/fourth").trim_end()).unwrap();
    drop(log);
    wait_until(|| {
        fs::read(world.path("logwatch/out/report.json"))
            .is_ok_and(|json| serde_json::from_slice::<Value>(&json).is_ok_and(|report| report["lines"] == 3))
    });

    running.signal("INT");
    let (code, events) = running.end();
    assert_eq!(code, Some(0), "{events:#?}");
    let ended = named(&events, "ended").into_iter();
    let stopped = ended.map(|event| event["actor"].as_str().unwrap().to_owned());
    (world, stopped.collect())
}

/// A log with a poison line at every fiftieth place.
fn poisoned_log(lines: usize) -> String {
    let line = |number: usize| {
        let target = if number % 50 == 49 { "/search?q=100%" } else { "/" };
        format!(
            "192.0.2.7 - - [24/Oct/2026:06:25:01 +0200] \"GET {target} HTTP/1.1\" 200 12 \"-\" \"test\"\n"
        )
    };
    (0..lines).map(line).collect()
}

fn world_with_poison(lines: usize) -> World {
    let world = World::with_example("logwatch");
    fs::remove_dir_all(world.path("logwatch/inbox")).unwrap();
    world.write("logwatch/inbox/access.log", poisoned_log(lines));
    world
}

#[test]
fn many_poison_lines_cost_no_other_line() {
    let (world, events) = with_a_report(|| {
        let world = world_with_poison(5000);
        let events = run(&world);
        (world, events)
    });
    assert_eq!(named(&events, "dead_letter").len(), 100);
    assert_eq!(named(&events, "crashed").len(), 300);
    assert_eq!(report(&world)["lines"], 4900);
}

#[test]
fn a_crash_during_the_stop_loses_no_other_line() {
    let (world, events) = with_a_report(|| {
        let world = world_with_poison(5000);
        let mut running = world.start(&["run", "logwatch"]);
        running.events.wait_for("first_message");
        running.signal("INT");
        let (code, events) = running.end();
        assert_eq!(code, Some(0), "{:#?}", events.last());
        (world, events)
    });
    assert!(named(&events, "undelivered").is_empty());
    // The reader sends a turn's lines or none of them, and this log is less than a turn.
    assert_eq!(report(&world)["lines"], 4900);
}

/// Waits for something that another program does.
fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(600);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "waited for ten minutes");
        // The other program has no way to tell this one.
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}
