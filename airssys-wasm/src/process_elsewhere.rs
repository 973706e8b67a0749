//! Where the door starts no program of the machine: neither Linux nor macOS nor Windows.

use airssys_osl::Os;

use crate::{
    error::{Error, ErrorKind},
    load::LoadError,
    manifest::Manifest,
};

/// Each program is a problem.
pub(crate) async fn check(manifest: &Manifest, _: &Os) -> Vec<LoadError> {
    let error = |name: &str| {
        Error::new(
            ErrorKind::Unsupported,
            format!("start the process `{name}`: nothing starts one on this system"),
        )
    };
    let told = |spec: &crate::manifest::ProcessSpec| LoadError {
        component: spec.name.clone(),
        span: spec.program.span.clone(),
        error: error(&spec.name),
    };
    manifest.processes.iter().map(told).collect()
}
