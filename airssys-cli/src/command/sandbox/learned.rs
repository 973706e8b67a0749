//! What a run needed, as flags and as a part of a manifest.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use airssys_osl::{
    Action, Verdict,
    audit::{Event, Outcome},
    policy::learn::{Touch, learn},
    process::{Asked, Needs, Profile, Want},
};
use serde_json::{Value, json};

use super::{PATH, PRINCIPAL, is_networked};
use crate::{
    args::Sandbox,
    report::{Style, Terminal, printable},
};

/// How many different connections are remembered: more than a program has that a list of flags is for.
const REMEMBERED: usize = 1024;

/// Whom a program reached that no grant names.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<BTreeSet<Vec<u8>>>);

impl Peers {
    /// Takes note of a record.
    pub(super) fn hear(&self, event: &Event<'_>) {
        if event.verdict == Verdict::WouldDeny && event.action == Action::NetConnect {
            let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if peers.len() < REMEMBERED {
                peers.insert(event.resource.to_vec());
            }
        }
    }

    /// As flags name them.
    fn named(&self) -> Vec<String> {
        let peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let touches = peers.iter().map(|resource| Touch {
            principal: PRINCIPAL,
            action: Action::NetConnect,
            resource,
            verdict: Verdict::WouldDeny,
            rule: "",
            outcome: Outcome::Success,
        });
        learn(touches).peers(PRINCIPAL)
    }
}

/// What a run needed.
pub(super) struct Learned {
    path: PathBuf,
    arguments: Vec<String>,
    env: Vec<String>,
    profile: Profile,
    needs: Needs,
    peers: Vec<String>,
    /// Whom it reached, or tried to, without a proxy, though it has no other way out.
    direct: Vec<String>,
    missed: u64,
}

impl Learned {
    pub(super) fn new(sandbox: &Sandbox, path: &Path, asked: &Asked, peers: &Peers) -> Self {
        let networked = is_networked(sandbox);
        let needs = asked.needs(networked);
        let profile = match sandbox.profile {
            Profile::Strict if needs.builds => Profile::Build,
            profile => profile,
        };
        let direct = asked.peers.iter().filter(|_| !networked).map(ToString::to_string);
        Self {
            path: path.to_owned(),
            arguments: sandbox.program.iter().skip(1).cloned().collect(),
            env: sandbox.env.iter().filter(|env| env.contains('=')).cloned().collect(),
            profile,
            needs,
            peers: peers.named(),
            direct: direct.collect(),
            missed: asked.missed,
        }
    }

    /// The flags, each with what it is about.
    fn flags(&self) -> Vec<(&'static str, String)> {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let mut flags = Vec::new();
        flags.extend(self.needs.see.iter().map(|path| ("--ro", text(path))));
        flags.extend(self.needs.change.iter().map(|path| ("--rw", text(path))));
        flags.extend(self.needs.directory.iter().map(|path| ("--chdir", text(path))));
        flags.extend(self.peers.iter().map(|peer| ("--net", peer.clone())));
        if self.profile != Profile::Strict {
            flags.push(("--profile", self.profile.to_string()));
        }
        flags
    }

    /// What a list of flags cannot say.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for path in &self.needs.missing {
            notes.push(format!("it made something in {}, which no flag gives it", path.display()));
        }
        if !self.direct.is_empty() {
            let peers = self.direct.join(", ");
            notes.push(format!("it wanted to reach {peers} without the proxy: that takes --profile network"));
        }
        if self.needs.builds && self.profile == Profile::Network {
            notes.push("it executed what it changes: that takes --profile build".to_owned());
        }
        if self.missed > 0 {
            notes.push(format!("{} names could not be read, or were too many", self.missed));
        }
        notes
    }

    /// As a section of a manifest.
    fn manifest(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
        let name: String = name.chars().map(plain).collect();
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let paths = |paths: &[PathBuf]| paths.iter().map(text).collect();
        let lists: [(&str, Vec<String>); 4] = [
            ("args", self.arguments.clone()),
            ("ro", paths(&self.needs.see)),
            ("rw", paths(&self.needs.change)),
            ("connect", self.peers.iter().map(|peer| format!("tcp://{peer}")).collect()),
        ];
        let mut lines = vec![format!("[process.{}]", name.trim_matches('-'))];
        lines.push(format!("program = {}", quoted(&text(&self.path))));
        for (key, texts) in lists.into_iter().filter(|(_, texts)| !texts.is_empty()) {
            let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
            lines.push(format!("{key} = [{}]", texts.join(", ")));
        }
        lines.push(self.variables());
        if let Some(directory) = &self.needs.directory {
            lines.push(format!("directory = {}", quoted(&text(directory))));
        }
        if self.profile != Profile::Strict {
            lines.push(format!("profile = {}", quoted(&self.profile.to_string())));
        }
        lines.join("\n")
    }

    fn variables(&self) -> String {
        let mut variables = vec![("PATH", PATH), ("HOME", "/tmp")];
        for (name, value) in self.env.iter().filter_map(|env| env.split_once('=')) {
            variables.retain(|(known, _)| *known != name);
            variables.push((name, value));
        }
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
        format!("env = {{ {} }}", variables.join(", "))
    }

    pub(super) fn tell(&self, terminal: &Terminal) {
        let flags: Vec<_> =
            self.flags().iter().map(|(flag, value)| format!("{flag} {}", word(value))).collect();
        let flags = if flags.is_empty() { "it needs no flag".to_owned() } else { flags.join(" ") };
        let learned = terminal.err.text(Style::Good, "learned:");
        terminal.say(&format!("{learned} {}", printable(flags.as_bytes())));
        for note in self.notes() {
            let name = terminal.err.text(Style::Warning, "   note:");
            terminal.say(&format!("{name} {}", printable(note.as_bytes())));
        }
        terminal.say(&"");
        for line in self.manifest().lines() {
            terminal.say(&printable(line.as_bytes()));
        }
    }

    pub(super) fn value(&self) -> Value {
        let flags = self.flags().into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        json!({
            "flags": flags.collect::<Vec<_>>(),
            "manifest": self.manifest(),
            "notes": self.notes(),
        })
    }
}

/// The flag that gives a program what it wants.
pub(super) fn flag(want: &Want) -> String {
    let path = want.path.to_string_lossy();
    format!("{} {}", if want.write { "--rw" } else { "--ro" }, word(&path))
}

/// A word as a shell takes it.
fn word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A text as TOML takes it; JSON's are such, but for one letter.
fn quoted(text: &str) -> String {
    json!(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_one_for_a_shell() {
        let words = [("/a/b", "/a/b"), ("", "''"), ("a b", "'a b'"), ("a'b", "'a'\\''b'"), ("$x", "'$x'")];
        words.iter().for_each(|(text, expected)| assert_eq!(word(text), *expected));
    }
}
