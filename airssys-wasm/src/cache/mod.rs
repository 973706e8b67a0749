//! Compiled code that outlives the program, so that a start costs milliseconds.

mod notes;
mod room;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
#[cfg(target_os = "linux")]
use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use airssys_osl::{
    Error as DoorError, ErrorKind as DoorErrorKind, Principal, bootstrap,
    fs::{Dir, File, Flush, OpenOptions, SetTime},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::task::spawn_blocking;

#[cfg(target_os = "linux")]
use self::notes::note_name;
pub use self::room::CacheUsage;
use crate::{
    component::Digest,
    engine::Engine,
    error::{Error, ErrorKind},
};

/// The largest compiled component there is, in bytes: code is two to four times the size of its component.
pub(crate) const ENTRY_BYTES: u64 = 512 << 20;

/// How the name of each entry ends.
const ENTRY: &str = ".cwasm";

/// How entries are laid out: those of another layout have other names.
const LAYOUT: u32 = 2;

/// The file that holds the key of the cache.
const KEY_FILE: &str = "key";

/// A whole block of SHA-256, as HMAC takes it.
const KEY_BYTES: usize = 64;
const TAG_BYTES: usize = 32;

/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// The permission bits of an entry.
const ENTRY_MODE: u32 = 0o600;

/// Compiled components in a directory, each with a keyed hash behind its code.
///
/// Compiled code is trusted: who can change it runs code in this program. So an entry is loaded only if its tag was
/// made with the key of this cache, for this component and this engine; the folder with the key is its owner's alone.
/// Anything else is compiled anew.
///
/// On Linux, what was verified once is not read again while the file system says that nothing happened to it: then the
/// next start maps the code into memory, and takes the digest of a component's file as known. docs/wasi.md tells when.
///
/// It is bounded: whenever an entry was added, those that were used the longest time ago go until the rest fits. Several
/// programs may use one folder; each of them bounds it.
pub struct Cache {
    dir: Dir,
    key: [u8; KEY_BYTES],
    limit_bytes: u64,
}

impl Cache {
    /// How large a cache may be where nothing else is said, in bytes.
    pub const DEFAULT_BYTES: u64 = 2 << 30;

    /// Opens the cache in `dir`, which needs all rights; makes its key if it is new.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): the folder, or the key in it, is not its owner's alone (mode 0700), or the
    ///   owner is somebody else: they could have planted code.
    /// * The key can neither be read nor made.
    pub async fn open(dir: Dir, principal: &Principal) -> Result<Self, Error> {
        let failed = |error| Error::door("open the code cache", error);
        let folder = dir.self_metadata().await.map_err(failed)?;
        if folder.user != bootstrap::user() || folder.mode & OTHERS != 0 {
            return Err(Error::new(
                ErrorKind::Denied,
                "trust the code cache: its folder is open to others (chmod 700)",
            ));
        }
        match dir.metadata(KEY_FILE, false).await {
            Ok(key) if key.user != folder.user => {
                return Err(Error::new(
                    ErrorKind::Denied,
                    "trust the code cache: its key is somebody else's",
                ));
            }
            _ => {}
        }
        let key = match read_key(&dir).await.map_err(failed)? {
            Some(key) => key,
            None => make_key(&dir, principal).await.map_err(failed)?,
        };
        Ok(Self { dir, key, limit_bytes: Self::DEFAULT_BYTES })
    }

    /// Bounds it by another size, in bytes. It holds from the next entry on that is added.
    pub fn limited(self, limit_bytes: u64) -> Self {
        Self { limit_bytes, ..self }
    }

    /// The code of a component or a module, if an entry of this cache has it.
    pub(crate) async fn load<C: Code>(&self, engine: &Engine, digest: &Digest) -> Option<C> {
        let name = entry_name(engine, digest);
        let file = match self.dir.open(&name, &OpenOptions::new().read(true)).await {
            Ok(file) => file,
            Err(error) if error.kind() == DoorErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(entry = name, cause = %error, "cannot open the code cache; compiling");
                return None;
            }
        };
        #[cfg(target_os = "linux")]
        if self.was_verified(&file, &name, digest).await
            && let Some(mapped) = map_entry(engine, &file, &name).await
        {
            self.touch(&note_name(&name)).await;
            return Some(mapped);
        }
        self.verify(engine, digest, &file, name).await
    }

    /// The code in an open entry, after all of it was read and verified.
    async fn verify<C: Code>(
        &self,
        engine: &Engine,
        digest: &Digest,
        file: &File,
        name: String,
    ) -> Option<C> {
        let seen = self.look_at(file).await;
        let entry = match file.read_to_limit(ENTRY_BYTES).await {
            Ok(entry) => entry,
            Err(error) => {
                tracing::warn!(entry = name, cause = %error, "cannot read the code cache; compiling");
                return None;
            }
        };
        let (key, engine, of) = (self.key, engine.inner().clone(), name.clone());
        // Megabytes are hashed, and some of them changed: that is no work for a thread that others wait for.
        let loaded = spawn_blocking(move || open_entry(&key, &engine, &of, &entry)).await.ok().flatten()?;
        match seen {
            Some(seen) => self.note_entry(file, &name, seen, digest).await,
            None => self.touch(&name).await,
        }
        Some(loaded)
    }

    /// Notes that an entry was used: its time of modification, or that of the note about it, says when.
    async fn touch(&self, name: &str) {
        if let Err(error) = self.dir.set_times(name, false, SetTime::Keep, SetTime::Now).await {
            // Another program may have removed it meanwhile.
            tracing::debug!(entry = name, cause = %error, "cannot note that an entry of the code cache was used");
        }
    }

    /// Keeps compiled code. Where that fails, the next start compiles again; the log says so.
    pub(crate) async fn store(&self, engine: &Engine, digest: &Digest, code: Vec<u8>) {
        let name = entry_name(engine, digest);
        if (TAG_BYTES + code.len()) as u64 > self.limit_bytes {
            return tracing::warn!(
                entry = name,
                "compiled code is larger than the code cache may be; not kept"
            );
        }
        let (key, of) = (self.key, name.clone());
        let make = move || {
            // Behind the code: what is mapped begins with it.
            let tag = mac(&key, &of, &code).finalize().into_bytes();
            let mut entry = code;
            entry.extend_from_slice(&tag);
            entry
        };
        let Ok(entry) = spawn_blocking(make).await else { return };
        let written = match self.dir.replace(&name, entry, Flush::Later).await {
            Ok(()) => self.dir.set_permissions(&name, ENTRY_MODE).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            return tracing::warn!(entry = name, cause = %error, "cannot write the code cache");
        }
        if let Err(error) = self.shrink(self.limit_bytes).await {
            tracing::warn!(cause = %error, "cannot bound the code cache");
        }
    }
}

