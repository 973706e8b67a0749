//! Guests that call functions of WASI 0.1 one after the other, from a text; what each call answers is in the text too.
//!
//! A line is `function arguments = answer`. The arguments are those of the specification: numbers, `'text'` (a pointer and
//! a length), `>name` or `>name:64` (a pointer to 8 or 64 new bytes), `$name` (the number that a call left there), `w'text'`
//! (one buffer to be written), `r16:name` (one buffer of 16 bytes to be read into) and `&name` (a pointer to what is there by
//! that name). `put name+8 7` writes a number there, and `put name $other` one that was left. The answer is the name of an error
//! number, or several. `show name+8 = 7` looks at a number that was left, and `bytes name = 'text'` at a buffer.
//!
//! `(wasmtime: answer)` behind an answer pins what Wasmtime says where that differs; docs/wasi.md tells why. Where it ends the guest
//! (`trap`) or has no such answer (`-`), it is not asked.

use std::{collections::HashMap, fmt::Write as _, path::PathBuf, process::Command};

use crate::program::World;

/// Names of error numbers, in their order.
const ERRNO: &[&str] = &[
    "ok",
    "2big",
    "acces",
    "addrinuse",
    "addrnotavail",
    "afnosupport",
    "again",
    "already",
    "badf",
    "badmsg",
    "busy",
    "canceled",
    "child",
    "connaborted",
    "connrefused",
    "connreset",
    "deadlk",
    "destaddrreq",
    "dom",
    "dquot",
    "exist",
    "fault",
    "fbig",
    "hostunreach",
    "idrm",
    "ilseq",
    "inprogress",
    "intr",
    "inval",
    "io",
    "isconn",
    "isdir",
    "loop",
    "mfile",
    "mlink",
    "msgsize",
    "multihop",
    "nametoolong",
    "netdown",
    "netreset",
    "netunreach",
    "nfile",
    "nobufs",
    "nodev",
    "noent",
    "noexec",
    "nolck",
    "nolink",
    "nomem",
    "nomsg",
    "noprotoopt",
    "nospc",
    "nosys",
    "notconn",
    "notdir",
    "notempty",
    "notrecoverable",
    "notsock",
    "notsup",
    "notty",
    "nxio",
    "overflow",
    "ownerdead",
    "perm",
    "pipe",
    "proto",
    "protonosupport",
    "prototype",
    "range",
    "rofs",
    "spipe",
    "srch",
    "stale",
    "timedout",
    "txtbsy",
    "xdev",
    "notcapable",
];

/// Every function and the types of its arguments: `i` has 32 bits, `I` has 64.
pub(crate) const FUNCTIONS: &[(&str, &str)] = &[
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_get", "ii"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_raise", "i"),
    ("sched_yield", ""),
    ("random_get", "ii"),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// Where answers are kept until they are written to stdout, as words of 8 bytes.
const ANSWERS: usize = 32 * 1024;

/// How many bytes of a buffer are looked at.
const SHOWN_BYTES: usize = 64;

/// A guest that is being written.
#[derive(Default)]
struct Guest {
    code: String,
    data: String,
    end: usize,
    answers: usize,
    slots: HashMap<String, usize>,
}

impl Guest {
    fn place(&mut self, bytes: &[u8], len: usize) -> usize {
        let at = self.end.next_multiple_of(8);
        self.end = at + len;
        assert!(self.end < ANSWERS, "a script is too long");
        let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        writeln!(self.data, "(data (i32.const {at}) \"{escaped}\")").unwrap();
        at
    }

