//! WASI 0.1, function by function, by a module that calls them through the program. The sentences are those of the
//! specification (`wasi_snapshot_preview1.witx`), or of POSIX, which it refers to.

use std::{
    io::{Read as _, Write as _},
    process::Stdio,
};

use crate::{
    program::World,
    script::{FUNCTIONS, check},
};

pub(crate) fn with_folder(world: &World) {
    world.write("data/file", "content");
}

// Rights: fd_read is 2, fd_write 64. Open flags: creat 1, directory 2, excl 4, trunc 8.

#[test]
fn opening() {
    check(
        with_folder,
        "
        # path_open: 'similar to openat in POSIX'
        path_open 3 0 'file' 0 2 0 0 >fd = ok
        path_open 3 0 'missing' 0 2 0 0 >x = noent
        path_open 3 0 '' 0 2 0 0 >x = noent
        path_open 3 0 'file/' 0 2 0 0 >x = notdir
        path_open 3 0 'file/x' 0 2 0 0 >x = notdir
        path_open 3 0 'file' 2 2 0 0 >x = notdir
        path_open 3 0 'file\\0' 0 2 0 0 >x = inval|ilseq
        # 'an absolute path … fails with EPERM'; so does one that leaves
        path_open 3 0 '/file' 0 2 0 0 >x = perm
        path_open 3 0 '../data/file' 0 2 0 0 >x = perm
        path_open 3 0 'a/../../file' 0 2 0 0 >x = noent|perm
        path_open 3 0 './/./file' 0 2 0 0 >x = ok
        # oflags: creat 'create file if it does not exist', excl 'fail if file already exists'
        path_open 3 0 'file' 5 2 0 0 >x = exist
        path_open 3 0 'new' 5 0 0 0 >x = ok
        path_open 3 0 'new/' 1 64 0 0 >x = isdir
        path_open 3 0 '.' 3 0 0 0 >x = inval
        # excl without creat means nothing
        path_open 3 0 'file' 4 2 0 0 >x = ok
        # a directory cannot be written to
        path_open 3 0 '.' 2 66 0 0 >x = isdir
        path_open 3 0 '.' 0 66 0 0 >x = isdir
        path_open 3 0 '.' 2 2 0 0 >dir = ok
        path_open 3 0 '.' 0 0 0 0 >x = ok
        path_open $dir 0 'file' 0 2 0 0 >x = ok
        # trunc: 'truncate file to size 0'
        path_open 3 0 'file' 8 64 0 0 >cut = ok
        fd_filestat_get $cut >stat:64 = ok
        show stat+32 = 0
        # not a directory, not a descriptor, not a flag
        path_open $fd 0 'x' 0 2 0 0 >x = notdir
        path_open 0 0 'x' 0 2 0 0 >x = badf
        path_open 99 0 'x' 0 2 0 0 >x = badf
        path_open 3 0 'file' 0 2 0 16 >synced = ok (wasmtime: notsup)
        ",
    );
}

#[test]
fn reading_and_writing() {
    check(
        with_folder,
        "
        path_open 3 0 'file' 0 66 0 0 >fd = ok
        fd_read $fd r16:first >n = ok
        show n = 7
        bytes first = 'content'
        # 'no bytes is the end'
        fd_read $fd r16:second >n = ok
        show n = 0
        fd_tell $fd >at = ok
        show at = 7
        # lseek: beyond the end is no error, before the beginning is EINVAL
        fd_seek $fd 100 0 >at = ok
        fd_seek $fd -101 1 >at = inval
        fd_seek $fd 0 9 >at = inval (wasmtime: trap)
        fd_seek $fd -1 2 >at = ok
        show at = 6
        # fd_pread: 'without using and updating the file descriptor's offset'
        fd_pread $fd r3:third 1 >n = ok
        bytes third = 'ont'
        fd_tell $fd >at = ok
        show at = 6
        fd_pread $fd r3:far 5000 >n = ok
        show n = 0
        fd_pread $fd r3:far -1 >n = inval
        # pwrite: behind the end, zeros fill the gap
        fd_pwrite $fd w'!' 9 >n = ok
        fd_pread $fd r16:gap 0 >n = ok
        show n = 10
        bytes gap = 'content\\0\\0!'
        # zero length
        fd_write $fd w'' >n = ok
        show n = 0
        fd_read $fd r0:none >n = ok
        show n = 0
        # what a descriptor was opened for
        path_open 3 0 'file' 0 2 0 0 >in = ok
        fd_write $in w'x' >n = badf
        fd_filestat_set_size $in 0 = badf|inval (wasmtime: badf|inval|acces|perm)
        path_open 3 0 'file' 0 64 0 0 >out = ok
        fd_read $out r1:x >n = badf
        # sync: 'no effect if the file descriptor is not opened for writing'
        fd_sync $in = ok
        fd_datasync $out = ok
        # fd_filestat_set_size: 'the extra bytes are filled with zeros'
        fd_filestat_set_size $fd 3 = ok
        fd_filestat_set_size $fd 5 = ok
        fd_pread $fd r16:sized 0 >n = ok
        bytes sized = 'con\\0\\0'
        fd_filestat_set_size $fd -1 = inval|fbig
        fd_advise $fd 0 0 3 = ok
        fd_advise $fd 0 0 9 = inval (wasmtime: trap)
        fd_allocate $fd 0 10 = notsup
        ",
    );
}

