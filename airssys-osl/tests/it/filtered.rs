//! What happens where a system call does nothing but say so: what only the calls themselves can show.

use std::{env, fs, process::Command};

use airssys_osl::{
    Error,
    fs::{Flush, OpenOptions},
    policy::Rights,
};
use rustix::io::Errno;

use crate::fixture::Fixture;

/// A system call that ends with a number and does nothing: every one, or those whose second argument is the `request`.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) number: i64,
    pub(crate) request: Option<u64>,
    /// 0 where it says that it was done.
    pub(crate) says: i32,
}

/// Set for the program that is run so: to the number of the call, and to what that says.
const FILTERED: &str = "AIRSSYS_TEST_FILTERED";
const SAID: &str = "AIRSSYS_TEST_SAID";

/// Sets the filter, and becomes the program behind it: the tests may not make system calls of their own.
const FILTER: &str = r#"
my ($prctl, $number, $request, $says, @program) = @ARGV;
my @checks = (0x20, 0, 0, 0, 0x15, 0, $request eq "" ? 1 : 3, $number);
push @checks, (0x20, 0, 0, 24, 0x15, 0, 1, $request) if $request ne "";
my @steps = (@checks, 0x06, 0, 0, 0x00050000 | $says, 0x06, 0, 0, 0x7fff0000);
my $steps = pack('SCCL' x (@steps / 4), @steps);
my $filter = pack('Sx6P', @steps / 4, $steps);
exit 77 if syscall($prctl + 0, 38, 1, 0, 0, 0) != 0 || syscall($prctl + 0, 22, 2, $filter) != 0;
exec @program or exit 77;
"#;

/// Runs one test of this program by itself, with a call that does nothing, and returns what it prints; `None`, loudly, where
/// nothing here can do that.
pub(crate) fn run(test: &str, call: Call) -> Option<String> {
    let request = call.request.map(|request| request.to_string()).unwrap_or_default();
    let mut program = Command::new("perl");
    program.args(["-e", FILTER, &libc::SYS_prctl.to_string(), &call.number.to_string(), &request]);
    program.arg(call.says.to_string()).arg(env::current_exe().unwrap());
    program.args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    match program.env(FILTERED, call.number.to_string()).env(SAID, call.says.to_string()).output() {
        Ok(output) if output.status.code() != Some(77) => {
            let [said, errors] =
                [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
            assert!(output.status.success(), "{said}{errors}");
            Some(said)
        }
        failed => {
            eprintln!("skipped: nothing here makes a system call do nothing: {failed:?}");
            None
        }
    }
}

/// Whether this is the program that is run so.
pub(crate) fn is_filtered() -> bool {
    env::var_os(FILTERED).is_some()
}

/// What the call says there.
pub(crate) fn said() -> i32 {
    env::var(SAID).unwrap().parse().unwrap()
}

#[test]
fn what_is_to_be_flushed_is_the_content_and_the_directory() {
    for number in [libc::SYS_fdatasync, libc::SYS_fsync] {
        let fails = Call { number, request: None, says: Errno::IO.raw_os_error() };
        let Some(said) = run("filtered::where_flushing_fails", fails) else { return };
        assert!(said.contains("noticed"), "{said}");
    }
}

/// Not a test, but the program that is run where one of the two flushes fails.
#[tokio::test]
async fn where_flushing_fails() {
    let Ok(number) = env::var(FILTERED) else { return };
    let of_content = number == libc::SYS_fdatasync.to_string();
    let fails = |result: Result<(), Error>| {
        result.is_err_and(|error| error.raw_os_error() == Some(Errno::IO.raw_os_error()))
    };
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    dir.replace("f", b"old", Flush::Later).await.unwrap();
    assert!(fails(dir.replace("f", b"new", Flush::Now).await), "it is told");
    // The content is flushed before it has its name, the directory after that.
    let found = fs::read(fixture.inside("f")).unwrap();
    assert_eq!(found, if of_content { b"old" } else { b"new" });
    let file = dir.open("f", &OpenOptions::new().write(true)).await.unwrap();
    assert_eq!((fails(file.sync(true).await), fails(file.sync(false).await)), (of_content, !of_content));
    println!("noticed");
}

#[test]
fn a_copy_shares_its_blocks_where_the_file_system_does() {
    let clone = Call { number: libc::SYS_ioctl, request: Some(libc::FICLONE), says: 0 };
    let Some(said) = run("filtered::where_cloning_does_nothing", clone) else { return };
    assert!(said.contains("believed"), "{said}");
}

/// Not a test, but the program that is run where cloning a file is said to be done and is not.
#[tokio::test]
async fn where_cloning_does_nothing() {
    if !is_filtered() {
        return;
    }
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    assert_eq!(dir.copy("a/b", &dir, "c").await.unwrap(), 0, "nothing else was tried");
    assert_eq!(fs::read(fixture.inside("c")).unwrap(), b"");
    println!("believed");
}
