//! WASI 0.2, function by function, by a component that calls them through the program. The sentences are those of the
//! specification (the `.wit` files of WASI 0.2.12), or of POSIX, which it refers to.

use std::collections::BTreeSet;

use crate::{
    calls::check,
    program::{World, fixture, repository},
};

fn with_file(world: &World) {
    world.write("data/file", "content");
}

fn with_nothing(world: &World) {
    world.write("data/.keep", "");
}

#[test]
fn opening() {
    check(
        with_file,
        "
        # get-directories: 'the set of preopened directories, and their paths'
        preopens.get-directories >root = /
        # open-at: 'Open a file or directory', 'similar to openat in POSIX'
        descriptor.open-at root - 'file' - read >f = ok
        descriptor.get-type f = regular-file
        descriptor.get-type root = directory
        descriptor.get-flags f = read
        descriptor.open-at root - 'file' - read,write >rw = ok
        descriptor.get-flags rw = read,write
        descriptor.open-at root - 'missing' - read = no-entry
        descriptor.open-at root - '' - read = no-entry
        descriptor.open-at root - 'file/' - read = not-directory
        descriptor.open-at root - 'file/x' - read = not-directory
        descriptor.open-at root - 'file' directory read = not-directory
        descriptor.open-at root - 'file\\0' - read = invalid|illegal-byte-sequence
        descriptor.open-at f - 'x' - read = not-directory (wasmtime: bad-descriptor|not-directory)
        # paths are 'relative to the base descriptor'; those that leave it are not permitted
        descriptor.open-at root - '/file' - read = not-permitted
        descriptor.open-at root - '../data/file' - read = not-permitted
        descriptor.open-at root - './/./file' - read = ok
        # open-flags: create 'Create file if it does not exist', exclusive 'Fail if file already exists'
        descriptor.open-at root - 'file' create,exclusive read = exist
        descriptor.open-at root - 'new' create,exclusive write >new = ok
        descriptor.stat new = regular-file links 1 size 0
        descriptor.open-at root - 'new/' create write = is-directory
        descriptor.open-at root - '.' create,directory read = invalid
        descriptor.open-at root - 'file' exclusive read = ok
        # directory 'Fail if not a directory'; a directory is not written to
        descriptor.open-at root - '.' directory read >dir = ok
        descriptor.open-at root - '.' - read,write = is-directory
        descriptor.open-at dir - 'file' - read = ok
        # truncate 'Truncate file to size 0'
        descriptor.open-at root - 'file' truncate write >cut = ok
        descriptor.stat cut = regular-file links 1 size 0
        # descriptors are handles: a file stays while one is open
        descriptor.unlink-file-at root 'file' = ok
        descriptor.write rw 'still' 0 = 5
        descriptor.stat rw = regular-file links 0 size 5
        ",
    );
}

#[test]
fn reading_and_writing() {
    check(
        with_file,
        "
        preopens.get-directories >root = /
        descriptor.open-at root - 'file' - read,write >f = ok
        # read: 'a bool which, when true, indicates that the end of the file was reached'
        descriptor.read f 16 0 = 'content' more
        descriptor.read f 3 1 = 'ont' more
        descriptor.read f 16 7 = '' end
        descriptor.read f 16 5000 = '' end
        descriptor.read f 0 0 = '' more (wasmtime: '' end)
        descriptor.read f 1 18446744073709551615 = invalid
        # write: 'valid to write past the end of a file; … with bytes between … set to zero'
        descriptor.write f '!' 9 = 1
        descriptor.read f 16 0 = 'content\\0\\0!' more
        descriptor.write f '' 0 = 0
        descriptor.write f 'x' 18446744073709551615 = invalid
        # what it was opened for
        descriptor.open-at root - 'file' - read >in = ok
        descriptor.write in 'x' 0 = bad-descriptor (wasmtime: not-permitted|bad-descriptor)
        descriptor.open-at root - 'file' - write >out = ok
        descriptor.read out 1 0 = bad-descriptor
        descriptor.read root 1 0 = bad-descriptor|is-directory
        descriptor.write root 'x' 0 = bad-descriptor|is-directory
        # sync, sync-data: 'succeeds with no effect if the file descriptor is not opened for writing'
        descriptor.sync f = ok
        descriptor.sync in = ok
        descriptor.sync-data f = ok
        descriptor.sync-data in = ok
        descriptor.sync root = ok
        descriptor.sync-data root = ok
        # set-size: 'the extra bytes are filled with zeros'
        descriptor.set-size f 3 = ok
        descriptor.set-size f 5 = ok
        descriptor.read f 16 0 = 'con\\0\\0' more
        descriptor.set-size in 0 = bad-descriptor|invalid (wasmtime: not-permitted|invalid|bad-descriptor)
        descriptor.set-size f 18446744073709551615 = invalid|file-too-large
        descriptor.set-size root 0 = bad-descriptor|is-directory
        # advise: 'Provide file advisory information'
        descriptor.advise f 0 0 normal = ok
        descriptor.advise f 0 0 sequential = ok
        descriptor.advise f 0 0 random = ok
        descriptor.advise f 0 0 will-need = ok
        descriptor.advise f 0 0 dont-need = ok
        descriptor.advise f 1 5 no-reuse = ok
        descriptor.advise root 0 0 normal = bad-descriptor
        ",
    );
}