#[test]
fn appending() {
    check(
        with_folder,
        "
        path_open 3 0 'file' 0 66 0 1 >fd = ok
        fd_seek $fd 0 0 >at = ok
        fd_write $fd w'+' >n = ok
        fd_tell $fd >at = ok
        show at = 8
        # Linux: 'if a file is opened with O_APPEND, pwrite appends data to the end'
        fd_pwrite $fd w'-' 0 >n = ok
        fd_pread $fd r16:all 0 >n = ok
        bytes all = 'content+-'
        # fd_fdstat_set_flags: append can be taken away
        fd_fdstat_set_flags $fd 0 = ok
        fd_seek $fd 0 0 >at = ok
        fd_write $fd w'C' >n = ok
        fd_pread $fd r16:all 0 >n = ok
        bytes all = 'Content+-'
        fd_fdstat_set_flags $fd 16 = inval
        ",
    );
}

#[test]
fn directories() {
    check(
        with_folder,
        "
        path_create_directory 3 'dir' = ok
        path_create_directory 3 'dir' = exist
        path_create_directory 3 'dir/in/' = ok
        path_create_directory 3 '.' = exist
        path_create_directory 3 '..' = perm
        path_create_directory 3 '' = noent
        path_create_directory 3 'missing/x' = noent
        path_remove_directory 3 'dir' = notempty
        path_remove_directory 3 'dir/in' = ok
        path_remove_directory 3 'file' = notdir
        path_remove_directory 3 'missing' = noent
        path_remove_directory 3 '.' = inval
        path_remove_directory 3 '..' = perm
        path_remove_directory 3 'dir/' = ok (wasmtime: inval)
        path_create_directory 3 'dir' = ok (wasmtime: exist)
        path_unlink_file 3 'dir' = isdir
        path_unlink_file 3 'dir/' = isdir
        path_unlink_file 3 'file/' = notdir
        path_unlink_file 3 'missing' = noent
        path_unlink_file 3 '../data/file' = perm
        path_unlink_file 3 'file' = ok
        # fd_readdir: '.' and '..' come first; a buffer that is full means that there is more
        path_open 3 0 'dir' 2 2 0 0 >dir = ok
        fd_readdir $dir >list:64 64 0 >used = ok
        show used = 51
        show list = 1
        show list+25 = 2
        # 'the location within the directory to start reading'
        fd_readdir $dir >rest:64 64 1 >used = ok
        show used = 26
        fd_readdir $dir >rest:64 10 1 >used = ok
        show used = 10
        fd_readdir $dir >rest:64 64 1 >used = ok
        show used = 26
        fd_readdir $dir >rest:64 64 2 >used = ok
        show used = 0
        fd_readdir $dir >rest:64 64 99 >used = ok
        show used = 0
        fd_read $dir r1:x >n = isdir|badf
        fd_seek $dir 0 0 >at = isdir|badf
        ",
    );
}

