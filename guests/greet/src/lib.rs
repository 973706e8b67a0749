//! A service that says hello to every request, of any host that knows `wasi:http`: for `cargo xtask bench wasm`.

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unsafe_code, reason = "generated")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::indexing_slicing, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package airssys:greet;

            world greet {
                export wasi:http/incoming-handler@0.2.12;
            }
        ",
        generate_all,
    });

    export!(Greet with_types_in self);

    use crate::service::Greet;
}

#[cfg(target_arch = "wasm32")]
mod service;
