//! What `wit-bindgen` makes of the contract. The only unsafe code of this crate is in here, and generated.
#![allow(missing_docs, reason = "generated")]
#![allow(unsafe_code, reason = "the canonical ABI passes pointers")]
#![allow(clippy::indexing_slicing, clippy::undocumented_unsafe_blocks, reason = "generated")]

wit_bindgen::generate!({
    path: "../wit",
    world: "component",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "export_component",
});

/// What a component exports beside that, if its state is to outlive its instance.
pub mod state {
    wit_bindgen::generate!({
        path: "../wit",
        world: "stateful",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_state",
    });
}

/// What a component imports beside that, if it publishes, subscribes, answers later, or asks what it is doing.
pub mod conversing {
    wit_bindgen::generate!({
        path: "../wit",
        world: "conversing",
        generate_all,
    });
}

/// What a component imports beside that, if it reads or replaces whole files.
pub mod filing {
    wit_bindgen::generate!({
        path: "../wit",
        world: "filing",
        with: {
            "wasi:clocks/wall-clock@0.2.12": super::wasi::clocks::wall_clock,
            "wasi:filesystem/types@0.2.12": super::wasi::filesystem::types,
            "wasi:io/error@0.2.12": super::wasi::io::error,
            "wasi:io/poll@0.2.12": super::wasi::io::poll,
            "wasi:io/streams@0.2.12": super::wasi::io::streams,
        },
    });
}

/// What a component imports beside that, if it uses buckets.
pub mod keyvalue {
    wit_bindgen::generate!({
        path: "../wit",
        world: "keyed",
        generate_all,
    });
}

/// What a component imports beside that, if it sends requests over HTTP.
pub mod http {
    wit_bindgen::generate!({
        path: "../wit",
        world: "requesting",
        generate_all,
    });
}