#[test]
fn renaming_and_linking() {
    check(
        with_folder,
        "
        path_rename 3 'file' 3 'moved' = ok
        path_rename 3 'file' 3 'x' = noent
        path_rename 3 'moved' 3 'moved' = ok
        path_rename 3 'moved' 3 '../x' = perm
        path_rename 3 'moved' 3 '/x' = perm
        path_rename 3 '.' 3 'x' = inval|busy
        path_create_directory 3 'dir' = ok
        path_create_directory 3 'other' = ok
        path_rename 3 'moved' 3 'dir' = isdir
        path_rename 3 'dir' 3 'moved' = notdir
        path_rename 3 'dir' 3 'other' = ok
        path_rename 3 'moved' 3 'other/file' = ok
        path_rename 3 'other' 3 'other/in' = inval
        # path_link: 'create a hard link'
        path_link 3 0 'other/file' 3 'hard' = ok
        path_filestat_get 3 0 'hard' >stat:64 = ok
        show stat+24 = 2
        path_link 3 0 'other/file' 3 'hard' = exist
        path_link 3 0 'other' 3 'x' = perm
        path_link 3 0 'other/file' 3 'x/' = noent
        path_link 3 0 'missing' 3 'x' = noent
        path_link 3 1 'other/file' 3 'x' = inval
        path_link 3 0 'other/file' 3 '../x' = perm
        path_open 3 0 'hard' 0 66 0 0 >fd = ok
        # path_symlink, path_readlink
        path_symlink 'other/file' 3 'soft' = ok
        path_readlink 3 'soft' >target:64 64 >n = ok
        show n = 10
        bytes target = 'other/file'
        path_readlink 3 'soft' >target:64 5 >n = ok
        show n = 5
        path_readlink 3 'hard' >target:64 64 >n = inval
        path_readlink 3 '.' >target:64 64 >n = inval
        path_symlink '/etc' 3 'x' = perm
        path_symlink '' 3 'x' = noent
        path_symlink 'a' 3 'soft' = exist
        path_symlink 'a' 3 'x/' = noent
        path_symlink 'a' 3 'other/' = exist
        # following
        path_open 3 0 'soft' 0 2 0 0 >x = loop
        path_open 3 1 'soft' 0 2 0 0 >x = ok
        path_symlink 'self' 3 'self' = ok
        path_open 3 1 'self' 0 2 0 0 >x = loop
        path_filestat_get 3 1 'self' >stat:64 = loop
        path_filestat_get 3 0 'self' >stat:64 = ok
        path_symlink '..' 3 'up' = ok
        path_open 3 1 'up' 0 2 0 0 >x = perm
        path_open 3 0 'up/data/hard' 0 2 0 0 >x = perm
        path_filestat_get 3 1 'up' >stat:64 = perm
        path_unlink_file 3 'up' = ok
        ",
    );
}

#[test]
fn metadata_and_times() {
    check(
        with_folder,
        "
        path_filestat_get 3 0 'file' >stat:64 = ok
        show stat+32 = 7
        show stat+16 = 4
        path_filestat_get 3 0 '.' >stat:64 = ok
        show stat+16 = 3
        path_filestat_get 3 0 '..' >stat:64 = perm
        path_filestat_get 3 0 'missing' >stat:64 = noent
        path_filestat_get 3 2 'file' >stat:64 = inval (wasmtime: trap)
        # fst_flags: atim 1, atim_now 2, mtim 4, mtim_now 8; both of a pair are EINVAL
        path_filestat_set_times 3 0 'file' 42 69 5 = ok
        path_filestat_get 3 0 'file' >stat:64 = ok
        show stat+40 = 42
        show stat+48 = 69
        path_filestat_set_times 3 0 'file' 1 1 3 = inval
        path_filestat_set_times 3 0 'file' 1 1 12 = inval
        path_filestat_set_times 3 0 'missing' 1 1 5 = noent
        path_open 3 0 'file' 0 66 0 0 >fd = ok
        fd_filestat_set_times $fd 7 8 5 = ok
        fd_filestat_set_times $fd 0 0 0 = ok
        fd_filestat_get $fd >stat:64 = ok
        show stat+40 = 7
        show stat+48 = 8
        fd_filestat_set_times 3 0 1000 4 = ok (wasmtime: badf)
        fd_filestat_get 3 >stat:64 = ok
        show stat+48 = 1000 (wasmtime: -)
        ",
    );
}