/// The key of a cache that has one. What has another length is none.
async fn read_key(dir: &Dir) -> Result<Option<[u8; KEY_BYTES]>, DoorError> {
    match dir.read(KEY_FILE, KEY_BYTES as u64).await {
        Ok(bytes) => Ok(bytes.try_into().ok()),
        Err(error) if error.kind() == DoorErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the key of a new cache. Of several programs that do so at a time, the first makes that of all.
async fn make_key(dir: &Dir, principal: &Principal) -> Result<[u8; KEY_BYTES], DoorError> {
    let (mut key, mut name) = ([0; KEY_BYTES], [0; 8]);
    let random = principal.random()?;
    random.fill(&mut key)?;
    random.fill(&mut name)?;
    let name = format!(".airssys-{:016x}.tmp", u64::from_ne_bytes(name));
    dir.replace(&name, key, Flush::Later).await?;
    let linked = dir.hard_link(&name, dir, KEY_FILE).await;
    dir.remove_file(&name).await?;
    match linked {
        Ok(()) => return Ok(key),
        Err(error) if error.kind() == DoorErrorKind::AlreadyExists => {
            if let Some(first) = read_key(dir).await? {
                return Ok(first);
            }
        }
        // There are file systems without links: who is last makes the key, and the others' code is compiled again.
        Err(_) => {}
    }
    dir.replace(KEY_FILE, key, Flush::Later).await?;
    Ok(key)
}

/// The keyed hash over an entry's name and code: an entry cannot pass for another.
fn mac(key: &[u8; KEY_BYTES], name: &str, code: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new(&(*key).into());
    mac.update(name.as_bytes());
    mac.update(&[0]);
    mac.update(code);
    mac
}

/// The code in an entry, where the cache with this key wrote it under this name. If not, the log says so.
fn open_entry<C: Code>(
    key: &[u8; KEY_BYTES],
    engine: &wasmtime::Engine,
    name: &str,
    entry: &[u8],
) -> Option<C> {
    let (code, tag) = entry.split_at_checked(entry.len().checked_sub(TAG_BYTES)?)?;
    if mac(key, name, code).verify_slice(tag).is_err() {
        tracing::warn!(entry = name, "an entry of the code cache was not written by it; compiling");
        return None;
    }
    let loaded = deserialize(engine, code);
    loaded
        .inspect_err(|error| {
            tracing::warn!(entry = name, cause = %error, "an entry of the code cache does not load; compiling");
        })
        .ok()
}

/// The code in an open entry that was verified before, without reading it; `None` where it cannot be mapped.
#[cfg(target_os = "linux")]
async fn map_entry<C: Code>(engine: &Engine, file: &File, name: &str) -> Option<C> {
    let descriptor = file.descriptor().await.ok()?;
    let engine = engine.inner().clone();
    let mapped = spawn_blocking(move || map(&engine, &descriptor)).await.ok()?;
    mapped
        .inspect_err(|error| {
            // A file system without programs (`noexec`), or no `/proc`: it is read then.
            tracing::debug!(entry = name, cause = %error, "cannot map an entry of the code cache; reading it");
        })
        .ok()
}

/// A component compiled by another engine, or with other settings, is another entry.
fn entry_name(engine: &Engine, digest: &Digest) -> String {
    let mut hasher = DefaultHasher::new();
    engine.inner().precompile_compatibility_hash().hash(&mut hasher);
    LAYOUT.hash(&mut hasher);
    format!("{}-{:016x}{ENTRY}", digest.hex(), hasher.finish())
}

/// Code that Wasmtime compiled.
pub(crate) trait Code: Send + Sync + Sized + 'static {
    /// Whether it is that of a core module, not of a component.
    #[cfg(target_os = "linux")]
    const IS_MODULE: bool;

    /// Compiles.
    fn compile(engine: &wasmtime::Engine, bytes: &[u8]) -> wasmtime::Result<Self>;

    fn serialize(&self) -> wasmtime::Result<Vec<u8>>;

    /// Takes code that was compiled before.
    ///
    /// # Safety
    ///
    /// `code` came out of [`serialize`](Self::serialize).
    #[expect(unsafe_code, reason = "as Wasmtime's own")]
    unsafe fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Self>;

    /// Maps code that was compiled before.
    ///
    /// # Safety
    ///
    /// The file begins with what came out of [`serialize`](Self::serialize), and stays as it is for as long as the code lives.
    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "as Wasmtime's own")]
    unsafe fn deserialize_file(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Self>;
}

