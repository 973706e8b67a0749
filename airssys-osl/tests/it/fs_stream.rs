//! Files as streams, deadlines and locks.

use std::{
    fs,
    io::SeekFrom,
    pin::pin,
    sync::mpsc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use airssys_osl::{
    Action, ErrorKind, Os, Resolution,
    audit::Outcome,
    fs::{LockKind, OpenOptions},
    policy::Rights,
    testing::MemorySink,
};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use crate::fixture::{Fixture, assert_fails, last, step_by_step};

const READ: OpenOptions = OpenOptions::new().read(true);
const CREATE: OpenOptions = OpenOptions::new().write(true).create(true);

#[tokio::test]
async fn a_file_is_a_stream() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    let content: Vec<u8> = (0..5_000_000).map(|index| (index * 31 % 251) as u8).collect();
    let mut file = dir.open("f", &CREATE.read(true)).await.unwrap();
    file.write_all(&content).await.unwrap();
    file.flush().await.unwrap();
    assert!(fs::read(fixture.inside("f")).unwrap() == content);
    let mut read = Vec::new();
    assert_eq!(file.read_to_end(&mut read).await.unwrap(), 0, "the position is at the end");
    assert_eq!(file.seek(SeekFrom::Start(0)).await.unwrap(), 0);
    file.read_to_end(&mut read).await.unwrap();
    assert!(read == content);
    assert_eq!(file.seek(SeekFrom::End(-10)).await.unwrap(), 4_999_990);
    assert_eq!(file.seek(SeekFrom::Current(5)).await.unwrap(), 4_999_995);
    let mut tail = [0; 5];
    file.read_exact(&mut tail).await.unwrap();
    assert_eq!(tail, content[4_999_995..]);
    assert!(file.seek(SeekFrom::Current(-6_000_000)).await.is_err());
    assert!(file.seek(SeekFrom::End(-6_000_000)).await.is_err());
    file.rewind().await.unwrap();
    file.write_all(b"mixed").await.unwrap();
    let mut next = [0; 5];
    file.read_exact(&mut next).await.unwrap();
    assert_eq!(next, content[5..10], "a read goes on where the write ended");
    let mut clone = file.clone();
    clone.read_exact(&mut next).await.unwrap();
    assert_eq!(&next, b"mixed", "a clone begins at 0");
    let mut copy = dir.open("g", &CREATE).await.unwrap();
    file.rewind().await.unwrap();
    assert_eq!(tokio::io::copy(&mut file, &mut copy).await.unwrap(), 5_000_000);
    copy.shutdown().await.unwrap();
    assert_eq!(fs::metadata(fixture.inside("g")).unwrap().len(), 5_000_000);
}

#[tokio::test]
async fn what_is_cold_is_streamed_too() {
    let fixture = Fixture::new(Rights::READ);
    fs::write(fixture.inside("cold"), vec![7; 700_000]).unwrap();
    let cold = fs::File::open(fixture.inside("cold")).unwrap();
    cold.sync_all().unwrap();
    rustix::fs::fadvise(&cold, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let mut read = Vec::new();
    fixture.dir().await.open("cold", &READ).await.unwrap().read_to_end(&mut read).await.unwrap();
    assert_eq!(read, vec![7; 700_000]);
}

#[tokio::test]
async fn each_part_of_a_stream_is_decided_and_recorded() {
    let fixture = Fixture::new(Rights::all());
    let mut file = fixture.dir().await.open("a/b", &READ.write(true)).await.unwrap();
    fixture.sink.take();
    let mut bytes = [0; 3];
    file.read_exact(&mut bytes).await.unwrap();
    let records = fixture.sink.take();
    assert_eq!((records.len(), records[0].action, records[0].bytes), (1, Action::FsRead, 3));
    file.write_all(b"IDE").await.unwrap();
    file.flush().await.unwrap();
    assert_eq!(last(&fixture.sink.take()).action, Action::FsWrite);

    fixture.os.reload(fixture.policy(Rights::READ));
    let error = file.write_all(b"x").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    let cause = error.into_inner().unwrap().downcast::<airssys_osl::Error>().unwrap();
    assert_eq!(cause.rule(), Some("r: lacks write"));
    fixture.os.reload(fixture.policy(Rights::WRITE));
    file.rewind().await.unwrap();
    let mut buffer = [9; 4];
    assert!(file.read(&mut buffer).await.is_err());
    assert_eq!(buffer, [0; 4], "what was denied is not handed out");
    assert_eq!(fs::read(fixture.inside("a/b")).unwrap(), b"insIDE");
}

#[tokio::test]
async fn what_fails_behind_the_back_is_told_at_the_flush() {
    let fixture = Fixture::new(Rights::all());
    let mut file = fixture.dir().await.open("a/b", &CREATE).await.unwrap();
    file.seek(SeekFrom::Start(i64::MAX as u64)).await.unwrap();
    // Depending on who is faster it comes with the write or with the flush.
    let result = match file.write_all(b"beyond every file").await {
        Ok(()) => file.flush().await,
        error => error,
    };
    assert!(result.is_err());
    file.flush().await.unwrap();
}

#[tokio::test]
async fn appending_is_at_the_end_whatever_the_position() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    let mut file = dir.open("a/b", &OpenOptions::new().append(true)).await.unwrap();
    file.write_all(b"+1").await.unwrap();
    file.flush().await.unwrap();
    file.seek(SeekFrom::Start(0)).await.unwrap();
    file.write_all(b"+2").await.unwrap();
    file.flush().await.unwrap();
    file.write_at(b"+3", 0).await.unwrap();
    assert_eq!(fs::read(fixture.inside("a/b")).unwrap(), b"inside+1+2+3");
    let both = OpenOptions::new().append(true).truncate(true);
    assert_fails(dir.open("a/b", &both).await, ErrorKind::Invalid, "append and truncate");
}

