//! A state machine is run by `Machine`.

use airssys_rt::System;

struct Door;

fn start(system: &System) {
    system.spawn(Door);
}
