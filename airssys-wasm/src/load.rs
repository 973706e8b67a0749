//! From the files that a manifest names to code that runs.

use std::{
    collections::BTreeMap,
    iter,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use airssys_osl::{
    Os, Principal,
    fs::OpenOptions,
    policy::{Grant, Rights},
};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    cache::Cache,
    component::{Component, Digest, Origin, Source},
    compose::{Part, Plugs},
    engine::Engine,
    error::{Error, ErrorKind},
    grant::principal_name,
    manifest::{ComponentSpec, Located, Manifest},
    process,
    watch::{Event, Watch},
};

/// A component that could not be loaded, or a process that could not be started.
#[derive(Debug)]
pub struct LoadError {
    /// The component, or the process.
    pub component: String,
    /// The value in the manifest that it is about.
    pub span: Range<usize>,
    /// Why.
    pub error: Error,
}

/// What a program needs to be granted to load the components of a manifest.
pub fn load_grants(manifest: &Manifest) -> Vec<Grant> {
    let plugs = manifest.components.iter().flat_map(|spec| &spec.plugs).map(|plug| &plug.source);
    let files = manifest.components.iter().map(|spec| &spec.source).chain(plugs);
    let mut grants: Vec<&Path> = files.filter_map(|file| file.value.parent()).collect();
    grants.sort_unstable();
    grants.dedup();
    grants.into_iter().map(|dir| Grant::fs(dir, Rights::READ).rule("builtin.components")).collect()
}

/// Loads every component of a manifest, several files at a time and each file once, and opens the directories and programs
/// that it grants; the result is in the manifest's order.
///
/// # Errors
///
/// Every component that cannot be loaded, in the manifest's order.
///
/// # Cancel safety
///
/// Dropping the future ends the processes that compile. Compilations on the blocking pool end by themselves.
pub async fn load(
    manifest: &Manifest,
    engine: &Engine,
    cache: Option<Arc<Cache>>,
    os: &Os,
    program: &Principal,
    watch: &Arc<dyn Watch>,
) -> Result<Vec<Component>, Vec<LoadError>> {
    let mut errors = Vec::new();
    for (index, spec) in manifest.components.iter().enumerate() {
        errors.extend(check_grants(spec, os).await.into_iter().map(|error| (index, error)));
    }
    let programs = process::check(manifest, os).await;
    errors.extend(programs.into_iter().map(|error| (manifest.components.len(), error)));
    let mut loading = JoinSet::new();
    for specs in by_file(manifest) {
        let (engine, cache) = (engine.clone(), cache.clone());
        let (program, watch) = (program.clone(), watch.clone());
        loading.spawn(async move { load_file(specs, &engine, cache.as_deref(), &program, &*watch).await });
    }
    let mut loaded = Vec::new();
    while let Some(joined) = loading.join_next().await {
        match joined {
            Ok(results) => {
                for (index, result) in results {
                    match result {
                        Ok(component) => loaded.push((index, component)),
                        Err(error) => errors.push((index, error)),
                    }
                }
            }
            Err(panic) => {
                let error = Error::new(ErrorKind::Bug, "load a component").caused_by(panic);
                errors.push((usize::MAX, LoadError { component: String::new(), span: 0..0, error }));
            }
        }
    }
    if errors.is_empty() {
        loaded.sort_by_key(|(index, _)| *index);
        return Ok(loaded.into_iter().map(|(_, component)| component).collect());
    }
    errors.sort_by_key(|(index, _)| *index);
    Err(errors.into_iter().map(|(_, error)| error).collect())
}

/// A component and its place in the manifest.
type Placed<T> = (usize, T);

/// The components of each file, by what is plugged in and by the engine that they need: what they have in common is read and
/// compiled once.
fn by_file(manifest: &Manifest) -> Vec<Vec<Placed<ComponentSpec>>> {
    let mut files = BTreeMap::<_, Vec<_>>::new();
    for (index, spec) in manifest.components.iter().enumerate() {
        let plugs: Vec<_> = spec.plugs.iter().map(|plug| &plug.source.value).collect();
        let file = (&spec.source.value, plugs, spec.limits.fuel.is_some());
        files.entry(file).or_default().push((index, spec.clone()));
    }
    files.into_values().collect()
}

/// Loads components of one file, one after the other: each is what the first that could be loaded is.
async fn load_file(
    specs: Vec<Placed<ComponentSpec>>,
    engine: &Engine,
    cache: Option<&Cache>,
    program: &Principal,
    watch: &dyn Watch,
) -> Vec<Placed<Result<Component, LoadError>>> {
    let mut results = Vec::with_capacity(specs.len());
    let mut known: Option<Loaded> = None;
    for (index, spec) in specs {
        let started = Instant::now();
        let loaded = match &known {
            Some(loaded) => check_digests(&spec, &loaded.files).map(|()| loaded.clone()),
            None => compile(&spec, engine, cache, program, watch).await,
        };
        let result = match loaded {
            Ok(loaded) => {
                let Loaded { component, origin, .. } = known.insert(loaded).clone();
                let elapsed = started.elapsed();
                watch.event(&Event::Loaded { component: &spec.name, origin, elapsed });
                check_exports(&spec, &component).map(|()| component)
            }
            Err(error) => Err(error),
        };
        results.push((index, result));
    }
    results
}