    fn arguments(&mut self, text: &str) -> Vec<String> {
        let mut arguments = Vec::new();
        for token in tokens(text) {
            if let Some(text) = token.strip_prefix('\'') {
                let text = unescape(text);
                arguments.push(self.place(&text, text.len()).to_string());
                arguments.push(text.len().to_string());
            } else if let Some(slot) = token.strip_prefix('>') {
                let (name, len) = slot.split_once(':').unwrap_or((slot, "8"));
                let at = self.place(&[], len.parse().unwrap());
                self.slots.insert(name.to_owned(), at);
                arguments.push(at.to_string());
            } else if let Some(name) = token.strip_prefix('$') {
                arguments.push(format!("load {}", self.slots[name]));
            } else if let Some(name) = token.strip_prefix('&') {
                arguments.push(self.slots[name].to_string());
            } else if let Some(text) = token.strip_prefix("w'") {
                let text = unescape(text);
                let at = self.place(&text, text.len());
                self.buffer(at, text.len(), &mut arguments);
            } else if let Some(buffer) = token.strip_prefix('r') {
                let (len, name) = buffer.split_once(':').unwrap();
                let at = self.place(&[], SHOWN_BYTES);
                self.slots.insert(name.to_owned(), at);
                self.buffer(at, len.parse().unwrap(), &mut arguments);
            } else {
                arguments.push(token);
            }
        }
        arguments
    }

    fn buffer(&mut self, at: usize, len: usize, arguments: &mut Vec<String>) {
        let list = [(at as u32).to_le_bytes(), (len as u32).to_le_bytes()].concat();
        arguments.push(self.place(&list, 8).to_string());
        arguments.push("1".to_owned());
    }

    /// Keeps a number of 64 bits as an answer.
    fn answer(&mut self, value: &str) {
        writeln!(self.code, "(i64.store (i32.const {}) {value})", ANSWERS + self.answers * 8).unwrap();
        self.answers += 1;
    }

    fn call(&mut self, function: &str, arguments: &str) {
        let known = FUNCTIONS.iter().find(|(name, _)| *name == function);
        let (_, types) = known.unwrap_or_else(|| panic!("no function {function}"));
        let arguments = self.arguments(arguments);
        assert_eq!(arguments.len(), types.len(), "{function}: {arguments:?}");
        let values = types.chars().zip(&arguments).map(|(ty, argument)| {
            let bits = if ty == 'i' { "i32" } else { "i64" };
            match argument.strip_prefix("load ") {
                Some(at) => format!("({bits}.load (i32.const {at}))"),
                None => format!("({bits}.const {argument})"),
            }
        });
        let values: String = values.collect();
        self.answer(&format!("(i64.extend_i32_u (call ${function} {values}))"));
    }

    fn at(&self, place: &str) -> usize {
        let (name, offset) = place.split_once('+').unwrap_or((place, "0"));
        self.slots[name] + offset.parse::<usize>().unwrap()
    }

    /// Writes a number of 64 bits to a place.
    fn put(&mut self, what: &str) {
        let (place, value) = what.split_once(' ').unwrap();
        let value = match value.strip_prefix('$') {
            Some(name) => format!("(i64.load (i32.const {}))", self.slots[name]),
            None => format!("(i64.const {value})"),
        };
        writeln!(self.code, "(i64.store (i32.const {}) {value})", self.at(place)).unwrap();
        self.answer("(i64.const 0)");
    }

    fn show(&mut self, what: &str, words: usize) {
        let at = self.at(what);
        for word in 0..words {
            self.answer(&format!("(i64.load (i32.const {}))", at + word * 8));
        }
    }

    fn text(&self) -> String {
        let mut text = "(module\n".to_owned();
        for (name, types) in FUNCTIONS {
            let params: Vec<_> = types.chars().map(|ty| if ty == 'i' { "i32" } else { "i64" }).collect();
            let ty = format!("(param {}) (result i32)", params.join(" "));
            writeln!(text, "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} {ty}))").unwrap();
        }
        let list = ANSWERS - 16;
        let len = self.answers * 8;
        writeln!(
            text,
            "(memory (export \"memory\") 2)\n{}(func (export \"_start\")\n{}
             (i32.store (i32.const {list}) (i32.const {ANSWERS}))
             (i32.store (i32.const {}) (i32.const {len}))
             (drop (call $fd_write (i32.const 1) (i32.const {list}) (i32.const 1) (i32.const {})))))",
            self.data,
            self.code,
            list + 4,
            list + 8,
        )
        .unwrap();
        text
    }
}

/// One line of a script.
pub(crate) struct Line<'a> {
    pub(crate) text: &'a str,
    pub(crate) what: &'a str,
    pub(crate) ours: &'a str,
    pub(crate) wasmtimes: &'a str,
}

