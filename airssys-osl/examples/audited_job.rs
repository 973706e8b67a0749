//! A job whose every access is decided and leaves a record in a signed log, and which proves at its end that the log is
//! whole.
//!
//! `cargo run -p airssys-osl --example audited_job` sums up some bills, tries what it may not, reads its own log, and then
//! shows what becomes of a log in which one byte is changed.

#![expect(
    clippy::disallowed_methods,
    reason = "it sets its stage, and plays somebody who changes a log afterwards"
)]

use std::{error::Error, fs, path::Path};

use airssys_osl::{
    ErrorKind, Os,
    audit::{Log, LogOptions, Query, Reader, verify},
    fs::Flush,
    policy::{FsTerms, Grant, Policy, Rights},
    trace,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let stage = tempfile::tempdir()?;
    let (bills, reports, log) =
        (stage.path().join("bills"), stage.path().join("reports"), stage.path().join("log"));
    fs::create_dir(&bills)?;
    fs::create_dir(&reports)?;
    fs::write(bills.join("may"), "12\n30\n")?;
    fs::write(bills.join("june"), "8\n")?;
    fs::write(bills.join("salaries"), "4000\n")?;

    // Whoever starts the job knows which request it is for: its trace id stands in all records of the job.
    let request = *b"the bills of may";
    trace::scope(request, job(&bills, &reports, &log)).await?;

    println!("the log says of the request:");
    for record in Reader::query(&log, Query { trace: Some(request), ..Query::default() })? {
        let record = record?;
        let resource = String::from_utf8_lossy(record.resource());
        // Whoever names files should not drive the terminal of who reads of them.
        let resource = resource.replace(&*stage.path().to_string_lossy(), "…").escape_debug().to_string();
        let action = record.action().map_or("?", |action| action.name());
        let (number, outcome, rule) = (record.sequence(), record.outcome(), record.rule());
        println!("  {number:>3} {action} {resource}: {outcome:?} by {rule}");
    }
    // Kept elsewhere, the checkpoint shows even a log that was written anew by whoever has its key.
    let report = verify(&log, None)?;
    println!("verified: {} records, {:?}\n{}", report.records, report.state, report.checkpoint);
    verify(&log, Some(&report.checkpoint))?;

    forge(&log)?;
    let found = verify(&log, None).err().ok_or("nobody noticed")?;
    assert_eq!(found.kind(), ErrorKind::Tampered);
    println!("after one byte was changed: {found}");
    Ok(())
}

/// Reads all bills and writes their sum: the only two things that it may do.
async fn job(bills: &Path, reports: &Path, log: &Path) -> Result<(), Box<dyn Error>> {
    let terms = FsTerms::new().deny("salaries");
    let grants = [
        Grant::fs_with(bills, Rights::READ | Rights::LIST, terms).rule("job.bills"),
        Grant::fs(reports, Rights::CREATE | Rights::WRITE).rule("job.reports"),
    ];
    let policy = Policy::builder().principal("job", grants).build()?;
    let log = Log::open(log, "example.org/audited-job", LogOptions::default())?;
    let os = Os::new(policy, log.clone());
    let job = os.principal("job")?;
    let (bills, reports) = (job.dir(bills).await?, job.dir(reports).await?);

    let (mut sum, mut entries) = (0_u64, bills.entries().await?);
    while let Some(entry) = entries.next().await {
        let name = entry?.name;
        match bills.read(&name, 1 << 20).await {
            Ok(bytes) => {
                for line in String::from_utf8(bytes)?.lines() {
                    sum += line.parse::<u64>()?;
                }
            }
            Err(error) if error.kind() == ErrorKind::Denied => println!("left out: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    // Its intent is on record before it is written: a crash in between would show.
    reports.replace("sum", sum.to_string(), Flush::Now).await?;
    os.revoke(&job);
    log.close()?;
    println!("the sum is {sum}");
    Ok(())
}

/// Changes one byte in the middle of the records.
fn forge(log: &Path) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(log)? {
        let path = entry?.path();
        let mut bytes = fs::read(&path)?;
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        fs::write(&path, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_changed_log_is_noticed() {
        super::main().unwrap();
    }
}
