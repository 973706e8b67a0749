//! A program of WASI 0.3 that does what its arguments say, one after the other: the fixture of its tests.
//!
//! An argument is a word and what it takes, as in `write:a.txt:text`. What each answers is a line of the output.

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unsafe_code, reason = "generated")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::indexing_slicing, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/wasi-0.3",
        inline: "
            package airssys:program;

            world program {
                include airssys:newer/guest;
                export wasi:cli/run@0.3.0;
            }
        ",
        world: "airssys:program/program",
        generate_all,
    });

    export!(Program with_types_in self);

    use crate::program::Program;
}

#[cfg(target_arch = "wasm32")]
mod files;
#[cfg(target_arch = "wasm32")]
mod hostile;
#[cfg(target_arch = "wasm32")]
mod program;
#[cfg(target_arch = "wasm32")]
mod sockets;
