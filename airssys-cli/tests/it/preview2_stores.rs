//! WASI 0.2, function by function: `wasi:keyvalue`, `wasi:config`, `wasi:logging` and `wasi:blobstore`. See `preview2`; each
//! script runs for a request, in a service. Sentences are those of the drafts. Wasmtime's own WASI has none of it.

use std::fs;

use crate::{
    program::{World, fixture},
    served::check_ours,
};

const BUCKETS: &str = "[component.a.grants]\n\
    keyvalue = [{ bucket = \"shared\", rights = [\"read\", \"write\"] }, { bucket = \"ghost-*\", rights = [\"read\"] }]\n\
    [keyvalue.shared]\n";

const CONTAINERS: &str = "[component.a.grants]\nblobstore = [{ path = \"blobs\", \
    rights = [\"read\", \"list\", \"write\", \"create\", \"delete\"] }]\n";

fn with_a_folder(world: &World) {
    fs::create_dir(world.path("blobs")).unwrap();
}

#[test]
fn keys_and_values() {
    check_ours(
        |_| {},
        BUCKETS,
        "
        # open: 'Get the bucket with the specified identifier'; error: 'The host does not recognize the store identifier
        # requested', 'does not have access to the specified store (which may or may not exist)'
        store.open 'shared' >b = ok
        store.open 'ghost-1' = no-such-store
        store.open 'another' = access-denied
        # get: 'Get the value associated with the specified key'; none if there is none
        bucket.get b 'k' = none
        # set: 'If the key already exists in the store, it overwrites the value'
        bucket.set b 'k' 'one' = ok
        bucket.set b 'k' 'two' = ok
        bucket.get b 'k' = 'two'
        bucket.set b 'empty' '' = ok
        bucket.get b 'empty' = ''
        # exists: 'Check if the key exists in the store'
        bucket.exists b 'k' = true
        bucket.exists b 'absent' = false
        # list-keys: 'Get the keys in the store with an optional cursor (for use in pagination)'
        bucket.list-keys b none = 'k' 'empty'
        # delete: 'If the key does not exist in the store, it does nothing'
        bucket.delete b 'empty' = ok
        bucket.delete b 'empty' = ok
        bucket.exists b 'empty' = false
        # increment: 'It returns the new value. If the key does not exist in the store, it creates a new key-value pair
        # with the value set to the given delta'
        atomics.increment b 'n' 5 = 5
        atomics.increment b 'n' 2 = 7
        bucket.get b 'n' = '7'
        # set-many, get-many: 'If any of the keys do not exist in the store, it returns a none value for that pair'
        batch.set-many b 'x' '1' 'y' '2' 'k' 'three' = ok
        batch.get-many b 'x' 'absent' 'k' = x '1', none, k 'three'
        # delete-many: 'If any of the keys do not exist in the store, it skips the key'
        batch.delete-many b 'x' 'absent' 'y' = ok
        batch.get-many b 'x' 'y' = none, none
        ",
    );
}

#[test]
fn keys_and_values_of_the_second_draft() {
    check_ours(
        |_| {},
        BUCKETS,
        "
        # As of the first.
        store2.open 'shared' >b = ok
        store2.open 'ghost-1' = no-such-store
        store2.open 'another' = access-denied
        bucket2.get b 'k' = none
        bucket2.set b 'k' 'one' = ok
        bucket2.set b 'k' 'two' = ok
        bucket2.get b 'k' = 'two'
        bucket2.exists b 'k' = true
        bucket2.exists b 'absent' = false
        bucket2.list-keys b none = 'k'
        # list-keys: 'The continuation token to use to fetch the next page of keys'
        bucket2.list-keys b '0' = 'k'
        bucket2.delete b 'k' = ok
        bucket2.delete b 'k' = ok
        bucket2.exists b 'k' = false
        # increment: 'by the given delta', which may be less than nothing here
        atomics2.increment b 'n' 5 = 5
        atomics2.increment b 'n' -7 = -2
        batch2.set-many b 'x' '1' 'y' '2' = ok
        batch2.get-many b 'x' 'absent' = x '1', none
        batch2.delete-many b 'x' 'absent' 'y' = ok
        batch2.get-many b 'x' 'y' = none, none
        # new: 'Construct a new CAS operation'; current: 'Get the current value of the key (if it exists)'
        cas.new b 'c' >first = ok
        cas.current first = none
        cas.swap first '1' = ok
        bucket2.get b 'c' = '1'
        # swap: 'This consumes the CAS handle'
        cas.swap first '2' = script: there is no first
        # cas-failed: 'because the value was too old. This returns a new CAS handle for easy retries, which has been updated to
        # the latest version'
        cas.new b 'c' >old = ok
        cas.current old = '1'
        bucket2.set b 'c' '5' = ok
        cas.swap old '2' >fresh = cas-failed
        bucket2.get b 'c' = '5'
        cas.current fresh = '5'
        cas.swap fresh '6' = ok
        bucket2.get b 'c' = '6'
        # What one draft writes, the other reads.
        store.open 'shared' >first = ok
        bucket.get first 'c' = '6'
        ",
    );
}

