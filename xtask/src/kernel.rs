//! `cargo xtask test-kernel`: what holds a program, on another kernel than this machine's.
//!
//! It boots Debian's kernel in qemu, without the help of the processor, so that it runs wherever qemu does. In there are
//! control groups of version 2 alone, and an older Landlock; the tests are in a group that is not the topmost one, as everybody
//! is where systemd runs. The program and the tests are those that `cargo test` builds, in an initial file system with the
//! libraries and the few programs that they need.

#![expect(
    clippy::disallowed_methods,
    reason = "a tool of the project: it runs apt-get, cargo and qemu, and writes what they read"
)]

mod archive;

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use self::archive::Archive;
use crate::{
    debian, place,
    test::{FEATURES, program, step},
};

const QEMU: &str = "qemu-system-x86_64";

/// What Debian's newest kernel for machines like this one is called by.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";

/// The tests that root runs there: of limits and their reports, of trees of processes, of what is watched, every bomb and every
/// attack in every profile.
const TESTS: &[&str] = &[
    "process_end::limits_hold",
    "process_end::memory_is_bounded_for_the_whole_tree",
    "process_end::a_fork_bomb_ends_at_its_limit",
    "process_end::a_tree_that_forks_as_fast_as_it_can_ends_with_it",
    "process_end::one_process_that_needs_too_much_is_told_from_one_that_ends",
    "process_fallback::",
    "process_groups::",
    "process_end::the_share_of_the_processors_is_bounded",
    "process_end::the_whole_tree_ends_with_it",
    "process_end::what_a_program_leaves_ends_with_it",
    "process_end::signals_reach_the_program_alone",
    "process_end::output_is_bounded",
    "process_asked::",
    "process_attacks::no_bomb_goes_off_in_a_profile",
    "process_attacks::no_attack_goes_through_a_profile",
    "process_attacks::without_namespaces_this_goes_through_and_no_more",
];

/// The tests that nobody runs there: with user namespaces and without control groups.
const UNPRIVILEGED_TESTS: &[&str] = &[
    "process::a_program_runs_and_says_how_it_ended",
    "process::it_begins_with_nothing_of_ours",
    "process::it_is_nobody_and_stays_so",
    "process::it_sees_what_is_granted_and_may_change_what_is_granted_so",
    "process::setuid_programs_give_nothing",
    "process_end::a_fork_bomb_ends_at_its_limit",
    "process_end::what_a_program_leaves_ends_with_it",
    "process_end::signals_reach_the_program_alone",
    "process_attacks::no_bomb_goes_off_in_a_profile",
];

/// What the tests call.
const PROGRAMS: &[&str] = &[
    "bash", "cat", "chroot", "cp", "cut", "echo", "env", "false", "grep", "head", "id", "ip", "ln", "ls",
    "mkdir", "mount", "mv", "readlink", "rm", "sed", "seq", "setsid", "sh", "sleep", "stat", "tail", "touch",
    "tr", "true", "unshare", "wc",
];

/// The tests that root runs there in a control group beneath others.
const SESSION_TESTS: &[&str] = &[
    "process_end::memory_is_bounded_for_the_whole_tree",
    "process_end::a_fork_bomb_ends_at_its_limit",
    "process_end::the_whole_tree_ends_with_it",
    "process_groups::",
];

/// How long it may take, in seconds: there is no processor in it but one that is imitated.
const TIMEOUT_SECONDS: &str = "2400";

/// From this version on, Landlock has all that the profiles ask of it: a kernel with it tells nothing about an older one.
const WHOLE_LANDLOCK: u64 = 6;

/// How a run says whose part begins.
const BEGINS: &str = "airssys-kernel: now as ";

/// How a run says that a part of it has come to its end.
const ENDED: &str = "airssys-kernel: ended with ";

/// Makes the root something that can be left, which the one that a kernel begins with cannot.
const INIT: &str = "#!/usr/bin/sh
PATH=/usr/bin
mkdir -p /mnt
mount -n --bind / /mnt
cd /mnt
mount -n --move . /
exec chroot . /usr/bin/sh /run
";

