use std::path::Path;

use super::{Dir, dir::parse, verb};
use crate::{
    Error,
    os::Done,
    sys::{self, StopOnDrop},
};

impl Dir {
    /// Copies the file `from` to `to_path` in the directory `to`, which may be this one, and returns its bytes.
    ///
    /// What had that name is replaced as a whole, as [`replace`](Self::replace) does. The blocks are shared where the
    /// file system can (reflink), else the kernel copies. The permission bits are those of a new file, or of the file
    /// that is replaced. Needs READ here, CREATE and WRITE there.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Denied`](crate::ErrorKind::Denied) where `to` belongs to another principal.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the old content or the whole copy; the record then says `cancelled`.
    pub async fn copy(
        &self,
        from: impl AsRef<Path>,
        to: &Self,
        to_path: impl AsRef<Path>,
    ) -> Result<u64, Error> {
        let (from, to_path) = (from.as_ref(), to_path.as_ref());
        let execute = async {
            let stop = StopOnDrop::default();
            let (there, new, seen) = (to.ground(), parse(to_path)?.as_path().to_owned(), stop.0.clone());
            let copied = self.on_pool(from, move |here, old| {
                let (source, len) = sys::open_source(here.directory(), old)?;
                there.copy(&source, len, parse(&new)?, &seen)
            });
            let copied = copied.await?;
            Ok(Done::with_bytes(copied, usize::try_from(copied).unwrap_or(usize::MAX)))
        };
        let (resource, other) = (to.named(to_path), self.named(from));
        self.access.run_copy(&to.access, verb::COPY_FROM, verb::COPY_TO, resource, other, execute).await
    }
}
