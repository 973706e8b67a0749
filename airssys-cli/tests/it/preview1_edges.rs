//! WASI 0.1 at its edges: several subscriptions, rights, what is renamed over. See `preview1`.

use crate::{preview1::with_folder, program::World, script::check};

#[test]
fn polling_for_several() {
    // A subscription has 48 bytes: userdata; at 8 its kind (clock 0, fd_read 1, fd_write 2); at 16 the clock or descriptor; at
    // 24 the timeout; at 40 whether that is absolute. An event has 32: userdata; at 8 the error; at 10 the kind; at 16 how many
    // bytes; at 24 whether it is the end.
    check(
        with_folder,
        "
        path_open 3 0 'file' 0 66 0 0 >fd = ok
        random_get >subs:144 0 = ok
        random_get >events:96 0 = ok
        put subs 71 = ok
        put subs+16 1 = ok
        put subs+24 3600000000000 = ok
        put subs+48 72 = ok
        put subs+56 1 = ok
        put subs+64 $fd = ok
        put subs+96 73 = ok
        put subs+104 2 = ok
        put subs+112 1 = ok
        # 'Concurrently poll for the occurrence of a set of events': of a clock in an hour, a file and an output two
        poll_oneoff &subs &events 3 >n = ok
        show n = 2 (wasmtime: -)
        show events = 72 (wasmtime: -)
        # no error, fd_read, the bytes that are there
        show events+8 = 65536 (wasmtime: -)
        show events+16 = 7 (wasmtime: -)
        show events+32 = 73 (wasmtime: -)
        show events+40 = 131072 (wasmtime: -)
        # at the end of the file it is ready, too: a read says that there is nothing
        fd_seek $fd 0 2 >at = ok
        poll_oneoff &subs &events 3 >n = ok
        show n = 2 (wasmtime: -)
        show events+16 = 0 (wasmtime: -)
        # a clock alone: a short while; an absolute time that is over
        put subs+24 1000000 = ok
        poll_oneoff &subs &events 1 >n = ok
        show n = 1
        show events = 71
        show events+8 = 0
        put subs+40 1 = ok
        poll_oneoff &subs &events 1 >n = ok
        show events = 71
        # a descriptor that is none, or is not open for that: the event tells, or the call
        put subs+64 99 = ok
        poll_oneoff &subs &events 2 >n = ok|badf
        put subs+64 3 = ok
        poll_oneoff &subs &events 2 >n = ok|badf
        ",
    );
}

#[test]
fn rights() {
    // The rights are told, not taken away: bits of fd_fdstat_get, at 8 those of a descriptor, at 16 those of what it opens.
    check(
        with_folder,
        "
        path_open 3 0 'file' 0 2 0 0 >in = ok
        path_open 3 0 'file' 0 64 0 0 >out = ok
        path_open 3 0 'file' 0 66 0 0 >both = ok
        path_open 3 0 'file' 0 0 0 0 >none = ok
        path_open 3 0 '.' 2 4 0 0 >dir = ok
        fd_fdstat_get $in >stat:64 = ok
        show stat+8 = 144703679 (wasmtime: -)
        show stat+16 = 0 (wasmtime: -)
        fd_fdstat_get $out >stat:64 = ok
        show stat+8 = 148898301 (wasmtime: -)
        fd_fdstat_get $both >stat:64 = ok
        show stat+8 = 148898303 (wasmtime: -)
        fd_fdstat_get $none >stat:64 = ok
        show stat+8 = 144703679 (wasmtime: -)
        # a directory is no file: it has no right to seek, whatever was asked for
        fd_fdstat_get $dir >stat:64 = ok
        show stat = 3
        show stat+8 = 129498624 (wasmtime: -)
        show stat+16 = 267911167 (wasmtime: -)
        fd_fdstat_get 0 >stat:64 = ok
        show stat+8 = 134217730 (wasmtime: -)
        fd_fdstat_get 1 >stat:64 = ok
        show stat+8 = 134217792 (wasmtime: -)
        fd_fdstat_set_rights $in 2 0 = notsup
        fd_fdstat_set_rights 99 2 0 = badf
        fd_fdstat_set_flags 0 4 = badf
        fd_fdstat_set_flags $dir 1 = badf|isdir
        ",
    );
}

#[test]
fn renaming_over() {
    let prepare = |world: &World| {
        with_folder(world);
        world.write("data/old", "old");
        world.write("data/full/in", "");
    };
    check(
        prepare,
        "
        # rename: 'if newpath already exists, it will be atomically replaced'; who has it open keeps it
        path_open 3 0 'old' 0 2 0 0 >old = ok
        path_rename 3 'file' 3 'old' = ok
        fd_read $old r16:kept >n = ok
        bytes kept = 'old'
        path_open 3 0 'old' 0 2 0 0 >new = ok
        fd_read $new r16:replaced >n = ok
        bytes replaced = 'content'
        fd_filestat_get $old >stat:64 = ok
        show stat+24 = 0
        # 'newpath is a nonempty directory'
        path_create_directory 3 'dir' = ok
        path_rename 3 'dir' 3 'full' = notempty|exist
        path_rename 3 'dir/' 3 'again/' = ok
        path_rename 3 'old/' 3 'x' = notdir
        path_open 3 0 'again' 2 2 0 0 >dir = ok
        path_rename 3 'old' $dir 'moved' = ok
        path_rename $dir 'moved' 3 'full/in' = ok
        path_filestat_get 3 0 'full/in' >stat:64 = ok
        show stat+32 = 7
        # two links that lead to one another
        path_symlink 'b' 3 'a' = ok
        path_symlink 'a' 3 'b' = ok
        path_open 3 1 'a' 0 2 0 0 >x = loop
        path_open 3 0 'a/x' 0 2 0 0 >x = loop
        path_filestat_set_times 3 1 'a' 1 1 5 = loop
        path_filestat_set_times 3 0 'a' 1 1 5 = ok
        path_unlink_file 3 'a' = ok
        ",
    );
}
