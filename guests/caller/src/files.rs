//! `wasi:filesystem`.

use crate::{
    bindings::wasi::{
        clocks::wall_clock::Datetime,
        filesystem::{
            preopens::get_directories,
            types::{
                Advice, DescriptorFlags, DescriptorStat, DescriptorType, MetadataHashValue, NewTimestamp,
                OpenFlags, PathFlags,
            },
        },
    },
    script::{Call, Failed, Outcome, show},
    table::{Table, Value},
};

const DONE: &str = "ok";

/// `preopens.get-directories >first >second`: answers the names.
pub(crate) fn preopens(call: &mut Call, table: &mut Table) -> Outcome {
    let mut names = Vec::new();
    for (descriptor, name) in get_directories() {
        table.keep(call, Value::Descriptor(descriptor))?;
        names.push(name);
    }
    Ok(names.join(" "))
}

/// `entries.read-directory-entry`: answers the kind and the name, or `end`.
pub(crate) fn entries(call: &mut Call, table: &mut Table) -> Outcome {
    match call.function.as_str() {
        "read-directory-entry" => {
            let entry = table.entries(call)?.read_directory_entry()?;
            Ok(entry.map_or("end".to_owned(), |entry| format!("{} {}", kind(entry.type_), entry.name)))
        }
        _ => Err(call.unknown()),
    }
}

/// A method of a descriptor that takes no path; the rest is in [`beneath`].
pub(crate) fn descriptor(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    match function.as_str() {
        "read-via-stream" => {
            let stream = table.descriptor(call)?.read_via_stream(table.number(call)?)?;
            return table.keep(call, Value::Input(stream));
        }
        "write-via-stream" => {
            let stream = table.descriptor(call)?.write_via_stream(table.number(call)?)?;
            return table.keep(call, Value::Output(stream));
        }
        "append-via-stream" => {
            let stream = table.descriptor(call)?.append_via_stream()?;
            return table.keep(call, Value::Output(stream));
        }
        "read-directory" => {
            let entries = table.descriptor(call)?.read_directory()?;
            return table.keep(call, Value::Entries(entries));
        }
        "advise" => {
            let descriptor = table.descriptor(call)?;
            let (offset, length) = (table.number(call)?, table.number(call)?);
            descriptor.advise(offset, length, advice(&call.word()?)?)?;
        }
        "sync-data" => table.descriptor(call)?.sync_data()?,
        "sync" => table.descriptor(call)?.sync()?,
        "get-flags" => return Ok(shown_flags(table.descriptor(call)?.get_flags()?)),
        "get-type" => return Ok(kind(table.descriptor(call)?.get_type()?).to_owned()),
        "set-size" => table.descriptor(call)?.set_size(table.number(call)?)?,
        "set-times" => {
            let descriptor = table.descriptor(call)?;
            descriptor.set_times(timestamp(&call.word()?)?, timestamp(&call.word()?)?)?;
        }
        "read" => {
            let (bytes, end) = table.descriptor(call)?.read(table.number(call)?, table.number(call)?)?;
            return Ok(format!("{} {}", show(&bytes), if end { "end" } else { "more" }));
        }
        "write" => {
            let descriptor = table.descriptor(call)?;
            let written = descriptor.write(call.text()?.as_bytes(), table.number(call)?)?;
            return Ok(written.to_string());
        }
        "stat" => return Ok(shown_stat(&table.descriptor(call)?.stat()?)),
        "times" => return Ok(shown_times(&table.descriptor(call)?.stat()?)),
        "is-same-object" => {
            return Ok(table.descriptor(call)?.is_same_object(table.descriptor(call)?).to_string());
        }
        "metadata-hash" => {
            let hash = table.descriptor(call)?.metadata_hash()?;
            return table.keep(call, Value::Number(one(&hash)));
        }
        _ => return beneath(call, table),
    }
    Ok(DONE.to_owned())
}

/// A method of a directory that takes a path.
fn beneath(call: &mut Call, table: &mut Table) -> Outcome {
    let function = call.function.clone();
    match function.as_str() {
        "create-directory-at" => table.descriptor(call)?.create_directory_at(&call.text()?)?,
        "stat-at" => {
            let descriptor = table.descriptor(call)?;
            return Ok(shown_stat(&descriptor.stat_at(path_flags(&call.word()?)?, &call.text()?)?));
        }
        "times-at" => {
            let descriptor = table.descriptor(call)?;
            return Ok(shown_times(&descriptor.stat_at(path_flags(&call.word()?)?, &call.text()?)?));
        }
        "set-times-at" => {
            let descriptor = table.descriptor(call)?;
            let (flags, path) = (path_flags(&call.word()?)?, call.text()?);
            descriptor.set_times_at(flags, &path, timestamp(&call.word()?)?, timestamp(&call.word()?)?)?;
        }
        "link-at" => {
            let descriptor = table.descriptor(call)?;
            let (flags, old) = (path_flags(&call.word()?)?, call.text()?);
            descriptor.link_at(flags, &old, table.descriptor(call)?, &call.text()?)?;
        }
        "open-at" => {
            let descriptor = table.descriptor(call)?;
            let (follow, path) = (path_flags(&call.word()?)?, call.text()?);
            let (open, flags) = (open_flags(&call.word()?)?, descriptor_flags(&call.word()?)?);
            let opened = descriptor.open_at(follow, &path, open, flags)?;
            return table.keep(call, Value::Descriptor(opened));
        }
        "readlink-at" => {
            return Ok(show(table.descriptor(call)?.readlink_at(&call.text()?)?.as_bytes()));
        }
        "remove-directory-at" => table.descriptor(call)?.remove_directory_at(&call.text()?)?,
        "rename-at" => {
            let (descriptor, old) = (table.descriptor(call)?, call.text()?);
            descriptor.rename_at(&old, table.descriptor(call)?, &call.text()?)?;
        }
        "symlink-at" => {
            let (descriptor, old) = (table.descriptor(call)?, call.text()?);
            descriptor.symlink_at(&old, &call.text()?)?;
        }
        "unlink-file-at" => table.descriptor(call)?.unlink_file_at(&call.text()?)?,
        "metadata-hash-at" => {
            let descriptor = table.descriptor(call)?;
            let hash = descriptor.metadata_hash_at(path_flags(&call.word()?)?, &call.text()?)?;
            return table.keep(call, Value::Number(one(&hash)));
        }
        _ => return Err(call.unknown()),
    }
    Ok(DONE.to_owned())
}