#[test]
fn what_the_manifest_configures() {
    check_ours(
        |_| {},
        "config = { greeting = \"hello\", loud = true }",
        "
        # get: 'Gets a configuration value of type string associated with the key', 'If the key is not found, Ok(none)'
        config.get 'greeting' = 'hello'
        config.get 'loud' = 'true'
        config.get 'absent' = none
        # get-all: 'Gets a list of configuration key-value pairs'
        config.get-all = greeting 'hello', loud 'true'
        ",
    );
    check_ours(|_| {}, "", "config.get-all = none");
}

#[test]
fn lines_of_a_log() {
    // log: 'a level describing what kind of message is being sent, a context, which is an uninterpreted string …, and a string
    // containing the message text'
    let world = World::new();
    let levels = ["trace", "debug", "info", "warn", "error", "critical"];
    let script = "
        logging.log trace 'of trace' 'text'
        logging.log debug 'of debug' 'text'
        logging.log info 'of info' 'text'
        logging.log warn 'of warn' 'text'
        logging.log error 'of error' 'text'
        logging.log critical 'of critical' 'text'
        logging.log info '' 'no context'
        ";
    world.write(
        "airssys.toml",
        format!(
            "[system]\nname = \"s\"\ncompile = {{ time = \"30m\" }}\n[component.a]\nsource = \"{}\"\n\
             limits = {{ deadline = \"10m\" }}\njob = {{ args = ['''{script}'''] }}\n",
            fixture("caller.wasm")
        ),
    );
    let ended = world.run(&["--log", "trace", "run", ".", "--until-idle"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for (level, word) in levels.iter().zip(["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "ERROR"]) {
        let logged = |line: &str| line.contains(word) && line.contains(&format!("of {level}: text"));
        assert!(ended.stderr.lines().any(logged), "{level}: {}", ended.stderr);
    }
    let silent = |line: &str| line.contains("no context") && !line.contains(": no context: ");
    assert!(ended.stderr.lines().any(silent), "{}", ended.stderr);
}

#[test]
fn containers() {
    check_ours(
        with_a_folder,
        CONTAINERS,
        "
        # create-container: 'creates a new empty container'
        blobstore.create-container 'c' >c = ok
        # name: 'returns container name'; info: 'returns container metadata'
        container.name c = 'c'
        container.info c = 'c' of late
        # container-exists: 'returns true if the container exists'
        blobstore.container-exists 'c' = true
        blobstore.container-exists 'd' = false
        # get-container: 'retrieves a container by name'
        blobstore.get-container 'c' >again = ok
        container.name again = 'c'
        blobstore.get-container 'd' = there is no container `d`
        # write-data: 'creates or replaces an object with the data blob'
        outgoing-value.new-outgoing-value >v = ok
        container.write-data c 'x' v = ok
        outgoing-value.finish v = ok
        container.has-object c 'x' = true
        # delete-container: 'deletes a container and all objects within it'
        blobstore.delete-container 'c' = ok
        blobstore.container-exists 'c' = false
        blobstore.create-container 'c' >c = ok
        container.has-object c 'x' = false
        ",
    );
}

#[test]
fn objects() {
    check_ours(
        with_a_folder,
        CONTAINERS,
        "
        blobstore.create-container 'c' >c = ok
        # outgoing-value-write-body: 'Returns success on the first call … Subsequent calls will return error'
        outgoing-value.new-outgoing-value >v = ok
        outgoing-value.outgoing-value-write-body v >o = ok
        outgoing-value.outgoing-value-write-body v = error
        output.blocking-write-and-flush o '0123456789' = ok
        drop o = ok
        container.write-data c 'x' v = ok
        # finish: 'must be called to signal that the outgoing value is complete'
        container.has-object c 'x' = false
        outgoing-value.finish v = ok
        # has-object: 'returns true if the object exists in this container'
        container.has-object c 'x' = true
        # object-info: 'returns metadata for the object'
        container.object-info c 'x' = 'c' 'x' 10 of late
        # get-data: 'Start and end offsets are inclusive'
        container.get-data c 'x' 2 4 >g = ok
        incoming-value.size g = 3
        incoming-value.incoming-value-consume-sync g = '234'
        container.get-data c 'x' 0 100 >g = ok
        incoming-value.incoming-value-consume-async g >i = ok
        input.blocking-read i 100 = '0123456789'
        input.blocking-read i 100 = closed
        # 'the underlying bytes are held … even if the object they came from is later deleted'
        container.get-data c 'x' 0 0 >held = ok
        # delete-object: 'does not return error if object did not exist'
        container.delete-object c 'x' = ok
        container.delete-object c 'x' = ok
        container.has-object c 'x' = false
        incoming-value.incoming-value-consume-sync held = '0'
        # 'If the outgoing-value is dropped without calling outgoing-value.finalize, … treat the value as corrupted'
        outgoing-value.new-outgoing-value >v = ok
        container.write-data c 'half' v = ok
        drop v = ok
        container.has-object c 'half' = false
        ",
    );
}

#[test]
fn a_value_that_is_finished_while_it_is_written_ends_the_guest() {
    // 'it must be dropped before the parent outgoing-value resource is dropped (or finished), otherwise … will trap'
    let script = "outgoing-value.new-outgoing-value >v\noutgoing-value.outgoing-value-write-body v >o\noutgoing-value.finish v";
    let world = World::new();
    world.write("blobs/.keep", "");
    world.write(
        "airssys.toml",
        format!(
            "[system]\nname = \"s\"\ncompile = {{ time = \"30m\" }}\n[component.a]\nsource = \"{}\"\n\
             limits = {{ deadline = \"10m\" }}\njob = {{ args = ['''{script}'''], ready = \"done\" }}\n{CONTAINERS}",
            fixture("caller.wasm")
        ),
    );
    let ended = world.run(&["run", ".", "--until-idle"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("a host function ended the guest"), "{}", ended.stderr);
}

#[test]
fn names_of_objects_and_what_is_done_to_several() {
    check_ours(
        |world| {
            for object in ["p", "q", "r", "s"] {
                world.write(&format!("blobs/c/{object}"), object);
            }
            world.write("blobs/d/old", "old");
        },
        CONTAINERS,
        "
        blobstore.get-container 'c' >c = ok
        blobstore.get-container 'd' >d = ok
        # list-objects: 'returns list of objects in the container. Order is undefined.'
        container.list-objects c >l = ok
        # read-stream-object-names: 'returns the list of objects read, and a boolean indicating if the end … was reached'
        stream-object-names.read-stream-object-names l 10 = 'p' 'q' 'r' 's' end
        # skip-stream-object-names: 'returns the number of objects skipped, and a boolean'
        container.list-objects c >l = ok
        stream-object-names.skip-stream-object-names l 3 = 3
        stream-object-names.skip-stream-object-names l 3 = 1 end
        # copy-object: 'copies (duplicates) an object, to the same or a different container', 'overwrites destination object'
        blobstore.copy-object 'c' 'p' 'd' 'old' = ok
        container.get-data d 'old' 0 100 >g = ok
        incoming-value.incoming-value-consume-sync g = 'p'
        container.has-object c 'p' = true
        # 'returns an error if the target container does not exist'
        blobstore.copy-object 'c' 'p' 'absent' 'p' = there is no such container or object
        # move-object: 'moves or renames an object, to the same or a different container'
        blobstore.move-object 'c' 'q' 'd' 'moved' = ok
        container.has-object c 'q' = false
        container.has-object d 'moved' = true
        blobstore.move-object 'c' 'q' 'd' 'moved' = there is no such container or object
        # delete-objects: 'deletes multiple objects in the container'
        container.delete-objects c 'p' 'absent' 'r' = ok
        container.list-objects c >l = ok
        stream-object-names.read-stream-object-names l 10 = 's' end
        # clear: 'removes all objects within the container, leaving the container empty'
        container.clear d = ok
        container.list-objects d >l = ok
        stream-object-names.read-stream-object-names l 10 = none end
        blobstore.container-exists 'd' = true
        ",
    );
}
