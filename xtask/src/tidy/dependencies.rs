//! Who may import whom.

use std::{path::Path, process::Command};

use serde_json::Value;

use super::{Failure, Finding};

/// The whole dependency policy. A new arrow is an architecture change: write the ADR first.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("airssys-osl", &[]),
    ("airssys-rt", &["airssys-osl"]), // optional, behind feature `port`
    ("airssys-guest", &[]),
    ("airssys-wasm", &["airssys-osl", "airssys-rt"]),
    ("airssys-cli", &["airssys-osl", "airssys-rt", "airssys-wasm"]),
];

/// What sees everything, and what nothing sees.
const OUTSIDE: &[&str] = &["airssys-bench", "airssys-bench-wasm", "xtask"];

pub(super) fn check(root: &Path) -> Result<Vec<Finding>, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let output = Command::new(cargo).args(args).current_dir(root).output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages =
        metadata.get("packages").and_then(Value::as_array).ok_or("cargo metadata has no packages")?;
    Ok(packages.iter().flat_map(findings).collect())
}

fn findings(package: &Value) -> Vec<Finding> {
    let name = text(package, "name");
    let finding = |message| Finding { file: format!("{name}/Cargo.toml"), line: 1, message };
    if OUTSIDE.contains(&name) {
        return Vec::new();
    }
    let Some((_, may_import)) = MAY_IMPORT.iter().find(|(known, _)| *known == name) else {
        return vec![finding(format!(
            "`{name}` is not in the table of who may import whom (xtask/src/tidy)"
        ))];
    };
    let dependencies =
        package.get("dependencies").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let ours = dependencies.iter().filter(|dependency| dependency.get("path").is_some_and(Value::is_string));
    ours.filter_map(|dependency| {
        let imported = text(dependency, "name");
        let optional = dependency.get("optional").and_then(Value::as_bool).unwrap_or(false);
        // As a development dependency, to have its tests see every feature of it.
        if imported == name {
            None
        } else if !may_import.contains(&imported) {
            Some(finding(format!("`{name}` must not import `{imported}`")))
        } else if name == "airssys-rt" && !optional {
            Some(finding(format!("`{name}` may import `{imported}` only behind a feature")))
        } else {
            None
        }
    })
    .collect()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(name: &str, imports: &str, optional: bool, expected: usize) {
        let dependency = json!({"name": imports, "path": "/x", "optional": optional});
        let found = findings(&json!({"name": name, "dependencies": [dependency]}));
        assert_eq!(found.len(), expected, "{name} imports {imports}");
    }

    #[test]
    fn arrows_of_the_table_are_allowed() {
        check("airssys-wasm", "airssys-osl", false, 0);
        check("airssys-rt", "airssys-osl", true, 0);
    }

    #[test]
    fn every_other_arrow_is_a_finding() {
        check("airssys-osl", "airssys-rt", false, 1);
        check("airssys-osl", "airssys-rt", true, 1);
        check("airssys-rt", "airssys-osl", false, 1);
        check("airssys-cli", "airssys-bench", false, 1);
    }

    #[test]
    fn a_crate_may_name_itself_for_its_tests() {
        check("airssys-rt", "airssys-rt", false, 0);
    }

    #[test]
    fn an_unknown_crate_is_a_finding() {
        check("airssys-core", "airssys-osl", false, 1);
    }
}
