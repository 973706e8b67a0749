//! The files, the clocks and the randomness of an audit log.

#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Creates a directory, and those above it, for the eyes of this user only. One that exists is left as it is.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    builder.mode(0o700);
    builder.recursive(true).create(dir)
}

/// A lock that is held.
///
/// It is given back in words: a child that was forked a moment ago has the file open too until it runs its program, and
/// closing it here alone would leave it locked that long.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Where that fails, closing the file is what is left.
        let _ = self.0.unlock();
    }
}

/// Locks a file, which is created where it does not exist, until the returned lock is dropped; `None` where somebody
/// else holds it.
pub(crate) fn lock(path: &Path) -> io::Result<Option<Lock>> {
    let file = private().create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether somebody holds the lock of a file. To find out, it is held for a moment in a shared way.
pub(crate) fn is_locked(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    match file.try_lock_shared() {
        Ok(()) => {
            drop(Lock(file));
            Ok(false)
        }
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Opens a file to read it from a byte on; `None` where it does not exist.
pub(crate) fn open(path: &Path, offset: u64) -> io::Result<Option<File>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    file.seek(SeekFrom::Start(offset))?;
    Ok(Some(file))
}

/// Reads a small text; `None` where the file does not exist. One that is longer is not read further.
pub(crate) fn read_text(path: &Path, limit_bytes: usize) -> io::Result<Option<String>> {
    let Some(file) = open(path, 0)? else { return Ok(None) };
    let mut text = String::new();
    file.take(limit_bytes as u64).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Reads up to so many blocks from the beginning of a file, each by itself; `None` where the file does not exist. Behind its end a
/// block is empty.
pub(crate) fn read_blocks(
    path: &Path,
    block_bytes: usize,
    count: usize,
) -> io::Result<Option<Vec<io::Result<Vec<u8>>>>> {
    let Some(mut file) = open(path, 0)? else { return Ok(None) };
    let mut read = |index: usize| {
        let mut block = Vec::new();
        file.seek(SeekFrom::Start((index * block_bytes) as u64))?;
        (&file).take(block_bytes as u64).read_to_end(&mut block)?;
        Ok(block)
    };
    Ok(Some((0..count).map(&mut read).collect()))
}

/// Puts a text in the place of a file: whoever opens it, also after a crash, finds the old one or the new one.
pub(crate) fn replace(dir: &Path, name: &str, text: &str, durable: bool) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    let mut file = private().create(true).truncate(true).open(&new)?;
    file.write_all(text.as_bytes())?;
    if durable {
        file.sync_data()?;
    }
    fs::rename(&new, dir.join(name))
}

/// Puts a secret in the place of a file, durably, and then overwrites the old one. On a device that writes elsewhere than
/// where it is told, or a file system that keeps old blocks, the old one may still be found.
pub(crate) fn replace_secret(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let old = match private().open(dir.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        old => Some(old?),
    };
    replace(dir, name, text, true)?;
    sync_dir(dir)?;
    let Some(mut old) = old else { return Ok(()) };
    let bytes = usize::try_from(old.metadata()?.len()).unwrap_or_default();
    old.write_all(&vec![0; bytes])?;
    old.sync_data()
}

/// Writes over parts of a file that is there, each at its place, and waits until that is on the device.
pub(crate) fn overwrite(path: &Path, parts: &[(u64, String)]) -> io::Result<()> {
    let mut file = private().open(path)?;
    for (offset, part) in parts {
        file.seek(SeekFrom::Start(*offset))?;
        file.write_all(part.as_bytes())?;
    }
    file.sync_data()
}

/// The names in a directory.
pub(crate) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
    names.collect()
}

/// How many bytes a file has.
pub(crate) fn bytes(path: &Path) -> io::Result<u64> {
    fs::metadata(path).map(|metadata| metadata.len())
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Appends to a file, which is made where there is none, and waits until that is on the device. What a full disk, or
/// whatever else, lets be only half written is taken back.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private().append(true).create(true).open(path)?;
    let before = file.metadata()?.len();
    let appended = file.write_all(bytes).and_then(|()| file.sync_data());
    if appended.is_err() {
        // Where that fails too, the first error is the one that tells why.
        let _ = file.set_len(before).and_then(|()| file.sync_data());
    }
    appended
}

/// Makes a file as long as `bytes`, of zeros that take space: a hole would set none aside. One that is longer is cut. Where
/// there is not enough space, the file has what there was.
pub(crate) fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = private().create(true).truncate(false).open(path)?;
    let before = file.metadata()?.len();
    if before >= bytes {
        return file.set_len(bytes);
    }
    file.seek(SeekFrom::Start(before))?;
    io::copy(&mut io::repeat(0).take(bytes - before), &mut file).map(drop)
}

/// Makes the names in a directory durable, where the system can.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// A file that is written at places that the caller keeps account of.
#[derive(Debug)]
pub(crate) struct Segment(File);

impl Segment {
    /// Opens a file to write it; creates it where it does not exist.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        private().create(true).truncate(false).open(path).map(Self)
    }

    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(offset))?;
        self.0.write_all(bytes)
    }

    pub(crate) fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    /// Waits until all that was written is on the device.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Nanoseconds since 1970.
pub(crate) fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// Nanoseconds since some moment of this boot.
#[cfg(unix)]
pub(crate) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

/// Nanoseconds since this program first asked: the system tells no more.
#[cfg(not(unix))]
pub(crate) fn monotonic_ns() -> u64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed().as_nanos().try_into().unwrap_or(u64::MAX)
}

/// The id of this boot; zeros where the system does not tell.
pub(crate) fn boot_id() -> [u8; 16] {
    let text = read_text(Path::new("/proc/sys/kernel/random/boot_id"), 64).ok().flatten().unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes()
}

/// 32 bytes of the system's randomness.
pub(crate) fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    super::random(&mut seed)?;
    Ok(seed)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    options.mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::{is_locked, lock};

    #[test]
    fn a_lock_is_given_back_though_a_child_has_the_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock(&path).unwrap().unwrap();
        // What a child has after a fork is such a copy.
        let _inherited = held.0.try_clone().unwrap();
        assert!(is_locked(&path).unwrap() && lock(&path).unwrap().is_none());
        drop(held);
        assert!(!is_locked(&path).unwrap() && lock(&path).unwrap().is_some());
    }
}
