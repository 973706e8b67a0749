//! The flags of `airssys sandbox`.

use std::{path::PathBuf, time::Duration};

use airssys_osl::{
    policy::{Ports, Protocol},
    process::{Layers, Profile},
};
use airssys_wasm::manifest::parse_peer;
use clap::Args as ClapArgs;

use super::duration;

/// Run a program of this machine in a sandbox.
///
/// The program sees the system's programs and libraries, and what --ro and --rw name, each under its own path; it has a
/// `/tmp` of its own, no network but what --net names, no variable but PATH, HOME and those of --env, and no privileges. What
/// holds it, what it was started with, whom it connected to and how it ended are in the audit log. What it was denied is told
/// at its end, with the flag that would permit it.
///
/// Exit status: the program's own; 128 and the signal's number where a signal ended it.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sandbox {
    /// Let it read and execute what is in a directory, or one file
    #[arg(long, value_name = "PATH", conflicts_with = "learn")]
    pub(crate) ro: Vec<PathBuf>,

    /// Let it change what is in a directory, or one file
    #[arg(long, value_name = "PATH", conflicts_with = "learn")]
    pub(crate) rw: Vec<PathBuf>,

    /// Let it connect to a host, through a proxy that the usual variables name: `example.com:443`, `*.example.com:443`,
    /// `10.0.0.0/8:*`, `[::1]:80`; an address that is not global must be named itself, also where a name leads to it
    #[arg(long, value_name = "HOST:PORT", value_parser = peer, conflicts_with = "learn")]
    pub(crate) net: Vec<Peer>,

    /// What holds it: strict, network (it is on the machine's network), build (it executes what it writes), none
    #[arg(long, default_value = "strict", value_parser = profile)]
    pub(crate) profile: Profile,

    /// Do without a layer of the profile; `airssys doctor` lists them
    #[arg(long, value_name = "LAYER", value_parser = layer)]
    pub(crate) without: Vec<Layers>,

    /// Let it make only the system calls that usual programs make
    #[arg(long)]
    pub(crate) usual_calls: bool,

    /// Do not start it where a layer cannot be had
    #[arg(long, value_name = "LAYER", value_parser = layer)]
    pub(crate) require: Vec<Layers>,

    /// Do not start it where Landlock's interface is older than this version
    #[arg(long, value_name = "VERSION")]
    pub(crate) landlock: Option<u32>,

    /// Give it a loopback of its own, where only its own processes are
    #[arg(long)]
    pub(crate) loopback: bool,

    /// The most memory of all its processes, such as 256M; it takes a control group
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) mem: Option<u64>,

    /// The most processes and threads at a time
    #[arg(long, value_name = "COUNT")]
    pub(crate) pids: Option<u64>,

    /// How long each process may compute, such as 10s
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) cpu_time: Option<Duration>,

    /// How much of the processors all its processes have, in hundredths of one
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpu: Option<u32>,

    /// How long it may take
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) time: Option<Duration>,

    /// The longest file that it writes
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) file_size: Option<u64>,

    /// The most that it says, on its output and its errors together; both are pipes then
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) output: Option<u64>,

    /// The most that it keeps in its own `/tmp`, in memory
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) tmp: Option<u64>,

    /// The most descriptors that each process has open
    #[arg(long, value_name = "COUNT")]
    pub(crate) descriptors: Option<u64>,

    /// Its weight against others where a disk is busy: 1 to 10000, others have 100
    #[arg(long, value_name = "WEIGHT", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) io_weight: Option<u16>,

    /// Give it a variable, or ours of this name
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,

    /// Start it in this directory; otherwise in the current one, if it sees that, or in its `/tmp`
    #[arg(long, value_name = "DIR")]
    pub(crate) chdir: Option<PathBuf>,

    /// Run it as this user and group; otherwise as we, or as nobody where we are root
    #[arg(long, value_name = "UID:GID", value_parser = user)]
    pub(crate) user: Option<(u32, u32)>,

    /// Say at its end what held it, what it saw, which files it did not find with the flags for them, which system calls it was
    /// refused, how it ended, and what it used. Each file that it asks for takes longer
    #[arg(long)]
    pub(crate) explain: bool,

    /// Let it use every file that its user may, and every host, and print at its end the flags and the part of a manifest with
    /// which the same run passes. What it changes is changed: this is for a program that you would run without a sandbox
    #[arg(long)]
    pub(crate) learn: bool,

    /// Take an argument `{file:PATH}` for that file, which is handed over open, to be read, and `{path:DIR:NAME}` for the path
    /// of NAME beneath DIR, which lies in an --ro or --rw: a NAME that is an option, has a `..`, or leads elsewhere by a link is none
    #[arg(long, conflicts_with = "learn")]
    pub(crate) placeholders: bool,

    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM ARGS")]
    pub(crate) program: Vec<String>,
}

