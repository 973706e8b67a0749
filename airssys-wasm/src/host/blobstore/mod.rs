//! `wasi:blobstore`: a container is a directory beneath the one that `grants.blobstore` names, an object a file in it.
//!
//! Each call is an operation of the door beneath that directory, under the component's principal. A value that is being
//! written is a file without a name, so that its bytes count against the quota from the first on, nobody sees half of it,
//! and it goes with whoever did not finish it.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

mod container;
mod value;

use airssys_osl::{
    ErrorKind,
    fs::{Dir, Entries, FileKind},
};
use wasmtime::{
    Result,
    component::{Resource, ResourceTable},
};

pub use self::value::{Incoming, Outgoing};
use super::{Host, bindings::wasi::blobstore::blobstore, filesystem::Slot};

/// The longest name of a container or an object, in bytes: the longest that file systems have.
const NAME_BYTES: usize = 255;

/// A container that a guest has found.
pub struct Container {
    name: String,
}

/// The names of a container's objects, as far as they were not read yet.
pub struct Names {
    entries: Entries,
    _slot: Slot,
}

/// Why something is not done, in words for whoever wrote the guest. A guest learns of a denial only that it is one.
struct Refusal(String);

type Answer<T> = Result<std::result::Result<T, String>>;

impl From<airssys_osl::Error> for Refusal {
    fn from(error: airssys_osl::Error) -> Self {
        let text = match error.kind() {
            ErrorKind::Denied => "denied by policy".to_owned(),
            ErrorKind::NotFound => "there is no such container or object".to_owned(),
            ErrorKind::AlreadyExists => "there is something of this name already".to_owned(),
            ErrorKind::LimitExceeded => {
                "no room: `quota`, `quota_files` or `max_file` of `grants.blobstore`, or too many open files"
                    .to_owned()
            }
            ErrorKind::Unsupported => "what keeps the objects cannot do that".to_owned(),
            // The paths of the machine are none of the guest's business.
            kind => format!("what keeps the objects failed: {kind:?}"),
        };
        Self(text)
    }
}

