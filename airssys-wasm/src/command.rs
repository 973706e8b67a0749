//! A program that runs once, from its start to its end: a component with `wasi:cli/run`, or a core module of WASI 0.1.

use std::{path::PathBuf, sync::Arc, time::Duration};

use airssys_osl::{Principal, policy::Rights};
use wasmtime::{InstancePre, Store};

use crate::{
    cache::Cache,
    component::{Component, Digest, Origin, code, invalid},
    engine::Engine,
    error::{Error, ErrorKind},
    grant::command_preopens,
    host::{Exit, Stdio},
    instance::{Setup, State},
    invoke,
    manifest::{Limits, Trust},
    trap::Trap,
    wasi,
};

/// How a WebAssembly binary begins.
const MAGIC: &[u8] = b"\0asm";

/// How a core module goes on, where a component has its own version.
const MODULE_VERSION: &[u8] = b"\x01\0\0\0";

/// The longest text that is taken for a program, in bytes: people write it, and reading it takes many times its memory.
const TEXT_BYTES: usize = 4 << 20;

/// The export that is called to run a core module.
const START: &str = "_start";

/// A program that was compiled.
#[derive(Clone)]
pub struct Command(Program);

#[derive(Clone)]
enum Program {
    Component(Component),
    Module(InstancePre<State>),
}

/// What a command is run with. By default that is nothing: no argument, no variable, no directory, no end.
#[derive(Clone, Debug, Default)]
pub struct CommandOptions {
    /// Its arguments. The first is the program's name, as everywhere.
    pub arguments: Vec<String>,
    /// Its environment variables.
    pub variables: Vec<(String, String)>,
    /// The variables of this program's own environment that it may read.
    pub inherited: Vec<String>,
    /// The directories that are open when it starts.
    pub dirs: Vec<CommandDir>,
    /// Whether it may use the network: any name, and any global, loopback or private address.
    pub network: bool,
    /// The most linear memory, in bytes. Wanting more ends it.
    pub memory_bytes: usize,
    /// How long it may take altogether, waiting included.
    pub timeout: Option<Duration>,
    /// A function that is called in place of its start.
    pub invoke: Option<Invocation>,
}

/// A directory of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandDir {
    /// Its absolute path here.
    pub host: PathBuf,
    /// What the command calls it.
    pub guest: String,
    /// What it may do there.
    pub rights: Rights,
}

/// A function by name, and what it is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Of a module, the name of an export. Of a component, a call in WAVE (the value encoding of WebAssembly), such as
    /// `greet("you")`.
    pub function: String,
    /// Of a module, the numbers that it takes. A component's are in the call.
    pub arguments: Vec<String>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exit(u8),
    /// The function that was called returned these values, as text.
    Returned(Vec<String>),
}

impl Command {
    /// Compiles a component or a core module, or takes its code from the cache. The text format is taken too.
    ///
    /// `compiling` is called if it has to be compiled, as [`Component::load`] does it. Text is read on the blocking pool.
    ///
    /// # Errors
    ///
    /// * [`InvalidComponent`](ErrorKind::InvalidComponent): the bytes are neither, or it imports something that this
    ///   version does not have; the cause names it.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): compiling it takes more time or memory than it may, or the text has
    ///   more than 4 MiB.
    ///
    /// # Cancel safety
    ///
    /// As of [`Component::load`].
    pub async fn load(
        engine: &Engine,
        bytes: Vec<u8>,
        cache: Option<&Cache>,
        compiling: impl FnOnce(),
    ) -> Result<(Self, Origin), Error> {
        let bytes = match bytes.starts_with(MAGIC) {
            true => bytes,
            false => from_text(bytes).await?,
        };
        if bytes.get(MAGIC.len()..).is_some_and(|rest| rest.starts_with(MODULE_VERSION)) {
            let digest = Digest::of(&bytes);
            let (module, origin) = code::<wasmtime::Module>(engine, &digest, bytes, cache, compiling).await?;
            let pre = engine.module_linker().instantiate_pre(&module).map_err(invalid)?;
            return Ok((Self(Program::Module(pre)), origin));
        }
        let (component, origin) = Component::load(engine, bytes, cache, compiling).await?;
        Ok((Self(Program::Component(component)), origin))
    }

