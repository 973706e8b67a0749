//! A program of WASI 0.3 that does over HTTP what its arguments say, one after the other: the fixture of its tests.
//!
//! An argument is a word and what it takes, as in `send:url=http://host/path method=POST body=text`. What each answers
//! are lines of the output.

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unsafe_code, reason = "generated")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::indexing_slicing, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/wasi-0.3",
        inline: "
            package airssys:courier;

            world courier {
                import wasi:cli/environment@0.3.0;
                import wasi:cli/stdout@0.3.0;
                import wasi:http/client@0.3.0;
                export wasi:cli/run@0.3.0;
            }
        ",
        world: "airssys:courier/courier",
        generate_all,
    });

    export!(Program with_types_in self);

    use crate::program::Program;
}

#[cfg(target_arch = "wasm32")]
mod errand;
#[cfg(target_arch = "wasm32")]
mod program;
#[cfg(target_arch = "wasm32")]
mod rules;