/// Both halves in one number.
fn one(hash: &MetadataHashValue) -> u64 {
    hash.lower.rotate_left(32).wrapping_add(hash.upper)
}

const FLAGS: [(DescriptorFlags, &str); 6] = [
    (DescriptorFlags::READ, "read"),
    (DescriptorFlags::WRITE, "write"),
    (DescriptorFlags::FILE_INTEGRITY_SYNC, "sync"),
    (DescriptorFlags::DATA_INTEGRITY_SYNC, "dsync"),
    (DescriptorFlags::REQUESTED_WRITE_SYNC, "rsync"),
    (DescriptorFlags::MUTATE_DIRECTORY, "mutate"),
];

/// The flags of words with commas between; `-` is none.
fn flags<F: Copy + std::ops::BitOr<Output = F>>(
    text: &str,
    none: F,
    known: &[(F, &str)],
) -> Result<F, Failed> {
    if text == "-" {
        return Ok(none);
    }
    text.split(',').try_fold(none, |flags, word| {
        let flag = known.iter().find(|(_, name)| *name == word);
        flag.map(|(flag, _)| flags | *flag).ok_or_else(|| Failed(format!("script: there is no flag {word}")))
    })
}

fn descriptor_flags(text: &str) -> Result<DescriptorFlags, Failed> {
    flags(text, DescriptorFlags::empty(), &FLAGS)
}

fn path_flags(text: &str) -> Result<PathFlags, Failed> {
    flags(text, PathFlags::empty(), &[(PathFlags::SYMLINK_FOLLOW, "follow")])
}

fn open_flags(text: &str) -> Result<OpenFlags, Failed> {
    let known = [
        (OpenFlags::CREATE, "create"),
        (OpenFlags::DIRECTORY, "directory"),
        (OpenFlags::EXCLUSIVE, "exclusive"),
        (OpenFlags::TRUNCATE, "truncate"),
    ];
    flags(text, OpenFlags::empty(), &known)
}

fn shown_flags(flags: DescriptorFlags) -> String {
    let set: Vec<_> = FLAGS.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name).collect();
    if set.is_empty() { "-".to_owned() } else { set.join(",") }
}

fn advice(word: &str) -> Result<Advice, Failed> {
    Ok(match word {
        "normal" => Advice::Normal,
        "sequential" => Advice::Sequential,
        "random" => Advice::Random,
        "will-need" => Advice::WillNeed,
        "dont-need" => Advice::DontNeed,
        "no-reuse" => Advice::NoReuse,
        _ => return Err(Failed(format!("script: there is no advice {word}"))),
    })
}

/// `keep`, `now`, or seconds and nanoseconds as in `42.5`.
fn timestamp(word: &str) -> Result<NewTimestamp, Failed> {
    let (seconds, nanoseconds) = match word {
        "keep" => return Ok(NewTimestamp::NoChange),
        "now" => return Ok(NewTimestamp::Now),
        word => word.split_once('.').unwrap_or((word, "0")),
    };
    match (seconds.parse(), nanoseconds.parse()) {
        (Ok(seconds), Ok(nanoseconds)) => Ok(NewTimestamp::Timestamp(Datetime { seconds, nanoseconds })),
        _ => Err(Failed(format!("script: {word} is no time"))),
    }
}

fn kind(kind: DescriptorType) -> &'static str {
    match kind {
        DescriptorType::Unknown => "unknown",
        DescriptorType::BlockDevice => "block-device",
        DescriptorType::CharacterDevice => "character-device",
        DescriptorType::Directory => "directory",
        DescriptorType::Fifo => "fifo",
        DescriptorType::SymbolicLink => "symbolic-link",
        DescriptorType::RegularFile => "regular-file",
        DescriptorType::Socket => "socket",
    }
}

/// The kind; of what is no directory, whose links and size every file system counts as it likes, these too.
fn shown_stat(stat: &DescriptorStat) -> String {
    match stat.type_ {
        DescriptorType::Directory => "directory".to_owned(),
        other => format!("{} links {} size {}", kind(other), stat.link_count, stat.size),
    }
}

fn shown_times(stat: &DescriptorStat) -> String {
    let time = |time: Option<Datetime>| {
        time.map_or("none".to_owned(), |time| format!("{}.{}", time.seconds, time.nanoseconds))
    };
    format!("{} {}", time(stat.data_access_timestamp), time(stat.data_modification_timestamp))
}