    /// The component, if it is one and not a core module.
    pub fn component(&self) -> Option<&Component> {
        match &self.0 {
            Program::Component(component) => Some(component),
            Program::Module(_) => None,
        }
    }

    /// Whether it has a start, so that it runs without an [`Invocation`]: a component's `wasi:cli/run`, a core module's
    /// `_start`.
    pub fn has_start(&self) -> bool {
        match &self.0 {
            Program::Component(component) => component.is_command(),
            Program::Module(pre) => pre.module().get_export(START).is_some(),
        }
    }

    /// The versions of WASI whose interfaces it imports or exports, such as `0.2`.
    pub fn wasi_versions(&self) -> Vec<&'static str> {
        wasi::versions(&[self.imports(), self.exports()].concat())
    }

    /// What it exports: of a component the interfaces, of a core module everything by its name.
    pub fn exports(&self) -> Vec<String> {
        match &self.0 {
            Program::Component(component) => component.exports().to_vec(),
            Program::Module(pre) => pre.module().exports().map(|export| export.name().to_owned()).collect(),
        }
    }

    /// What it imports: of a component the interfaces, of a core module everything by its two names, such as
    /// `wasi_snapshot_preview1::fd_write`.
    pub fn imports(&self) -> Vec<String> {
        match &self.0 {
            Program::Component(component) => component.imports().to_vec(),
            Program::Module(pre) => {
                let imports = pre.module().imports();
                imports.map(|import| format!("{}::{}", import.module(), import.name())).collect()
            }
        }
    }

    /// Runs it with the standard streams of this program.
    ///
    /// The guest may do what `principal` may, which [`grant_command`](crate::grant_command) says in a policy. It has
    /// no actors to send to.
    ///
    /// # Errors
    ///
    /// * [`InvalidComponent`](ErrorKind::InvalidComponent): it is no command, or has no such function.
    /// * [`Guest`](ErrorKind::Guest): it trapped, or its time was over; the cause is a [`Trap`].
    /// * [`Denied`](ErrorKind::Denied), [`NotFound`](ErrorKind::NotFound): one of its directories cannot be opened.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the guest where it is.
    pub async fn run(
        &self,
        engine: &Engine,
        principal: &Principal,
        options: &CommandOptions,
    ) -> Result<Ended, Error> {
        let limits = Limits { memory_bytes: options.memory_bytes, deadline: None, ..Limits::default() };
        let setup = Setup {
            name: principal.name().into(),
            principal,
            preopens: &command_preopens(options),
            arguments: options.arguments.clone(),
            variables: options.variables.clone(),
            config: Arc::default(),
            stdio: Stdio::Inherit,
            log: Arc::default(),
            limits: &limits,
            share: None,
            on_credit: false,
            trust: &[Trust::Web],
            port: None,
        };
        let engine = match &self.0 {
            Program::Component(component) => component.engine(engine)?,
            Program::Module(_) => engine.clone(),
        };
        let store = State::store(&engine, setup).await?;
        let run = self.call(store, options.invoke.as_ref());
        match options.timeout {
            None => run.await,
            Some(timeout) => match tokio::time::timeout(timeout, run).await {
                Ok(ended) => ended,
                Err(_) => Err(failed(crate::instance::OutOfTime.into())),
            },
        }
    }

    async fn call(&self, mut store: Store<State>, invoke: Option<&Invocation>) -> Result<Ended, Error> {
        let _alarm = store.data().host.http.alarm();
        let called = match (&self.0, invoke) {
            (Program::Component(component), None) => run_component(&mut store, component).await,
            (Program::Component(component), Some(call)) => {
                invoke::component(&mut store, component, call).await
            }
            (Program::Module(pre), None) => run_module(&mut store, pre).await,
            (Program::Module(pre), Some(call)) => invoke::module(&mut store, pre, call).await,
        };
        match called {
            Ok(ended) => Ok(ended),
            Err(Stopped::Invalid(error)) => Err(error),
            Err(Stopped::Guest(error)) => match error.downcast_ref::<Exit>() {
                Some(exit) => Ok(Ended::Exit(exit.0)),
                None => Err(failed(error)),
            },
        }
    }
}

