//! Which version of WASI a component is of: pure.

use std::mem;

use wasmparser::{
    CanonicalFunction, CanonicalOption, Chunk, ComponentDefinedType, ComponentType, Parser, Payload,
};

/// How the names of WASI's interfaces begin, and what stands in those of WASI 0.3.
const WASI: &str = "wasi:";
const NEWER: &str = "@0.3.";

/// The packages and interfaces of WASI 0.3 that are run, in their released versions.
const PACKAGES: &[&str] = &[
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/client@",
    "wasi:http/handler@",
    "wasi:http/types@",
    "wasi:random/",
    "wasi:sockets/",
];

/// What answers requests: exported to the host, which has none itself.
const HANDLER: &str = "wasi:http/handler@";

/// What a core module imports, and how the names of interfaces go on, by the version that it is.
const VERSIONS: &[(&str, &str)] = &[("wasi_snapshot_preview1::", "0.1"), ("@0.2.", "0.2"), (NEWER, "0.3")];

/// The versions of WASI that these imports and exports are of.
pub(crate) fn versions(names: &[String]) -> Vec<&'static str> {
    let is_of = |mark: &str| {
        names.iter().any(|name| name.starts_with(mark) || name.starts_with(WASI) && name.contains(mark))
    };
    VERSIONS.iter().filter(|(mark, _)| is_of(mark)).map(|(_, version)| *version).collect()
}

fn is_newer(name: &str) -> bool {
    name.starts_with(WASI) && name.contains(NEWER)
}

/// Whether this is the name of an interface of WASI 0.3 that is not here.
pub(crate) fn is_missing(name: &str) -> bool {
    let is_release = name.rsplit('@').next().is_some_and(|version| !version.contains('-'));
    is_newer(name) && !(is_release && PACKAGES.iter().any(|package| name.starts_with(package)))
}

/// Whether nobody but another component has what goes by this name.
pub(crate) fn is_missing_import(name: &str) -> bool {
    is_missing(name) || name.starts_with(HANDLER)
}

/// Says of a component that cannot be loaded that it is of WASI 0.3, where that is why.
pub(crate) fn explain(error: wasmtime::Error, missing: Option<String>) -> wasmtime::Error {
    let Some(name) = missing else { return error };
    error.context(match is_missing(&name) {
        true => format!(
            "it names `{name}`: of WASI 0.3, `wasi:cli`, `clocks`, `filesystem`, `http`, `random` and `sockets` are run, in \
             version 0.3.0 and those that are compatible; build it for WASI 0.2"
        ),
        false => format!(
            "it imports `{name}`, which is what another component exports: name that one in `plug` of the manifest"
        ),
    })
}

/// Whether a component needs an engine with concurrency: it imports or exports an interface of WASI 0.3, or has functions that
/// are `async`, or streams, futures or what tasks are worked with by. What cannot be read does not; compiling it tells why.
pub(crate) fn is_concurrent(bytes: &[u8]) -> bool {
    let (mut parser, mut around, mut rest) = (Parser::new(0), Vec::new(), bytes);
    loop {
        let Ok(Chunk::Parsed { consumed, payload }) = parser.parse(rest, true) else { return false };
        rest = rest.get(consumed..).unwrap_or_default();
        let is_outermost = around.is_empty();
        let is_concurrent = match payload {
            // Code says nothing, and is most of it.
            Payload::ModuleSection { unchecked_range, .. } => {
                rest = rest.get(unchecked_range.len()..).unwrap_or_default();
                false
            }
            Payload::ComponentSection { parser: inner, .. } => {
                around.push(mem::replace(&mut parser, inner));
                false
            }
            Payload::End(_) => match around.pop() {
                Some(outer) => {
                    parser = outer;
                    false
                }
                None => return false,
            },
            Payload::ComponentImportSection(imports) if is_outermost => {
                imports.into_iter().flatten().any(|import| is_newer(import.name.name))
            }
            Payload::ComponentExportSection(exports) if is_outermost => {
                exports.into_iter().flatten().any(|export| is_newer(export.name.name))
            }
            Payload::ComponentTypeSection(types) => types.into_iter().flatten().any(|ty| is_async_type(&ty)),
            Payload::ComponentCanonicalSection(functions) => {
                functions.into_iter().flatten().any(|function| is_async(&function))
            }
            _ => false,
        };
        if is_concurrent {
            return true;
        }
    }
}

fn is_async_type(ty: &ComponentType<'_>) -> bool {
    match ty {
        ComponentType::Func(function) => function.async_,
        ComponentType::Defined(ty) => {
            matches!(ty, ComponentDefinedType::Stream(_) | ComponentDefinedType::Future(_))
        }
        _ => false,
    }
}