#[test]
fn files_as_streams() {
    check(
        with_file,
        "
        preopens.get-directories >root = /
        descriptor.open-at root - 'file' - read,write >f = ok
        # read-via-stream: from an offset on; two 'do not interfere with each other'
        descriptor.read-via-stream f 3 >in = ok
        descriptor.read-via-stream f 0 >other = ok
        # read: 'up to len bytes'; 'When the caller gives a len of 0 …, succeed and return an empty list'
        input.blocking-read in 2 = 'te'
        input.read in 0 = ''
        input.blocking-skip other 4 = 4
        input.blocking-read other 16 = 'ent'
        input.blocking-read in 16 = 'nt'
        input.blocking-read in 16 = closed
        input.read in 16 = closed
        input.skip in 16 = closed
        input.read in 0 = closed
        # subscribe: 'resolve once … bytes available to read or the other end … closed'
        descriptor.read-via-stream f 0 >in2 = ok
        input.subscribe in2 >p = ok
        poll.block p = ok
        poll.ready p = true
        input.read in2 16 = 'content'
        drop p = ok
        descriptor.read-via-stream f 5000 >far = ok
        input.blocking-read far 1 = closed
        # write-via-stream, check-write: 'the number of bytes permitted for the next call to write'
        descriptor.write-via-stream f 7 >out = ok
        output.check-write out = some
        output.write out '+' = ok
        output.blocking-flush out = ok
        output.blocking-write-and-flush out 'more' = ok
        descriptor.read f 16 0 = 'content+more' more
        output.check-write out = some
        output.write-zeroes out 2 = ok
        output.flush out = ok
        output.subscribe out >q = ok
        poll.block q = ok
        output.blocking-write-zeroes-and-flush out 1 = ok
        descriptor.read f 16 0 = 'content+more\\0\\0\\0' more
        drop q = ok
        # append-via-stream: 'similar to write with O_APPEND'
        descriptor.append-via-stream f >end = ok
        output.blocking-write-and-flush end '!' = ok
        output.blocking-write-and-flush end '?' = ok
        descriptor.read f 4 14 = '\\0!?' more
        # splice: 'the number of bytes transferred'
        descriptor.set-size f 0 = ok
        descriptor.write f 'spliced' 0 = 7
        descriptor.open-at root - 'copy' create read,write >copy = ok
        descriptor.read-via-stream f 0 >from = ok
        descriptor.write-via-stream copy 0 >to = ok
        input.subscribe from >r = ok
        poll.block r = ok
        drop r = ok
        output.splice to from 3 = 3
        output.blocking-splice to from 100 = 4
        output.blocking-flush to = ok
        descriptor.read copy 16 0 = 'spliced' more
        output.blocking-splice to from 1 = closed
        output.splice to from 1 = closed
        # what it was opened for
        descriptor.open-at root - 'file' - read >ro = ok
        descriptor.write-via-stream ro 0 = bad-descriptor (wasmtime: not-permitted|bad-descriptor|ok)
        descriptor.append-via-stream ro = bad-descriptor (wasmtime: not-permitted|bad-descriptor|ok)
        descriptor.open-at root - 'file' - write >wo = ok
        descriptor.read-via-stream wo 0 = bad-descriptor (wasmtime: ok|bad-descriptor)
        descriptor.read-via-stream root 0 = is-directory|bad-descriptor
        descriptor.write-via-stream root 0 = bad-descriptor|is-directory
        ",
    );
}

