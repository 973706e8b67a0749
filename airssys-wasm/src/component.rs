//! A component's code: verified, compiled once, ready to be instantiated.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};
use wasmtime::component::{InstancePre, types::ComponentItem};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

#[cfg(target_os = "linux")]
use crate::{
    cache::deserialize,
    compiler::{Failed, Recipe},
};
use crate::{
    cache::{Cache, Code},
    compose::{self, Part, Plugs},
    engine::Engine,
    error::{Error, ErrorKind},
    host::bindings::EverythingIndices,
    instance::State,
};

/// The largest component that is loaded, in bytes. Interpreted languages bring their runtime: 18 MB for Python.
pub const COMPONENT_BYTES: u64 = 64 << 20;

/// The export that makes a component an actor.
const ACTOR: &str = "airssys:actor/actor@0.1.0";

/// The export of an actor whose state outlives its instance.
const STATE: &str = "airssys:actor/state@0.1.0";

/// The export that makes a component a command, in any version of WASI 0.2.
const COMMAND: &str = "wasi:cli/run@0.2.";

/// The export that makes a component a service, in any version of WASI 0.2.
const SERVICE: &str = "wasi:http/incoming-handler@0.2.";

/// SHA-256 of a component's bytes. Its text form is `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// A compiled component.
#[derive(Clone)]
pub struct Component {
    digest: Digest,
    pre: InstancePre<State>,
    exports: Vec<String>,
    imports: Vec<String>,
    /// What it was composed with, and its later versions will be.
    plugs: Plugs,
}

/// Where the code of a component came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// From the code cache.
    Cached,
    /// Compiled now.
    Compiled,
}

impl Component {
    /// Compiles a component, or takes its code from the cache.
    ///
    /// `compiling` is called if it has to be compiled, which happens in a process of its own where the engine has a
    /// compiler for that, else on the blocking pool. A cache that cannot be read or written costs time, not correctness:
    /// the log says so.
    ///
    /// # Errors
    ///
    /// * [`InvalidComponent`](ErrorKind::InvalidComponent): the bytes are no component, or it imports something that
    ///   this version does not have, or all that it exports to be run is of WASI 0.3; the cause names it.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): compiling it takes more time or memory than it may.
    /// * [`Unavailable`](ErrorKind::Unavailable): the process that compiles it ended, and not for its bytes' sake as far as
    ///   anybody can tell.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the process that compiles. A compilation on the blocking pool ends by itself.
    pub async fn load(
        engine: &Engine,
        bytes: Vec<u8>,
        cache: Option<&Cache>,
        compiling: impl FnOnce(),
    ) -> Result<(Self, Origin), Error> {
        let socket = Part { name: String::new(), bytes };
        Self::load_plugged(engine, socket, Plugs::default(), cache, compiling).await
    }

    /// Composes a component with what is plugged into it first, and then does as [`load`](Self::load). Its digest, and its
    /// place in the cache, are those of the composed bytes.
    pub(crate) async fn load_plugged(
        engine: &Engine,
        socket: Part,
        plugs: Plugs,
        cache: Option<&Cache>,
        compiling: impl FnOnce(),
    ) -> Result<(Self, Origin), Error> {
        let bytes = compose::join(engine, socket, &plugs).await?;
        let digest = Digest::of(&bytes);
        let (compiled, origin) = code(engine, &digest, bytes, cache, compiling).await?;
        Ok((Self { plugs, ..Self::new(engine, digest, &compiled)? }, origin))
    }

