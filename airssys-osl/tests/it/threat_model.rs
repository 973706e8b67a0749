//! The page on threats names tests that there are.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_attack_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    sources(&root.join("tests"), &mut found);
    sources(&root.join("examples"), &mut found);
    let page = fs::read_to_string(root.join("../docs/threat-model.md")).unwrap();
    let (_, attacks) = page.split_once("## The attacks and their tests").unwrap();
    let (mut file, mut named) = (String::new(), 0);
    for row in attacks.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack")) {
        let (attack, tests) = row.trim_matches(['|', ' ']).split_once(" | ").unwrap();
        for word in tests.split('`').skip(1).step_by(2) {
            let is_file = found.iter().any(|(path, _)| {
                path.ends_with(format!("tests/it/{word}.rs")) || (word.contains('/') && path.ends_with(word))
            });
            if is_file {
                word.clone_into(&mut file);
                continue;
            }
            // Of a type, the name alone is looked for.
            let is_test = word.contains('_') && !word.contains("::");
            if is_test {
                let test = format!("fn {word}(");
                let there = found.iter().any(|(path, text)| {
                    (path.ends_with(format!("tests/it/{file}.rs")) || path.ends_with(&file))
                        && text.contains(&test)
                });
                assert!(there, "{attack}: there is no test `{word}` in `{file}`");
                named += 1;
            }
        }
    }
    assert!(named > 50, "{named} tests are named");
}
