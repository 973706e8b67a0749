//! From a manifest's files to code: each file once, each component as its manifest wants it.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use airssys_osl::{Os, policy::Policy, testing::MemorySink};
use airssys_wasm::{
    Component, ErrorKind, Event, LoadError, Watch, add_principals, load, load_grants,
    manifest::{Manifest, Overrides},
};

use crate::{text, world::ENGINE};

/// Who was told of what, while loading.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Watch for Told {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(match event {
            Event::Compiling { component } => format!("compiling {component}"),
            Event::Loaded { component, .. } => format!("loaded {component}"),
            _ => return,
        });
    }
}

/// Loads components, of which `SOURCE` is one file.
async fn loaded(components: &str) -> (Result<Vec<Component>, Vec<LoadError>>, Vec<String>) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ledger.wasm");
    let components = components.replace("SOURCE", &format!("source = \"{}\"", fixture.display()));
    let manifest = Manifest::parse(
        &format!("[system]\nname = \"s\"\n{components}"),
        Path::new("/"),
        &Overrides::default(),
    );
    let manifest = manifest.unwrap();
    let policy = add_principals(&manifest, Policy::builder()).principal("program", load_grants(&manifest));
    let os = Os::new(policy.build().unwrap(), MemorySink::new());
    let told = Arc::new(Told::default());
    let watch: Arc<dyn Watch> = told.clone();
    let result = load(&manifest, &ENGINE, None, &os, &os.principal("program").unwrap(), &watch).await;
    let told = std::mem::take(&mut *told.0.lock().unwrap());
    (result, told)
}

#[tokio::test]
async fn components_of_one_file_are_compiled_once() {
    let (components, told) =
        loaded("[component.a]\nSOURCE\n[component.b]\nSOURCE\n[component.c]\nSOURCE\n").await;
    assert_eq!(components.unwrap().len(), 3);
    assert_eq!(told, ["compiling a", "loaded a", "loaded b", "loaded c"]);
    let (_, metered) =
        loaded("[component.a]\nSOURCE\n[component.b]\nSOURCE\nlimits = { fuel = 1000000 }\n").await;
    assert!(metered.contains(&"compiling b".to_owned()), "its code counts: {metered:?}");
}

#[tokio::test]
async fn one_that_is_not_as_wanted_spoils_no_other_of_its_file() {
    let wrong = format!("digest = \"sha256:{}\"", "0".repeat(64));
    for order in [["a", "b"], ["b", "a"]] {
        let component = |name| match name {
            "a" => format!("[component.a]\nSOURCE\n{wrong}\n"),
            _ => "[component.b]\nSOURCE\n".to_owned(),
        };
        let (result, told) = loaded(&order.map(component).concat()).await;
        let errors = result.err().unwrap();
        let found: Vec<_> = errors.iter().map(|error| (&*error.component, error.error.kind())).collect();
        assert_eq!(found, [("a", ErrorKind::DigestMismatch)]);
        assert_eq!(told, ["compiling b", "loaded b"]);
    }
}

#[tokio::test]
async fn a_malformed_component_is_refused_and_spoils_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let whole =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ledger.wasm")).unwrap();
    let mut flipped = whole.clone();
    flipped.iter_mut().skip(100).step_by(97).for_each(|byte| *byte ^= 0x55);
    for bytes in [&whole[..whole.len() / 2], &flipped, b"\0asm\x0d\0\x01\0\x01\xff\xff\xff\xff\x0f", b""] {
        let file = dir.path().join("a.wasm");
        std::fs::write(&file, bytes).unwrap();
        let a = format!("[component.a]\nsource = \"{}\"\n", file.display());
        let (result, told) = loaded(&format!("{a}[component.b]\nSOURCE\n")).await;
        let errors = result.err().unwrap();
        let found: Vec<_> = errors.iter().map(|error| (&*error.component, error.error.kind())).collect();
        assert_eq!(found, [("a", ErrorKind::InvalidComponent)], "{} bytes", bytes.len());
        assert!(told.contains(&"loaded b".to_owned()), "{told:?}");
    }
}

#[tokio::test]
async fn what_a_component_is_used_as_it_exports() {
    let check = async |keys: &str, expected: &str| {
        let (result, _) = loaded(&format!("[component.a]\nSOURCE\n{keys}\n")).await;
        let error = result.err().unwrap().remove(0).error;
        assert_eq!(error.kind(), ErrorKind::InvalidComponent);
        assert!(error.to_string().contains(expected), "{error}");
    };
    check("job = {}", "as a job: it exports airssys:actor/").await;
    check("job = {}", "not wasi:cli/run; an actor has neither").await;
    check("http = { listen = \"127.0.0.1:80\" }", "as a service: ").await;
    check("workers = 2", "as workers (`component.a.workers`): it exports `airssys:actor/state@0.1.0`").await;
}

#[tokio::test]
async fn an_actor_is_not_of_wasi_0_3() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("newer.wasm");
    std::fs::write(&file, text::newer()).unwrap();
    let (refused, _) = loaded(&format!("[component.a]\nsource = \"{}\"\n", file.display())).await;
    let error = refused.map(drop).unwrap_err().remove(0).error;
    assert_eq!(error.kind(), ErrorKind::InvalidComponent);
    assert!(error.to_string().contains("as an actor: it is of WASI 0.3"), "{error}");
}
