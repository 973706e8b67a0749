//! What holds a process, and whom it reaches: `[process.NAME]` from `profile` to `connect`.

use airssys_osl::{
    policy::{ExecTerms, Grant, Protocol},
    process::{Calls, Layers, Profile},
};
use toml::de::DeValue;

use super::{
    peer,
    rules::checked,
    section::{Notes, Section, kind, one_of},
};
use crate::component::Digest;

const CALLS: &[(&str, Calls)] = &[("all", Calls::AllButRefused), ("usual", Calls::Usual)];

/// Whom a process reaches, for errors: there is a proxy for connections alone.
const PEER: &str = "a host, an address or a block, and ports, such as `tcp://*.example.com:443` or `tcp://10.0.0.0/8:8000-8100`";

/// Reads what holds it. The grants are of whom it may connect to.
pub(super) fn read(
    section: &mut Section<'_>,
    terms: ExecTerms,
    notes: &mut Notes<'_>,
) -> (ExecTerms, Vec<Grant>) {
    let profile = section.word("profile", &Profile::NAMES, notes).unwrap_or_default();
    let mut terms = terms.profile(profile).require(layers(section, "require", notes));
    terms = terms.without(layers(section, "without", notes));
    if let Some(version) = section.integer("landlock", 1..1001, notes) {
        terms = terms.require_landlock(version);
    }
    if let Some(calls) = section.word("calls", CALLS, notes) {
        terms = terms.calls(calls);
    }
    let digest = section.parsed("digest", "`sha256:` and 64 hexadecimal digits", notes, |text| {
        text.parse().ok().map(Digest::bytes)
    });
    if let Some(digest) = digest {
        terms = terms.sha256(digest.value);
    }
    if let Some(user) = section.parsed("user", "two numbers, such as \"1000:1000\"", notes, user) {
        terms = terms.run_as(user.value.0, user.value.1);
    }
    if is_true(section, "loopback", notes) {
        terms = terms.loopback();
    }
    let peers = read_peers(section, profile, notes);
    if peers.is_empty() { (terms, peers) } else { (terms.egress(), peers) }
}

fn layers(section: &mut Section<'_>, key: &'static str, notes: &mut Notes<'_>) -> Layers {
    let place = section.place(key);
    let names = section.texts(key, notes);
    names.iter().filter_map(|name| one_of(&place, name, &Layers::NAMES, notes)).collect()
}

fn user(text: &str) -> Option<(u32, u32)> {
    let (user, group) = text.split_once(':')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    Some((number(user)?, number(group)?))
}

fn is_true(section: &mut Section<'_>, key: &'static str, notes: &mut Notes<'_>) -> bool {
    match section.take(key) {
        None => false,
        Some(value) => match value.get_ref() {
            DeValue::Boolean(value) => *value,
            other => {
                let message = format!("`{}` must be true or false, not {}", section.place(key), kind(other));
                notes.problem(&value.span(), message, None);
                false
            }
        },
    }
}

fn read_peers(section: &mut Section<'_>, profile: Profile, notes: &mut Notes<'_>) -> Vec<Grant> {
    let place = section.place("connect");
    let mut grants = Vec::new();
    for (index, text) in section.texts("connect", notes).into_iter().enumerate() {
        let rule = format!("{place}[{index}]");
        if matches!(profile, Profile::Network | Profile::None) {
            let message = format!(
                "`{rule}` would hold it to nothing: in the profile `{profile}` it is on the machine's network"
            );
            notes.problem(&text.span, message, None);
            continue;
        }
        match peer::parse(&text.value) {
            Some((Protocol::Tcp, host, ports)) => {
                let grant = Grant::connect(Protocol::Tcp, host, ports).rule(rule.as_str());
                grants.extend(checked(grant, &rule, false, &text.span, notes));
            }
            _ => {
                let message = format!("`{rule}`: \"{}\" is no peer of a process", text.value);
                notes.problem(&text.span, message, Some(PEER.to_owned()));
            }
        }
    }
    grants
}
