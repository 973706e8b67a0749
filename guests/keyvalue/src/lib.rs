//! Uses buckets of keys and values, by both drafts of `wasi:keyvalue`, as a message tells it. A fixture for the tests of the
//! host: it asks for more than it may have on demand.

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unsafe_code, reason = "generated")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::indexing_slicing, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package airssys:keyvalue;

            world keyvalue {
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
            }
        ",
        generate_all,
    });
}

#[cfg(target_arch = "wasm32")]
mod actor;

#[cfg(target_arch = "wasm32")]
airssys_guest::export!(actor::Buckets);
