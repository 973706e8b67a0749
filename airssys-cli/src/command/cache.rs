//! `airssys cache`: what is kept of compiled code.

use std::{process::ExitCode, sync::Arc};

use airssys_osl::policy::Policy;
use serde_json::json;

use super::runtime;
use crate::{
    args::Cache,
    door::Door,
    report::{Failure, Terminal},
};

pub(super) fn cache(args: Cache, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let door = Door::open_for_user(Policy::builder(), Vec::new())?;
    door.started("cache")?;
    let done = runtime()?.block_on(async {
        let cache = door.open_cache().await?;
        let failed = |error| Failure::failed("cannot look after the code cache").caused_by(error);
        let removed = match args {
            Cache::Show => None,
            Cache::Clean { keep } => {
                Some(cache.shrink(keep.unwrap_or_default() as u64).await.map_err(failed)?)
            }
        };
        Ok((removed, cache.usage().await.map_err(failed)?))
    });
    let dir = door.cache_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    door.close("looked after the code cache")?;
    let (removed, usage) = done?;
    let text = || {
        let held = format!("{dir}\n  {} entries, {} bytes", usage.entries, usage.bytes);
        match removed {
            Some(gone) => format!("{held}; {} entries, {} bytes removed", gone.entries, gone.bytes),
            None => held,
        }
    };
    let value = || {
        let removed = removed.map(|gone| json!({"entries": gone.entries, "bytes": gone.bytes}));
        json!({"dir": dir, "entries": usage.entries, "bytes": usage.bytes, "removed": removed})
    };
    let _ = terminal.answer(text, value)?;
    Ok(ExitCode::SUCCESS)
}