#[test]
fn a_read_that_does_not_wait_begins_one() {
    // 'The list is empty when no bytes are available for reading at this time': and later they are, without a poll of the
    // stream between.
    check(
        with_file,
        "
        preopens.get-directories >root = /
        descriptor.open-at root - 'file' - read >f = ok
        descriptor.read-via-stream f 0 >in = ok
        input.read in 16 = ''|'content'
        clocks.subscribe-duration 200000000 >p = ok
        poll.block p = ok
        input.read in 16 = 'content'|closed (wasmtime: '')
        ",
    );
}

#[test]
fn writing_more_than_was_permitted_is_a_trap() {
    // 'Calling write with more bytes than this function has permitted will trap.'
    let script = format!(
        "
        preopens.get-directories >root = /
        descriptor.open-at root - 'new' create write >f = ok
        descriptor.write-via-stream f 0 >out = ok
        output.blocking-write-and-flush out '{}' = trap
        ",
        "x".repeat(4097)
    );
    check(with_file, &script);
}

#[test]
fn directories() {
    check(
        with_nothing,
        "
        preopens.get-directories >root = /
        descriptor.unlink-file-at root '.keep' = ok
        # create-directory-at: 'similar to mkdirat in POSIX'
        descriptor.create-directory-at root 'dir' = ok
        descriptor.create-directory-at root 'dir' = exist
        descriptor.create-directory-at root 'dir/in/' = ok
        descriptor.create-directory-at root '.' = exist
        descriptor.create-directory-at root '..' = not-permitted
        descriptor.create-directory-at root '' = no-entry
        descriptor.create-directory-at root '/x' = not-permitted
        descriptor.create-directory-at root 'missing/x' = no-entry
        # read-directory: '. and .. … are omitted', 'always returns a new stream'
        descriptor.open-at root - 'dir' directory read >dir = ok
        descriptor.read-directory dir >list = ok
        entries.read-directory-entry list = directory in
        entries.read-directory-entry list = end
        entries.read-directory-entry list = end
        descriptor.read-directory dir >again = ok
        entries.read-directory-entry again = directory in
        descriptor.open-at root - 'file' create write >f = ok
        descriptor.read-directory f = bad-descriptor|not-directory
        # remove-directory-at: 'Return error-code::not-empty if the directory is not empty'
        descriptor.remove-directory-at root 'dir' = not-empty
        descriptor.remove-directory-at root 'dir/in' = ok
        descriptor.remove-directory-at root 'file' = not-directory
        descriptor.remove-directory-at root 'file/' = not-directory
        descriptor.remove-directory-at root 'missing' = no-entry
        descriptor.remove-directory-at root '.' = invalid
        descriptor.remove-directory-at root '..' = not-permitted
        descriptor.remove-directory-at root 'dir/' = ok (wasmtime: invalid)
        # unlink-file-at: 'Return error-code::is-directory if the path refers to a directory'
        descriptor.create-directory-at root 'other' = ok
        descriptor.unlink-file-at root 'other' = is-directory
        descriptor.unlink-file-at root 'other/' = is-directory
        descriptor.unlink-file-at root 'file/' = not-directory
        descriptor.unlink-file-at root '../data/file' = not-permitted
        descriptor.unlink-file-at root 'file' = ok
        descriptor.unlink-file-at root 'file' = no-entry
        # the directory itself is still there for who has it open
        descriptor.open-at root - 'other' directory read >gone = ok
        descriptor.remove-directory-at root 'other' = ok
        descriptor.open-at gone - 'x' create write = no-entry
        descriptor.read-directory gone >rest = no-entry (wasmtime: ok)
        entries.read-directory-entry list = end
        ",
    );
}

#[test]
fn renaming() {
    check(
        with_file,
        "
        preopens.get-directories >root = /
        # rename-at: 'similar to renameat in POSIX'
        descriptor.rename-at root 'file' root 'moved' = ok
        descriptor.stat-at root - 'file' = no-entry
        descriptor.rename-at root 'file' root 'x' = no-entry
        descriptor.rename-at root 'moved' root 'moved' = ok
        descriptor.rename-at root 'moved' root '../x' = not-permitted
        descriptor.rename-at root 'moved' root '/x' = not-permitted
        descriptor.rename-at root '.' root 'x' = invalid|busy
        # over a file: it is replaced
        descriptor.open-at root - 'old' create write >old = ok
        descriptor.write old 'old' 0 = 3
        descriptor.rename-at root 'moved' root 'old' = ok
        descriptor.stat-at root - 'old' = regular-file links 1 size 7
        descriptor.stat old = regular-file links 0 size 3
        # over directories
        descriptor.create-directory-at root 'dir' = ok
        descriptor.create-directory-at root 'full' = ok
        descriptor.create-directory-at root 'full/in' = ok
        descriptor.rename-at root 'old' root 'dir' = is-directory
        descriptor.rename-at root 'dir' root 'old' = not-directory
        descriptor.rename-at root 'dir' root 'full' = not-empty|exist
        descriptor.rename-at root 'full' root 'dir' = ok
        descriptor.rename-at root 'dir' root 'dir/in/x' = invalid
        descriptor.rename-at root 'dir/' root 'again/' = ok
        descriptor.rename-at root 'old/' root 'x' = not-directory
        # from one directory to another
        descriptor.open-at root - 'again' directory read,mutate >dir = ok
        descriptor.rename-at root 'old' dir 'file' = ok
        descriptor.stat-at root - 'again/file' = regular-file links 1 size 7
        ",
    );
}

