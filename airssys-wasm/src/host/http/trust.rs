//! Whom an instance trusts over TLS: what its manifest names, made into roots at the first use.

use std::path::Path;

use airssys_osl::{Error, ErrorKind, Principal, net::tls::Roots};

use crate::manifest::Trust;

/// Makes the roots of everything in `trust`. Where that is nothing, the roots of the web are asked for: the denial is then
/// on record.
pub(super) async fn roots(principal: &Principal, trust: &[Trust]) -> Result<Roots, Error> {
    let mut all: Option<Roots> = None;
    for trusted in trust {
        let roots = match trusted {
            Trust::Web => Roots::web(principal),
            Trust::File(path) => read(principal, path).await,
        };
        all = match (all, roots) {
            (Some(known), Ok(more)) => Some(known.and(more)?),
            (None, Ok(first)) => Some(first),
            // Granted at other times than now: the others may do.
            (known, Err(denied)) if denied.kind() == ErrorKind::Denied => known,
            (_, Err(error)) => return Err(error),
        };
    }
    all.map_or_else(|| Roots::web(principal), Ok)
}

async fn read(principal: &Principal, path: &Path) -> Result<Roots, Error> {
    let (dir, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    Roots::read(&principal.dir(dir).await?, name).await
}
