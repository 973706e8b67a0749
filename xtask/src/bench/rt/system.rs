//! The systems that are measured, how each is built and how one of its children is started.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitStatus},
};

use super::{Failure, Workshop};
use crate::debian;

/// Our own, with unbounded mailboxes.
pub(super) const OURS: &str = "airssys";
/// Our own, with the default mailboxes.
pub(super) const OURS_BOUNDED: &str = "airssys-b";
/// What every ratio is taken to.
pub(super) const BASELINE: &str = "tokio-u";

/// Who measures a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runner {
    /// `rt-ours` of the bench crate.
    Ours,
    /// `rt-peers`, a workspace of its own.
    Peers,
    /// Erlang.
    Erlang,
}

/// A system of actors with one kind of mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct System {
    pub(super) name: &'static str,
    pub(super) runner: Runner,
}

/// All of them. Ours come first, then what they are compared with in the first place.
pub(super) const SYSTEMS: &[System] = &[
    System { name: OURS, runner: Runner::Ours },
    System { name: OURS_BOUNDED, runner: Runner::Ours },
    System { name: BASELINE, runner: Runner::Peers },
    System { name: "tokio-b", runner: Runner::Peers },
    System { name: "ractor", runner: Runner::Peers },
    System { name: "kameo-u", runner: Runner::Peers },
    System { name: "kameo-b", runner: Runner::Peers },
    System { name: "actix", runner: Runner::Peers },
    System { name: "beam", runner: Runner::Erlang },
    System { name: "otp", runner: Runner::Erlang },
];

/// What is built, and where.
pub(super) struct Programs {
    ours: PathBuf,
    /// Ours with the feature `tracing`.
    ours_tracing: PathBuf,
    peers: PathBuf,
    erlang: PathBuf,
}

impl Programs {
    /// Builds what these systems need, and nothing else; with `off` also what those workloads need that measure what is
    /// off.
    ///
    /// # Errors
    ///
    /// Something cannot be built or installed; says which systems to leave out.
    pub(super) fn build(workshop: &Workshop, systems: &[&System], off: bool) -> Result<Self, Failure> {
        let executable = |folder: &str, name: &str| {
            workshop.target.join(folder).join(name).with_extension(env::consts::EXE_EXTENSION)
        };
        let programs = Self {
            ours: workshop.program.clone().unwrap_or_else(|| executable("rt-bench", "rt-ours")),
            ours_tracing: workshop
                .bench_dir()
                .join("rt-ours-tracing")
                .with_extension(env::consts::EXE_EXTENSION),
            peers: executable("rt-peers/release", "rt-peers"),
            erlang: workshop.bench_dir().join("erlang"),
        };
        let needs = |runner| systems.iter().any(|system| system.runner == runner);
        if needs(Runner::Ours) && off {
            if workshop.program.is_some() {
                return Err("what is off is measured on the workspace's own builds alone; leave out --program, or the workloads `off-…`".into());
            }
            build_ours(workshop, &["--features", "tracing"])?;
            fs::create_dir_all(workshop.bench_dir())?;
            fs::copy(&programs.ours, &programs.ours_tracing)?;
        }
        if needs(Runner::Ours) && workshop.program.is_none() {
            build_ours(workshop, &[])?;
        }
        if needs(Runner::Peers) {
            build_peers(workshop).map_err(|error| without(Runner::Peers, error))?;
        }
        if needs(Runner::Erlang) {
            programs.build_erlang(workshop).map_err(|error| without(Runner::Erlang, error))?;
        }
        Ok(programs)
    }

    fn build_erlang(&self, workshop: &Workshop) -> Result<(), Failure> {
        if !debian::has("erl") || !debian::has("erlc") {
            debian::install(&["erlang-base"]);
        }
        if !debian::has("erl") || !debian::has("erlc") {
            return Err(
                "`erl` and `erlc` are not here, and could not be installed (Debian: erlang-base)".into()
            );
        }
        fs::create_dir_all(&self.erlang)?;
        let sources = workshop.root.join("bench/rt-peers/erl");
        let mut erlc = Command::new("erlc");
        erlc.arg("-o").arg(&self.erlang);
        erlc.arg(sources.join("rtbench.erl")).arg(sources.join("skynode.erl"));
        succeeded(erlc.status()?, "erlc")
    }

    /// The child that runs a workload on a system.
    pub(super) fn child(&self, system: &System, workload: &str) -> Command {
        let mut command = match system.runner {
            Runner::Ours if is_off(workload) => Command::new(&self.ours_tracing),
            Runner::Ours => Command::new(&self.ours),
            Runner::Peers => Command::new(&self.peers),
            Runner::Erlang => {
                let mut erl = Command::new("erl");
                // Two schedulers, as everyone has two worker threads; room for a million processes and more.
                erl.args(["-noshell", "+S", "2:2", "+P", "4000000", "+Q", "65536"]);
                erl.arg("-pa").arg(&self.erlang).args(["-s", "rtbench", "main"]);
                erl
            }
        };
        command.args([system.name, workload]);
        command
    }
}

/// Whether a workload measures what that costs which is off.
pub(super) fn is_off(workload: &str) -> bool {
    workload.starts_with("off-")
}

fn build_ours(workshop: &Workshop, options: &[&str]) -> Result<(), Failure> {
    let mut cargo = cargo();
    cargo.args([
        "build",
        "--locked",
        "--profile",
        "rt-bench",
        "--package",
        "airssys-bench",
        "--bin",
        "rt-ours",
    ]);
    cargo.args(options);
    succeeded(cargo.current_dir(&workshop.root).status()?, "the build of rt-ours")
}

fn build_peers(workshop: &Workshop) -> Result<(), Failure> {
    let mut cargo = cargo();
    cargo.args(["build", "--locked", "--release", "--manifest-path"]);
    cargo.arg(workshop.root.join("bench/rt-peers/Cargo.toml"));
    cargo.arg("--target-dir").arg(workshop.target.join("rt-peers"));
    succeeded(cargo.current_dir(&workshop.root).status()?, "the build of rt-peers")
}

/// Erlang's version, where it is installed.
pub(super) fn erlang_version() -> Option<String> {
    const TELL: &str = "
        File = filename:join([code:root_dir(), \"releases\", erlang:system_info(otp_release), \"OTP_VERSION\"]),
        {ok, Version} = file:read_file(File), io:put_chars(Version), halt().";
    let output = Command::new("erl").args(["-noshell", "-eval", TELL]).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| format!("Erlang/OTP {}", version.trim()))
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn succeeded(status: ExitStatus, what: &str) -> Result<(), Failure> {
    if status.success() { Ok(()) } else { Err(format!("{what} ended with {status}").into()) }
}

/// Says how to do without the systems of a runner.
fn without(runner: Runner, error: Failure) -> Failure {
    let names = |with: bool| {
        let names = SYSTEMS.iter().filter(|system| (system.runner == runner) == with);
        names.map(|system| system.name).collect::<Vec<_>>().join(",")
    };
    format!("{error}\nwithout {}: --systems {}", names(true), names(false)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_how_to_do_without() {
        let error = without(Runner::Erlang, "no erl".into()).to_string();
        let expected = "no erl\nwithout beam,otp: --systems airssys,airssys-b,tokio-u,tokio-b,ractor,kameo-u,kameo-b,actix";
        assert_eq!(error, expected);
    }
}