#[test]
fn links() {
    check(
        with_file,
        "
        preopens.get-directories >root = /
        # link-at: 'Fails with no-entry if the old path does not exist, with exist if the new path already exists, and
        # not-permitted if the old path is not a file'
        descriptor.link-at root - 'file' root 'hard' = ok
        descriptor.stat-at root - 'hard' = regular-file links 2 size 7
        descriptor.link-at root - 'file' root 'hard' = exist
        descriptor.link-at root - 'missing' root 'x' = no-entry
        descriptor.create-directory-at root 'dir' = ok
        descriptor.link-at root - 'dir' root 'x' = not-permitted
        descriptor.link-at root follow 'file' root 'x' = invalid
        descriptor.link-at root - 'file' root '../x' = not-permitted
        descriptor.link-at root - 'file' root 'x/' = no-entry
        # symlink-at: 'If old-path starts with /, the function fails with not-permitted'
        descriptor.symlink-at root 'dir/x' 'soft' = ok
        descriptor.symlink-at root '/etc' 'x' = not-permitted
        descriptor.symlink-at root 'a' 'soft' = exist
        descriptor.symlink-at root '' 'x' = no-entry
        descriptor.symlink-at root 'a' '../x' = not-permitted
        # readlink-at: 'Read the contents of a symbolic link'
        descriptor.readlink-at root 'soft' = 'dir/x'
        descriptor.readlink-at root 'hard' = invalid
        descriptor.readlink-at root 'missing' = no-entry
        descriptor.readlink-at root '.' = invalid
        # path-flags: symlink-follow 'As long as the resolved path corresponds to a symbolic link, it is expanded'
        descriptor.stat-at root - 'soft' = symbolic-link links 1 size 5
        descriptor.stat-at root follow 'soft' = no-entry
        descriptor.symlink-at root 'file' 'good' = ok
        descriptor.stat-at root follow 'good' = regular-file links 2 size 7
        descriptor.open-at root - 'good' - read = loop
        descriptor.open-at root follow 'good' - read >f = ok
        descriptor.open-at root - 'good' directory read = loop|not-directory
        # loops
        descriptor.symlink-at root 'self' 'self' = ok
        descriptor.open-at root follow 'self' - read = loop
        descriptor.stat-at root follow 'self' = loop
        descriptor.symlink-at root 'b' 'a' = ok
        descriptor.symlink-at root 'a' 'b' = ok
        descriptor.open-at root follow 'a' - read = loop
        descriptor.stat-at root follow 'a/x' = loop
        # links that lead out
        descriptor.symlink-at root '..' 'up' = ok
        descriptor.open-at root follow 'up' - read = not-permitted
        descriptor.stat-at root - 'up/data/file' = not-permitted
        descriptor.create-directory-at root 'up/new' = not-permitted
        descriptor.rename-at root 'file' root 'up/file' = not-permitted
        descriptor.unlink-file-at root 'up/data/file' = not-permitted
        descriptor.unlink-file-at root 'up' = ok
        # is-same-object: 'testing whether the two descriptors have the same device and inode'
        descriptor.open-at root - 'hard' - read >hard = ok
        descriptor.is-same-object f hard = true
        descriptor.is-same-object f root = false
        # metadata-hash-at: 'the same hash computation as metadata-hash'
        descriptor.metadata-hash f >a = ok
        descriptor.metadata-hash-at root - 'hard' >b = ok
        is-same $a $b = true
        descriptor.metadata-hash-at root - 'dir' >c = ok
        is-same $a $c = false
        descriptor.metadata-hash-at root - 'missing' = no-entry
        ",
    );
}

