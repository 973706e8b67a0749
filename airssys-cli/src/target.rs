//! What the user points at: a system with a manifest, or one component.

use std::{collections::BTreeMap, ffi::OsStr, path::Path};

use airssys_osl::{
    ErrorKind,
    bootstrap::{self, BootFile},
    policy::Mode,
};
use airssys_wasm::{
    Digest,
    manifest::{Manifest, Overrides},
};

use crate::{
    config::{self, MANIFEST, MANIFEST_BYTES},
    report::{Failure, ManifestProblems},
};

/// A manifest that was read and understood.
pub(crate) struct ManifestFile {
    pub(crate) manifest: Manifest,
    /// The file as the user would name it.
    pub(crate) shown: String,
    /// Its text, for problems that are found later.
    pub(crate) text: String,
    pub(crate) digest: Digest,
}

impl ManifestFile {
    /// Reads the manifest that `target` is, or that is in the folder that it is.
    pub(crate) fn read(target: &Path, set: &[(String, String)]) -> Result<Self, Failure> {
        Self::read_in(target, set, None)
    }

    /// As [`read`](Self::read), in another mode than the manifest says.
    pub(crate) fn read_in(
        target: &Path,
        set: &[(String, String)],
        mode: Option<Mode>,
    ) -> Result<Self, Failure> {
        let BootFile { bytes, path, .. } = read_manifest(target)?;
        let digest = Digest::of(&bytes);
        let shown = path.display().to_string();
        let text = String::from_utf8(bytes).map_err(|error| {
            Failure::invalid(format!("cannot read `{shown}`: a manifest is UTF-8 text")).caused_by(error)
        })?;
        let base = config::absolute(Path::new("."))
            .map_err(|error| Failure::failed("cannot tell the current folder").caused_by(error))?;
        let overrides = Overrides { values: set.iter().cloned().collect::<BTreeMap<_, _>>(), base, mode };
        let dir = path.parent().unwrap_or(Path::new("/"));
        match Manifest::parse(&text, dir, &overrides) {
            Ok(manifest) => Ok(Self { manifest, shown, text, digest }),
            Err(problems) => Err(Failure::problems(ManifestProblems { shown, text, problems })),
        }
    }
}

/// Whether `target` is a program: by its name, or by how it begins.
pub(crate) fn is_program(target: &Path) -> bool {
    match target.extension().and_then(OsStr::to_str) {
        Some("wasm" | "wat") => true,
        Some("toml") => false,
        _ => match bootstrap::read(target, MANIFEST_BYTES) {
            // No line of TOML begins with either.
            Ok(file) => file.bytes.starts_with(b"\0asm") || file.bytes.starts_with(b"("),
            // No manifest is as long.
            Err(error) => error.kind() == ErrorKind::LimitExceeded,
        },
    }
}

fn read_manifest(target: &Path) -> Result<BootFile, Failure> {
    // The folder is the common case; what is no folder has no such file in it.
    let inside = target.join(MANIFEST);
    match bootstrap::read(&inside, MANIFEST_BYTES) {
        Ok(file) => return Ok(file),
        Err(error) if error.raw_os_error() == Some(NOT_A_DIRECTORY) => {}
        Err(error) => {
            let failure = Failure::invalid(format!("cannot read the manifest `{}`", inside.display()));
            let help = format!("give a folder with an `{MANIFEST}`, a manifest, or a `.wasm` file");
            return Err(failure.caused_by(error).help(help));
        }
    }
    bootstrap::read(target, MANIFEST_BYTES).map_err(|error| {
        Failure::invalid(format!("cannot read the manifest `{}`", target.display())).caused_by(error)
    })
}

/// `ENOTDIR`: the target is a file.
const NOT_A_DIRECTORY: i32 = 20;
