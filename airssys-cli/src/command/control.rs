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
use airssys_wasm::{Canary, Component, Error, Switched, System};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    dead,
    trials::{Trial, carry_on},
};
use crate::{
    control::{self, Request, SOCKET, doing},
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

/// The parts of a change of version, as its client shows them.
const LOADING: &str = "checking and compiling the new version";
const SWITCHING: &str = "starting the other version beside this one";
const ON_TRIAL: &str = "the new version is on trial";

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
    /// from being answered. Whoever comes then waits for one of them. What waits for others, as a trial does for requests,
    /// is none of the four.
    pub(super) async fn serve(&self, served: &Served<'_>) {
        let (hand_over, begun) = mpsc::unbounded_channel();
        let attendant = || async {
            loop {
                match self.listener.accept().await {
                    Ok(stream) => served.attend(stream, &hand_over).await,
                    Err(error) => {
                        tracing::error!(cause = %error, "cannot take a request");
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
        };
        tokio::join!(attendant(), attendant(), attendant(), attendant(), carry_on(begun));
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

    async fn attend<'s>(&'s self, mut stream: UnixStream, hand_over: &mpsc::UnboundedSender<Trial<'s>>) {
        let is_known = |user| user == bootstrap::user() || user == ROOT;
        let answer = match stream.peer_user() {
            Ok(user) if is_known(user) => {
                match tokio::time::timeout(ARRIVAL, Request::read(&mut stream)).await {
                    Ok(Ok(Request::Upgrade { component, canary: Some(canary), bytes, .. })) => {
                        match self.prepare(&mut stream, component, bytes).await {
                            Ok((changing, version)) => {
                                tell(&mut stream, &doing(ON_TRIAL)).await;
                                // One for each component at most. It is taken as long as this is.
                                let _ =
                                    hand_over.send(Box::pin(self.try_out(stream, changing, version, canary)));
                                return;
                            }
                            Err(answer) => answer,
                        }
                    }
                    Ok(Ok(request)) => self.obey(&mut stream, request).await,
                    Ok(Err(wrong)) => json!({"error": "cannot read the request", "because": wrong}),
                    Err(_) => json!({"error": "the request did not arrive in time"}),
                }
            }
            _ => json!({"error": "the system is another user's"}),
        };
        tell(&mut stream, &answer).await;
    }

    /// What the trial of a version needs: that nobody else changes the component, and its code.
    async fn prepare(
        &self,
        stream: &mut UnixStream,
        component: String,
        bytes: Vec<u8>,
    ) -> Result<(Changing<'_>, Component), Value> {
        let changing = Changing::begin(&self.changing, &component).ok_or_else(|| is_changed(&component))?;
        tell(stream, &doing(LOADING)).await;
        let cache = self.door.cache().await;
        let version = self.system.load(&component, bytes, cache.as_deref()).await;
        Ok((changing, version.map_err(|error| refused(&error))?))
    }

    /// Tries a version on requests, as long as its client waits for what comes of it.
    async fn try_out(
        &self,
        mut stream: UnixStream,
        changing: Changing<'_>,
        version: Component,
        (canary, within): (Canary, Duration),
    ) {
        let component = &*changing.component;
        let tried = tokio::select! {
            biased;
            () = control::closed(&mut stream) => {
                tracing::info!(component, "a trial is over: its client is gone");
                return;
            }
            tried = self.system.canary(component, &version, canary, within) => tried,
        };
        let answer = match tried {
            Ok(switched) => done(component, &switched),
            Err(error) => refused(&error),
        };
        drop(changing);
        tell(&mut stream, &answer).await;
    }

    async fn obey(&self, stream: &mut UnixStream, request: Request) -> Value {
        let (component, handover, new) = match request {
            Request::Upgrade { component, handover, bytes, .. } => (component, handover, Some(bytes)),
            Request::Rollback { component, handover } => match self.system.withdraw(&component) {
                // A trial is a change under way, which this is the end of.
                Ok(Some(withdrawn)) => return done(&component, &withdrawn),
                Ok(None) => (component, handover, None),
                Err(error) => return refused(&error),
            },
            Request::Status => return status(self.system),
            Request::Retry(letters) => return dead::retry(self, letters).await,
            Request::Drop(letters) => return dead::drop_from(&self.shelf, self.door, letters).await,
        };
        let Some(_changing) = Changing::begin(&self.changing, &component) else {
            return is_changed(&component);
        };
        let switched = match new {
            Some(bytes) => {
                tell(stream, &doing(LOADING)).await;
                let cache = self.door.cache().await;
                match self.system.load(&component, bytes, cache.as_deref()).await {
                    Ok(version) => {
                        tell(stream, &doing(SWITCHING)).await;
                        self.system.upgrade(&component, &version, handover, PATIENCE).await
                    }
                    Err(error) => Err(error),
                }
            }
            None => {
                tell(stream, &doing(SWITCHING)).await;
                self.system.rollback(&component, handover, PATIENCE).await
            }
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
    component: String,
}

impl<'a> Changing<'a> {
    /// None where it is being changed already.
    fn begin(all: &'a Mutex<HashSet<String>>, component: &str) -> Option<Self> {
        let is_first = all.lock().unwrap_or_else(PoisonError::into_inner).insert(component.to_owned());
        is_first.then(|| Self { all, component: component.to_owned() })
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.component);
    }
}

/// Sends an answer. Who went away without it knows that there was one.
async fn tell(stream: &mut UnixStream, answer: &Value) {
    let _ = tokio::time::timeout(ARRIVAL, control::send(stream, answer)).await;
}

/// What each process and component is doing.
fn status(system: &System) -> Value {
    let members = system.status().into_iter().map(|member| {
        json!({
            "name": &*member.name,
            "state": member.health.map(|health| health.to_string()),
            "version": member.version.map(|version| version.to_string()),
            "waiting": member.waiting,
            "handled": member.handled,
            "dead_letters": member.dead,
            "busy": member.busy,
            "held_back": member.held_back,
        })
    });
    json!({"members": members.collect::<Vec<_>>()})
}

fn is_changed(component: &str) -> Value {
    json!({"error": format!("another change of `{component}` is under way")})
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