#[test]
fn a_link_to_an_absolute_place_tells_nothing() {
    let prepare = |world: &World| {
        with_file(world);
        std::os::unix::fs::symlink("/etc/passwd", world.path("data/out")).unwrap();
    };
    check(
        prepare,
        "
        preopens.get-directories >root = /
        # readlink-at: 'If the contents contain an absolute … path …, this function fails with not-permitted'
        descriptor.readlink-at root 'out' = not-permitted
        descriptor.open-at root follow 'out' - read = not-permitted
        descriptor.stat-at root follow 'out' = not-permitted
        descriptor.stat-at root - 'out' = symbolic-link links 1 size 11
        descriptor.unlink-file-at root 'out' = ok
        ",
    );
}

#[test]
fn times() {
    check(
        with_file,
        "
        preopens.get-directories >root = /
        descriptor.open-at root - 'file' - read,write >f = ok
        # set-times: 'Adjust the timestamps of an open file or directory'
        descriptor.set-times f 42.5 69.999999999 = ok
        descriptor.times f = 42.5 69.999999999
        descriptor.set-times f keep 70 = ok
        descriptor.times f = 42.5 70.0
        descriptor.set-times f 0 keep = ok
        descriptor.times f = 0.0 70.0
        descriptor.set-times f 1.1000000000 keep = invalid (wasmtime: ok)
        descriptor.set-times f now now = ok
        descriptor.set-times root 7 8 = ok (wasmtime: bad-descriptor)
        # set-times-at: 'similar to utimensat in POSIX'
        descriptor.symlink-at root 'file' 'soft' = ok
        descriptor.set-times-at root follow 'soft' 1 2 = ok
        descriptor.times-at root - 'file' = 1.0 2.0
        descriptor.set-times-at root - 'soft' 3 4 = ok
        descriptor.times-at root - 'soft' = 3.0 4.0
        descriptor.times-at root follow 'soft' = 1.0 2.0
        descriptor.set-times-at root - 'missing' 1 2 = no-entry
        descriptor.set-times-at root - '../x' 1 2 = not-permitted
        ",
    );
}

#[test]
fn clocks_and_polling() {
    check(
        with_nothing,
        "
        # now: 'successive calls to now will never produce a value less than an earlier one'
        clocks.monotonic-now >a = ok
        clocks.monotonic-now >b = ok
        is-less $b $a = false
        # resolution: 'the duration of a clock tick': more than nothing, less than a second
        clocks.monotonic-resolution >step = ok
        is-less 0 $step = true
        is-less $step 1000000000 = true
        clocks.wall-resolution >step = ok
        is-less 0 $step = true
        is-less $step 1000000000 = true
        # wall-clock: 'seconds and nanoseconds since 1970'; this was written in 2026
        clocks.wall-now >now = ok
        is-less 1767225600000000000 $now = true
        # subscribe-duration: 'resolve once the given duration has elapsed'
        clocks.subscribe-duration 20000000 >p = ok
        poll.block p = ok
        clocks.monotonic-now >c = ok
        is-less $c $b+20000000 = false
        poll.ready p = true
        # subscribe-instant: 'resolve once the specified instant has occurred'; what is past has
        clocks.subscribe-instant 0 >past = ok
        poll.block past = ok
        clocks.subscribe-instant $c+3600000000000 >future = ok
        poll.ready future = false
        clocks.subscribe-duration 18446744073709551615 >never = ok
        # poll: 'one or more of the indices of handles … that is ready'
        poll.poll never past future = 1
        poll.poll past never p = 0 2
        clocks.subscribe-duration 20000000 >soon = ok
        poll.poll never soon future = 1
        # the same one twice
        poll.poll past past = 0 1
        ",
    );
}

#[test]
fn polling_nothing_is_a_trap() {
    // 'This function traps if … the list is empty'
    check(with_nothing, "poll.poll = trap");
}

