//! A disk that is full: the door refuses what changes something, stays up, and goes on when there is room again.

use std::{fs, path::Path};

use airssys_osl::{
    ErrorKind, Os,
    audit::{
        self, DenialLimit, Event, Log, LogOptions, Outcome, Phase, Retention, Sink as _, State,
        export::{Anchors, Target},
    },
    policy::{Grant, Policy, Rights},
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::{
    audit_log::{ORIGIN, event},
    fixture::AtRest,
};

/// A file system in memory of two megabytes: room for what is reserved for the records of many processors.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where this program may not mount.
    fn mount() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        match mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), Some(c"size=2m")) {
            Ok(()) => Some(Self(dir)),
            Err(error) => {
                eprintln!("SKIPPED: a small disk cannot be mounted: {error}");
                None
            }
        }
    }

    fn fill(&self) {
        let mut bytes = 4 << 20;
        // Down to the last page.
        while bytes > 0 {
            let name = self.0.path().join(format!("ballast-{bytes}"));
            if fs::write(name, vec![1; bytes]).is_ok() || bytes > 1 {
                bytes /= 2;
            } else {
                break;
            }
        }
    }

    fn free(&self) {
        for entry in fs::read_dir(self.0.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("ballast") {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_changes_until_it_has_room_and_nothing_is_lost() {
    let Some(disk) = SmallDisk::mount() else { return };
    let dir = disk.0.path().join("log");
    let work = TempDir::new().unwrap();
    let log = Log::open(&dir, ORIGIN, LogOptions::default()).unwrap();
    let grant = Grant::fs(work.path(), Rights::all()).rule("r");
    let os = Os::new(Policy::builder().principal("p", [grant]).build().unwrap(), log.clone());
    let granted = os.principal("p").unwrap().dir(work.path()).await.unwrap();
    granted.create_dir("before").await.unwrap();
    log.flush().unwrap();

    disk.fill();
    // Some may still be taken until the writer has found out; each of those is in the log at the end.
    let mut number = 0;
    let error = loop {
        match granted.create_dir(&format!("full-{number}")).await {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
        let _ = log.flush();
    };
    assert_eq!(error.kind(), ErrorKind::AuditUnavailable);
    let text = error.to_string();
    assert!(
        text.contains("record fs.create_dir of") && text.contains("the audit log takes no records"),
        "{text}"
    );
    assert_eq!(error.raw_os_error(), Some(28), "{error:?}");
    assert!(!work.path().join(format!("full-{number}")).exists(), "it was done without a record");

    disk.free();
    // Where it was a checkpoint that could not be written, no flush waits until the writer tries again.
    while let Err(error) = granted.create_dir("after").await {
        assert_eq!(error.kind(), ErrorKind::AuditUnavailable);
        let _ = log.flush();
    }
    drop((os, granted));
    log.close().unwrap();
    let recorded = |path: &Path, phase: Phase, outcome: Outcome| {
        let path = path.as_os_str().as_encoded_bytes();
        audit::Reader::open(&dir)
            .unwrap()
            .map(Result::unwrap)
            .any(|record| record.resource() == path && record.phase() == phase && record.outcome() == outcome)
    };
    assert_eq!(audit::verify(&dir, None).unwrap().state, State::Closed);
    for entry in fs::read_dir(work.path()).unwrap() {
        let path = entry.unwrap().path();
        assert!(recorded(&path, Phase::Intent, Outcome::Pending), "{} has no record", path.display());
    }
    // Of those in between the writer may have found out after the intent and before the end.
    for name in ["before", "after"] {
        assert!(recorded(&work.path().join(name), Phase::Done, Outcome::Success), "{name} has no end");
    }
}

#[test]
fn a_flood_of_denials_leaves_the_disk_to_others() {
    let Some(disk) = SmallDisk::mount() else { return };
    // However long it takes: what time earns is next to nothing.
    let denials = DenialLimit { per_second: 1, ..DenialLimit::default() };
    let options = LogOptions { denials, ..LogOptions::default() };
    let log = Log::open(&disk.0.path().join("log"), ORIGIN, options).unwrap();
    let verdict = airssys_osl::Verdict::Deny;
    let denied = Event { verdict, outcome: Outcome::Denied, ..event("guest", &[b'x'; 100]) };
    // As records of their own, these would be twenty times what the disk holds.
    for _ in 0..200_000 {
        log.record(&denied).unwrap();
    }
    log.record(&event("other", b"y")).unwrap();
    log.flush().unwrap();
    log.close().unwrap();
}

#[test]
fn retention_makes_room_on_a_full_disk_without_waiting_for_the_next_segment() {
    let Some(disk) = SmallDisk::mount() else { return };
    let dir = disk.0.path().join("log");
    let retention = Retention { bytes: Some(150_000), ..Retention::default() };
    let options = LogOptions { segment_bytes: 100_000, queue_bytes: 0, retention, ..LogOptions::default() };
    let log = Log::open(&dir, ORIGIN, options).unwrap();
    let bytes = |dir: &Path| {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
        let logs = names.filter(|entry| entry.path().extension().is_some_and(|end| end == "log"));
        logs.map(|entry| entry.metadata().unwrap().len()).sum::<u64>()
    };
    while bytes(&dir) < 180_000 {
        log.record(&event("p", &[b'x'; 1000])).unwrap();
        log.flush().unwrap();
    }
    disk.fill();
    for number in 0..1000_u64 {
        let recorded = log.record(&event("p", &[b'y'; 1000])).map(drop);
        recorded.and_then(|()| log.flush()).unwrap_or_else(|error| panic!("record {number}: {error:?}"));
    }
    log.close().unwrap();
    let report = audit::verify(&dir, None).unwrap();
    assert_eq!(report.state, State::Closed);
    assert!(report.dropped > 0 && bytes(&dir) < 300_000, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_full_disk_lets_be_half_written_is_taken_back() {
    let _rest = AtRest::begin();
    let Some(disk) = SmallDisk::mount() else { return };
    let log = TempDir::new().unwrap();
    Log::open(log.path(), ORIGIN, LogOptions::default()).unwrap().close().unwrap();
    let file = disk.0.path().join("anchors");
    // What is left of its page is less than a checkpoint.
    fs::write(&file, vec![b'\n'; 4000]).unwrap();
    disk.fill();
    let mut anchors = Anchors::new(log.path(), Target::append(&file));
    anchors.publish().await.unwrap_err();
    assert_eq!(fs::metadata(&file).unwrap().len(), 4000);
    disk.free();
    anchors.publish().await.unwrap();
    let text = fs::read_to_string(&file).unwrap();
    audit::verify(log.path(), Some(text.trim_start())).unwrap();
}
