//! A WASI command that calls the functions which a script names, one after the other, and prints what each answers: the
//! fixture of the tests of conformance.
//!
//! The script is its first argument; of a request over HTTP it is the header `x-script`, with tabs for line ends, and the
//! body of the answer is what was answered. A line is `interface.function arguments`; `>name` keeps what the function made, and
//! `name` or `$name` stands for it later. One line of output answers one line of the script: `ok`, a value, or the name of
//! an error code.

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unsafe_code, reason = "generated")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::indexing_slicing, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package airssys:caller;

            world caller {
                include wasi:cli/imports@0.2.12;
                import wasi:http/types@0.2.12;
                import wasi:http/outgoing-handler@0.2.12;
                import wasi:blobstore/types@0.2.0-draft;
                import wasi:blobstore/container@0.2.0-draft;
                import wasi:blobstore/blobstore@0.2.0-draft;
                import wasi:config/store@0.2.0-rc.1;
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
                import wasi:logging/logging@0.1.0-draft;
                export wasi:cli/run@0.2.12;
                export wasi:http/incoming-handler@0.2.12;
            }
        ",
        features: ["network-error-code"],
        generate_all,
    });

    export!(Caller with_types_in self);

    use crate::command::Caller;
}

#[cfg(target_arch = "wasm32")]
mod blobs;
#[cfg(target_arch = "wasm32")]
mod command;
#[cfg(target_arch = "wasm32")]
mod files;
#[cfg(target_arch = "wasm32")]
mod http;
#[cfg(target_arch = "wasm32")]
mod keyvalue;
#[cfg(target_arch = "wasm32")]
mod program;
#[cfg(target_arch = "wasm32")]
mod script;
#[cfg(target_arch = "wasm32")]
mod service;
#[cfg(target_arch = "wasm32")]
mod sockets;
#[cfg(target_arch = "wasm32")]
mod streams;
#[cfg(target_arch = "wasm32")]
mod table;
