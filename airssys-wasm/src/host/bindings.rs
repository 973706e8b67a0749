//! What Wasmtime makes of `wit/`: a trait per import, a typed call per export.

wasmtime::component::bindgen!({
    path: "../wit",
    inline: r#"
        package airssys:host;

        /// All that any guest may import, and what an actor exports.
        world everything {
            include wasi:cli/imports@0.2.12;
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
            import airssys:process/process@0.1.0;
            import airssys:actor/messaging@0.1.0;
            import airssys:actor/topics@0.1.0;
            import airssys:actor/replies@0.1.0;
            import airssys:actor/context@0.1.0;
            import airssys:actor/files@0.1.0;
            import airssys:actor/timers@0.1.0;
            import airssys:actor/log@0.1.0;
            export airssys:actor/actor@0.1.0;
        }
    "#,
    world: "airssys:host/everything",
    imports: {
        "airssys:actor/messaging.send": async | trappable,
        "airssys:actor/messaging.call": async | trappable,
        "airssys:actor/messaging.send-typed": async | trappable,
        "airssys:actor/messaging.call-typed": async | trappable,
        "airssys:actor/topics.publish": async | trappable,
        "airssys:actor/files.read": async | trappable,
        "airssys:actor/files.replace": async | trappable,
        "wasi:blobstore/types.[method]outgoing-value.outgoing-value-write-body": async | trappable,
        "wasi:blobstore/types.[static]outgoing-value.finish": async | trappable,
        "wasi:blobstore/types.[static]incoming-value.incoming-value-consume-sync": async | trappable,
        "wasi:blobstore/container.[method]container.info": async | trappable,
        "wasi:blobstore/container.[method]container.get-data": async | trappable,
        "wasi:blobstore/container.[method]container.list-objects": async | trappable,
        "wasi:blobstore/container.[method]container.delete-object": async | trappable,
        "wasi:blobstore/container.[method]container.delete-objects": async | trappable,
        "wasi:blobstore/container.[method]container.has-object": async | trappable,
        "wasi:blobstore/container.[method]container.object-info": async | trappable,
        "wasi:blobstore/container.[method]container.clear": async | trappable,
        "wasi:blobstore/container.[method]stream-object-names.read-stream-object-names": async | trappable,
        "wasi:blobstore/container.[method]stream-object-names.skip-stream-object-names": async | trappable,
        "wasi:blobstore/blobstore.create-container": async | trappable,
        "wasi:blobstore/blobstore.get-container": async | trappable,
        "wasi:blobstore/blobstore.delete-container": async | trappable,
        "wasi:blobstore/blobstore.container-exists": async | trappable,
        "wasi:blobstore/blobstore.copy-object": async | trappable,
        "wasi:blobstore/blobstore.move-object": async | trappable,
        "wasi:filesystem/types.[method]descriptor.sync-data": async | trappable,
        "wasi:filesystem/types.[method]descriptor.get-flags": trappable,
        "wasi:filesystem/types.[method]descriptor.get-type": trappable,
        "wasi:filesystem/types.[method]descriptor.set-size": async | trappable,
        "wasi:filesystem/types.[method]descriptor.set-times": async | trappable,
        "wasi:filesystem/types.[method]descriptor.read": async | trappable,
        "wasi:filesystem/types.[method]descriptor.write": async | trappable,
        "wasi:filesystem/types.[method]descriptor.read-directory": async | trappable,
        "wasi:filesystem/types.[method]descriptor.sync": async | trappable,
        "wasi:filesystem/types.[method]descriptor.create-directory-at": async | trappable,
        "wasi:filesystem/types.[method]descriptor.stat": async | trappable,
        "wasi:filesystem/types.[method]descriptor.stat-at": async | trappable,
        "wasi:filesystem/types.[method]descriptor.set-times-at": async | trappable,
        "wasi:filesystem/types.[method]descriptor.link-at": async | trappable,
        "wasi:filesystem/types.[method]descriptor.open-at": async | trappable,
        "wasi:filesystem/types.[method]descriptor.readlink-at": async | trappable,
        "wasi:filesystem/types.[method]descriptor.remove-directory-at": async | trappable,
        "wasi:filesystem/types.[method]descriptor.rename-at": async | trappable,
        "wasi:filesystem/types.[method]descriptor.symlink-at": async | trappable,
        "wasi:filesystem/types.[method]descriptor.unlink-file-at": async | trappable,
        "wasi:filesystem/types.[method]descriptor.is-same-object": async | trappable,
        "wasi:filesystem/types.[method]descriptor.metadata-hash": async | trappable,
        "wasi:filesystem/types.[method]descriptor.metadata-hash-at": async | trappable,
        "wasi:filesystem/types.[method]directory-entry-stream.read-directory-entry": async | trappable,
        "wasi:sockets/udp.[method]udp-socket.start-bind": async | trappable,
        "wasi:sockets/udp.[method]udp-socket.stream": async | trappable,
        "wasi:sockets/udp.[method]outgoing-datagram-stream.send": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    // What the host hands to an export is borrowed: a message is copied once, into the guest.
    ownership: Borrowing { duplicate_if_necessary: true },
    with: {
        "wasi:io": wasmtime_wasi_io::bindings::wasi::io,
        "wasi:blobstore/types.outgoing-value": super::blobstore::Outgoing,
        "wasi:blobstore/types.incoming-value": super::blobstore::Incoming,
        "wasi:blobstore/container.container": super::blobstore::Container,
        "wasi:blobstore/container.stream-object-names": super::blobstore::Names,
        "wasi:filesystem/types.descriptor": super::filesystem::Descriptor,
        "wasi:filesystem/types.directory-entry-stream": super::filesystem::Listing,
        "wasi:keyvalue/store@0.2.0-draft.bucket": airssys_osl::keyvalue::Bucket,
        "wasi:keyvalue/store@0.2.0-draft2.bucket": airssys_osl::keyvalue::Bucket,
        "wasi:keyvalue/atomics@0.2.0-draft2.cas": super::keyvalue::Cas,
        "wasi:sockets/network.network": super::sockets::Network,
        "wasi:sockets/tcp.tcp-socket": super::sockets::Tcp,
        "wasi:sockets/udp.udp-socket": super::sockets::Udp,
        "wasi:sockets/udp.incoming-datagram-stream": super::sockets::Incoming,
        "wasi:sockets/udp.outgoing-datagram-stream": super::sockets::Outgoing,
        "wasi:sockets/ip-name-lookup.resolve-address-stream": super::sockets::Addresses,
    },
    trappable_error_type: {
        "wasi:filesystem/types.error-code" => super::filesystem::FsError,
        "wasi:sockets/network.error-code" => super::sockets::SocketError,
    },
});

/// What a component exports beside that, if its state is to outlive its instance.
pub(crate) mod stateful {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "airssys:actor/stateful",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}