impl Line<'_> {
    fn words(&self) -> usize {
        if self.what.starts_with("bytes ") { SHOWN_BYTES / 8 } else { 1 }
    }

    fn check(&self, answer: &[u8], expected: &str, by: &str) {
        let number = u64::from_le_bytes(answer[..8].try_into().unwrap());
        if self.what.starts_with("bytes ") {
            let expected = unescape(expected.trim().strip_prefix('\'').unwrap().trim_end_matches('\''));
            assert_eq!(answer[..expected.len()], expected, "{by}: {}", self.text);
        } else if self.what.starts_with("show ") {
            assert_eq!(number, expected.trim().parse::<u64>().unwrap(), "{by}: {}", self.text);
        } else {
            let name = ERRNO[number as usize];
            assert!(expected.split('|').any(|one| one.trim() == name), "{by}: {name}: {}", self.text);
        }
    }
}

/// Runs a script in a world with a folder `data`, which the guest has as its first directory, and compares every answer;
/// with Wasmtime's too, where `AIRSSYS_WASMTIME` names that program.
pub(crate) fn check(prepare: impl Fn(&World), script: &str) {
    let lines = lines(script);
    let world = World::new();
    let ours: Vec<_> = lines.iter().collect();
    compare(&ours, &run(world.command(&[]), &world, &prepare, &ours), |line| line.ours, "airssys");
    match std::env::var_os("AIRSSYS_WASMTIME").map(PathBuf::from) {
        Some(program) => {
            let world = World::new();
            let mut command = Command::new(program);
            command.current_dir(world.dir.path()).stdin(std::process::Stdio::null());
            let theirs: Vec<_> =
                lines.iter().filter(|line| !matches!(line.wasmtimes, "trap" | "-")).collect();
            let answers = run(command, &world, &prepare, &theirs);
            compare(&theirs, &answers, |line| line.wasmtimes, "wasmtime");
        }
        None => eprintln!("SKIPPED: not compared with Wasmtime: AIRSSYS_WASMTIME names no program"),
    }
}

/// Writes a guest that does what the lines say, and gives its answers.
fn run(mut command: Command, world: &World, prepare: impl Fn(&World), lines: &[&Line<'_>]) -> Vec<u8> {
    let mut guest = Guest { end: 64, ..Guest::default() };
    for line in lines {
        let (word, rest) = line.what.split_once(' ').unwrap_or((line.what, ""));
        match word {
            "show" => guest.show(rest, 1),
            "put" => guest.put(rest),
            "bytes" => guest.show(rest, SHOWN_BYTES / 8),
            function => guest.call(function, rest),
        }
    }
    prepare(world);
    world.write("guest.wat", guest.text());
    let arguments = ["run", "--env", "A=b", "--dir", "data::/", "guest.wat", "one", "--two"];
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn compare<'a>(lines: &[&Line<'a>], answers: &[u8], expected: impl Fn(&Line<'a>) -> &'a str, by: &str) {
    let mut at = 0;
    for line in lines {
        let next = at + line.words() * 8;
        line.check(&answers[at..next], expected(line), by);
        at = next;
    }
    assert_eq!(at, answers.len());
}

/// The lines of a script, without its comments.
pub(crate) fn lines(script: &str) -> Vec<Line<'_>> {
    let lines = script.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(parse).collect()
}

fn parse(text: &str) -> Line<'_> {
    let (what, answers) = text.rsplit_once(" = ").unwrap_or_else(|| panic!("no answer: {text}"));
    let (ours, wasmtimes) = match answers.split_once(" (wasmtime: ") {
        Some((ours, wasmtimes)) => (ours, wasmtimes.trim_end_matches(')')),
        None => (answers, answers),
    };
    Line { text, what: what.trim(), ours, wasmtimes }
}

/// The words of a line; a text in quotes keeps its opening quote.
fn tokens(line: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' if quoted => quoted = false,
            ' ' if !quoted => tokens.push(String::new()),
            character => {
                quoted |= character == '\'';
                tokens.last_mut().unwrap().push(character);
            }
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

fn unescape(text: &str) -> Vec<u8> {
    text.replace("\\0", "\0").replace("\\n", "\n").into_bytes()
}