#[test]
fn what_a_program_has() {
    check(
        with_nothing,
        "
        # 'Get the POSIX-style arguments to the program'
        cli.get-arguments = 'one' 'two words'
        cli.get-environment = A=b=c
        # 'Return a path that programs should use as their initial current working directory'
        cli.initial-cwd = none
        # 'If … not connected to a terminal, none'
        cli.get-terminal-stdin = none
        cli.get-terminal-stdout = none
        cli.get-terminal-stderr = none
        # no input: it ends at once
        cli.get-stdin >in = ok
        input.blocking-read in 10 = closed
        cli.get-stdout >out = ok
        output.check-write out = some
        cli.get-stderr >err = ok
        output.blocking-write-and-flush err 'said to stderr' = ok
        # 'cryptographically-secure random': that two of 64 bits are the same happens once in the life of suns
        random.get-random-bytes 0 = 0
        random.get-random-bytes 70000 = 70000
        random.get-insecure-random-bytes 33 = 33
        random.get-random-u64 >a = ok
        random.get-random-u64 >b = ok
        is-same $a $b = false
        random.get-insecure-random-u64 >a = ok
        random.get-insecure-random-u64 >b = ok
        is-same $a $b = false
        # insecure-seed: 'a constant function within a component instance' is what most hosts are
        random.insecure-seed >a = ok
        ",
    );
}

#[test]
fn connections() {
    check(
        with_nothing,
        "
        # start-bind: 'If the port is zero, the socket will be bound to a random free port'
        tcp.create-tcp-socket ipv4 >s = ok
        tcp.address-family s = ipv4
        tcp.is-listening s = false
        # 'requires local-address to return invalid-state when the socket hasn't been bound yet'
        tcp.local-address s = invalid-state
        tcp.remote-address s = invalid-state
        # finish-bind: 'not-in-progress: A bind operation is not in progress'
        tcp.finish-bind s = not-in-progress
        tcp.finish-connect s = not-in-progress
        tcp.finish-listen s = not-in-progress
        # 'invalid-argument: wrong address family', 'not a unicast address', 'IPv4-mapped IPv6'
        tcp.start-bind s [::1]:0 = invalid-argument
        tcp.start-bind s 224.0.0.1:0 = invalid-argument
        tcp.start-bind s 255.255.255.255:0 = invalid-argument
        # start-listen: 'invalid-state: The socket is not bound to any local address'
        tcp.start-listen s = invalid-state
        tcp.accept s = invalid-state
        tcp.shutdown s both = invalid-state
        tcp.start-bind s 127.0.0.1:0 = ok
        tcp.finish-bind s = ok
        tcp.start-bind s 127.0.0.1:0 = invalid-state
        tcp.local-address s >port = 127.0.0.1
        is-less 0 $port = true
        tcp.set-listen-backlog-size s 0 = invalid-argument
        tcp.set-listen-backlog-size s 8 = ok
        tcp.set-hop-limit s 42 = ok
        tcp.start-listen s = ok
        tcp.finish-listen s = ok
        tcp.is-listening s = true
        # accept: 'would-block: No pending connections at the moment'
        tcp.accept s = would-block
        tcp.start-listen s = invalid-state
        # start-connect: 'invalid-argument: … INADDR_ANY', 'port is set to 0', 'wrong address family', 'not unicast'
        tcp.create-tcp-socket ipv4 >c = ok
        tcp.start-connect c 0.0.0.0:$port = invalid-argument
        tcp.start-connect c 127.0.0.1:0 = invalid-argument
        tcp.start-connect c [::1]:$port = invalid-argument
        tcp.start-connect c 224.0.0.1:$port = invalid-argument
        tcp.start-connect c 127.0.0.1:$port = ok
        tcp.subscribe c >ready = ok
        poll.block ready = ok
        tcp.finish-connect c >in >out = ok
        drop ready = ok
        tcp.remote-address c >peer = 127.0.0.1
        is-same $peer $port = true
        tcp.start-connect c 127.0.0.1:$port = invalid-state
        tcp.subscribe s >ready = ok
        poll.block ready = ok
        tcp.accept s >a >ain >aout = ok
        drop ready = ok
        tcp.address-family a = ipv4
        # 'properties are inherited from the listener socket'
        tcp.hop-limit a = 42
        tcp.set-hop-limit a 7 = ok
        tcp.hop-limit a = 7
        # 'a pair of streams … that can be used to read & write to the connection'
        input.read ain 10 = ''
        output.blocking-write-and-flush out 'question' = ok
        input.blocking-read ain 100 = 'question'
        output.blocking-write-and-flush aout 'answer' = ok
        input.blocking-read in 3 = 'ans'
        input.blocking-read in 100 = 'wer'
        # shutdown: 'send: … followed by a FIN', 'receive: … closed'
        tcp.shutdown c send = ok
        output.check-write out = closed
        input.blocking-read ain 1 = closed
        tcp.shutdown a receive = ok
        input.read ain 1 = closed
        tcp.shutdown a both = ok
        output.check-write aout = closed
        input.blocking-read in 1 = closed
        ",
    );
}

