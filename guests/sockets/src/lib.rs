//! An actor that uses the network on demand: the subject of a message names what to do. A fixture for the tests of the
//! host: it calls `wasi:sockets` as a C library does, without the SDK between.

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unsafe_code, reason = "generated")]
#[allow(clippy::undocumented_unsafe_blocks, clippy::indexing_slicing, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package airssys:sockets;

            world sockets {
                import wasi:sockets/instance-network@0.2.12;
                import wasi:sockets/ip-name-lookup@0.2.12;
                import wasi:sockets/tcp@0.2.12;
                import wasi:sockets/tcp-create-socket@0.2.12;
                import wasi:sockets/udp@0.2.12;
                import wasi:sockets/udp-create-socket@0.2.12;
            }
        ",
        generate_all,
    });
}

#[cfg(target_arch = "wasm32")]
mod actor;
#[cfg(target_arch = "wasm32")]
mod address;
#[cfg(target_arch = "wasm32")]
mod tcp;
#[cfg(target_arch = "wasm32")]
mod udp;

#[cfg(target_arch = "wasm32")]
airssys_guest::export!(actor::Sockets);