#[tokio::test]
async fn a_whole_open_file_has_a_limit() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    let file = dir.open("a/b", &READ).await.unwrap();
    assert_eq!(file.read_to_limit(6).await.unwrap(), b"inside");
    assert_fails(file.read_to_limit(5).await, ErrorKind::LimitExceeded, "one byte too many");
    let sparse = dir.open("sparse", &CREATE.read(true)).await.unwrap();
    sparse.set_len(1 << 42).await.unwrap();
    assert_fails(sparse.read_to_limit(1 << 30).await, ErrorKind::LimitExceeded, "4 TiB of nothing");
    assert_fails(dir.read("sparse", 1 << 30).await, ErrorKind::LimitExceeded, "4 TiB of nothing");
    let mut end = [1; 4];
    assert_eq!(sparse.read_at(&mut end, (1 << 42) - 2).await.unwrap(), 2);
    assert_eq!(end, [0, 0, 1, 1]);
}

/// Runs `test` in a runtime whose one blocking thread waits until it is released.
#[tokio::test]
async fn a_file_is_local_however_paths_are_resolved() {
    // In memory, where there is such a place: that is of this machine.
    let fixture = Fixture::light(Rights::READ);
    let is_local = async |resolution| {
        let os = Os::builder(fixture.policy(Rights::READ), MemorySink::new()).resolution(resolution).build();
        let dir = os.principal("p").unwrap().dir(fixture.inside("")).await.unwrap();
        dir.open("a/b", &READ).await.unwrap().is_local()
    };
    if !is_local(Resolution::Kernel).await {
        eprintln!("skipped: the files of tests are on no file system that is known to be of this machine");
        return;
    }
    assert!(is_local(Resolution::Steps).await);
}

fn with_busy_pool(test: impl AsyncFnOnce(&Fixture, &airssys_osl::fs::Dir)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let fixture = Fixture::new(Rights::all());
        let dir = fixture.dir().await;
        let (release, wait) = mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || wait.recv());
        test(&fixture, &dir).await;
        drop(release);
        let _ = busy.await;
    });
}

/// What comes of an operation that need not wait. Somebody who mounts something meanwhile makes the kernel unsure of
/// paths, and then it waits all the same: once more.
fn at_once<T, F: Future<Output = T>>(operation: impl Fn() -> F) -> T {
    for _ in 0..1000 {
        let mut operation = pin!(operation());
        if let Poll::Ready(done) = operation.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
    panic!("it waits");
}

#[test]
fn a_deadline_ends_what_takes_too_long() {
    with_busy_pool(async |fixture, dir| {
        let dir = dir.with_deadline(Duration::from_secs(5));
        let mut change = pin!(dir.create_dir("late"));
        tokio::select! {
            biased;
            _ = &mut change => panic!("nothing can be done yet"),
            () = tokio::time::advance(Duration::from_secs(4)) => {}
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        let error = change.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().ends_with("late`: over the deadline"), "{error}");
        let timed_out = Outcome::Failed(rustix::io::Errno::TIMEDOUT.raw_os_error());
        assert_eq!(last(&fixture.sink.take()).outcome, timed_out);
        let read = at_once(|| dir.read("a/b", 10));
        assert_eq!(read.unwrap(), b"inside", "what need not wait is in time");
    });
}

#[test]
fn a_write_that_nobody_waits_for_is_not_begun() {
    with_busy_pool(async |fixture, dir| {
        let both = READ.write(true);
        // A directory is opened on this thread; the file needs no pool either, as it is there.
        let mut file = at_once(|| dir.open("a/b", &both)).unwrap();
        file.write_all(b"XX").await.unwrap();
        fixture.sink.take();
        drop(file);
        let records = fixture.sink.take();
        assert_eq!(last(&records).outcome, Outcome::Cancelled, "{records:?}");
        assert_eq!(fs::read(fixture.inside("a/b")).unwrap(), b"inside");
    });
}

#[tokio::test(start_paused = true)]
async fn locks() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    let both = READ.write(true);
    let (one, other) = (dir.open("a/b", &both).await.unwrap(), dir.open("a/b", &both).await.unwrap());
    let shared = one.lock(LockKind::Shared, Duration::ZERO).await.unwrap();
    let second = other.lock(LockKind::Shared, Duration::ZERO).await.unwrap();
    drop(second);
    assert_fails(other.lock(LockKind::Exclusive, Duration::ZERO).await, ErrorKind::Busy, "shared");
    let patient = other.lock(LockKind::Exclusive, Duration::from_secs(1)).await;
    assert_fails(patient, ErrorKind::Busy, "a second later");
    let waiting = tokio::spawn({
        let other = other.clone();
        async move { other.lock(LockKind::Exclusive, Duration::from_secs(3600)).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(shared);
    let exclusive = waiting.await.unwrap().unwrap();
    assert_fails(one.lock(LockKind::Shared, Duration::ZERO).await, ErrorKind::Busy, "exclusive");
    drop((other, exclusive));
    one.lock(LockKind::Exclusive, Duration::ZERO).await.unwrap();
    let reader = dir.open("a/b", &READ).await.unwrap();
    assert_fails(reader.lock(LockKind::Exclusive, Duration::ZERO).await, ErrorKind::Denied, "to read");
}

#[test]
fn all_of_it_step_by_step() {
    step_by_step(&[
        a_file_is_a_stream,
        what_is_cold_is_streamed_too,
        each_part_of_a_stream_is_decided_and_recorded,
        what_fails_behind_the_back_is_told_at_the_flush,
        appending_is_at_the_end_whatever_the_position,
        a_whole_open_file_has_a_limit,
        locks,
    ]);
}