#[test]
fn a_connection_that_is_refused() {
    check(
        with_nothing,
        "
        # a port that was free a moment ago, and that nobody listens at
        tcp.create-tcp-socket ipv4 >s = ok
        tcp.start-bind s 127.0.0.1:0 = ok
        tcp.finish-bind s = ok
        tcp.local-address s >port = 127.0.0.1
        drop s = ok
        tcp.create-tcp-socket ipv4 >c = ok
        # it may be known at once
        tcp.start-connect c 127.0.0.1:$port = connection-refused|ok
        tcp.subscribe c >p = ok
        poll.block p = ok
        tcp.finish-connect c = not-in-progress|connection-refused
        # 'the only valid action left is to drop the socket'
        tcp.start-connect c 127.0.0.1:$port = invalid-state
        ",
    );
}

#[test]
fn settings_of_a_connection() {
    check(
        with_nothing,
        "
        tcp.create-tcp-socket ipv4 >s = ok
        tcp.keep-alive-enabled s = false
        tcp.set-keep-alive-enabled s true = ok
        tcp.keep-alive-enabled s = true
        # 'If the provided value is 0, an invalid-argument error is returned'; others 'might be silently clamped'
        tcp.set-keep-alive-idle-time s 0 = invalid-argument
        tcp.set-keep-alive-idle-time s 5000000000 = ok
        tcp.keep-alive-idle-time s = 5000000000
        tcp.set-keep-alive-interval s 0 = invalid-argument
        tcp.set-keep-alive-interval s 1 = ok
        tcp.keep-alive-interval s = 1000000000
        tcp.set-keep-alive-count s 0 = invalid-argument
        tcp.set-keep-alive-count s 7 = ok
        tcp.keep-alive-count s = 7
        tcp.set-hop-limit s 0 = invalid-argument
        tcp.set-hop-limit s 42 = ok
        tcp.hop-limit s = 42
        tcp.set-receive-buffer-size s 0 = invalid-argument
        tcp.set-receive-buffer-size s 8192 = ok
        tcp.receive-buffer-size s = some
        tcp.set-send-buffer-size s 0 = invalid-argument
        tcp.set-send-buffer-size s 8192 = ok
        tcp.send-buffer-size s = some
        ",
    );
}

#[test]
fn datagrams() {
    check(
        with_nothing,
        "
        udp.create-udp-socket ipv4 >s = ok
        udp.address-family s = ipv4
        udp.local-address s = invalid-state
        udp.remote-address s = invalid-state
        udp.finish-bind s = not-in-progress
        # stream: 'invalid-state: The socket is not bound'
        udp.stream s - = invalid-state
        udp.start-bind s [::1]:0 = invalid-argument
        udp.start-bind s 127.0.0.1:0 = ok
        udp.finish-bind s = ok
        udp.start-bind s 127.0.0.1:0 = invalid-state
        udp.local-address s >port = 127.0.0.1
        udp.remote-address s = invalid-state
        udp.stream s - >in >out = ok
        udp.create-udp-socket ipv4 >c = ok
        udp.start-bind c 127.0.0.1:0 = ok
        udp.finish-bind c = ok
        udp.local-address c >mine = 127.0.0.1
        # 'invalid-argument: … INADDR_ANY', 'the port is set to 0', 'wrong address family'
        udp.stream c 0.0.0.0:$port = invalid-argument
        udp.stream c 127.0.0.1:0 = invalid-argument
        udp.stream c [::1]:$port = invalid-argument
        udp.stream c 127.0.0.1:$port >cin >cout = ok
        udp.remote-address c >peer = 127.0.0.1
        is-same $peer $port = true
        # receive: 'successfully with an empty list when … no results are immediately available'
        incoming.receive in 10 = none
        incoming.receive in 0 = none
        # send: 'must be permitted by a preceding check-send'
        outgoing.check-send cout = some
        outgoing.send cout 'question' - = 1
        incoming.subscribe in >p = ok
        poll.block p = ok
        incoming.receive in 10 = 'question'
        # 'The socket is not connected and no value for remote-address was provided'
        outgoing.check-send out = some
        outgoing.send out 'lost' - = invalid-argument
        outgoing.check-send out = some
        outgoing.send out 'answer' 127.0.0.1:$mine = 1
        incoming.subscribe cin >q = ok
        poll.block q = ok
        incoming.receive cin 1 = 'answer'
        # 'connected … and remote-address … does not match the address passed to stream'
        outgoing.check-send cout = some
        outgoing.send cout 'x' 127.0.0.1:$mine = invalid-argument
        outgoing.subscribe cout >r = ok
        poll.block r = ok
        # an empty datagram is one
        outgoing.check-send cout = some
        outgoing.send cout '' - = 1
        poll.block p = ok
        incoming.receive in 1 = ''
        udp.subscribe s >t = ok
        poll.block t = ok
        udp.set-unicast-hop-limit s 0 = invalid-argument
        udp.set-unicast-hop-limit s 42 = ok
        udp.unicast-hop-limit s = 42
        udp.set-receive-buffer-size s 0 = invalid-argument
        udp.set-receive-buffer-size s 8192 = ok
        udp.receive-buffer-size s = some
        udp.set-send-buffer-size s 0 = invalid-argument
        udp.set-send-buffer-size s 8192 = ok
        udp.send-buffer-size s = some
        ",
    );
}

