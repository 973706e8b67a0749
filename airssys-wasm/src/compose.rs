//! Several components made one: what one of them imports, those behind it export.
//!
//! The parts are as hostile as any component, so this happens where they are compiled: [`join`] hands them to the process
//! that does it, and [`framed`] is that process's half. What comes back is a component as any other, with a digest of its
//! own. docs/adr/0020-composition.md says why.

use std::{collections::BTreeSet, sync::Arc};

use tokio::task::spawn_blocking;
use wac_graph::{
    CompositionGraph, EncodeOptions, NodeId, PackageId,
    types::{ItemKind, Package, are_semver_compatible},
};

#[cfg(target_os = "linux")]
use crate::compiler::{Failed, Recipe};
use crate::{
    component::{COMPONENT_BYTES, invalid},
    engine::Engine,
    error::{Error, ErrorKind},
};

/// The most components that are plugged into one.
pub(crate) const PLUGS: usize = 16;

/// How the names of those interfaces begin that the host has: what is missing of them is told where they are linked.
const HOSTS: [&str; 2] = ["wasi:", "airssys:"];

/// One of the components that become one.
#[derive(Clone)]
pub(crate) struct Part {
    /// What errors call it.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// What is plugged into a component, in the order of the manifest: each takes what it imports from those behind it.
pub(crate) type Plugs = Arc<[Part]>;

/// Makes one component of `socket` and its plugs.
///
/// It exports what `socket` does, and imports what no part has from another. One of no plugs is what it was.
///
/// # Errors
///
/// * [`InvalidComponent`](ErrorKind::InvalidComponent): a part is no component, imports what neither a part behind it nor
///   the host has, or fits nowhere; the cause names the part and the interface.
/// * [`LimitExceeded`](ErrorKind::LimitExceeded): the parts are larger than one component may be, or take more time or
///   memory than compiling may.
///
/// # Cancel safety
///
/// Dropping the future ends the process that does it. On the blocking pool it ends by itself.
pub(crate) async fn join(engine: &Engine, socket: Part, plugs: &Plugs) -> Result<Vec<u8>, Error> {
    if plugs.is_empty() {
        return Ok(socket.bytes);
    }
    let parts = || std::iter::once(&socket).chain(plugs.iter());
    let framed_bytes: usize = parts().map(|part| 16 + part.name.len() + part.bytes.len()).sum();
    within_limit(framed_bytes)?;
    let mut input = Vec::with_capacity(framed_bytes);
    for part in parts() {
        for text in [part.name.as_bytes(), &part.bytes] {
            input.extend_from_slice(&(text.len() as u64).to_le_bytes());
            input.extend_from_slice(text);
        }
    }
    let composed = compose_elsewhere(engine, input).await?;
    within_limit(composed.len())?;
    Ok(composed)
}

fn within_limit(bytes: usize) -> Result<(), Error> {
    if bytes as u64 <= COMPONENT_BYTES {
        return Ok(());
    }
    let what = format!("compose {bytes} bytes of components: the most is {COMPONENT_BYTES}");
    Err(Error::new(ErrorKind::LimitExceeded, what))
}

/// Composes where the engine has it done, else on the blocking pool.
async fn compose_elsewhere(
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "it is done here"))]
    engine: &Engine,
    input: Vec<u8>,
) -> Result<Vec<u8>, Error> {
    #[cfg(target_os = "linux")]
    if let Some(compiler) = engine.compiler() {
        match compiler.compile(Recipe::Composition, &input).await {
            Ok(composed) => return Ok(composed),
            Err(Failed::Bytes(error)) => return Err(error),
            Err(Failed::Start(cause)) => compiler.warn(&cause),
            Err(Failed::Door(error)) => return Err(Error::door("start the compiler", error)),
        }
    }
    match spawn_blocking(move || framed(&input)).await {
        Ok(composed) => composed.map_err(|problem| invalid(wasmtime::Error::msg(problem))),
        Err(panic) => Err(Error::new(ErrorKind::InvalidComponent, "compose the components").caused_by(panic)),
    }
}

/// Composes parts that [`join`] wrote one after the other. The error is a sentence for whoever wrote the manifest.
pub(crate) fn framed(mut input: &[u8]) -> Result<Vec<u8>, String> {
    let mut parts = Vec::new();
    while !input.is_empty() {
        let name = String::from_utf8_lossy(text(&mut input)?).into_owned();
        parts.push(Part { name, bytes: text(&mut input)?.to_vec() });
    }
    compose(parts)
}

