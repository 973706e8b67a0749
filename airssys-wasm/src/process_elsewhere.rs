//! Programs of the machine are started on Linux alone.

use airssys_osl::Os;

use crate::{
    error::{Error, ErrorKind},
    load::LoadError,
    manifest::Manifest,
};

/// Each program is a problem.
pub(crate) async fn check(manifest: &Manifest, _: &Os) -> Vec<LoadError> {
    let error = |name: &str| {
        Error::new(ErrorKind::Unsupported, format!("start the process `{name}`: this is not Linux"))
    };
    let told = |spec: &crate::manifest::ProcessSpec| LoadError {
        component: spec.name.clone(),
        span: spec.program.span.clone(),
        error: error(&spec.name),
    };
    manifest.processes.iter().map(told).collect()
}
