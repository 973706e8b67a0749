//! What hostile bytes are given to.

use std::{error::Error, ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path};

#[cfg(target_os = "linux")]
use airssys_osl::testing::{egress_chunks, egress_head};
use airssys_osl::{
    Os,
    audit::{Log, LogOptions, Reader, State, verify},
    fs::OpenOptions,
    net::{Cidr, Host},
    policy::{FsTerms, Grant, Policy, Protocol, Rights, Window},
    testing::MemorySink,
};
use airssys_wasm::{
    add_principals,
    manifest::{Manifest, Overrides},
};

use crate::components;

type Run = Box<dyn Fn(&[u8]) -> Result<(), String>>;

pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) seeds: Vec<Vec<u8>>,
    pub(crate) run: Run,
}

/// The inputs to begin with, one a line.
fn corpus(text: &str) -> Vec<Vec<u8>> {
    text.lines().map(|line| line.as_bytes().to_vec()).collect()
}

/// As [`corpus`], of inputs that have line ends in them.
#[cfg(target_os = "linux")]
fn lines(text: &str) -> Vec<Vec<u8>> {
    text.lines().map(|line| line.replace("\\r", "\r").replace("\\n", "\n").into_bytes()).collect()
}

pub(crate) fn all() -> Result<Vec<Target>, Box<dyn Error>> {
    let mut targets = vec![
        Target { name: "hosts", seeds: corpus(include_str!("../corpus/hosts.txt")), run: Box::new(hosts) },
        Target {
            name: "policies",
            seeds: corpus(include_str!("../corpus/policies.txt")),
            run: Box::new(policies),
        },
        Target {
            name: "manifests",
            seeds: corpus(include_str!("../corpus/manifests.txt"))
                .iter()
                .map(|line| String::from_utf8_lossy(line).replace("\\n", "\n").into_bytes())
                .collect(),
            run: Box::new(manifests),
        },
        paths()?,
        records()?,
    ];
    targets.extend(proxy());
    targets.extend(components::all()?);
    Ok(targets)
}

/// What the proxy of programs reads: there are such on Linux alone.
#[cfg(target_os = "linux")]
fn proxy() -> Vec<Target> {
    let (heads_seeds, chunks_seeds) =
        (include_str!("../corpus/heads.txt"), include_str!("../corpus/chunks.txt"));
    vec![
        Target { name: "heads", seeds: lines(heads_seeds), run: Box::new(heads) },
        Target { name: "chunks", seeds: lines(chunks_seeds), run: Box::new(chunks) },
    ]
}

#[cfg(not(target_os = "linux"))]
fn proxy() -> Vec<Target> {
    Vec::new()
}

fn hosts(bytes: &[u8]) -> Result<(), String> {
    let Ok(text) = str::from_utf8(bytes) else { return Ok(()) };
    let same = |again: Option<bool>| {
        if again == Some(false) { Err("it reads otherwise than it writes".to_owned()) } else { Ok(()) }
    };
    same(Host::parse(text).ok().map(|host| Host::parse(&host.to_string()).is_ok_and(|again| again == host)))?;
    same(
        text.parse::<Cidr>()
            .ok()
            .map(|block| block.to_string().parse::<Cidr>().is_ok_and(|again| again == block)),
    )?;
    same(
        text.parse::<Window>()
            .ok()
            .map(|window| window.to_string().parse::<Window>().is_ok_and(|again| again == window)),
    )
}

/// What the proxy of programs sends on is one request, to the host that was decided about.
#[cfg(target_os = "linux")]
fn heads(bytes: &[u8]) -> Result<(), String> {
    egress_head(bytes).map_err(str::to_owned)
}

/// A body in chunks ends at one place, however it comes.
#[cfg(target_os = "linux")]
fn chunks(bytes: &[u8]) -> Result<(), String> {
    let piece = bytes.len() / 3;
    egress_chunks(bytes, piece).and_then(|()| egress_chunks(bytes, 1)).map_err(str::to_owned)
}

/// A policy of which every text is hostile: it is refused, or compiles, prints and answers.
fn policies(bytes: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(bytes);
    let (first, second) = text.split_once(' ').unwrap_or((&text, ""));
    let grants = [
        Grant::env(first),
        Grant::send(second),
        Grant::fs(OsStr::from_bytes(bytes), Rights::all()),
        Grant::fs_with(format!("/{first}"), Rights::READ, FsTerms::new().deny(second)),
        Grant::connect(Protocol::Tcp, first, 80),
        Grant::resolve(second),
        Grant::abstract_unix(airssys_osl::policy::Direction::Listen, bytes),
        Grant::role(first).rule(second),
    ];
    for grant in grants {
        let built = Policy::builder()
            .role(first, [grant.clone()])
            .principal("p", [Grant::role(first), grant.clone()])
            .forbid("p", [grant.clone()])
            .build();
        let permitted = Policy::builder().principal("p", [grant]).build();
        for policy in [built, permitted].into_iter().flatten() {
            let cedar = policy.to_cedar();
            if cedar.policies.chars().any(|character| character.is_control() && character != '\n') {
                return Err("it prints what steers a terminal".to_owned());
            }
        }
    }
    Ok(())
}