/// Runs it, or says loudly why not.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return skipped("this is no Linux on x86-64");
    }
    if !debian::has(QEMU) {
        debian::install(&["qemu-system-x86"]);
    }
    if !debian::has(QEMU) {
        return skipped("qemu is not here, and cannot be installed (Debian: qemu-system-x86)");
    }
    let folder = place::target(&place::root()?).join("kernel");
    fs::create_dir_all(&folder)?;
    let Some(kernel) = kernel(&folder)? else {
        return skipped(
            "there is no kernel of Debian's, and none can be had (Debian: linux-image-cloud-amd64)",
        );
    };
    let mut built = None;
    step("build", || {
        built = Some(Built::new()?);
        Ok(())
    })?;
    let image = folder.join("initrd");
    fs::write(&image, file_system(&built.ok_or("nothing was built")?, &folder)?)?;
    step("boot", || judge(&boot(&kernel, &image)?))
}

fn skipped(why: &str) -> Result<(), Box<dyn Error>> {
    eprintln!("SKIPPED: the tests on another kernel: {why}");
    Ok(())
}

/// Debian's kernel: what is here of an earlier run, or what its archive has.
fn kernel(folder: &Path) -> Result<Option<PathBuf>, Box<dyn Error>> {
    if let Some(kernel) = unpacked(folder) {
        return Ok(Some(kernel));
    }
    if !debian::has("apt-get") || !debian::has("dpkg") {
        return Ok(None);
    }
    let named = || said(Command::new("apt-cache").args(["depends", KERNEL_PACKAGE]));
    let mut depends = named().unwrap_or_default();
    if !depends.contains("Depends:") {
        debian::install(&[]);
        depends = named().unwrap_or_default();
    }
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let Some(package) = package.map(|rest| format!("linux-image-{rest}")) else { return Ok(None) };
    let mut apt_get = Command::new("apt-get");
    if !apt_get.args(["download", &package]).current_dir(folder).status()?.success() {
        return Ok(None);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let status = Command::new("dpkg").arg("-x").arg(&path).arg(folder).status()?;
            if !status.success() {
                return Err(format!("dpkg -x {} ended with {status}", path.display()).into());
            }
        }
    }
    Ok(unpacked(folder))
}

fn unpacked(folder: &Path) -> Option<PathBuf> {
    let mut kernels: Vec<PathBuf> = fs::read_dir(folder.join("boot"))
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")))
        .collect();
    kernels.sort();
    kernels.pop()
}

/// What a command prints, where it succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// What `cargo test` builds, and runs there.
struct Built {
    program: PathBuf,
    tests: PathBuf,
}

impl Built {
    fn new() -> Result<Self, Box<dyn Error>> {
        let mut cargo = Command::new(program());
        // The tests of the other crates that are built with them are few, and the features of all are as everywhere.
        cargo.args(["test", "--locked", "--workspace", FEATURES, "--test", "it", "--no-run"]);
        let output = cargo
            .arg("--message-format=json-render-diagnostics")
            .stderr(std::process::Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("{cargo:?} ended with {}", output.status).into());
        }
        let (mut program, mut tests) = (None, None);
        for line in String::from_utf8(output.stdout)?.lines() {
            let message: serde_json::Value = serde_json::from_str(line)?;
            let text = |pointer: &str| message.pointer(pointer).and_then(|text| text.as_str());
            let Some(executable) = text("/executable").map(PathBuf::from) else { continue };
            let of_door = text("/package_id").is_some_and(|package| package.contains("airssys-osl"));
            let is_test = message.pointer("/profile/test") == Some(&serde_json::Value::Bool(true));
            match text("/target/name") {
                Some("airssys") if !is_test => program = Some(executable),
                Some("it") if is_test && of_door => tests = Some(executable),
                _ => {}
            }
        }
        Ok(Self {
            program: program.ok_or("cargo built no program")?,
            tests: tests.ok_or("cargo built no tests of the door")?,
        })
    }
}