    fn new(
        engine: &Engine,
        digest: Digest,
        compiled: &wasmtime::component::Component,
    ) -> Result<Self, Error> {
        let component_type = compiled.component_type();
        let names = |items: Vec<(&str, bool)>| {
            items.into_iter().filter(|(_, interface)| *interface).map(|(name, _)| name.to_owned()).collect()
        };
        let is_interface = |item: &ComponentItem| matches!(item, ComponentItem::ComponentInstance(_));
        let exports =
            component_type.exports(engine.inner()).map(|(name, item)| (name, is_interface(&item.ty)));
        let imports =
            component_type.imports(engine.inner()).map(|(name, item)| (name, is_interface(&item.ty)));
        let (exports, imports): (Vec<String>, Vec<String>) =
            (names(exports.collect()), names(imports.collect()));
        let has_functions = component_type
            .exports(engine.inner())
            .any(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
        let is_newer = |name: &&String| name.starts_with(WASI) && name.contains(NEWER);
        let newer = exports.iter().chain(&imports).find(is_newer);
        let explained = |error| invalid(explain(error, newer.cloned()));
        let pre = engine.linker().instantiate_pre(compiled).map_err(explained)?;
        let newer = exports.iter().find(is_newer).cloned();
        let loaded = Self { digest, pre, exports, imports, plugs: Plugs::default() };
        // Beside an export that is run, one of WASI 0.3 does no harm.
        let runs = loaded.is_actor() || loaded.is_command() || loaded.is_service() || has_functions;
        if newer.is_some() && !runs {
            return Err(invalid(explain(wasmtime::Error::msg("nothing that it exports can be run"), newer)));
        }
        Ok(loaded)
    }

    /// SHA-256 of the bytes that it was compiled from: with what is plugged into it, where anything is.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The interfaces that it exports, such as `wasi:cli/run@0.2.6`.
    pub fn exports(&self) -> &[String] {
        &self.exports
    }

    /// The interfaces that it imports.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Whether it exports the actor interface of this version.
    pub fn is_actor(&self) -> bool {
        self.exports.iter().any(|name| name == ACTOR)
    }

    /// Whether it can hand its state on to the next instance, and to another version.
    pub fn is_stateful(&self) -> bool {
        self.exports.iter().any(|name| name == STATE)
    }

    /// Whether it exports `wasi:cli/run`.
    pub fn is_command(&self) -> bool {
        self.run_export().is_some()
    }

    /// Whether it exports `wasi:http/incoming-handler`.
    pub fn is_service(&self) -> bool {
        self.exports.iter().any(|name| name.starts_with(SERVICE))
    }

    pub(crate) fn run_export(&self) -> Option<&str> {
        self.exports.iter().map(String::as_str).find(|name| name.starts_with(COMMAND))
    }

    pub(crate) fn plugs(&self) -> &Plugs {
        &self.plugs
    }

    pub(crate) fn pre(&self) -> &InstancePre<State> {
        &self.pre
    }

    /// The component as an actor.
    ///
    /// # Errors
    ///
    /// [`InvalidComponent`](ErrorKind::InvalidComponent): it does not export the actor interface.
    pub(crate) fn actor(&self) -> Result<EverythingIndices, Error> {
        EverythingIndices::new(&self.pre).map_err(|error| self.lacks("an actor", ACTOR, error))
    }

    /// Whether it can be run as a job.
    ///
    /// # Errors
    ///
    /// [`InvalidComponent`](ErrorKind::InvalidComponent): it does not export `wasi:cli/run`.
    pub(crate) fn job(&self) -> Result<(), Error> {
        match self.is_command() {
            true => Ok(()),
            false => Err(self.lacking("a job", "wasi:cli/run@0.2")),
        }
    }

    /// The component as what answers requests over HTTP.
    ///
    /// # Errors
    ///
    /// [`InvalidComponent`](ErrorKind::InvalidComponent): it does not export the handler of `wasi:http`.
    pub(crate) fn service(&self) -> Result<ProxyPre<State>, Error> {
        let handler = "wasi:http/incoming-handler@0.2";
        ProxyPre::new(self.pre.clone()).map_err(|error| self.lacks("a service", handler, error))
    }

    fn lacks(&self, what: &str, export: &str, error: wasmtime::Error) -> Error {
        self.lacking(what, export).caused_by(error)
    }

    fn lacking(&self, what: &str, export: &str) -> Error {
        let exports = if self.exports.is_empty() { "nothing".to_owned() } else { self.exports.join(", ") };
        let fix = if self.is_actor() {
            "; an actor has neither `http` nor `job` in the manifest"
        } else if self.is_service() {
            "; what answers requests has `http` in the manifest"
        } else if self.is_command() {
            "; a job has `job = {}` in the manifest"
        } else {
            ""
        };
        let what = format!("use the component as {what}: it exports {exports}, not {export}{fix}");
        Error::new(ErrorKind::InvalidComponent, what)
    }
}

/// Takes code from the cache, or compiles it and keeps it.
pub(crate) async fn code<C: Code>(
    engine: &Engine,
    digest: &Digest,
    bytes: Vec<u8>,
    cache: Option<&Cache>,
    compiling: impl FnOnce(),
) -> Result<(C, Origin), Error> {
    if let Some(cache) = cache
        && let Some(compiled) = cache.load(engine, digest).await
    {
        return Ok((compiled, Origin::Cached));
    }
    compiling();
    let (compiled, code) = compile::<C>(engine, bytes).await?;
    if let Some(cache) = cache {
        match code.map_or_else(|| compiled.serialize(), Ok) {
            Ok(code) => cache.store(engine, digest, code).await,
            Err(error) => tracing::warn!(cause = %error, "cannot serialise compiled code"),
        }
    }
    Ok((compiled, Origin::Compiled))
}

/// Compiles where the engine has it done; where that is elsewhere, with the code as it came from there.
async fn compile<C: Code>(engine: &Engine, bytes: Vec<u8>) -> Result<(C, Option<Vec<u8>>), Error> {
    #[cfg(target_os = "linux")]
    if let Some(compiler) = engine.compiler() {
        let make = if C::IS_MODULE { Recipe::Module } else { Recipe::Component };
        let recipe = make(engine.settings());
        match compiler.compile(recipe, &bytes).await {
            Ok(code) => {
                let engine = engine.inner().clone();
                let load = move || deserialize(&engine, &code).map(|loaded| (loaded, Some(code)));
                let unlike = || Error::new(ErrorKind::Bug, "load what was compiled");
                return match tokio::task::spawn_blocking(load).await {
                    Ok(loaded) => loaded.map_err(|error| unlike().caused_by(error)),
                    Err(panic) => Err(unlike().caused_by(panic)),
                };
            }
            Err(Failed::Bytes(error)) => return Err(error),
            Err(Failed::Start(cause)) => compiler.warn(&cause),
            Err(Failed::Door(error)) => return Err(Error::door("start the compiler", error)),
        }
    }
    let compiler = engine.inner().clone();
    let compile =
        move || C::compile(&compiler, &bytes).map_err(|error| explain(error, newer_interface(&bytes)));
    match tokio::task::spawn_blocking(compile).await {
        Ok(compiled) => Ok((compiled.map_err(invalid)?, None)),
        Err(panic) => Err(Error::new(ErrorKind::Bug, "compile the component").caused_by(panic)),
    }
}

/// How the names of WASI's interfaces begin, and what stands in those of WASI 0.3.
const WASI: &str = "wasi:";
const NEWER: &str = "@0.3.";

/// Says of a component that cannot be loaded that it is of WASI 0.3, where that is why.
pub(crate) fn explain(error: wasmtime::Error, newer: Option<String>) -> wasmtime::Error {
    match newer {
        Some(name) => error.context(format!("it is of WASI 0.3, which is not run yet: it names `{name}`")),
        None => error,
    }
}

/// The first name of an interface of WASI 0.3 in bytes that could not be compiled.
pub(crate) fn newer_interface(bytes: &[u8]) -> Option<String> {
    /// The longest name that is looked for.
    const NAME_BYTES: usize = 128;
    let versions = bytes.windows(NEWER.len()).enumerate().filter(|(_, window)| *window == NEWER.as_bytes());
    versions.map(|(at, _)| at).find_map(|at| {
        let before = bytes.get(at.saturating_sub(NAME_BYTES)..at)?;
        let start = before.windows(WASI.len()).rposition(|window| window == WASI.as_bytes())?;
        let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b":/@.-".contains(byte);
        let rest = bytes.get(at - (before.len() - start)..)?.iter().take(NAME_BYTES).copied();
        let name: Vec<u8> = rest.take_while(is_in_name).collect();
        // Else something stands between the two, and they are not of one name.
        String::from_utf8(name).ok().filter(|name| name.contains(NEWER))
    })
}

pub(crate) fn invalid(error: wasmtime::Error) -> Error {
    Error::new(ErrorKind::InvalidComponent, "load the component").caused_by(error)
}

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    pub(crate) fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// The 64 hexadecimal digits, without the algorithm's name.
    pub(crate) fn hex(&self) -> String {
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
        let mut hex = String::with_capacity(2 * self.0.len());
        hex.extend(self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]));
        hex
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let hex = text.strip_prefix("sha256:").ok_or(InvalidDigest)?;
        if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidDigest);
        }
        let mut digest = [0; 32];
        for (index, byte) in digest.iter_mut().enumerate() {
            let digits = hex.get(index * 2..index * 2 + 2).ok_or(InvalidDigest)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(digest))
    }
}

