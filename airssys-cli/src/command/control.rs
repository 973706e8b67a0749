//! A system that runs does what it is asked through its control socket.

use std::{
    collections::HashSet,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use airssys_osl::{
    ErrorKind, Principal, bootstrap,
    fs::Dir,
    net::{UnixListener, UnixStream},
};
use airssys_wasm::{Cache, Canary, Component, Error, Handover, Switched, System};
use serde_json::{Value, json};

use super::dead;
use crate::{
    control::{self, Request, SOCKET},
    dead::Shared,
    door::Door,
    report::{Failure, chain},
};

/// How long a request may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// How long a change of version waits for the message in hand.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long nobody is listened to after that failed: descriptors may be free again then.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest reason that is sent, in bytes: some of it is a guest's own words.
const REASON_BYTES: usize = 4096;

/// The user that may everything anyway.
const ROOT: u32 = 0;

/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// The control socket of a system that runs.
pub(super) struct Control {
    dir: Dir,
    listener: UnixListener,
}

impl Control {
    /// Listens. Nobody else reaches the socket, because its folder is its owner's alone. A socket that is there already was
    /// left by a run that was killed: two systems cannot write one log.
    pub(super) async fn open(state: &Path, program: &Principal) -> Result<Self, Failure> {
        let failed = |error| Failure::failed("cannot listen on the control socket").caused_by(error);
        let folder = control::folder(state);
        bootstrap::create_dir(&folder).map_err(failed)?;
        let dir = program.dir(&folder).await.map_err(failed)?;
        let metadata = dir.self_metadata().await.map_err(failed)?;
        if metadata.user != bootstrap::user() || metadata.mode & OTHERS != 0 {
            let failure = Failure::failed(format!("`{}` is open to others", folder.display()));
            return Err(
                failure.help("whoever can connect to it controls the system: chmod 700, or remove it")
            );
        }
        match dir.remove_file(SOCKET).await {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = dir.listen_unix(SOCKET).await.map_err(failed)?;
        Ok(Self { dir, listener })
    }

    /// Does what it is asked until the system stops, up to four requests side by side: what takes long keeps nobody else
    /// from being answered. Whoever comes then waits for one of them.
    pub(super) async fn serve(&self, served: &Served<'_>) {
        let attendant = || async {
            loop {
                match self.listener.accept().await {
                    Ok(stream) => served.attend(stream).await,
                    Err(error) => {
                        tracing::error!(cause = %error, "cannot take a request");
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
        };
        tokio::join!(attendant(), attendant(), attendant(), attendant());
    }

    /// Takes the socket away.
    pub(super) async fn close(self) {
        drop(self.listener);
        if let Err(error) = self.dir.remove_file(SOCKET).await {
            tracing::warn!(cause = %error, "the control socket is left behind");
        }
    }
}

/// What requests are about.
pub(super) struct Served<'a> {
    pub(super) system: &'a System,
    pub(super) door: &'a Door,
    pub(super) shelf: Shared,
    /// The components whose version is being changed.
    changing: Mutex<HashSet<String>>,
}

impl<'a> Served<'a> {
    pub(super) fn new(system: &'a System, door: &'a Door, shelf: Shared) -> Self {
        Self { system, door, shelf, changing: Mutex::default() }
    }

    async fn attend(&self, mut stream: UnixStream) {
        let is_known = |user| user == bootstrap::user() || user == ROOT;
        let answer = match stream.peer_user() {
            Ok(user) if is_known(user) => {
                match tokio::time::timeout(ARRIVAL, Request::read(&mut stream)).await {
                    Ok(Ok(request)) => self.obey(request).await,
                    Ok(Err(wrong)) => json!({"error": "cannot read the request", "because": wrong}),
                    Err(_) => json!({"error": "the request did not arrive in time"}),
                }
            }
            _ => json!({"error": "the system is another user's"}),
        };
        // Who went away without the answer knows that there was one.
        let _ = tokio::time::timeout(ARRIVAL, control::send(&mut stream, &answer)).await;
    }

    async fn obey(&self, request: Request) -> Value {
        let (component, handover, new) = match request {
            Request::Upgrade { component, handover, canary, bytes } => {
                (component, handover, Some((bytes, canary)))
            }
            Request::Rollback { component, handover } => (component, handover, None),
            Request::Retry(letters) => return dead::retry(self, letters).await,
            Request::Drop(letters) => return dead::drop_from(&self.shelf, self.door, letters).await,
        };
        let Some(_changing) = Changing::begin(&self.changing, &component) else {
            return json!({"error": format!("another change of `{component}` is under way")});
        };
        let switched = match new {
            Some((bytes, canary)) => {
                let cache = self.door.cache().await;
                upgrade(self.system, &component, bytes, cache.as_deref(), handover, canary).await
            }
            None => self.system.rollback(&component, handover, PATIENCE).await,
        };
        match switched {
            Ok(switched) => done(&component, &switched),
            Err(error) => refused(&error),
        }
    }
}

/// A change of a component's version, as long as it lasts.
struct Changing<'a> {
    all: &'a Mutex<HashSet<String>>,
    component: &'a str,
}

impl<'a> Changing<'a> {
    /// None where it is being changed already.
    fn begin(all: &'a Mutex<HashSet<String>>, component: &'a str) -> Option<Self> {
        let is_first = all.lock().unwrap_or_else(PoisonError::into_inner).insert(component.to_owned());
        is_first.then_some(Self { all, component })
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(self.component);
    }
}

async fn upgrade(
    system: &System,
    component: &str,
    bytes: Vec<u8>,
    cache: Option<&Cache>,
    handover: Handover,
    canary: Option<(Canary, Duration)>,
) -> Result<Switched, Error> {
    let engine = system.engine(component)?;
    let (version, _) = Component::load(engine, bytes, cache, || ()).await?;
    if let Some((canary, within)) = canary {
        return system.canary(component, &version, canary, within).await;
    }
    system.upgrade(component, &version, handover, PATIENCE).await
}

fn done(component: &str, switched: &Switched) -> Value {
    json!({
        "component": component,
        "from": switched.from.to_string(),
        "to": switched.to.to_string(),
        "state_bytes": switched.state_bytes,
        "held_us": u64::try_from(switched.held.as_micros()).unwrap_or(u64::MAX),
    })
}

pub(super) fn refused(error: &Error) -> Value {
    let mut causes = chain(error).into_iter();
    let (message, because) = (causes.next(), causes.collect::<Vec<_>>().join(": "));
    let end = because.floor_char_boundary(REASON_BYTES);
    json!({"error": message, "because": because.get(..end)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_changed_by_one_at_a_time() {
        let all = Mutex::default();
        let first = Changing::begin(&all, "a");
        assert!(first.is_some());
        assert!(Changing::begin(&all, "a").is_none());
        assert!(Changing::begin(&all, "b").is_some());
        drop(first);
        assert!(Changing::begin(&all, "a").is_some());
    }
}
