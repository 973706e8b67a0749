//! `airssys new`: a folder with the source of a component, and how to build and run it.

use std::{path::Path, process::ExitCode, sync::Arc};

use airssys_osl::{
    ErrorKind,
    fs::{Dir, OpenOptions},
    policy::{Grant, Policy, Rights},
};
use serde_json::json;

use super::runtime;
use crate::{
    args::{Language, New},
    config,
    door::Door,
    report::{Failure, Terminal},
};

/// A file of a project: its path, and its text, in which `NAME`, `FILE` and `SDK` are replaced where it is no contract.
type Template = (&'static str, &'static str);

/// What every project counts.
const TEXT: Template = ("in/text.txt", "Ten green bottles\nhanging on the wall\n");

const RUST: &[Template] = &[
    ("Cargo.toml", include_str!("../../templates/rust/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../../templates/rust/src/lib.rs.in")),
    ("airssys.toml", include_str!("../../templates/rust/airssys.toml.in")),
    ("README.md", include_str!("../../templates/rust/README.md.in")),
    (".gitignore", include_str!("../../templates/rust/gitignore.in")),
    TEXT,
];

const C: &[Template] = &[
    ("main.c", include_str!("../../templates/c/main.c.in")),
    ("actor.h", include_str!("../../templates/c/actor.h.in")),
    ("requirements.txt", include_str!("../../templates/c/requirements.txt.in")),
    ("airssys.toml", include_str!("../../templates/c/airssys.toml.in")),
    ("README.md", include_str!("../../templates/c/README.md.in")),
    (".gitignore", include_str!("../../templates/c/gitignore.in")),
    TEXT,
];

/// What an actor in a language without an SDK is built from: the contract as it is.
const WIT: &[Template] = &[
    ("wit/actor.wit", include_str!("../../../wit/actor.wit")),
    ("wit/deps/airssys-process.wit", include_str!("../../../wit/deps/airssys-process.wit")),
    ("wit/deps/cli.wit", include_str!("../../../wit/deps/cli.wit")),
    ("wit/deps/clocks.wit", include_str!("../../../wit/deps/clocks.wit")),
    ("wit/deps/config.wit", include_str!("../../../wit/deps/config.wit")),
    ("wit/deps/filesystem.wit", include_str!("../../../wit/deps/filesystem.wit")),
    ("wit/deps/http.wit", include_str!("../../../wit/deps/http.wit")),
    ("wit/deps/io.wit", include_str!("../../../wit/deps/io.wit")),
    ("wit/deps/keyvalue-draft2.wit", include_str!("../../../wit/deps/keyvalue-draft2.wit")),
    ("wit/deps/keyvalue.wit", include_str!("../../../wit/deps/keyvalue.wit")),
    ("wit/deps/logging.wit", include_str!("../../../wit/deps/logging.wit")),
    ("wit/deps/random.wit", include_str!("../../../wit/deps/random.wit")),
    ("wit/deps/sockets.wit", include_str!("../../../wit/deps/sockets.wit")),
];

const JS: &[Template] = &[
    ("app.js", include_str!("../../templates/js/app.js.in")),
    ("package.json", include_str!("../../templates/js/package.json.in")),
    ("airssys.toml", include_str!("../../templates/js/airssys.toml.in")),
    ("README.md", include_str!("../../templates/js/README.md.in")),
    (".gitignore", include_str!("../../templates/js/gitignore.in")),
    TEXT,
];

const PYTHON: &[Template] = &[
    ("app.py", include_str!("../../templates/python/app.py.in")),
    ("requirements.txt", include_str!("../../templates/python/requirements.txt.in")),
    ("airssys.toml", include_str!("../../templates/python/airssys.toml.in")),
    ("README.md", include_str!("../../templates/python/README.md.in")),
    (".gitignore", include_str!("../../templates/python/gitignore.in")),
    TEXT,
];

pub(super) fn new(new: &New, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let name = &new.name;
    let (templates, contract, sdk) = match new.lang {
        Language::Rust => (RUST, &[][..], Some(find_sdk(new.sdk.as_deref())?)),
        Language::C => (C, WIT, None),
        Language::Js => (JS, WIT, None),
        Language::Python => (PYTHON, WIT, None),
    };
    let here = config::absolute(Path::new("."))
        .map_err(|error| Failure::failed("cannot tell the current folder").caused_by(error))?;
    let rights = Rights::WRITE | Rights::CREATE;
    let door = Door::open_for_user(Policy::builder(), vec![Grant::fs(&here, rights).rule("new.folder")])?;
    door.started(&format!("new {name}"))?;
    let fill = |text: &str| {
        let file = name.replace('-', "_");
        let text = text.replace("NAME", name).replace("FILE", &file);
        sdk.as_ref().map_or(text.clone(), |sdk| text.replace("SDK", sdk))
    };
    let written = runtime()?.block_on(async {
        let dir = door.program.dir(&here).await?;
        dir.create_dir(name).await?;
        for (path, text) in templates {
            write(&dir, &format!("{name}/{path}"), fill(text)).await?;
        }
        for (path, text) in contract {
            write(&dir, &format!("{name}/{path}"), (*text).to_owned()).await?;
        }
        Ok::<_, airssys_osl::Error>(())
    });
    door.close("made")?;
    written.map_err(|error| {
        let taken = error.kind() == ErrorKind::AlreadyExists;
        let failure = Failure::failed(format!("cannot make `{name}`")).caused_by(error);
        if taken { failure.help("nothing is overwritten: choose another name") } else { failure }
    })?;
    let files: Vec<_> = templates.iter().chain(contract).map(|(path, _)| format!("{name}/{path}")).collect();
    let text = format!("{}\n`{name}/README.md` says how to build it and how to run it", files.join("\n"));
    let _ = terminal.answer(|| text, || json!({"folder": name, "files": files}))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that is not there yet, and makes the folders that lead to it.
async fn write(dir: &Dir, path: &str, text: String) -> Result<(), airssys_osl::Error> {
    if let Some((folder, _)) = path.rsplit_once('/') {
        dir.create_dir_all(folder).await?;
    }
    let file = dir.open(path, &OpenOptions::new().write(true).create_new(true)).await?;
    file.write_at(text.into_bytes(), 0).await
}

/// Where the SDK is, as a string of TOML has it.
fn find_sdk(sdk: Option<&Path>) -> Result<String, Failure> {
    let Some(sdk) = sdk else {
        let failure = Failure::invalid("the SDK for Rust is in no registry yet");
        return Err(failure.help("name the folder `airssys-guest` of a checkout of AirsSys: --sdk PATH"));
    };
    let manifest = sdk.join("Cargo.toml");
    let read = airssys_osl::bootstrap::read(&manifest, config::MANIFEST_BYTES);
    let read =
        read.map_err(|error| Failure::invalid(format!("`{}` is no SDK", sdk.display())).caused_by(error))?;
    if !String::from_utf8_lossy(&read.bytes).contains("name = \"airssys-guest\"") {
        return Err(Failure::invalid(format!("`{}` is another crate than `airssys-guest`", sdk.display())));
    }
    let folder = read.path.parent().and_then(Path::to_str).filter(|path| !path.contains(['"', '\\', '\n']));
    folder.map(str::to_owned).ok_or_else(|| Failure::invalid("the path of the SDK cannot be written in TOML"))
}
