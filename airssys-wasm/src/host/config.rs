//! `wasi:config/store`: what the manifest's `config` says, to guests that are asked for nothing else.

use std::sync::Arc;

use wasmtime::Result;

use super::{Host, bindings::wasi::config::store};

/// The values of `[component.NAME.config]`.
pub(crate) type Config = Arc<[(String, String)]>;

impl store::Host for Host {
    fn get(&mut self, key: String) -> Result<std::result::Result<Option<String>, store::Error>> {
        let found = self.config.iter().find(|(known, _)| *known == key);
        Ok(Ok(found.map(|(_, value)| value.clone())))
    }

    fn get_all(&mut self) -> Result<std::result::Result<Vec<(String, String)>, store::Error>> {
        Ok(Ok(self.config.to_vec()))
    }
}