#[test]
fn descriptors() {
    check(
        with_folder,
        "
        fd_prestat_get 3 >pre = ok
        show pre = 4294967296
        fd_prestat_dir_name 3 >name 1 = ok
        fd_prestat_dir_name 3 >name 0 = nametoolong
        fd_prestat_get 4 >pre = badf
        path_open 3 0 'file' 0 2 0 5 >fd = ok
        fd_prestat_get $fd >pre = badf
        # fdstat: the flags are those that it was opened with
        fd_fdstat_get $fd >stat:64 = ok
        show stat = 327684
        fd_fdstat_set_rights $fd 0 0 = notsup
        # fd_renumber: 'atomically replace a file descriptor'
        path_open 3 0 'file' 0 2 0 0 >to = ok
        fd_renumber $fd $to = ok
        fd_close $fd = badf
        fd_fdstat_get $to >stat:64 = ok
        show stat = 327684
        fd_renumber $to 99 = badf
        fd_renumber $to $to = ok
        fd_close $to = ok
        fd_close $to = badf
        # streams have no position and no metadata of their own
        fd_seek 0 0 1 >at = spipe
        fd_tell 1 >at = spipe
        fd_pread 0 r1:x 0 >n = spipe
        fd_pwrite 1 w'x' 0 >n = spipe
        fd_write 0 w'x' >n = badf
        fd_read 1 r1:x >n = badf
        fd_filestat_get 1 >stat:64 = ok
        # nothing is a socket
        sock_shutdown 3 1 = notsock
        sock_shutdown 99 1 = badf
        sock_accept 3 0 >new = notsock (wasmtime: -)
        sock_recv 3 &name 0 0 >n >flags = notsock (wasmtime: -)
        sock_send 3 &name 0 0 >n = notsock (wasmtime: -)
        proc_raise 9 = notsup
        sched_yield = ok
        # a preopened directory can be closed
        fd_close 3 = ok
        path_open 3 0 'file' 0 2 0 0 >x = badf
        ",
    );
}

#[test]
fn arguments_clocks_and_polling() {
    check(
        with_folder,
        "
        # the name of the program and two arguments; A=b
        args_sizes_get >count >size = ok
        show count = 3
        show size = 20
        args_get >pointers:64 >strings:64 = ok
        bytes strings = 'guest.wat\\0one\\0--two\\0'
        environ_sizes_get >count >size = ok
        show count = 1
        show size = 4
        environ_get >pointers:64 >strings:64 = ok
        bytes strings = 'A=b\\0'
        clock_res_get 0 >step = ok
        clock_res_get 1 >step = ok
        # 'for unsupported clocks, return errno::inval'
        clock_res_get 2 >step = inval (wasmtime: badf)
        clock_time_get 3 0 >time = inval (wasmtime: badf)
        clock_time_get 9 0 >time = inval (wasmtime: trap)
        clock_time_get 1 0 >time = ok
        random_get >random:64 64 = ok
        random_get >random 0 = ok
        poll_oneoff >in:64 >out:64 0 >n = inval
        # one subscription of zeros: the real-time clock, a duration of nothing
        poll_oneoff >in:64 >out:64 1 >n = ok
        show n = 1
        show out+8 = 0
        ",
    );
}

