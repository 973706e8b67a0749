//! A component's code: verified, compiled once, ready to be instantiated.

use std::{fmt, future::poll_fn, str::FromStr, sync::Arc};

use airssys_osl::fs::File;
use sha2::{Digest as _, Sha256};
use wasmtime::{
    Store,
    component::{InstancePre, types::ComponentItem},
};
use wasmtime_wasi_http::{p2::bindings::ProxyPre, p3::bindings::ServicePre};

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
    wasi::{self, explain, missing_in},
};

/// The largest component that is loaded, in bytes. Interpreted languages bring their runtime: 18 MB for Python.
pub const COMPONENT_BYTES: u64 = 64 << 20;

/// The export that makes a component an actor.
const ACTOR: &str = "airssys:actor/actor@0.1.0";

/// The export of an actor whose state outlives its instance.
const STATE: &str = "airssys:actor/state@0.1.0";

/// The export that makes a component a command, in any version of WASI 0.2; and in those of 0.3.
const COMMAND: &str = "wasi:cli/run@0.2.";
const NEWER_COMMAND: &str = "wasi:cli/run@0.3.";

/// The export that makes a component a service, in any version of WASI 0.2; and in those of 0.3.
const SERVICE: &str = "wasi:http/incoming-handler@0.2.";
const NEWER_SERVICE: &str = "wasi:http/handler@0.3.";

/// SHA-256 of a component's bytes. Its text form is `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// A compiled component.
#[derive(Clone)]
pub struct Component {
    digest: Digest,
    pre: InstancePre<State>,
    /// Shared, for a component of many actors has many clones.
    exports: Arc<[String]>,
    imports: Arc<[String]>,
    /// Whether it needs the engine of WASI 0.3.
    is_concurrent: bool,
    /// What it was composed with, and its later versions will be.
    plugs: Plugs,
}

/// What answers requests over HTTP, ready to be instantiated: of WASI 0.2, or of 0.3.
pub(crate) enum Handler {
    Older(ProxyPre<State>),
    Newer(ServicePre<State>),
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
    ///   this version does not have, or all that it exports to be run is of WASI 0.3 and not there; the cause names it.
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