/// Makes bytes of the text format.
async fn from_text(text: Vec<u8>) -> Result<Vec<u8>, Error> {
    if text.len() > TEXT_BYTES {
        let what =
            format!("read a component as text: it has {} bytes, the limit is {TEXT_BYTES}", text.len());
        return Err(Error::new(ErrorKind::LimitExceeded, what));
    }
    let parse = move || wat::parse_bytes(&text).map(|bytes| bytes.into_owned());
    match tokio::task::spawn_blocking(parse).await {
        Ok(parsed) => parsed.map_err(|error| invalid(error.into())),
        Err(panic) => Err(Error::new(ErrorKind::Bug, "read a component as text").caused_by(panic)),
    }
}

/// Why a call did not return.
pub(crate) enum Stopped {
    /// There is nothing to be called.
    Invalid(Error),
    /// The guest exited or trapped.
    Guest(wasmtime::Error),
}

impl From<wasmtime::Error> for Stopped {
    fn from(error: wasmtime::Error) -> Self {
        Self::Guest(error)
    }
}

pub(crate) fn no_command(why: impl std::fmt::Display) -> Stopped {
    Stopped::Invalid(Error::new(ErrorKind::InvalidComponent, format!("run the component: {why}")))
}

fn failed(error: wasmtime::Error) -> Error {
    Error::new(ErrorKind::Guest, "run the component").caused_by(Trap::new(error))
}

pub(crate) async fn run_component(store: &mut Store<State>, component: &Component) -> Result<Ended, Stopped> {
    let export = component.run_export().ok_or_else(|| no_command("it does not export `wasi:cli/run`"))?;
    let instance = component.pre().instantiate_async(&mut *store).await?;
    let missing = || no_command(format!("`{export}` has no `run`"));
    let interface = instance.get_export_index(&mut *store, None, export).ok_or_else(missing)?;
    let run = instance.get_export_index(&mut *store, Some(&interface), "run").ok_or_else(missing)?;
    let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut *store, run).map_err(|_| missing())?;
    let (result,) = run.call_async(&mut *store, ()).await?;
    component.finish(store).await?;
    Ok(Ended::Exit(u8::from(result.is_err())))
}

async fn run_module(store: &mut Store<State>, pre: &InstancePre<State>) -> Result<Ended, Stopped> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut *store, START);
    let start =
        start.map_err(|_| no_command("the module exports no `_start`; name a function of its (--invoke)"))?;
    start.call_async(&mut *store, ()).await?;
    Ok(Ended::Exit(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn load(bytes: &[u8]) -> Result<Command, Error> {
        let engine = Engine::new().unwrap();
        Command::load(&engine, bytes.to_vec(), None, || ()).await.map(|(command, _)| command)
    }

    #[tokio::test]
    async fn both_kinds_are_told_apart_in_both_formats() {
        let is_module = |command: &Command| matches!(command.0, Program::Module(_));
        assert!(is_module(&load(b"(module)").await.unwrap()));
        assert!(is_module(&load(b"\0asm\x01\0\0\0").await.unwrap()));
        assert!(!is_module(&load(b"(component)").await.unwrap()));
        assert!(!is_module(&load(b"\0asm\x0d\0\x01\0").await.unwrap()));
    }

    #[tokio::test]
    async fn what_is_neither_is_refused() {
        for bytes in [&b""[..], b"nonsense", b"\0asm", b"\0asm\x09\0\0\0", b"\xff\xfe(module)"] {
            let error = load(bytes).await.map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidComponent, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn an_unknown_import_is_named() {
        let error = load(b"(module (import \"env\" \"launch\" (func)))").await.map(drop).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("env::launch"), "{cause}");
    }
}