#[test]
fn no_function_is_forgotten() {
    let scripts = include_str!("preview1.rs");
    let is_called =
        |name: &str| scripts.lines().any(|line| line.trim_start().starts_with(&format!("{name} ")));
    let forgotten: Vec<_> = FUNCTIONS.iter().filter(|(name, _)| !is_called(name)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[test]
fn what_is_known_of_each_of_many_names() {
    let many = |world: &World| (0..100).for_each(|name| world.write(&format!("data/{name}"), ""));
    // Each entry has 24 bytes and its name: 100 names in pieces of 64 bytes, gone on with by the cookie of the last whole
    // entry, are the same as all in one piece.
    check(
        many,
        "
        fd_readdir 3 >all:4096 4096 0 >used = ok
        show used = 2641
        show all = 1
        fd_readdir 3 >piece:64 64 0 >used = ok
        show used = 64
        show piece+25 = 2
        fd_readdir 3 >piece:64 64 2 >used = ok
        show used = 64
        show piece = 3
        fd_readdir 3 >piece:64 64 99 >used = ok
        show used = 64
        show piece = 100
        fd_readdir 3 >piece:64 64 3 >used = ok
        show piece = 4
        fd_readdir 3 >piece:64 64 102 >used = ok
        show used = 0
        ",
    );
}

#[test]
fn only_so_many_files_are_open_at_a_time() {
    // 128 and the preopened one, which does not count. Wasmtime has no such limit.
    let open = "path_open 3 0 'file' 0 2 0 0 >x = ok\n".repeat(128);
    let script = format!(
        "{open}path_open 3 0 'file' 0 2 0 0 >x = dquot (wasmtime: ok)\nfd_close $x = ok (wasmtime: -)\npath_open 3 0 'file' 0 2 0 0 >x = ok (wasmtime: -)"
    );
    let script = script.replace("fd_close $x", "fd_close 4");
    check(with_folder, &script);
}

#[test]
fn input_is_waited_for_and_passed_on() {
    let world = World::new();
    // Waits for input or ten minutes, whichever is first, and copies; until there is no more.
    let module = r#"(module
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "_start")
        (i32.store8 (i32.const 8) (i32.const 1))
        (i32.store (i32.const 64) (i32.const 1))
        (i64.store (i32.const 72) (i64.const 600000000000))
        (loop
          (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 2) (i32.const 256)))
          (if (i32.ne (i32.load (i32.const 256)) (i32.const 1)) (then (call $exit (i32.const 1))))
          (if (i32.ne (i32.load8_u (i32.const 138)) (i32.const 1)) (then (call $exit (i32.const 2))))
          (i32.store (i32.const 260) (i32.const 1024))
          (i32.store (i32.const 264) (i32.const 4096))
          (drop (call $read (i32.const 0) (i32.const 260) (i32.const 1) (i32.const 264)))
          (if (i32.load (i32.const 264)) (then
            (drop (call $write (i32.const 1) (i32.const 260) (i32.const 1) (i32.const 268)))
            (br 1))))
        (call $exit (i32.const 7))))"#;
    world.write("module.wat", module);
    let mut command = world.command(&["run", "module.wat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    for piece in [&b"first"[..], b"second"] {
        stdin.write_all(piece).unwrap();
        let mut passed = vec![0; piece.len()];
        stdout.read_exact(&mut passed).unwrap();
        assert_eq!(passed, piece);
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn what_is_read_only_stays() {
    let world = World::new();
    with_folder(&world);
    let module = r#"(module
      (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 0) "file")
      (func (export "unlink") (param i32) (result i32) (call $unlink (local.get 0) (i32.const 0) (i32.const 4))))"#;
    world.write("module.wat", module);
    // The folder twice: under one name it can be changed, under the other it cannot.
    let run = |fd| {
        let dirs = ["--dir", "data::/r:ro", "--dir", "data::/w"];
        world.run(&[&["run"], &dirs[..], &["--invoke", "unlink", "module.wat", fd]].concat()).stdout
    };
    assert_eq!(run("3"), "63\n", "not permitted");
    assert!(world.path("data/file").exists());
    assert_eq!(run("4"), "0\n");
    assert!(!world.path("data/file").exists());
}

#[test]
fn a_pointer_out_of_bounds_ends_the_guest() {
    let world = World::new();
    let module = r#"(module
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 0) "\00\00\00\00\ff\ff\ff\ff")
      (func (export "random") (drop (call $random (i32.const 65530) (i32.const 7))))
      (func (export "huge") (drop (call $random (i32.const 16) (i32.const -1))))
      (func (export "list") (drop (call $write (i32.const 1) (i32.const 65532) (i32.const 1) (i32.const 8))))
      (func (export "buffer") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
      (func (export "result") (drop (call $random (i32.const -1) (i32.const 1))))
      (func (export "many") (result i32) (call $write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 8)))
      (func (export "poll") (result i32)
        (call $poll (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 8))))"#;
    world.write("module.wat", module);
    for function in ["random", "huge", "list", "buffer", "result"] {
        let ended = world.run(&["run", "--invoke", function, "module.wat"]);
        assert_eq!(ended.code, Some(134), "{function}: {}", ended.stderr);
    }
    for function in ["many", "poll"] {
        assert_eq!(world.run(&["run", "--invoke", function, "module.wat"]).stdout, "28\n", "{function}");
    }
}
