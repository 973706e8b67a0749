//! WASI 0.2, function by function: `wasi:filesystem`, and files as streams of `wasi:io`. See `preview2`.

use crate::{
    calls::{answers_in, answers_to, check},
    preview2::with_nothing,
    program::World,
};

fn with_file(world: &World) {
    world.write("data/file", "content");
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
        ",
    );
}

#[test]
fn files_as_streams_into_each_other() {
    check(
        with_file,
        "
        preopens.get-directories >root = /
        descriptor.open-at root - 'file' - read,write >f = ok
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
    let script = |wait_ms: u64| {
        format!(
            "
            preopens.get-directories >root = /
            descriptor.open-at root - 'file' - read >f = ok
            descriptor.read-via-stream f 0 >in = ok
            input.read in 16 = ''|'content'
            clocks.subscribe-duration {wait_ms}000000 >p = ok
            poll.block p = ok
            input.read in 16 = ''|'content'|closed (wasmtime: '')
            "
        )
    };
    check(with_file, &script(200));
    // How much later that is, is the machine's to say.
    let is_read =
        |wait_ms| answers_to(with_file, &script(wait_ms)).iter().any(|answer| answer == "'content'");
    assert!([200, 2_000, 20_000, 60_000].into_iter().any(is_read), "nothing was read");
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

/// Each function that takes a path, and each way out of its directory: by a path from the root, by `..`, by links that are
/// there before. `OUT` is a file that exists, `NEW` a name that does not; as both sides of what has two.
#[test]
fn no_function_reaches_what_is_outside() {
    const FUNCTIONS: &[&str] = &[
        "descriptor.open-at root - 'OUT' - read",
        "descriptor.open-at root follow 'OUT' - read",
        "descriptor.open-at root - 'NEW' create write",
        "descriptor.stat-at root - 'OUT'",
        "descriptor.stat-at root follow 'OUT'",
        "descriptor.metadata-hash-at root - 'OUT'",
        "descriptor.set-times-at root - 'OUT' 1 2",
        "descriptor.set-times-at root follow 'OUT' 1 2",
        "descriptor.create-directory-at root 'NEW'",
        "descriptor.remove-directory-at root 'EMPTY'",
        "descriptor.unlink-file-at root 'OUT'",
        "descriptor.readlink-at root 'LINK'",
        "descriptor.rename-at root 'OUT' root 'taken'",
        "descriptor.rename-at root 'file' root 'NEW'",
        "descriptor.rename-at root 'file' root 'OUT'",
        "descriptor.link-at root - 'OUT' root 'taken'",
        "descriptor.link-at root - 'file' root 'NEW'",
        "descriptor.symlink-at root 'file' 'NEW'",
    ];
    let world = World::new();
    with_file(&world);
    world.write("data/dir/x", "");
    world.write("secret", "secret");
    world.write("empty/x", "");
    std::fs::remove_file(world.path("empty/x")).unwrap();
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, world.path(name)).unwrap();
    link("secret", "link");
    link("..", "data/up");
    link("../..", "data/dir/up");
    let root = world.dir.path().to_str().unwrap();
    link(root, "data/absolute");
    link("/proc/self/cwd", "data/magic");
    let ways = ["..", "dir/../..", "up", "dir/up", "absolute", "magic", root];
    let mut script = String::from("preopens.get-directories >root = /\n");
    let mut asked = Vec::new();
    for way in ways {
        for function in FUNCTIONS {
            let names = [("OUT", "secret"), ("NEW", "new"), ("EMPTY", "empty"), ("LINK", "link")];
            let call = names.iter().fold((*function).to_owned(), |call, (word, name)| {
                call.replace(word, &format!("{way}/{name}"))
            });
            script.push_str(&format!("{call} = not-permitted\n"));
            asked.push(call);
        }
    }
    let before = outside(&world);
    let answers = answers_in(&world, &script);
    for (call, answer) in asked.iter().zip(&answers[1..]) {
        assert_eq!(answer, "not-permitted", "{call}");
    }
    assert_eq!(answers.len(), 1 + asked.len());
    assert_eq!(outside(&world), before);
    assert!(world.path("data/file").exists() && !world.path("data/taken").exists());
}

/// What is beside the guest's folder, but for what the program itself keeps there.
fn outside(world: &World) -> Vec<(String, u64, Option<std::time::SystemTime>)> {
    let entries = std::fs::read_dir(world.dir.path()).unwrap().map(Result::unwrap);
    let mut names: Vec<_> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap()))
        .filter(|(name, _)| ["secret", "empty", "link", "new"].contains(&name.as_str()))
        .map(|(name, metadata)| (name, metadata.len(), metadata.modified().ok()))
        .collect();
    names.sort();
    names
}