impl From<&str> for Refusal {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// What a call answers: a refusal is the guest's to handle.
fn answer<T>(result: std::result::Result<T, Refusal>) -> Answer<T> {
    Ok(result.map_err(|refusal| refusal.0))
}

/// Whether it is a name. What begins with a dot is not: such files are other programs', or [what a crash left](is_remains).
fn check_name(name: &str) -> std::result::Result<(), Refusal> {
    let fits = !name.is_empty() && name.len() <= NAME_BYTES;
    if fits && !name.starts_with('.') && !name.contains(['/', '\0']) {
        return Ok(());
    }
    let shown: String = name.chars().take(NAME_BYTES).collect();
    Err(Refusal(format!(
        "{shown:?} is no name: it has 1 to {NAME_BYTES} bytes, neither `/` nor NUL, and no `.` at its beginning"
    )))
}

/// Whether a file is what a crash left of an object that was put in the place of another.
fn is_remains(name: &str) -> bool {
    let number = name.strip_prefix(".airssys-").and_then(|rest| rest.strip_suffix(".tmp"));
    number.is_some_and(|number| number.len() == 16 && number.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// The path of an object beneath the root.
fn path(container: &str, object: &str) -> std::result::Result<String, Refusal> {
    check_name(container)?;
    check_name(object)?;
    Ok(format!("{container}/{object}"))
}

/// Puts something into the table of an instance, whose size its manifest bounds.
fn hold<T: Send + 'static>(table: &mut ResourceTable, held: T) -> std::result::Result<Resource<T>, Refusal> {
    table.push(held).map_err(|_| Refusal::from("too many open handles: the limit is `limits.handles`"))
}

impl Host {
    /// The directory that its containers are in.
    fn blobs(&self) -> std::result::Result<Dir, Refusal> {
        self.blobs
            .clone()
            .ok_or_else(|| Refusal::from("no containers: the manifest has no `grants.blobstore`"))
    }

    fn blob_slot(&self) -> std::result::Result<Slot, Refusal> {
        Slot::claim(&self.open_files).map_err(|_| Refusal::from("too many open files in one instance"))
    }

    async fn is_container(&mut self, name: &str) -> std::result::Result<bool, Refusal> {
        check_name(name)?;
        match self.blobs()?.metadata(name, true).await {
            Ok(metadata) => Ok(metadata.kind == FileKind::Directory),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn create(&mut self, name: String) -> std::result::Result<Resource<Container>, Refusal> {
        check_name(&name)?;
        let root = self.blobs()?;
        // Its handle first: where there is no room for one, there is no container either.
        let container = hold(&mut self.table, Container { name: name.clone() })?;
        if let Err(error) = root.create_dir(&name).await {
            let _ = self.table.delete(container);
            return Err(error.into());
        }
        Ok(container)
    }

    async fn find(&mut self, name: String) -> std::result::Result<Resource<Container>, Refusal> {
        if !self.is_container(&name).await? {
            return Err(Refusal(format!("there is no container `{name}`")));
        }
        hold(&mut self.table, Container { name })
    }

    async fn delete(&mut self, name: &str) -> std::result::Result<(), Refusal> {
        if !self.is_container(name).await? {
            return Err(Refusal(format!("there is no container `{name}`")));
        }
        self.blobs()?.remove_tree(name).await?;
        Ok(())
    }

    async fn copy(
        &mut self,
        from: &blobstore::ObjectId,
        to: &blobstore::ObjectId,
    ) -> std::result::Result<(), Refusal> {
        let (from, to) = (path(&from.container, &from.object)?, path(&to.container, &to.object)?);
        let root = self.blobs()?;
        root.copy(&from, &root, &to).await?;
        Ok(())
    }

    async fn rename(
        &mut self,
        from: &blobstore::ObjectId,
        to: &blobstore::ObjectId,
    ) -> std::result::Result<(), Refusal> {
        let (from, to) = (path(&from.container, &from.object)?, path(&to.container, &to.object)?);
        let root = self.blobs()?;
        // A folder in a container is no object.
        if root.metadata(&from, false).await?.kind != FileKind::File {
            return Err("there is no such container or object".into());
        }
        root.rename(&from, &root, &to).await?;
        Ok(())
    }
}

impl blobstore::Host for Host {
    async fn create_container(&mut self, name: String) -> Answer<Resource<Container>> {
        answer(self.create(name).await)
    }

    async fn get_container(&mut self, name: String) -> Answer<Resource<Container>> {
        answer(self.find(name).await)
    }

    async fn delete_container(&mut self, name: String) -> Answer<()> {
        answer(self.delete(&name).await)
    }

    async fn container_exists(&mut self, name: String) -> Answer<bool> {
        answer(self.is_container(&name).await)
    }

    async fn copy_object(&mut self, src: blobstore::ObjectId, dest: blobstore::ObjectId) -> Answer<()> {
        answer(self.copy(&src, &dest).await)
    }

    async fn move_object(&mut self, src: blobstore::ObjectId, dest: blobstore::ObjectId) -> Answer<()> {
        answer(self.rename(&src, &dest).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_name_of_a_file() {
        for name in ["a", "a.b", "a..", "a b", "ä"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
        let long = "x".repeat(NAME_BYTES + 1);
        for name in ["", ".", "..", ".hidden", "a/b", "/a", "a\0", &long] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name(&long[1..]).is_ok());
    }

    #[test]
    fn only_what_a_crash_left_is_called_so() {
        assert!(is_remains(".airssys-0123456789abcdef.tmp"));
        for name in [
            "",
            "a",
            ".hidden",
            ".airssys-.tmp",
            ".airssys-0123456789abcdeg.tmp",
            "airssys-0123456789abcdef.tmp",
        ] {
            assert!(!is_remains(name), "{name:?}");
        }
    }
}