/// The text is no digest: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidDigest;

impl fmt::Display for InvalidDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a digest is `sha256:` and 64 hexadecimal digits")
    }
}

impl std::error::Error for InvalidDigest {}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn names_of_newer_interfaces_are_found() {
        let check = |bytes: &[u8], expected: Option<&str>| {
            assert_eq!(newer_interface(bytes).as_deref(), expected, "{}", bytes.escape_ascii());
        };
        check(b"\x1awasi:cli/environment@0.3.0\x05rest", Some("wasi:cli/environment@0.3.0"));
        check(b"wasi:io/poll@0.2.3\0wasi:cli/run@0.3.0-rc1", Some("wasi:cli/run@0.3.0-rc1"));
        check(b"wasi:io/poll@0.2.3\0", None);
        check(b"wasi:io/poll@0.2.3\0other:thing@0.3.0", None);
        check(b"@0.3.", None);
        check(b"", None);
    }

    #[test]
    fn a_digest_prints_and_parses() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        assert_eq!(ABC.parse(), Ok(Digest::of(b"abc")));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let cases =
            ["", "sha256:", "ba7816", &ABC[7..], &ABC[..70], &ABC.replace('b', "g"), &ABC.replace('b', "é")];
        for text in cases {
            assert_eq!(text.parse::<Digest>(), Err(InvalidDigest), "{text:?}");
        }
    }
}
