//! A service of WASI 0.3: the path of a request names what to do with it. The fixture of its tests.

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unsafe_code, reason = "generated")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::indexing_slicing, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/wasi-0.3",
        inline: "
            package airssys:porter;

            world porter {
                import wasi:clocks/monotonic-clock@0.3.0;
                import wasi:http/client@0.3.0;
                export wasi:http/handler@0.3.0;
            }
        ",
        world: "airssys:porter/porter",
        generate_all,
    });

    export!(Service with_types_in self);

    use crate::service::Service;
}

#[cfg(target_arch = "wasm32")]
mod service;