#[test]
fn datagrams_that_were_not_permitted_are_a_trap() {
    check(
        with_nothing,
        "
        udp.create-udp-socket ipv4 >s = ok
        udp.start-bind s 127.0.0.1:0 = ok
        udp.finish-bind s = ok
        udp.local-address s >port = 127.0.0.1
        udp.stream s - >in >out = ok
        outgoing.send out 'x' 127.0.0.1:$port = trap
        ",
    );
}

#[test]
fn names() {
    check(
        with_nothing,
        "
        # resolve-addresses: 'If the input is an IP address string, the address is parsed and returned as-is'
        names.resolve-addresses '127.0.0.1' >n = ok
        names.subscribe n >p = ok
        poll.block p = ok
        names.resolve-next-address n = 127.0.0.1
        # 'If all addresses have been exhausted, this function returns none'
        names.resolve-next-address n = end
        names.resolve-next-address n = end
        names.resolve-addresses '::1' >n6 = ok
        names.subscribe n6 >p6 = ok
        poll.block p6 = ok
        names.resolve-next-address n6 = ::1
        # 'invalid-argument: name is a syntactically invalid domain name or IP address'
        names.resolve-addresses '' = invalid-argument
        names.resolve-addresses 'a b' = invalid-argument
        names.resolve-addresses 'localhost' >l = ok
        names.subscribe l >q = ok
        poll.block q = ok
        names.resolve-next-address l = 127.0.0.1|::1
        ",
    );
}

#[test]
fn a_program_ends_with_its_status() {
    // exit: 'exit the current instance and any linked instances'; what comes behind is not done.
    let (world, caller) = (World::new(), fixture("caller.wasm"));
    for (script, status, said) in [
        ("cli.exit ok\ncli.get-terminal-stdin", 0, ""),
        ("cli.exit err\ncli.get-terminal-stdin", 1, ""),
        ("cli.get-terminal-stdin", 0, "none\n"),
    ] {
        let ended = world.run(&["run", &caller, script]);
        assert_eq!((ended.code, &*ended.stdout), (Some(status), said), "{script}");
    }
}

#[test]
fn no_function_is_forgotten() {
    let scripts = include_str!("preview2.rs");
    let called: BTreeSet<_> = scripts.split_whitespace().filter_map(|word| word.split_once('.')).collect();
    let called: BTreeSet<_> = called.iter().map(|(_, function)| *function).collect();
    let mut forgotten = Vec::new();
    for package in ["cli", "clocks", "filesystem", "io", "random", "sockets"] {
        let path = repository().join("wit/deps").join(package).with_extension("wit");
        let text = std::fs::read_to_string(path).unwrap();
        let functions = text.lines().filter_map(|line| line.split_once(": func(")).map(|(name, _)| name);
        for name in functions.map(|name| name.trim().trim_start_matches('%')) {
            let with_its_clock = [format!("monotonic-{name}"), format!("wall-{name}")];
            let is_called =
                called.contains(name) || with_its_clock.iter().any(|name| called.contains(&**name));
            if !is_called && !ELSEWHERE.contains(&name) {
                forgotten.push(format!("{package}: {name}"));
            }
        }
    }
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

/// What no script calls by its name: `run` is called by the host, those of errors by the guest where a stream fails, the
/// network is what it gives to all that wants one, the rest is unstable in the specification, and Wasmtime has it only when it is asked for.
const ELSEWHERE: &[&str] = &[
    "run",
    "instance-network",
    "filesystem-error-code",
    "to-debug-string",
    "network-error-code",
    "exit-with-code",
    "display",
    "utc-offset",
];
