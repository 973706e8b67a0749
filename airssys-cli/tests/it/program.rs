//! Runs the program in a world of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::Once,
};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with everything that the program may touch. Compiled components are shared between tests.
pub(crate) struct World {
    pub(crate) dir: TempDir,
}

/// What the program printed, and how it ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A program that runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) events: Events,
}

/// The events that a running program tells, one JSON value a line.
pub(crate) struct Events {
    stdout: BufReader<ChildStdout>,
    /// The file that has what it says besides.
    stderr: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A world that no program's own `/tmp` hides.
    pub(crate) fn outside_tmp() -> Self {
        Self { dir: tempfile::tempdir_in("/var/tmp").unwrap() }
    }

    /// A world with a copy of an example, whose manifest is [`patient`].
    pub(crate) fn with_example(name: &str) -> Self {
        let world = Self::new();
        copy(&repository().join("examples").join(name), &world.path(name));
        let manifest = world.path(name).join("airssys.toml");
        let text = patient(&fs::read_to_string(&manifest).unwrap());
        fs::write(manifest, text).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, and the folders that lead to it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_airssys"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", shared_cache());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        let output = self.command(args).stdin(Stdio::null()).output().unwrap();
        self.ended(&output)
    }

    /// Runs the program with `--json`, and gives its events. The world's folder is `WORLD` in them.
    pub(crate) fn run_json(&self, args: &[&str]) -> (Option<i32>, Vec<Value>) {
        let ended = self.run(&[&["--json"], args].concat());
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        (ended.code, ended.stdout.lines().map(parse).collect())
    }

    /// Starts the program with `--json` and leaves it running.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut command = self.command(&[&["--json", "--log", "error"], args].concat());
        let stderr = self.path("stderr");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(&stderr).unwrap());
        let mut child = command.spawn().unwrap();
        let events = Events { stdout: BufReader::new(child.stdout.take().unwrap()), stderr };
        Running { child, events }
    }

    /// What was printed, without what differs from world to world.
    pub(crate) fn ended(&self, output: &Output) -> Ended {
        let dir = self.dir.path().canonicalize().unwrap();
        let plain =
            |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace(dir.to_str().unwrap(), "WORLD");
        Ended { code: output.status.code(), stdout: plain(&output.stdout), stderr: plain(&output.stderr) }
    }
}

impl Running {
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the end, and gives the exit code and the events that were not read yet.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<Value>) {
        let mut rest = String::new();
        self.events.stdout.read_to_string(&mut rest).unwrap();
        // One that was killed may leave the beginning of a line.
        let whole = rest.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let events = whole.map(|line| serde_json::from_str(line).unwrap()).collect();
        (self.child.wait().unwrap().code(), events)
    }
}

impl Events {
    /// Reads on until an event of this name.
    pub(crate) fn wait_for(&mut self, name: &str) -> Value {
        let mut last = Value::Null;
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).unwrap() == 0 {
                let said = fs::read_to_string(&self.stderr).unwrap_or_default();
                panic!("the program ended before `{name}`: {said}; last: {last}");
            }
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == name {
                return event;
            }
            last = event;
        }
    }
}

/// A manifest in which no clock ends a component: what a test is about then comes out the same on a machine that stands still
/// for seconds.
pub(crate) fn patient(manifest: &str) -> String {
    let manifest = manifest.replace("[system]\n", "[system]\ncompile = { time = \"30m\" }\n");
    manifest.replace(".wasm\"\n", ".wasm\"\nshutdown = \"10m\"\nlimits = { deadline = \"10m\" }\n")
}

/// Whether a run of the example has come to its log. A system whose threads stand still looks as if it had nothing left to do.
pub(crate) fn has_read(events: &[Value]) -> bool {
    events.iter().any(|event| event["event"] == "first_message" && event["component"] == "parser")
}

/// Where the programs of all tests keep what they compiled. One of them makes its key before any other looks for it: of two that
/// make it at a time, one would not trust what the other kept, and say so.
fn shared_cache() -> PathBuf {
    static KEY: Once = Once::new();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    KEY.call_once(|| {
        let home = tempfile::tempdir().unwrap();
        let mut show = Command::new(env!("CARGO_BIN_EXE_airssys"));
        show.args(["cache", "show"]).env_clear().env("HOME", home.path()).env("XDG_CACHE_HOME", &cache);
        let shown = show.output().unwrap();
        assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    });
    cache
}

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

/// Copies a folder as git has it: without what a run left in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(source).unwrap(), target).unwrap();
        } else if kind.is_file() {
            fs::copy(source, target).unwrap();
        } else if entry.file_name() != ".airssys" {
            copy(&source, &target);
        }
    }
    if to.ends_with("out") {
        for report in ["report.json", "report.html"] {
            let _ = fs::remove_file(to.join(report));
        }
    }
}
