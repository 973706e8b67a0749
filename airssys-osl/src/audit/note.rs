//! Signed notes and the keys that sign them, in the formats of <https://c2sp.org/signed-note>.

use base64::{Engine, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::record::Malformed;

/// The longest note, in bytes. A checkpoint of the largest possible log is half of it.
pub(super) const MAX_BYTES: usize = 8192;
/// The longest name of a key, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 128;

/// The most signatures that are looked at in a note: as many as the format asks a verifier to accept.
const MAX_SIGNATURES: usize = 16;
/// The signature type of Ed25519.
const ED25519: u8 = 1;
const SIGNATURE_START: &str = "— ";
const PRIVATE_START: &str = "PRIVATE+KEY+";

/// Signs notes under a name.
pub(super) struct Signer {
    key: SigningKey,
    verifier: Verifier,
}

impl Signer {
    /// Makes a signer from 32 random bytes; `None` where the name is not one of a key (see [`is_name`]).
    pub(super) fn from_seed(name: &str, seed: &[u8; 32]) -> Option<Self> {
        let key = SigningKey::from_bytes(seed);
        let verifier = is_name(name).then(|| Verifier::new(name, key.verifying_key()))?;
        Some(Self { key, verifier })
    }

    /// Reads a private key: `PRIVATE+KEY+<name>+<key id>+<base64>`.
    pub(super) fn from_text(text: &str) -> Result<Self, Malformed> {
        let text = text.strip_prefix(PRIVATE_START).ok_or(Malformed("no private key"))?;
        let (name, id, seed) = parse_key(text)?;
        let signer = Self::from_seed(name, &seed).ok_or(Malformed("a key without a proper name"))?;
        if signer.verifier.id == id { Ok(signer) } else { Err(Malformed("a key id of another key")) }
    }

    pub(super) fn to_text(&self) -> String {
        format!("{PRIVATE_START}{}", key_text(&self.verifier, self.key.as_bytes()))
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Signs a text, which ends with a newline.
    pub(super) fn sign(&self, text: &str) -> String {
        let mut signature = self.verifier.id.to_vec();
        signature.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        let signature = BASE64_STANDARD.encode(signature);
        format!("{text}\n{SIGNATURE_START}{} {signature}\n", self.verifier.name)
    }
}

/// Verifies notes that the signer of this name signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verifier {
    name: Box<str>,
    id: [u8; 4],
    key: VerifyingKey,
}

impl Verifier {
    /// Reads a public key: `<name>+<key id>+<base64>`.
    pub(super) fn from_text(text: &str) -> Result<Self, Malformed> {
        let (name, id, key) = parse_key(text)?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| Malformed("a public key that is none"))?;
        let verifier = Self::new(name, key);
        if verifier.id == id { Ok(verifier) } else { Err(Malformed("a key id of another key")) }
    }

    pub(super) fn to_text(&self) -> String {
        key_text(self, self.key.as_bytes())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether one of the signatures of a note says that it is of this key. It may be wrong all the same.
    pub(super) fn is_named_in(&self, note: &str) -> bool {
        let Some((_, signatures)) = split(note) else { return false };
        let start = format!("{SIGNATURE_START}{} ", self.name);
        signatures.lines().take(MAX_SIGNATURES).filter_map(|line| line.strip_prefix(&start)).any(
            |signature| {
                BASE64_STANDARD.decode(signature).is_ok_and(|signature| signature.starts_with(&self.id))
            },
        )
    }

    /// Returns the text of a note that this key signed.
    pub(super) fn open<'n>(&self, note: &'n str) -> Result<&'n str, Malformed> {
        if note.len() > MAX_BYTES || note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(Malformed("more or other characters than a signed note"));
        }
        let (text, signatures) = split(note).ok_or(Malformed("no signature"))?;
        for line in signatures.lines().take(MAX_SIGNATURES) {
            let line = line.strip_prefix(SIGNATURE_START).ok_or(Malformed("a line among its signatures"))?;
            let (name, signature) = line.split_once(' ').ok_or(Malformed("a signature without a name"))?;
            let signature =
                BASE64_STANDARD.decode(signature).map_err(|_| Malformed("a signature not in base64"))?;
            if name != &*self.name || !signature.starts_with(&self.id) {
                continue;
            }
            let signature = signature.get(self.id.len()..).unwrap_or_default();
            return Signature::from_slice(signature)
                .and_then(|signature| self.key.verify_strict(text.as_bytes(), &signature))
                .map(|()| text)
                .map_err(|_| Malformed("a signature that is wrong"));
        }
        Err(Malformed("no signature of the log's key"))
    }

    fn new(name: &str, key: VerifyingKey) -> Self {
        let hash = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', ED25519])
            .chain_update(key.as_bytes())
            .finalize();
        let [a, b, c, d, ..]: [u8; 32] = hash.into();
        Self { name: name.into(), id: [a, b, c, d], key }
    }
}

