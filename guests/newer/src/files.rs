//! What is done with files. Their paths are beneath the first directory that is open from the start.

use std::fmt::Debug;

use crate::bindings::{
    wasi::{
        cli::stdout,
        clocks::system_clock::Instant,
        filesystem::{
            preopens,
            types::{
                Advice, Descriptor, DescriptorFlags, DescriptorType, ErrorCode, NewTimestamp, OpenFlags,
                PathFlags,
            },
        },
    },
    wit_stream,
};

/// The answer to a word, if it is about files.
pub(crate) async fn answer(word: &str, rest: &str) -> Option<String> {
    let mut words = rest.split(':').map(str::to_owned);
    let mut next = || words.next().unwrap_or_default();
    let (path, more) = (next(), next());
    let done = match word {
        "places" => Ok(places()),
        "read" => read(path, more.parse().unwrap_or(0)).await,
        "write" => write(path, more, Some(0)).await,
        "append" => write(path, more, None).await,
        "misuse" => misuse(path).await,
        "show" => show(path).await,
        "echo" => echo(path).await,
        "list" => list(path).await,
        "stat" => stat(path).await,
        "mkdir" => on_root(async |root| root.create_directory_at(path).await).await,
        "rmdir" => on_root(async |root| root.remove_directory_at(path).await).await,
        "unlink" => on_root(async |root| root.unlink_file_at(path).await).await,
        "symlink" => on_root(async |root| root.symlink_at(path, more).await).await,
        "rename" => rename(path, more).await,
        "link" => link(path, more).await,
        "readlink" => readlink(path).await,
        "same" => same(path, more).await,
        "shape" => shape(path).await,
        _ => return None,
    };
    Some(done.unwrap_or_else(|code| name(&code)))
}

/// As the specification writes it, which the bindings do not tell.
pub(crate) fn name(code: &impl Debug) -> String {
    let shown = format!("{code:?}");
    let mut name = String::new();
    for letter in shown.rsplit("::").next().unwrap_or_default().chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// The names of the directories that are open from the start.
fn places() -> String {
    let names = preopens::get_directories().into_iter().map(|(_, name)| name);
    names.collect::<Vec<_>>().join(" ")
}

fn root() -> Result<Descriptor, ErrorCode> {
    preopens::get_directories().into_iter().next().map(|(root, _)| root).ok_or(ErrorCode::NoEntry)
}

async fn on_root(what: impl AsyncFnOnce(Descriptor) -> Result<(), ErrorCode>) -> Result<String, ErrorCode> {
    what(root()?).await.map(|()| "done".to_owned())
}

async fn open(path: String, open: OpenFlags, flags: DescriptorFlags) -> Result<Descriptor, ErrorCode> {
    root()?.open_at(PathFlags::SYMLINK_FOLLOW, path, open, flags).await
}

async fn read(path: String, offset: u64) -> Result<String, ErrorCode> {
    let file = open(path, OpenFlags::empty(), DescriptorFlags::READ).await?;
    let (stream, done) = file.read_via_stream(offset);
    let bytes = stream.collect().await;
    done.await?;
    Ok(match bytes.len() {
        0..200 => String::from_utf8_lossy(&bytes).into_owned(),
        length => format!("{length} bytes"),
    })
}

/// `*` repeats what is before it so often.
async fn write(path: String, text: String, offset: Option<u64>) -> Result<String, ErrorCode> {
    let file = open(path, OpenFlags::CREATE, DescriptorFlags::WRITE).await?;
    let (text, times) = text.split_once('*').unwrap_or((&text, "1"));
    let bytes = text.repeat(times.parse().unwrap_or(1)).into_bytes();
    let (mut writer, reader) = wit_stream::new();
    let done = match offset {
        Some(offset) => file.write_via_stream(reader, offset),
        None => file.append_via_stream(reader),
    };
    let left = writer.write_all(bytes).await;
    drop(writer);
    done.await?;
    file.sync().await?;
    Ok(format!("{} left", left.len()))
}

/// Has the host write a file to standard output, with no code between.
async fn show(path: String) -> Result<String, ErrorCode> {
    let file = open(path, OpenFlags::empty(), DescriptorFlags::READ).await?;
    let (stream, done) = file.read_via_stream(0);
    let written = stdout::write_via_stream(stream).await;
    done.await?;
    Ok(format!("{written:?}"))
}

/// Has the host append a file to itself.
async fn echo(path: String) -> Result<String, ErrorCode> {
    let file = open(path, OpenFlags::empty(), DescriptorFlags::READ | DescriptorFlags::WRITE).await?;
    let (stream, done) = file.read_via_stream(0);
    file.append_via_stream(stream).await?;
    done.await?;
    Ok("it came to an end".to_owned())
}

/// Writes to what is open for reading, and reads what is a directory.
async fn misuse(path: String) -> Result<String, ErrorCode> {
    let file = open(path, OpenFlags::empty(), DescriptorFlags::READ).await?;
    let (mut writer, reader) = wit_stream::new();
    let done = file.write_via_stream(reader, 0);
    let left = writer.write_all(vec![1, 2, 3]).await;
    let written = done.await;
    let (stream, done) = root()?.read_via_stream(0);
    let bytes = stream.collect().await;
    let read = done.await;
    let (names, done) = file.read_directory();
    let names = names.collect().await;
    Ok(format!(
        "{} {} {} {} {} {}",
        left.len(),
        told(written),
        bytes.len(),
        told(read),
        names.len(),
        told(done.await)
    ))
}

fn told(result: Result<(), ErrorCode>) -> String {
    result.map_or_else(|code| name(&code), |()| "ok".to_owned())
}

async fn list(path: String) -> Result<String, ErrorCode> {
    let directory = open(path, OpenFlags::DIRECTORY, DescriptorFlags::READ).await?;
    let (stream, done) = directory.read_directory();
    let mut names: Vec<_> =
        stream.collect().await.into_iter().map(|entry| (entry.name, entry.type_)).collect();
    done.await?;
    names.sort_by(|(one, _), (other, _)| one.cmp(other));
    if names.len() > 20 {
        return Ok(format!("{} names", names.len()));
    }
    let names = names.iter().map(|(name, kind)| format!("{name} {}", kind_of(kind)));
    Ok(names.collect::<Vec<_>>().join(", "))
}

fn kind_of(kind: &DescriptorType) -> &'static str {
    match kind {
        DescriptorType::Directory => "directory",
        DescriptorType::RegularFile => "file",
        DescriptorType::SymbolicLink => "link",
        _ => "other",
    }
}