/// The file system that the kernel begins with.
fn file_system(built: &Built, folder: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut archive = Archive::default();
    for path in ["dev", "etc", "mnt", "proc", "sys", "tmp", "usr", "usr/bin", "usr/lib", "usr/lib64"] {
        archive.directory(path);
    }
    for (link, target) in
        [("bin", "usr/bin"), ("sbin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")]
    {
        archive.link(link, target);
    }
    // Without it the first process has nowhere to write to.
    archive.console("dev/console");
    archive.file("init", INIT.as_bytes());
    archive.file("run", script().as_bytes());
    let mut libraries = BTreeSet::new();
    for (path, name) in [(&built.program, "usr/bin/airssys"), (&built.tests, "usr/bin/it")] {
        let stripped = folder.join("stripped");
        let strip = Command::new("strip").arg("-o").arg(&stripped).arg(path).status();
        let is_smaller = strip.is_ok_and(|status| status.success());
        archive.file(name, &fs::read(if is_smaller { &stripped } else { path })?);
        libraries.extend(libraries_of(path));
    }
    let paths: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    for name in PROGRAMS {
        let path = paths.iter().map(|dir| dir.join(name)).find(|path| path.exists());
        let path = path.ok_or_else(|| format!("there is no program `{name}`, which the tests call"))?;
        archive.file(&format!("usr/bin/{name}"), &fs::read(&path)?);
        libraries.extend(libraries_of(&path));
    }
    for library in libraries {
        let content = fs::read(&library)?;
        // Where its name is looked for there: the directories at the top are links to those below `usr`.
        let inside = library.strip_prefix("/")?;
        let inside =
            if inside.starts_with("usr") { inside.to_owned() } else { Path::new("usr").join(inside) };
        archive.parents(&inside);
        archive.file(&inside.to_string_lossy(), &content);
    }
    Ok(archive.finish())
}

/// The libraries that a program is started with, its loader among them.
fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let listed = said(Command::new("ldd").arg(program)).unwrap_or_default();
    let words = listed.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

/// A run of tests there.
struct Part {
    who: &'static str,
    /// What is done before.
    before: &'static str,
    /// What the commands begin with.
    prefix: &'static str,
    tests: &'static [&'static str],
    /// The layers that cannot be had.
    absent: &'static [&'static str],
}

const PARTS: [Part; 3] = [
    Part {
        who: "root",
        before: "for controller in cpu io memory pids; do echo +$controller > /sys/fs/cgroup/cgroup.subtree_control; done
",
        prefix: "",
        tests: TESTS,
        absent: &[],
    },
    Part {
        who: "nobody",
        before: "",
        prefix: "chroot --userspec=65534:65534 / ",
        tests: UNPRIVILEGED_TESTS,
        absent: &["cgroup"],
    },
    // As systemd has it: our own group has processes in it, so nothing can be counted beneath.
    Part {
        who: "root in a session",
        before: "mkdir -p /sys/fs/cgroup/slice/session
echo '+memory +pids' > /sys/fs/cgroup/cgroup.subtree_control
echo '+memory +pids' > /sys/fs/cgroup/slice/cgroup.subtree_control
echo $$ > /sys/fs/cgroup/slice/session/cgroup.procs
",
        prefix: "",
        tests: SESSION_TESTS,
        absent: &[],
    },
];

/// What is run when there is a root.
fn script() -> String {
    let parts = PARTS.map(|Part { who, before, prefix, tests, .. }| {
        let tests = tests.join(" ");
        format!(
            "echo {BEGINS}{who}
{before}{prefix}airssys --json doctor
{prefix}it {tests} --test-threads=1 --nocapture 2>&1
echo {ENDED}$?
"
        )
    });
    format!(
        "PATH=/usr/bin HOME=/tmp RUST_BACKTRACE=0
export PATH HOME RUST_BACKTRACE
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
{}echo o > /proc/sysrq-trigger
sleep 60
",
        parts.concat()
    )
}