/// A component that was loaded.
#[derive(Clone)]
struct Loaded {
    component: Component,
    origin: Origin,
    /// The digests of its file, and of those that are plugged into it.
    files: Vec<Digest>,
}

async fn compile(
    spec: &ComponentSpec,
    engine: &Engine,
    cache: Option<&Cache>,
    program: &Principal,
    watch: &dyn Watch,
) -> Result<Loaded, LoadError> {
    let at_source = |error| at(spec, &spec.source.span, error);
    // What a composed component is made of is always read: it has the digest of all together.
    let known = cache.filter(|_| spec.plugs.is_empty());
    let mut sources = Vec::with_capacity(1 + spec.plugs.len());
    for (source, _) in files(spec) {
        let opened = open(&source.value, known, program).await;
        sources.push(opened.map_err(|error| at(spec, &source.span, error))?);
    }
    let digests: Vec<_> = sources.iter().map(Source::digest).collect();
    check_digests(spec, &digests)?;
    let engine = &engine.within(&spec.limits).map_err(at_source)?;
    let compiling = || watch.event(&Event::Compiling { component: &spec.name });
    let socket = sources.remove(0);
    let loaded = if sources.is_empty() {
        socket.load(engine, cache, compiling).await
    } else {
        let mut parts = Vec::with_capacity(1 + sources.len());
        for (source, (file, _)) in iter::once(socket).chain(sources).zip(files(spec)) {
            let name =
                file.value.file_name().map_or_else(Default::default, |name| name.to_string_lossy().into());
            parts.push(Part { name, bytes: source.bytes().await.map_err(at_source)? });
        }
        let plugs: Plugs = parts.split_off(1).into();
        Component::load_plugged(engine, parts.remove(0), plugs, cache, compiling).await
    };
    let (component, origin) = loaded.map_err(at_source)?;
    let files = digests;
    Ok(Loaded { component, origin, files })
}

/// The files of a component, and the digests that the manifest wants of them.
fn files(spec: &ComponentSpec) -> impl Iterator<Item = (&Located<PathBuf>, &Option<Located<Digest>>)> {
    let plugs = spec.plugs.iter().map(|plug| (&plug.source, &plug.digest));
    iter::once((&spec.source, &spec.digest)).chain(plugs)
}

/// Whether these are the bytes that the manifest wants.
fn check_digests(spec: &ComponentSpec, actual: &[Digest]) -> Result<(), LoadError> {
    for ((source, wanted), actual) in files(spec).zip(actual) {
        if let Some(wanted) = wanted
            && *actual != wanted.value
        {
            let what = format!("use `{}`: its digest is {actual}", source.value.display());
            return Err(at(spec, &wanted.span, Error::new(ErrorKind::DigestMismatch, what)));
        }
    }
    Ok(())
}

/// Whether it is what the manifest uses it as.
fn check_exports(spec: &ComponentSpec, component: &Component) -> Result<(), LoadError> {
    let fits = match (&spec.http, &spec.job) {
        (Some(_), _) => component.service().map(drop),
        (None, Some(_)) => component.job(),
        (None, None) => component.actor().map(drop),
    };
    fits.map_err(|error| at(spec, &spec.source.span, error))?;
    if spec.workers.is_some() && component.is_stateful() {
        let what = format!(
            "use the component as workers (`component.{}.workers`): it exports `airssys:actor/state@0.1.0`, and a worker \
             is a fresh instance for each message",
            spec.name
        );
        return Err(at(spec, &spec.source.span, Error::new(ErrorKind::InvalidComponent, what)));
    }
    match &spec.snapshots {
        Some(snapshots) if !component.is_stateful() => {
            let what = "keep its state: the component does not export `airssys:actor/state@0.1.0`";
            Err(at(spec, &snapshots.span, Error::new(ErrorKind::InvalidComponent, what)))
        }
        _ => Ok(()),
    }
}

fn at(spec: &ComponentSpec, span: &Range<usize>, error: Error) -> LoadError {
    LoadError { component: spec.name.clone(), span: span.clone(), error }
}

/// Opens each granted directory, as the component will: one that is missing is a problem of the manifest, one that is
/// granted at other times than now is none.
async fn check_grants(spec: &ComponentSpec, os: &Os) -> Vec<LoadError> {
    let mut errors = Vec::new();
    for grant in &spec.directories {
        let opened = match os.principal(&principal_name(&spec.name)) {
            Ok(principal) => principal.dir(&grant.path.value).await.err(),
            Err(error) => Some(error),
        };
        let opened = opened.filter(|error| error.kind() != airssys_osl::ErrorKind::Denied);
        errors.extend(opened.map(|error| LoadError {
            component: spec.name.clone(),
            span: grant.path.span.clone(),
            error: Error::door(format!("open the directory of `{}`", grant.rule), error),
        }));
    }
    errors
}

async fn open(path: &Path, cache: Option<&Cache>, program: &Principal) -> Result<Source, Error> {
    let what = || format!("open `{}`", path.display());
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(ErrorKind::NotFound, what()));
    };
    let door = |error| Error::door(what(), error);
    let dir = program.dir(dir).await.map_err(door)?;
    let file = dir.open(name, &OpenOptions::new().read(true)).await.map_err(door)?;
    Source::open(file, cache).await
}