/// Its size and kind, with its times set: to one before 1970 too.
async fn stat(path: String) -> Result<String, ErrorCode> {
    let (before, after) = (Instant { seconds: -7, nanoseconds: 5 }, Instant { seconds: 7, nanoseconds: 0 });
    root()?
        .set_times_at(
            PathFlags::empty(),
            path.clone(),
            NewTimestamp::Timestamp(before),
            NewTimestamp::Timestamp(after),
        )
        .await?;
    let at = root()?.stat_at(PathFlags::empty(), path.clone()).await?;
    let file = open(path, OpenFlags::empty(), DescriptorFlags::READ).await?;
    let stat = file.stat().await?;
    let times = (at.data_access_timestamp, at.data_modification_timestamp);
    let (Some(accessed), Some(modified)) = times else { return Err(ErrorCode::Io) };
    Ok(format!(
        "{} {} {} {} {}.{} {}.{}",
        kind_of(&stat.type_),
        stat.size,
        at.link_count,
        at.size == stat.size,
        accessed.seconds,
        accessed.nanoseconds,
        modified.seconds,
        modified.nanoseconds
    ))
}

async fn rename(from: String, to: String) -> Result<String, ErrorCode> {
    root()?.rename_at(from, &root()?, to).await?;
    Ok("done".to_owned())
}

async fn link(from: String, to: String) -> Result<String, ErrorCode> {
    let following = root()?.link_at(PathFlags::SYMLINK_FOLLOW, from.clone(), &root()?, to.clone()).await;
    root()?.link_at(PathFlags::empty(), from, &root()?, to).await?;
    Ok(format!("done, following: {}", told(following)))
}

async fn readlink(path: String) -> Result<String, ErrorCode> {
    root()?.readlink_at(path).await
}

async fn same(one: String, other: String) -> Result<String, ErrorCode> {
    let first = open(one.clone(), OpenFlags::empty(), DescriptorFlags::READ).await?;
    let second = open(other, OpenFlags::empty(), DescriptorFlags::READ).await?;
    let is_same = first.is_same_object(&second).await;
    let (hash, at) = (first.metadata_hash().await?, root()?.metadata_hash_at(PathFlags::empty(), one).await?);
    let is_hash_same = (hash.lower, hash.upper) == (at.lower, at.upper);
    Ok(format!("{is_same} {is_hash_same}"))
}

/// What is told of an open file, and what is changed through it.
async fn shape(path: String) -> Result<String, ErrorCode> {
    let file = open(path, OpenFlags::empty(), DescriptorFlags::READ | DescriptorFlags::WRITE).await?;
    file.advise(0, 10, Advice::Sequential).await?;
    file.set_size(3).await?;
    file.sync_data().await?;
    file.set_times(NewTimestamp::NoChange, NewTimestamp::Now).await?;
    let flags = file.get_flags().await?;
    let kind = file.get_type().await?;
    let is_both = flags == DescriptorFlags::READ | DescriptorFlags::WRITE;
    Ok(format!("{} {} {}", kind_of(&kind), is_both, file.stat().await?.size))
}
