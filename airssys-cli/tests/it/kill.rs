//! kill -9 at any moment: the audit log is whole up to the torn tail, which the next start repairs and records.

use std::{fs, time::Duration};

use serde_json::Value;

use crate::program::World;

/// How often the program is killed, each time a little later.
const ROUNDS: u64 = 8;

#[test]
fn the_log_survives_a_kill_at_any_moment() {
    let world = World::with_example("logwatch");
    let mut crashes = 0;
    for round in 0..ROUNDS {
        let mut running = world.start(&["run", "logwatch"]);
        running.events.wait_for(if round % 2 == 0 { "starting" } else { "first_message" });
        // The moment is what is tested: somewhere in the work, later each round.
        std::thread::park_timeout(Duration::from_millis(7 * round));
        running.signal("KILL");
        assert_eq!(running.end().0, None, "killed, not ended");

        let (code, verified) = world.run_json(&["audit", "verify", "logwatch"]);
        assert_eq!(code, Some(0), "round {round}: {verified:#?}");
        assert_eq!(verified[0]["state"], "crashed", "round {round}");
        crashes += 1;
    }

    let (code, _) = world.run_json(&["run", "logwatch", "--until-idle"]);
    assert_eq!(code, Some(0));
    let (code, verified) = world.run_json(&["audit", "verify", "logwatch"]);
    assert_eq!((code, &verified[0]["state"]), (Some(0), &Value::from("closed")));
    let (_, recovered) = world.run_json(&["audit", "query", "logwatch", "--action", "audit.recovered"]);
    assert_eq!(recovered.len(), crashes, "{recovered:#?}");
    let (_, started) = world.run_json(&["audit", "query", "logwatch", "--action", "system.start"]);
    assert_eq!(started.len(), crashes + 1);
}

#[test]
fn a_torn_tail_is_cut_off_and_recorded() {
    let world = World::with_example("logwatch");
    let mut running = world.start(&["run", "logwatch"]);
    running.events.wait_for("first_message");
    running.signal("KILL");
    running.end();
    let (_, verified) = world.run_json(&["audit", "verify", "logwatch"]);
    let torn = usize::try_from(verified[0]["torn_bytes"].as_u64().unwrap()).unwrap();
    // What a crash in the middle of a write leaves: the beginning of a frame.
    let segment = world.path("logwatch/.airssys/audit/000000000000.log");
    let mut bytes = fs::read(&segment).unwrap();
    // It may have been in the middle of one.
    bytes.truncate(bytes.len() - torn);
    bytes.extend_from_slice(&[200, 0, 0, 0, 1, 7, 7, 7]);
    fs::write(&segment, bytes).unwrap();

    let (code, verified) = world.run_json(&["audit", "verify", "logwatch"]);
    assert_eq!((code, &verified[0]["torn_bytes"]), (Some(0), &Value::from(8)));
    assert_eq!(world.run_json(&["run", "logwatch", "--until-idle"]).0, Some(0));
    let (_, recovered) = world.run_json(&["audit", "query", "logwatch", "--action", "audit.recovered"]);
    assert!(recovered[0]["resource"].as_str().unwrap().contains("8 torn bytes"), "{recovered:#?}");
    let (code, verified) = world.run_json(&["audit", "verify", "logwatch"]);
    assert_eq!((code, &verified[0]["torn_bytes"]), (Some(0), &Value::from(0)));
}
