//! A WASI command that says hello: the fixture of a component that knows nothing of AirsSys.
//!
//! It prints its arguments, its variables and a line of its input, and tries to open a file. With `--fail` among its
//! arguments it fails.

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unsafe_code, reason = "generated")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::indexing_slicing, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package airssys:hello;

            world hello {
                import wasi:cli/environment@0.2.12;
                import wasi:cli/stdin@0.2.12;
                import wasi:cli/stdout@0.2.12;
                import wasi:filesystem/preopens@0.2.12;
                export wasi:cli/run@0.2.12;
            }
        ",
        generate_all,
    });

    export!(Hello with_types_in self);

    use crate::command::Hello;
}

#[cfg(target_arch = "wasm32")]
mod command;