/// Whether a text can name a key: not empty, at most [`MAX_NAME_BYTES`], no space, no control character, no plus.
pub(super) fn is_name(name: &str) -> bool {
    let sound = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.chars().all(sound)
}

/// Splits a text into the notes that it has, one after the other, with an empty line behind each.
pub(super) fn split_all(notes: &str) -> impl Iterator<Item = Result<&str, Malformed>> {
    let mut rest = notes;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches('\n');
        if rest.is_empty() {
            return None;
        }
        // The text of a checkpoint has no empty line, so the signatures begin behind the first.
        let signatures = rest.find("\n\n").map(|at| at + 2);
        let end = signatures.map(|at| {
            rest.get(at..).and_then(|rest| rest.find("\n\n")).map_or(rest.len(), |end| at + end + 1)
        });
        let (note, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        rest = after;
        Some(if signatures.is_some() { Ok(note) } else { Err(Malformed("no signature")) })
    })
}

/// Splits a note at its last empty line into its text and its signatures.
fn split(note: &str) -> Option<(&str, &str)> {
    let at = note.rfind("\n\n")? + 1;
    let text = note.get(..at)?;
    let signatures = note.get(at + 1..)?;
    (signatures.ends_with('\n')).then_some((text, signatures))
}

fn key_text(verifier: &Verifier, key: &[u8; 32]) -> String {
    let mut tagged = vec![ED25519];
    tagged.extend_from_slice(key);
    let id = u32::from_be_bytes(verifier.id);
    format!("{}+{id:08x}+{}", verifier.name, BASE64_STANDARD.encode(tagged))
}

fn parse_key(text: &str) -> Result<(&str, [u8; 4], [u8; 32]), Malformed> {
    // A plus is a character of base64, but none of a name or an id.
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Malformed("no name, id and key"));
    };
    if !is_name(name) {
        return Err(Malformed("a key without a proper name"));
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| Malformed("a key id that is not hexadecimal"))?;
    let key = BASE64_STANDARD.decode(key).map_err(|_| Malformed("a key not in base64"))?;
    let key = key.strip_prefix(&[ED25519]).ok_or(Malformed("a key that is not Ed25519"))?;
    let key = key.try_into().map_err(|_| Malformed("a key that is not 32 bytes long"))?;
    Ok((name, id.to_be_bytes(), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Go's `golang.org/x/mod/sumdb/note`, where the format comes from.
    const PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                        then you don't know what your problem is.\n";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
                        then you don't know what your problem is.\n\n\
                        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn keys_and_notes_are_those_of_the_reference_implementation() {
        let signer = Signer::from_text(PRIVATE).unwrap();
        assert_eq!(signer.to_text(), PRIVATE);
        assert_eq!(signer.verifier().to_text(), PUBLIC);
        assert_eq!(signer.sign(TEXT), NOTE);
        assert_eq!(Verifier::from_text(PUBLIC).unwrap().open(NOTE), Ok(TEXT));
    }

    #[test]
    fn signatures_of_unknown_keys_are_passed_over() {
        let other = Signer::from_seed("witness", &[7; 32]).unwrap();
        let line = other.sign(TEXT)[TEXT.len() + 1..].to_owned();
        let verifier = Verifier::from_text(PUBLIC).unwrap();
        assert_eq!(verifier.open(&format!("{NOTE}{line}")), Ok(TEXT));
        assert_eq!(verifier.open(&other.sign(TEXT)), Err(Malformed("no signature of the log's key")));
    }

    #[test]
    fn a_changed_note_does_not_open() {
        let verifier = Verifier::from_text(PUBLIC).unwrap();
        for at in 0..NOTE.len() {
            let mut bytes = NOTE.as_bytes().to_vec();
            bytes[at] ^= 1;
            let Ok(note) = String::from_utf8(bytes) else { continue };
            assert!(verifier.open(&note).is_err(), "byte {at}: {note}");
        }
        for end in (0..NOTE.len()).filter(|end| NOTE.is_char_boundary(*end)) {
            assert!(verifier.open(&NOTE[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn malformed_keys_are_refused() {
        for text in [
            "",
            "a",
            "a+b",
            "a+00+",
            "+c74f20a3+AR",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert!(Verifier::from_text(text).is_err(), "{text}");
        }
        assert!(Signer::from_text(PUBLIC).is_err());
    }

    #[test]
    fn names_hold_nothing_that_would_end_them() {
        for name in ["", "a b", "a+b", "a\nb", "a\u{2003}b", "a\u{7f}", &"a".repeat(MAX_NAME_BYTES + 1)] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name("example.org/log"));
    }
}