/// Takes a length and so many bytes.
fn text<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let cut = || "the parts are cut off".to_owned();
    let (length, rest) = input.split_first_chunk().ok_or_else(cut)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut())?;
    let (text, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
    *input = rest;
    Ok(text)
}

/// A part in the graph.
struct Placed {
    name: String,
    package: PackageId,
    instance: NodeId,
    /// Whether anybody imports anything of it.
    is_used: bool,
}

fn compose(parts: Vec<Part>) -> Result<Vec<u8>, String> {
    let mut graph = CompositionGraph::new();
    let mut placed = Vec::with_capacity(parts.len());
    for (index, Part { name, bytes }) in parts.into_iter().enumerate() {
        // By its number: the bytes that come of it are to depend on nothing but bytes.
        let package = Package::from_bytes(&format!("part:{index}"), None, bytes, graph.types_mut());
        let package = package.map_err(|error| format!("`{name}` is no component: {error:#}"))?;
        let package = graph.register_package(package).map_err(|error| error.to_string())?;
        let instance = graph.instantiate(package);
        placed.push(Placed { name, package, instance, is_used: index == 0 });
    }
    let mut problems = Vec::new();
    for index in 0..placed.len() {
        if let Some((socket, behind)) = placed.get_mut(index..).and_then(<[_]>::split_first_mut) {
            plug(&mut graph, socket, behind, &mut problems)?;
        }
    }
    let unused = placed.iter().enumerate().filter(|(_, part)| !part.is_used);
    problems
        .extend(unused.map(|(index, part)| fits_nowhere(&graph, part, placed.get(..index).unwrap_or(&[]))));
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    let Some(outermost) = placed.first() else { return Err("there is nothing to compose".to_owned()) };
    for (name, _) in items(&graph, outermost, Side::Exports) {
        let export = graph.alias_instance_export(outermost.instance, &name).map_err(|error| chain(&error))?;
        graph.export(export, &name).map_err(|error| chain(&error))?;
    }
    graph.encode(EncodeOptions::default()).map_err(|error| chain(&error))
}

/// Gives `socket` what it imports, each from the first part behind it that has it.
fn plug(
    graph: &mut CompositionGraph,
    socket: &Placed,
    behind: &mut [Placed],
    problems: &mut Vec<String>,
) -> Result<(), String> {
    for (import, kind) in items(graph, socket, Side::Imports) {
        let found = behind.iter_mut().find_map(|part| {
            let exports = items(graph, part, Side::Exports);
            let exact = exports.iter().find(|(export, _)| *export == import);
            let export =
                exact.or_else(|| exports.iter().find(|(name, _)| are_semver_compatible(name, &import)));
            export.map(|(export, _)| (part, export.clone()))
        });
        match found {
            Some((part, export)) => {
                part.is_used = true;
                let given =
                    graph.alias_instance_export(part.instance, &export).map_err(|error| chain(&error))?;
                if let Err(error) = graph.set_instantiation_argument(socket.instance, &import, given) {
                    let (socket, part, cause) = (&socket.name, &part.name, chain(&error));
                    problems.push(format!(
                        "`{socket}` imports `{import}`, and what `{part}` exports as `{export}` is another: {cause}"
                    ));
                }
            }
            // A type alone stands for one of an interface's.
            None if matches!(kind, ItemKind::Type(_))
                || HOSTS.iter().any(|host| import.starts_with(host)) => {}
            None => problems.push(format!(
                "`{}` imports `{import}`, which is exported by nothing that is plugged in behind it",
                socket.name
            )),
        }
    }
    Ok(())
}

/// Says what a part has that nobody before it wants, and what they want.
fn fits_nowhere(graph: &CompositionGraph, part: &Placed, before: &[Placed]) -> String {
    let list = |names: BTreeSet<String>| match names.len() {
        0 => "nothing".to_owned(),
        _ => names.into_iter().collect::<Vec<_>>().join("`, `"),
    };
    let names = |part: &Placed, side| items(graph, part, side).into_iter().map(|(name, _)| name);
    let exports = list(names(part, Side::Exports).collect());
    let imports = list(before.iter().flat_map(|part| names(part, Side::Imports)).collect());
    format!("`{}` fits nowhere: it exports `{exports}`, and those before it import `{imports}`", part.name)
}

#[derive(Clone, Copy)]
enum Side {
    Imports,
    Exports,
}

