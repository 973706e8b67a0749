//! An upload folder that strangers may fill, and nothing else.
//!
//! `cargo run -p airssys-osl --example confined_upload`. A visitor may create and write, in one folder, up to a quota;
//! who sorts the uploads may read and remove them. Both try more than that, and the records tell.

#![expect(clippy::disallowed_methods, reason = "the example prepares its folder behind the door's back")]

use std::{error::Error, fs};

use airssys_osl::{
    Os, Verdict,
    fs::{Dir, Flush, OpenOptions},
    policy::{FsTerms, Grant, HardLinks, Policy, Rights},
    testing::MemorySink,
};
use tokio::io::{AsyncRead, AsyncWriteExt as _};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let tmp = tempfile::tempdir()?;
    let folder = tmp.path().join("uploads");
    fs::create_dir(&folder)?;
    fs::write(folder.join(".htaccess"), "deny from all")?;

    let terms = FsTerms::new()
        .deny(".htaccess")
        .quota_bytes(1 << 20)
        .quota_files(100)
        .max_file_bytes(256 << 10)
        .hard_links(HardLinks::Refused);
    let put = Grant::fs_with(&folder, Rights::CREATE | Rights::WRITE, terms).rule("visitor.uploads");
    let sort = Grant::fs(&folder, Rights::READ | Rights::LIST | Rights::DELETE).rule("sorter.uploads");
    let policy =
        Policy::builder().principal("visitor", [put, Grant::descriptors(16)]).principal("sorter", [sort]);
    let records = MemorySink::new();
    let os = Os::new(policy.build()?, records.clone());

    let visitor = os.principal("visitor")?.dir(&folder).await?;
    println!("report.txt: {} bytes", upload(&visitor, "report.txt", &b"all is well\n"[..]).await?);
    for (name, len) in
        [("../../etc/cron.d/job", 9), (".htaccess", 9), ("/etc/passwd", 9), ("huge.iso", 300_000)]
    {
        match upload(&visitor, name, &vec![0; len][..]).await {
            Ok(_) => return Err(format!("{name} was taken").into()),
            Err(error) => println!("{name}: {error}"),
        }
    }
    if let Err(error) = visitor.read("report.txt", 1 << 20).await {
        println!("to read it: {error}");
    }

    let sorter = os.principal("sorter")?.dir(&folder).await?;
    let mut walk = sorter.walk(8).await?;
    while let Some(entry) = walk.next().await {
        println!("found {:?}", entry?.path);
    }
    println!("{}", String::from_utf8(sorter.read("report.txt", 1 << 20).await?)?);
    sorter.remove_file("report.txt").await?;

    println!("refused, by the records:");
    for record in records.take().iter().filter(|record| record.verdict == Verdict::Deny) {
        let resource = String::from_utf8_lossy(&record.resource).replace(&*folder.to_string_lossy(), "…");
        println!("  {} {} {resource}: {}", record.principal, record.action, record.rule);
    }
    Ok(())
}

/// Takes an upload in parts. Nobody sees a part of it: it gets its name when all is there.
async fn upload(dir: &Dir, name: &str, mut body: impl AsyncRead + Unpin) -> Result<u64, Box<dyn Error>> {
    let mut file = dir.temp_file().await?;
    let bytes = tokio::io::copy(&mut body, &mut *file).await?;
    file.flush().await?;
    file.persist(name).await?;
    // An upload of the same name would be refused; to replace one, there is this.
    dir.replace("latest", name.to_owned(), Flush::Later).await?;
    dir.open("log", &OpenOptions::new().append(true).create(true)).await?.append(format!("{name}\n")).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn uploads_stay_in_their_folder() {
        super::main().unwrap();
    }
}