    /// As [`load`](Self::load), for a component in a file that is open for reading. Where the cache knows the file and its
    /// code, and neither has changed, neither is read; of a component of WASI 0.3, whose engine its bytes tell, the code is not.
    ///
    /// # Errors
    ///
    /// As of [`load`](Self::load); the file cannot be read, or has more than [`COMPONENT_BYTES`]; and
    /// [`DigestMismatch`](ErrorKind::DigestMismatch): it changed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// As of [`load`](Self::load).
    pub async fn open(
        engine: &Engine,
        file: File,
        cache: Option<&Cache>,
        compiling: impl FnOnce(),
    ) -> Result<(Self, Origin), Error> {
        Source::open(file, cache).await?.load(engine, cache, compiling).await
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
        let is_concurrent = wasi::is_concurrent(&bytes);
        let engine = if is_concurrent { &engine.concurrent()? } else { engine };
        let (compiled, origin) = code(engine, &digest, bytes, cache, compiling).await?;
        Ok((Self { plugs, is_concurrent, ..Self::new(engine, digest, &compiled)? }, origin))
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
        let (exports, imports): (Arc<[String]>, Arc<[String]>) =
            (names(exports.collect()), names(imports.collect()));
        let has_functions = component_type
            .exports(engine.inner())
            .any(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
        let is_missing = |name: &&String| wasi::is_missing(name);
        let missing_import = imports.iter().find(|name| wasi::is_missing_import(name));
        let missing = exports.iter().find(is_missing).or(missing_import);
        let explained = |error| invalid(explain(error, missing.cloned()));
        let pre = engine.linker().instantiate_pre(compiled).map_err(explained)?;
        let missing = exports.iter().find(is_missing).cloned();
        let loaded = Self { digest, pre, exports, imports, is_concurrent: false, plugs: Plugs::default() };
        // Beside an export that is run, one that is not does no harm.
        let runs = loaded.is_actor() || loaded.is_command() || loaded.is_service() || has_functions;
        if missing.is_some() && !runs {
            return Err(invalid(explain(
                wasmtime::Error::msg("nothing that it exports can be run"),
                missing,
            )));
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

    /// Whether it exports `wasi:cli/run`, of WASI 0.2 or 0.3.
    pub fn is_command(&self) -> bool {
        self.run_export().is_some()
    }

    /// Whether it exports what answers requests: `wasi:http/incoming-handler` of WASI 0.2, or `wasi:http/handler` of 0.3.
    pub fn is_service(&self) -> bool {
        self.is_older_service() || self.is_newer_service()
    }

    fn is_older_service(&self) -> bool {
        self.exports.iter().any(|name| name.starts_with(SERVICE))
    }

    fn is_newer_service(&self) -> bool {
        self.exports.iter().any(|name| name.starts_with(NEWER_SERVICE) && !wasi::is_missing(name))
    }

    pub(crate) fn run_export(&self) -> Option<&str> {
        let find = |command| self.exports.iter().map(String::as_str).find(|name| name.starts_with(command));
        find(COMMAND).or_else(|| find(NEWER_COMMAND))
    }

    /// That one of `engine` and its twins which it was compiled for.
    ///
    /// # Errors
    ///
    /// As [`Engine::new`].
    pub(crate) fn engine(&self, engine: &Engine) -> Result<Engine, Error> {
        if self.is_concurrent { engine.concurrent() } else { Ok(engine.clone()) }
    }

    /// Waits for what it has under way beside the call that returned: of WASI 0.3, tasks that go on.
    pub(crate) async fn finish(&self, store: &mut Store<State>) -> wasmtime::Result<()> {
        if !self.is_concurrent {
            return Ok(());
        }
        store.run_concurrent(async |guest| poll_fn(|cx| guest.poll_no_interesting_tasks(cx)).await).await
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
        let indices =
            EverythingIndices::new(&self.pre).map_err(|error| self.lacks("an actor", ACTOR, error))?;
        self.is_called_in_turn("an actor").map(|()| indices)
    }

    /// Whether it can be run as a job.
    ///
    /// # Errors
    ///
    /// [`InvalidComponent`](ErrorKind::InvalidComponent): it does not export `wasi:cli/run`.
    pub(crate) fn job(&self) -> Result<(), Error> {
        match self.is_command() {
            true => Ok(()),
            false => Err(self.lacking("a job", "wasi:cli/run")),
        }
    }

    /// The component as what answers requests over HTTP: by the handler of WASI 0.3 where it has that one alone.
    ///
    /// # Errors
    ///
    /// [`InvalidComponent`](ErrorKind::InvalidComponent): it does not export a handler of `wasi:http`, or one of WASI 0.2 and
    /// imports something of 0.3.
    pub(crate) fn service(&self) -> Result<Handler, Error> {
        let handler = "wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3";
        let lacks = |error| self.lacks("a service", handler, error);
        if self.is_newer_service() && !self.is_older_service() {
            return ServicePre::new(self.pre.clone()).map(Handler::Newer).map_err(lacks);
        }
        let service = ProxyPre::new(self.pre.clone()).map_err(lacks)?;
        self.is_called_in_turn("a service with the handler of WASI 0.2").map(|()| Handler::Older(service))
    }

    /// Whether it can be called without an engine of its own: what is of WASI 0.3 runs from its start to its end, or for one
    /// request.
    pub(crate) fn is_called_in_turn(&self, what: &str) -> Result<(), Error> {
        if !self.is_concurrent {
            return Ok(());
        }
        let what = format!(
            "use the component as {what}: it is of WASI 0.3, in which programs, jobs and services (`wasi:http/handler`) are run; build it for WASI 0.2"
        );
        Err(Error::new(ErrorKind::InvalidComponent, what))
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

/// A component's file: its bytes, or no more than their digest where the cache knows that.
pub(crate) struct Source {
    file: File,
    digest: Digest,
    bytes: Option<Vec<u8>>,
}

impl Source {
    pub(crate) async fn open(file: File, cache: Option<&Cache>) -> Result<Self, Error> {
        let Some(cache) = cache else {
            let (bytes, digest) = read(&file).await?;
            return Ok(Self { file, digest, bytes: Some(bytes) });
        };
        if let Some(digest) = cache.digest_of(&file).await {
            return Ok(Self { file, digest, bytes: None });
        }
        let seen = cache.look_at(&file).await;
        let (bytes, digest) = read(&file).await?;
        cache.note_source(&file, seen, &digest).await;
        Ok(Self { file, digest, bytes: Some(bytes) })
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes, of this digest.
    pub(crate) async fn bytes(self) -> Result<Vec<u8>, Error> {
        if let Some(bytes) = self.bytes {
            return Ok(bytes);
        }
        let (bytes, digest) = read(&self.file).await?;
        if digest != self.digest {
            let what =
                "load the component: its file changed meanwhile (if it says so again, `airssys cache clean`)";
            return Err(Error::new(ErrorKind::DigestMismatch, what));
        }
        Ok(bytes)
    }

    /// Does as [`Component::load`].
    pub(crate) async fn load(
        self,
        engine: &Engine,
        cache: Option<&Cache>,
        compiling: impl FnOnce(),
    ) -> Result<(Component, Origin), Error> {
        let digest = self.digest;
        if let (None, Some(cache)) = (&self.bytes, cache)
            && let Some(compiled) = cache.load(engine, &digest).await
        {
            return Ok((Component::new(engine, digest, &compiled)?, Origin::Cached));
        }
        Component::load(engine, self.bytes().await?, cache, compiling).await
    }
}

/// Reads a component's file. What it has is hashed where nobody waits for the thread.
async fn read(file: &File) -> Result<(Vec<u8>, Digest), Error> {
    let failed = |error| Error::door("read the component", error);
    let bytes = file.read_to_limit(COMPONENT_BYTES).await.map_err(failed)?;
    let hash = move || {
        let digest = Digest::of(&bytes);
        (bytes, digest)
    };
    let bug = |panic| Error::new(ErrorKind::Bug, "hash the component").caused_by(panic);
    tokio::task::spawn_blocking(hash).await.map_err(bug)
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
    let compile = move || C::compile(&compiler, &bytes).map_err(|error| explain(error, missing_in(&bytes)));
    match tokio::task::spawn_blocking(compile).await {
        Ok(compiled) => Ok((compiled.map_err(invalid)?, None)),
        Err(panic) => Err(Error::new(ErrorKind::Bug, "compile the component").caused_by(panic)),
    }
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

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
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