/// Boots it, and returns what it said.
fn boot(kernel: &Path, image: &Path) -> Result<String, Box<dyn Error>> {
    let mut qemu = Command::new("timeout");
    qemu.args([TIMEOUT_SECONDS, QEMU, "-accel", "tcg", "-cpu", "max", "-m", "1536", "-smp", "2"]);
    qemu.args(["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"]);
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(image);
    qemu.args(["-append", "console=ttyS0 panic=1 quiet loglevel=0 lsm=landlock,lockdown,yama,bpf"]);
    let output = qemu.stdin(std::process::Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    println!("{said}");
    if !output.status.success() {
        return Err(format!("{qemu:?} ended with {}", output.status).into());
    }
    Ok(said)
}

/// Whether that is what was to be proved.
fn judge(said: &str) -> Result<(), Box<dyn Error>> {
    // What the machine says to its screen comes before the first line.
    let mut parts = said.split(BEGINS).skip(1);
    for Part { who, tests, absent, .. } in PARTS {
        let part = parts.next().ok_or_else(|| format!("the tests as {who} did not begin there"))?;
        judge_part(part, tests, absent).map_err(|why| format!("as {who}: {why}"))?;
    }
    Ok(())
}

fn judge_part(said: &str, tests: &[&str], absent: &[&str]) -> Result<(), Box<dyn Error>> {
    let values = said.lines().filter_map(|line| line.get(line.find('{')?..));
    let doctor = values.map(serde_json::from_str::<serde_json::Value>).find_map(Result::ok);
    let doctor = doctor.ok_or("the doctor said nothing there")?;
    let layers = doctor.pointer("/layers").and_then(|layers| layers.as_array()).ok_or("no layers")?;
    for layer in layers {
        let name = layer.pointer("/layer").and_then(serde_json::Value::as_str).ok_or("no name")?;
        let there = layer.pointer("/available") == Some(&serde_json::Value::Bool(true));
        if there == absent.contains(&name) {
            let word = if there { "there, and was not to be" } else { "not to be had there" };
            return Err(format!("a layer is {word}: {layer}").into());
        }
    }
    let landlock = doctor.pointer("/landlock_version").and_then(serde_json::Value::as_u64);
    match landlock.ok_or("there is no Landlock")? {
        version @ WHOLE_LANDLOCK.. => {
            return Err(format!(
                "the kernel there has Landlock {version}, which is no older one; unpack one of before Linux 6.12 \
                 (Debian 12: linux-image-6.1) into `target/kernel`, in place of what is there"
            )
            .into());
        }
        version => println!("Landlock there has version {version}"),
    }
    // What has no control group says so, and is about no other: those of disks, and without any what ends a tree by them.
    let of_groups =
        |line: &str| line.contains("control group") || line.contains("nothing here ends a whole tree");
    let without = |line: &str| line.contains("disks") || absent.contains(&"cgroup") && of_groups(line);
    if let Some(skipped) = said.lines().find(|line| line.contains("SKIPPED") && !without(line)) {
        return Err(format!("not everything was tested: {skipped}").into());
    }
    // A test of another name now would be none.
    if let Some(unknown) = tests.iter().find(|test| !said.contains(&format!("test {test}"))) {
        return Err(format!("no test is called `{unknown}` any more").into());
    }
    let status = said.lines().find_map(|line| line.trim().strip_prefix(ENDED));
    match status {
        Some("0") => Ok(()),
        Some(status) => Err(format!("the tests ended with {status} there").into()),
        None => Err("the tests did not come to their end there".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What such a machine says: of each part the version of Landlock, the layers that are absent, and the tests' last line.
    fn machine(landlock: u64, absent: [&str; 3], last: &str) -> String {
        let part = |Part { who, tests, .. }: Part, absent: &str| {
            let layer = |name: &str| format!("{{\"layer\":\"{name}\",\"available\":{}}}", name != absent);
            let doctor = format!(
                "{{\"layers\":[{},{}],\"landlock_version\":{landlock}}}",
                layer("cgroup"),
                layer("mounts")
            );
            let tests: String = tests.iter().map(|test| format!("test {test} ... ok\n")).collect();
            format!("{BEGINS}{who}\n{doctor}\n{tests}{last}\n")
        };
        let parts: String = PARTS.into_iter().zip(absent).map(|(one, absent)| part(one, absent)).collect();
        format!("\u{1b}[2J{parts}")
    }

    #[track_caller]
    fn check(said: &str, expected: Result<(), &str>) {
        match (judge(said).map_err(|error| error.to_string()), expected) {
            (Ok(()), Ok(())) => {}
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn what_was_to_be_proved_is() {
        let (well, absent) = (format!("{ENDED}0"), ["", "cgroup", ""]);
        check(&machine(2, absent, &well), Ok(()));
        check(&machine(6, absent, &well), Err("Landlock 6, which is no older one"));
        check(&machine(2, ["mounts", "cgroup", ""], &well), Err("as root: a layer is not to be had there"));
        check(&machine(2, ["", "", ""], &well), Err("as nobody: a layer is there, and was not to be"));
        let in_session = machine(2, ["", "cgroup", "cgroup"], &well);
        check(&in_session, Err("as root in a session: a layer is not to be had there"));
        check(&machine(2, absent, &format!("{ENDED}101")), Err("ended with 101"));
        check(&machine(2, absent, ""), Err("did not come to their end"));
        check(&machine(2, absent, &format!("SKIPPED: it takes bash\n{well}")), Err("SKIPPED: it takes bash"));
        let gone = machine(2, absent, &well).replace(TESTS[0], "renamed");
        check(&gone, Err("no test is called `process_end::limits_hold`"));
        let cut = machine(2, absent, &well);
        check(cut.rsplit_once(BEGINS).unwrap().0, Err("as root in a session did not begin"));
    }
}
