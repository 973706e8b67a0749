//! From the files that a manifest names to code that runs.

use std::{ops::Range, path::Path, sync::Arc};

use airssys_osl::{
    Os, Principal,
    policy::{Grant, Rights},
};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    cache::Cache,
    component::{COMPONENT_BYTES, Component, Digest},
    engine::Engine,
    error::{Error, ErrorKind},
    grant::principal_name,
    manifest::{ComponentSpec, Manifest},
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
    let mut grants: Vec<&Path> =
        manifest.components.iter().filter_map(|spec| spec.source.value.parent()).collect();
    grants.sort_unstable();
    grants.dedup();
    grants.into_iter().map(|dir| Grant::fs(dir, Rights::READ).rule("builtin.components")).collect()
}

/// Loads every component of a manifest, several at a time, and opens the directories and programs that it grants; the
/// result is in the manifest's order.
///
/// # Errors
///
/// Every component that cannot be loaded, in the manifest's order.
///
/// # Cancel safety
///
/// Dropping the future leaves compilations that were started to end by themselves.
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
    for (index, spec) in manifest.components.iter().enumerate() {
        let (spec, engine, cache) = (spec.clone(), engine.clone(), cache.clone());
        let (program, watch) = (program.clone(), watch.clone());
        loading.spawn(
            async move { (index, load_one(&spec, &engine, cache.as_deref(), &program, &*watch).await) },
        );
    }
    let mut loaded = Vec::new();
    while let Some(joined) = loading.join_next().await {
        match joined {
            Ok((index, Ok(component))) => loaded.push((index, component)),
            Ok((index, Err(error))) => errors.push((index, error)),
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

async fn load_one(
    spec: &ComponentSpec,
    engine: &Engine,
    cache: Option<&Cache>,
    program: &Principal,
    watch: &dyn Watch,
) -> Result<Component, LoadError> {
    let at = |span: &Range<usize>| {
        let (component, span) = (spec.name.clone(), span.clone());
        |error| LoadError { component, span, error }
    };
    let bytes = read(&spec.source.value, program).await.map_err(at(&spec.source.span))?;
    if let Some(wanted) = &spec.digest {
        let actual = Digest::of(&bytes);
        if actual != wanted.value {
            let what = format!("use `{}`: its digest is {actual}", spec.source.value.display());
            return Err(at(&wanted.span)(Error::new(ErrorKind::DigestMismatch, what)));
        }
    }
    let engine = &engine.within(&spec.limits).map_err(at(&spec.source.span))?;
    let started = Instant::now();
    let compiling = || watch.event(&Event::Compiling { component: &spec.name });
    let (component, origin) =
        Component::load(engine, bytes, cache, compiling).await.map_err(at(&spec.source.span))?;
    watch.event(&Event::Loaded { component: &spec.name, origin, elapsed: started.elapsed() });
    let fits = match spec.http {
        Some(_) => component.service().map(drop),
        None => component.actor().map(drop),
    };
    fits.map_err(at(&spec.source.span))?;
    if let Some(snapshots) = spec.snapshots.as_ref().filter(|_| !component.is_stateful()) {
        let what = "keep its state: the component does not export `airssys:actor/state@0.1.0`";
        return Err(at(&snapshots.span)(Error::new(ErrorKind::InvalidComponent, what)));
    }
    Ok(component)
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

async fn read(path: &Path, program: &Principal) -> Result<Vec<u8>, Error> {
    let what = || format!("read `{}`", path.display());
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(ErrorKind::NotFound, what()));
    };
    let door = |error| Error::door(what(), error);
    program.dir(dir).await.map_err(door)?.read(name, COMPONENT_BYTES).await.map_err(door)
}