/// What a part imports, or exports.
fn items(graph: &CompositionGraph, part: &Placed, side: Side) -> Vec<(String, ItemKind)> {
    let world = &graph.types()[graph[part.package].ty()];
    let items = match side {
        Side::Imports => &world.imports,
        Side::Exports => &world.exports,
    };
    items.iter().map(|(name, kind)| (name.clone(), *kind)).collect()
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Imports `a`, a function of a number, and exports it as `b`.
    const SOCKET: &str = r#"(component
        (import "t:t/a@1.0.0" (instance $a (export "f" (func (param "x" u32) (result u32)))))
        (export "t:t/b@1.0.0" (instance $a)))"#;

    /// Exports `name`, the identity of numbers of type `of`.
    fn plug_of(name: &str, of: &str) -> Part {
        let text = format!(
            r#"(component
                (core module $m (func (export "f") (param i32) (result i32) (local.get 0)))
                (core instance $i (instantiate $m))
                (func $f (param "x" {of}) (result {of}) (canon lift (core func $i "f")))
                (instance $a (export "f" (func $f)))
                (export "{name}" (instance $a)))"#
        );
        part("plug", &text)
    }

    fn part(name: &str, text: &str) -> Part {
        Part { name: name.to_owned(), bytes: wat::parse_str(text).expect("it is text") }
    }

    #[track_caller]
    fn check(parts: Vec<Part>, expected: Result<(), &str>) {
        match (compose(parts), expected) {
            (Ok(_), Ok(())) => {}
            (Err(problem), Err(expected)) => assert!(problem.contains(expected), "{problem}"),
            (got, expected) => panic!("{:?}, not {expected:?}", got.map(|bytes| bytes.len())),
        }
    }

    #[test]
    fn a_plug_fits_by_its_name_or_a_version_that_does_for_it() {
        let socket = || part("socket", SOCKET);
        check(vec![socket(), plug_of("t:t/a@1.0.0", "u32")], Ok(()));
        check(vec![socket(), plug_of("t:t/a@1.2.0", "u32")], Ok(()));
        check(vec![socket(), plug_of("t:t/a@2.0.0", "u32")], Err("`plug` fits nowhere"));
        check(vec![socket(), plug_of("t:t/a@1.0.0", "s32")], Err("what `plug` exports as `t:t/a@1.0.0`"));
    }

    #[test]
    fn the_error_names_the_import_and_whose_it_is() {
        let missing = "`socket` imports `t:t/a@1.0.0`, which is exported by nothing";
        check(vec![part("socket", SOCKET)], Err(missing));
        let unfit = "it exports `t:t/z`, and those before it import `t:t/a@1.0.0`";
        check(vec![part("socket", SOCKET), plug_of("t:t/z", "u32")], Err(unfit));
        let hosts = r#"(component (import "wasi:z/z@0.2.0" (instance)))"#;
        check(vec![part("socket", hosts)], Ok(()));
    }

    #[test]
    fn a_chain_is_in_its_order() {
        let between = r#"(component
            (import "t:t/c@1.0.0" (instance $c (export "f" (func (param "x" u32) (result u32)))))
            (export "t:t/a@1.0.0" (instance $c)))"#;
        let (socket, between) = (|| part("socket", SOCKET), || part("between", between));
        let innermost = || plug_of("t:t/c@1.0.0", "u32");
        check(vec![socket(), between(), innermost()], Ok(()));
        check(
            vec![socket(), innermost(), between()],
            Err("`between` imports `t:t/c@1.0.0`, which is exported"),
        );
    }

    #[test]
    fn the_same_parts_give_the_same_bytes() {
        let compose = |name: &str| compose(vec![part(name, SOCKET), plug_of("t:t/a@1.0.0", "u32")]);
        assert_eq!(compose("one"), compose("other"));
    }

    #[test]
    fn hostile_parts_are_refused() {
        let cut = |bytes: &[u8]| Part { name: "cut".to_owned(), bytes: bytes.to_vec() };
        let whole = part("socket", SOCKET).bytes;
        for end in [0, 1, 4, 9, whole.len() / 2, whole.len() - 1] {
            check(vec![cut(whole.get(..end).unwrap_or_default())], Err("`cut` is no component"));
        }
        let module = part("module", "(module)");
        check(vec![module], Err("`module` is no component"));
        check(vec![], Err("nothing to compose"));
    }

    #[test]
    fn frames_that_lie_are_refused() {
        let huge = u64::MAX.to_le_bytes();
        for input in [&b"\x01"[..], &huge, &[3, 0, 0, 0, 0, 0, 0, 0, b'a'], &[0; 8], &[0; 15]] {
            assert_eq!(framed(input), Err("the parts are cut off".to_owned()), "{input:?}");
        }
    }
}
