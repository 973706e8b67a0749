//! Sends requests over HTTP, as an actor, and answers them, as a service. A fixture for the tests of the host: it calls
//! `wasi:http` as a C library does, without the SDK between, and by the SDK where it is told to.

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unsafe_code, reason = "generated")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::indexing_slicing, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package airssys:web;

            world web {
                import wasi:http/outgoing-handler@0.2.12;
                import wasi:clocks/monotonic-clock@0.2.12;
                import wasi:config/store@0.2.0-rc.1;
                import wasi:logging/logging@0.1.0-draft;
                export wasi:http/incoming-handler@0.2.12;
            }
        ",
        generate_all,
    });

    export!(Service with_types_in self);

    use crate::service::Service;
}

#[cfg(target_arch = "wasm32")]
mod client;
#[cfg(target_arch = "wasm32")]
mod service;

#[cfg(target_arch = "wasm32")]
airssys_guest::export!(client::Client);