/// Whom a program may connect to: a host, an address or a block, and ports.
#[derive(Clone, Debug)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing else has the sandbox"))]
pub(crate) struct Peer {
    pub(crate) host: String,
    pub(crate) ports: Ports,
    /// As it was written.
    pub(crate) text: String,
}

const EXAMPLES: &str = "\
Examples:
  airssys sandbox -- ls /usr                              no other file, no network
  airssys sandbox --ro . --time 10s -- grep -r word .     read the current folder
  airssys sandbox --rw out --mem 256M -- convert a.png out/b.png
  airssys sandbox --placeholders -- wc {file:notes.txt}   one file, and not its folder
  airssys sandbox --learn -- make                         which --ro, --rw and --net it needs
  airssys sandbox --net example.com:443 -- curl https://example.com";

fn profile(text: &str) -> Result<Profile, String> {
    let names = || Profile::NAMES.map(|(name, _)| name).join(", ");
    Profile::named(text).ok_or_else(|| format!("the profiles are {}", names()))
}

fn layer(text: &str) -> Result<Layers, String> {
    let names = || Layers::NAMES.map(|(name, _)| name).join(", ");
    Layers::named(text).ok_or_else(|| format!("the layers are {}", names()))
}

fn peer(text: &str) -> Result<Peer, String> {
    let url = format!("tcp://{text}");
    match parse_peer(&url) {
        Some((Protocol::Tcp, host, ports)) if ports != Ports::PICKED => {
            Ok(Peer { host: host.to_owned(), ports, text: text.to_owned() })
        }
        _ => Err("give a host, an address or a block, and ports, such as example.com:443".to_owned()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let shift = match text.get(digits.len()..).unwrap_or_default() {
        "" => Some(0),
        "K" | "KiB" => Some(10),
        "M" | "MiB" => Some(20),
        "G" | "GiB" => Some(30),
        _ => None,
    };
    let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
    let bytes = number.zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "give a whole number of bytes, or one with K, M or G, such as 256M".to_owned())
}

fn user(text: &str) -> Result<(u32, u32), String> {
    let ids = text.split_once(':').and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    ids.ok_or_else(|| "give two numbers, such as 1000:1000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers() {
        let check = |text: &str, expected: Option<(&str, Ports)>| {
            let peer = peer(text).ok();
            assert_eq!(peer.as_ref().map(|peer| (&*peer.host, peer.ports)), expected, "{text}");
        };
        check("example.com:443", Some(("example.com", 443.into())));
        check("*.example.com:8000-8100", Some(("*.example.com", (8000..=8100).into())));
        check("[::1]:80", Some(("::1", 80.into())));
        check("10.0.0.0/8:*", Some(("10.0.0.0/8", Ports::ALL)));
        for wrong in
            ["", "example.com", "example.com:", ":80", "::1:80", "example.com:0", "http://example.com:80"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn sizes() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(size(text).ok(), expected, "{text}");
        check("1", Some(1));
        check("256M", Some(256 << 20));
        check("4KiB", Some(4096));
        for wrong in ["", "M", "0", "-1", "1T", "1.5G", "99999999999G", "1 M"] {
            check(wrong, None);
        }
    }
}