/// A manifest is refused with problems that lie in its text, or its policy compiles and none of its directories is one of
/// the system's own.
fn manifests(bytes: &[u8]) -> Result<(), String> {
    let Ok(text) = str::from_utf8(bytes) else { return Ok(()) };
    match Manifest::parse(text, Path::new("/srv/system"), &Overrides::default()) {
        Err(problems) if problems.is_empty() => Err("it is refused without a problem".to_owned()),
        Err(problems) => match problems.iter().find(|problem| text.get(problem.span.clone()).is_none()) {
            Some(problem) => Err(format!("a problem lies outside of the text: {problem}")),
            None => Ok(()),
        },
        Ok(manifest) => {
            let mut directories = manifest.components.iter().flat_map(|component| &component.directories);
            if let Some(own) = directories.find(|grant| manifest.audit.dir.starts_with(&grant.path.value)) {
                return Err(format!("`{}` reaches the log", own.rule));
            }
            if !manifest.restart_for(&manifest).is_empty() {
                return Err("it differs from itself".to_owned());
            }
            let built = add_principals(&manifest, Policy::builder()).build();
            built.map(drop).map_err(|error| format!("its policy does not compile: {error}"))
        }
    }
}

/// Paths beneath a granted directory: none of them reads the secret beside it.
fn paths() -> Result<Target, Box<dyn Error>> {
    let tmp = tempfile::tempdir()?;
    let root = tmp.path().join("inside");
    fs::create_dir_all(root.join("a"))?;
    fs::write(root.join("a/b"), "inside")?;
    fs::write(tmp.path().join("secret"), "outside")?;
    std::os::unix::fs::symlink("../../secret", root.join("a/link"))?;
    std::os::unix::fs::symlink("..", root.join("a/up"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let sink = MemorySink::new();
    let policy = Policy::builder().principal("p", [Grant::fs(&root, Rights::READ | Rights::LIST)]).build()?;
    let os = Os::new(policy, sink.clone());
    let dir = runtime.block_on(os.principal("p")?.dir(&root))?;
    let run = move |bytes: &[u8]| {
        let _ = &tmp;
        let path = Path::new(OsStr::from_bytes(bytes));
        let read = runtime.block_on(dir.read(path, 100));
        let opened = runtime.block_on(dir.open_any(path, &OpenOptions::new().read(true)));
        drop((opened, sink.take()));
        if read.is_ok_and(|bytes| bytes != b"inside") {
            Err("it left the directory".to_owned())
        } else {
            Ok(())
        }
    };
    Ok(Target { name: "paths", seeds: corpus(include_str!("../corpus/paths.txt")), run: Box::new(run) })
}

/// The bytes of a log: what is not what was written is never taken for whole.
fn records() -> Result<Target, Box<dyn Error>> {
    let tmp = tempfile::tempdir()?;
    let dir = tmp.path().join("log");
    let log = Log::open(&dir, "example.org/fuzz", LogOptions::default())?;
    let policy = Policy::builder().principal("p", [Grant::clock()]).build()?;
    let principal = Os::new(policy, log.clone()).principal("p")?;
    for _ in 0..5 {
        principal.clock()?;
    }
    log.close()?;
    let entries = fs::read_dir(&dir)?.collect::<Result<Vec<_>, _>>()?;
    // Not its keys, which are no part of what is verified, and may take more room than so few records.
    let segment =
        entries.iter().map(fs::DirEntry::path).find(|path| path.extension() == Some("log".as_ref()));
    let path = segment.ok_or("the log has no segment")?;
    let whole = fs::read(&path)?;
    let seeds = vec![whole.clone()];
    let run = move |bytes: &[u8]| {
        let _ = &tmp;
        fs::write(&path, bytes).map_err(|error| error.to_string())?;
        if let Ok(reader) = Reader::open(&dir) {
            reader.take(100).for_each(drop);
        }
        let sound = verify(&dir, None).is_ok_and(|report| report.state == State::Closed);
        let same = bytes == whole;
        if sound && !same { Err("a changed log verifies".to_owned()) } else { Ok(()) }
    };
    Ok(Target { name: "records", seeds, run: Box::new(run) })
}
