//! An attacker who renames while paths are resolved.

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use airssys_osl::{ErrorKind, fs::Flush, policy::Rights};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::fixture::{Fixture, step_by_step};

const READS: usize = 100_000;
const SWAPS: u64 = 100_000;
const WRITES: usize = 2_000;

/// How long it may take until both have had their turns.
const PATIENCE: Duration = Duration::from_secs(60);

/// Exchanges two names as fast as it can, until it is dropped.
struct Attacker {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Attacker {
    fn start(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let (seen, done) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, rounds, thread: Some(thread) }
    }

    fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.rounds()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn battlefield() -> Fixture {
    let fixture = Fixture::new(Rights::all());
    fs::create_dir(fixture.inside("swap")).unwrap();
    fs::write(fixture.inside("swap/secret"), "inside").unwrap();
    symlink(fixture.outside(""), fixture.inside("trap")).unwrap();
    fixture
}

#[tokio::test]
async fn a_swapped_directory_never_shows_what_is_outside() {
    read_while_swapped(READS, SWAPS).await;
}

/// Each of these is handed to another thread: fewer of them say as much.
#[tokio::test]
async fn a_swapped_directory_shows_nothing_to_some_reads() {
    read_while_swapped(READS / 20, SWAPS / 20).await;
}

async fn read_while_swapped(reads: usize, swaps: u64) {
    let fixture = battlefield();
    let dir = fixture.dir().await;
    let attacker = Attacker::start(fixture.inside("swap"), fixture.inside("trap"));
    let (mut inside, mut refused, mut round) = (0, 0, 0);
    let began = Instant::now();
    // On a busy machine one of the two may have all its turns before the other has one.
    while round < reads
        || attacker.rounds() < swaps
        || (began.elapsed() < PATIENCE && inside.min(refused) == 0)
    {
        round += 1;
        let path = if round % 2 == 0 { "swap/secret" } else { "a/../swap/secret" };
        match dir.read(path, 100).await {
            Ok(bytes) => {
                assert_eq!(bytes, b"inside", "round {round}: the outside was read");
                inside += 1;
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Denied | ErrorKind::Io), "round {round}: {error}");
                refused += 1;
            }
        }
    }
    let rounds = attacker.stop();
    assert!(inside > 0 && refused > 0, "no race was run: {inside} in, {refused} refused, {rounds} swaps");
}

#[tokio::test]
async fn a_swapped_directory_never_takes_a_write_outside() {
    let fixture = battlefield();
    let dir = fixture.dir().await;
    let attacker = Attacker::start(fixture.inside("swap"), fixture.inside("trap"));
    let (mut done, mut round) = (0, 0);
    let began = Instant::now();
    while round < WRITES || (began.elapsed() < PATIENCE && done == 0) {
        round += 1;
        done += usize::from(dir.replace("swap/new", b"x", Flush::Later).await.is_ok());
        done += usize::from(dir.create_dir("swap/dir").await.is_ok());
        done += usize::from(dir.remove_dir("swap/dir").await.is_ok());
        done += usize::from(dir.rename("swap/new", &dir, "swap/secret2").await.is_ok());
    }
    attacker.stop();
    let left: Vec<_> =
        fs::read_dir(fixture.outside("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["secret"], "something was written outside");
    assert!(done > 0, "no write came through at all");
}

#[tokio::test]
async fn renames_elsewhere_refuse_no_path() {
    let field = battlefield();
    let dir = field.dir().await;
    let long = "a/../".repeat(800) + "a/b";
    fs::write(field.outside("swap"), "").unwrap();
    fs::write(field.outside("trap"), "").unwrap();
    let attacker = Attacker::start(field.outside("swap"), field.outside("trap"));
    while attacker.rounds() < 20_000 {
        dir.read(&long, 1_000).await.unwrap();
    }
}

#[test]
fn all_of_it_step_by_step() {
    step_by_step(&[
        a_swapped_directory_shows_nothing_to_some_reads,
        a_swapped_directory_never_takes_a_write_outside,
    ]);
}
