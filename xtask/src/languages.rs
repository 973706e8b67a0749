//! `cargo xtask languages`: installs what builds components in JavaScript and in Python, below the folder of the build.
//! The versions are those that `airssys new` writes into its projects.

#![expect(
    clippy::disallowed_methods,
    reason = "a tool of the project: it runs the languages' own installers"
)]

use std::{
    env, error, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::test::succeed;

type Failure = Box<dyn error::Error>;

/// Installs what is not there yet.
pub(crate) fn install() -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let (templates, languages) = (root.join("airssys-cli/templates"), target.join("languages"));
    let js = languages.join("js");
    if !js.join("node_modules/componentize-qjs").exists() {
        fs::create_dir_all(&js)?;
        let package = fs::read_to_string(templates.join("js/package.json.in"))?;
        fs::write(js.join("package.json"), package.replace("NAME", "languages"))?;
        let mut npm = Command::new("npm");
        succeed(npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&js))?;
    }
    let python = languages.join("python");
    if !python.join("bin/componentize-py").exists() {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
        let mut pip = Command::new(python.join("bin/pip"));
        succeed(
            pip.args(["install", "--quiet", "--requirement"])
                .arg(templates.join("python/requirements.txt.in")),
        )?;
    }
    Ok(())
}