macro_rules! code {
    ($($ty:ty: $is_module:literal),*) => {$(
        impl Code for $ty {
            #[cfg(target_os = "linux")]
            const IS_MODULE: bool = $is_module;

            fn compile(engine: &wasmtime::Engine, bytes: &[u8]) -> wasmtime::Result<Self> {
                Self::new(engine, bytes)
            }

            fn serialize(&self) -> wasmtime::Result<Vec<u8>> {
                Self::serialize(self)
            }

            #[expect(unsafe_code, reason = "as Wasmtime's own")]
            unsafe fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Self> {
                // SAFETY: the caller's promise is the same.
                unsafe { Self::deserialize(engine, code) }
            }

            #[cfg(target_os = "linux")]
            #[expect(unsafe_code, reason = "as Wasmtime's own")]
            unsafe fn deserialize_file(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Self> {
                // SAFETY: the caller's promise is the same.
                unsafe { Self::deserialize_file(engine, path) }
            }
        }
    )*};
}

code!(wasmtime::component::Component: false, wasmtime::Module: true);

/// Takes code that this cache, or a process of a `Compiler`, vouches for.
#[expect(unsafe_code, reason = "Wasmtime cannot check compiled code; where it comes from vouches for it")]
pub(crate) fn deserialize<C: Code>(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<C> {
    // SAFETY: `code` came out of `Code::serialize`, or of its equal in `compiler::precompile`. From the cache: its tag,
    // made with a key that only the owner of the cache can read, was verified by the caller over these very bytes. From a
    // compiler: it was read from the pipe of a process that is this very program, which had nothing but the bytes to be
    // compiled, and whose memory nobody could write to but who can write to ours: it is not traced, and where we are root
    // its user is nobody else's. docs/adr/0017-compiling-elsewhere.md says what is trusted there. Code of the other kind is
    // an error.
    unsafe { C::deserialize(engine, code) }
}

/// Maps code that this cache has verified.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "Wasmtime cannot check compiled code; where it comes from vouches for it")]
fn map<C: Code>(engine: &wasmtime::Engine, file: &OwnedFd) -> wasmtime::Result<C> {
    // Wasmtime maps components by path alone; this one is of the very file that was looked at.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: all of this file was verified against its tag, as for `deserialize`, and a note that only who has the key can
    // write says so. Since then nothing happened to it, by a time that nobody sets but the kernel; and nobody can write to
    // it but our own user, in a folder that only our own user can enter, who can read the key too. What this program writes
    // gets the name of an entry and never its content: `Dir::replace`. docs/adr/0024-code-that-is-not-read-again.md says
    // what is trusted there.
    unsafe { C::deserialize_file(engine, Path::new(&path)) }
}
