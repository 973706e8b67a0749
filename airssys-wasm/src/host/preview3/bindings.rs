//! What Wasmtime makes of `wit/wasi-0.3`.

wasmtime::component::bindgen!({
    path: "../wit/wasi-0.3",
    world: "airssys:newer/guest",
    imports: {
        "wasi:cli/stdin.read-via-stream": store | trappable,
        "wasi:cli/stdout.write-via-stream": store | trappable,
        "wasi:cli/stderr.write-via-stream": store | trappable,
        "wasi:filesystem/types.[method]descriptor.read-via-stream": store | trappable,
        "wasi:filesystem/types.[method]descriptor.write-via-stream": store | trappable,
        "wasi:filesystem/types.[method]descriptor.append-via-stream": store | trappable,
        "wasi:filesystem/types.[method]descriptor.read-directory": store | trappable,
        "wasi:sockets/types.[method]tcp-socket.listen": store | trappable,
        "wasi:sockets/types.[method]tcp-socket.send": store | trappable,
        "wasi:sockets/types.[method]tcp-socket.receive": store | trappable,
        "wasi:sockets/types.[method]udp-socket.bind": async | trappable,
        "wasi:sockets/types.[method]udp-socket.connect": async | trappable,
        "wasi:sockets/types.[method]udp-socket.get-local-address": async | trappable,
        default: trappable,
    },
    with: {
        "wasi:filesystem/types.descriptor": crate::host::filesystem::Descriptor,
        "wasi:sockets/types.tcp-socket": super::sockets::Tcp,
        "wasi:sockets/types.udp-socket": super::sockets::Udp,
    },
    trappable_error_type: {
        "wasi:filesystem/types.error-code" => crate::host::filesystem::FsError,
        "wasi:sockets/types.error-code" => crate::host::sockets::SocketError,
    },
});