fn is_async(function: &CanonicalFunction) -> bool {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.contains(&CanonicalOption::Async)
        }
        CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceRep { .. } => false,
        // All others are of tasks, streams and futures.
        _ => true,
    }
}

/// The first name of an interface of WASI 0.3 that is not here, in bytes that could not be compiled.
pub(crate) fn missing_in(bytes: &[u8]) -> Option<String> {
    /// The longest name that is looked for.
    const NAME_BYTES: usize = 128;
    let versions = bytes.windows(NEWER.len()).enumerate().filter(|(_, window)| *window == NEWER.as_bytes());
    versions.map(|(at, _)| at).find_map(|at| {
        let before = bytes.get(at.saturating_sub(NAME_BYTES)..at)?;
        let start = before.windows(WASI.len()).rposition(|window| window == WASI.as_bytes())?;
        let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b":/@.-".contains(byte);
        let rest = bytes.get(at - (before.len() - start)..)?.iter().take(NAME_BYTES).copied();
        let name: Vec<u8> = rest.take_while(is_in_name).collect();
        // Else something stands between the two, and they are not of one name.
        String::from_utf8(name).ok().filter(|name| is_missing(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_missing_are_found() {
        let check = |bytes: &[u8], expected: Option<&str>| {
            assert_eq!(missing_in(bytes).as_deref(), expected, "{}", bytes.escape_ascii());
        };
        check(b"\x1awasi:keyvalue/store@0.3.0\x05rest", Some("wasi:keyvalue/store@0.3.0"));
        check(b"wasi:io/poll@0.2.3\0wasi:cli/run@0.3.0-rc1", Some("wasi:cli/run@0.3.0-rc1"));
        check(b"wasi:cli/run@0.3.0\0wasi:http/handlers@0.3.0", Some("wasi:http/handlers@0.3.0"));
        check(b"wasi:cli/run@0.3.0\0wasi:http/handler@0.3.0", None);
        check(b"wasi:http/types@0.3.0\0wasi:http/client@0.3.0-rc", Some("wasi:http/client@0.3.0-rc"));
        check(b"wasi:cli/terminal-input@0.3.1\0", None);
        check(b"wasi:sockets/types@0.3.0\0", None);
        check(b"wasi:io/poll@0.2.3\0", None);
        check(b"wasi:io/poll@0.2.3\0other:thing@0.3.0", None);
        check(b"@0.3.", None);
        check(b"", None);
    }

    #[test]
    fn versions_are_told_by_names() {
        let check = |names: &[&str], expected: &[&str]| {
            let names: Vec<_> = names.iter().copied().map(str::to_owned).collect();
            assert_eq!(versions(&names), expected, "{names:?}");
        };
        check(&[], &[]);
        check(&["airssys:actor/actor@0.2.0", "env::f", "wasi:logging/logging@0.1.0-draft"], &[]);
        check(&["wasi_snapshot_preview1::fd_write"], &["0.1"]);
        check(&["wasi:cli/run@0.3.0", "wasi:io/poll@0.2.12", "wasi:cli/exit@0.3.0"], &["0.2", "0.3"]);
    }

    fn check(text: &str, expected: bool) {
        assert_eq!(is_concurrent(&wat::parse_str(text).unwrap()), expected, "{text}");
    }

    #[test]
    fn a_component_of_wasi_0_3_is_one_that_says_so() {
        check(r#"(component (import "wasi:cli/exit@0.3.0" (instance)))"#, true);
        check(r#"(component (instance $i) (export "wasi:cli/run@0.3.0" (instance $i)))"#, true);
        check(r#"(component (import "f" (func async)))"#, true);
        check("(component (type $s (stream u8)) (core func (canon stream.new $s)))", true);
        check("(component (core func (canon waitable-set.new)))", true);
        check("(component (core func (canon backpressure.inc)))", true);
        check("(component (type $r (resource (rep i32))) (core func (canon resource.new $r)))", false);
        check(
            r#"(component (core module) (component (core module)) (import "wasi:cli/exit@0.3.0" (instance)))"#,
            true,
        );
        check(r#"(component (import "wasi:cli/exit@0.2.0" (instance)))"#, false);
        check(r#"(component (component (import "wasi:cli/exit@0.3.0" (instance))))"#, false);
        check(r#"(component (core module (memory 1) (data (i32.const 0) "wasi:cli/exit@0.3.0")))"#, false);
        check("(module)", false);
        assert!(!is_concurrent(b"\0asm\x0d\0\x01\0\xff"));
    }
}
