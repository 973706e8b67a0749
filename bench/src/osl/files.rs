//! Files through the door, and the same without it.

use std::{fs, hint::black_box, os::unix::fs::FileExt as _, path::Path, time::Duration};

use airssys_osl::{
    Os,
    audit::Log,
    fs::{Dir, Flush, OpenOptions},
    policy::{Grant, Policy, Rights},
};

use super::{
    audit::{check, log_options},
    figures::{Failure, figure},
};
use crate::turns::{Turns, timed};

const LEN: usize = 4 * 1024;
const LARGE: usize = 1024 * 1024;
const CALLS: u32 = 2_000;
const LARGE_CALLS: u32 = 50;
/// Few: a file system that does not use an inode again for some seconds gets slow in a loop of new ones.
const WRITE_CALLS: u32 = 10;
/// Long enough that what was written and freed is on its way, so that each write is one by itself.
const PAUSE: Duration = Duration::from_millis(3);

/// Measures reads and atomic writes, decided and recorded in a log, beside `std` and tokio.
///
/// # Errors
///
/// Something failed, or was not what was written.
pub async fn run(rounds: usize) -> Result<(), Failure> {
    let tmp = tempfile::tempdir()?;
    fs::create_dir_all(tmp.path().join("root/one/two"))?;
    let root = tmp.path().join("root");
    let folder = tmp.path().join("log");
    let log = Log::open(&folder, "example.org/bench", log_options())?;
    let policy = Policy::builder().principal("p", [Grant::fs(&root, Rights::all())]).build()?;
    let dir = Os::new(policy, log.clone()).principal("p")?.dir(&root).await?;
    small_reads(&dir, &root, rounds).await?;
    large_reads(&dir, &root, rounds).await?;
    writes(&dir, &root, rounds).await?;
    log.close()?;
    // Each read is one, and each write two; two things were opened.
    let reads = 2 * u64::from(CALLS) + u64::from(LARGE_CALLS);
    check(&folder, 2 + rounds as u64 * (reads + 2 * 2 * u64::from(WRITE_CALLS)))
}

/// A whole file three directories deep, by its name and by an open handle.
async fn small_reads(dir: &Dir, root: &Path, rounds: usize) -> Result<(), Failure> {
    let path = root.join("one/two/file");
    fs::write(&path, vec![7; LEN])?;
    let handle = dir.open("one/two/file", &OpenOptions::new().read(true)).await?;
    let bare = fs::File::open(&path)?;
    let (mut one, mut other) = (vec![0; LEN], vec![0; LEN]);
    let mut times = Turns::new();
    for _ in 0..rounds {
        times.add("std", timed(CALLS, async || kept(fs::read(&path)?)).await?);
        times.add("airssys", timed(CALLS, async || whole(dir, "one/two/file", LEN).await).await?);
        let tokio = async || kept(tokio::fs::read(&path).await?);
        times.add("tokio", timed(CALLS / 10, tokio).await?);
        times.add("pread", timed(CALLS, async || same(bare.read_at(&mut one, 0)?)).await?);
        times.add("held", timed(CALLS, async || same(handle.read_at(&mut other, 0).await?)).await?);
    }
    for (measure, peer) in [("read-4k", "std"), ("read-4k-off-thread", "tokio")] {
        figure(measure, "airssys", times.median("airssys"));
        figure(measure, peer, times.median(peer));
    }
    figure("read-4k-open", "airssys", times.median("held"));
    figure("read-4k-open", "pread", times.median("pread"));
    Ok(())
}

async fn large_reads(dir: &Dir, root: &Path, rounds: usize) -> Result<(), Failure> {
    let path = root.join("large");
    fs::write(&path, vec![7; LARGE])?;
    let mut times = Turns::new();
    for _ in 0..rounds {
        times.add("std", timed(LARGE_CALLS, async || kept(fs::read(&path)?)).await?);
        times.add("airssys", timed(LARGE_CALLS, async || whole(dir, "large", LARGE).await).await?);
    }
    times.tell("read-1m");
    Ok(())
}

/// The same file replaced as a whole: one write by itself, and one right after the other.
async fn writes(dir: &Dir, root: &Path, rounds: usize) -> Result<(), Failure> {
    let bytes = vec![7; LEN];
    let path = root.join("truncated");
    let replace = async || Ok(dir.replace("replaced", bytes.clone(), Flush::Later).await?);
    let truncate = async || Ok(fs::write(&path, &bytes)?);
    let off_thread = async || Ok(tokio::fs::write(&path, &bytes).await?);
    let (mut single, mut in_a_row) = (Turns::new(), Turns::new());
    for _ in 0..rounds {
        for _ in 0..WRITE_CALLS {
            tokio::time::sleep(PAUSE).await;
            single.add("std", timed(1, truncate).await?);
            tokio::time::sleep(PAUSE).await;
            single.add("airssys", timed(1, replace).await?);
            tokio::time::sleep(PAUSE).await;
            single.add("tokio", timed(1, off_thread).await?);
        }
        in_a_row.add("std", timed(WRITE_CALLS, truncate).await?);
        in_a_row.add("airssys", timed(WRITE_CALLS, replace).await?);
    }
    for (measure, peer) in [("replace-4k", "std"), ("replace-4k-off-thread", "tokio")] {
        figure(measure, "airssys", single.median("airssys"));
        figure(measure, peer, single.median(peer));
    }
    in_a_row.tell("replace-4k-in-a-row");
    Ok(())
}

async fn whole(dir: &Dir, path: &str, len: usize) -> Result<(), Failure> {
    let bytes = black_box(dir.read(path, 1 << 30).await?);
    if bytes.len() == len { Ok(()) } else { Err("a part of a file was read".into()) }
}

/// Keeps the compiler from leaving out what nobody looks at.
fn kept(bytes: Vec<u8>) -> Result<(), Failure> {
    drop(black_box(bytes));
    Ok(())
}

fn same(read: usize) -> Result<(), Failure> {
    if read == LEN { Ok(()) } else { Err("a part of a file was read".into()) }
}
