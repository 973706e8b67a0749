//! `poll_oneoff`: waits for clocks and streams, and says which of them it was.

use wasmtime::component::Resource;
use wasmtime_wasi_io::{
    bindings::wasi::io::poll::{Host as _, HostPollable as _},
    poll::{DynPollable, subscribe},
};

use super::{
    Outcome,
    errno::{Errno, Fault},
    files::put,
    memory::{Guest, offset, size, u32_at, u64_at},
    process::{MONOTONIC, REALTIME, time},
    table::{Entry, borrow},
};
use crate::host::{Host, bindings::wasi::clocks::monotonic_clock::Host as _};

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: usize = 32;

/// The most subscriptions of one call.
const SUBSCRIPTIONS: u32 = 1024;

const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;

/// Whether a clock's timeout is a moment, not a duration.
const ABSOLUTE: u32 = 1;

/// The other end is gone, or it is the end of the file.
const HANGUP: u16 = 1;

/// What a guest waits for.
struct Subscription {
    userdata: u64,
    kind: u8,
    wait: Wait,
}

enum Wait {
    /// For this.
    Pollable(Resource<DynPollable>),
    /// For nothing: it is this many bytes from its end.
    Ready(u64),
    /// For nothing: this is wrong.
    Failed(Errno),
}

pub(super) async fn poll_oneoff(
    guest: &mut Guest<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    stored: u32,
) -> Outcome {
    if count == 0 || count > SUBSCRIPTIONS {
        return Err(Errno::INVAL.into());
    }
    let records = guest.bytes(subscriptions, count * SUBSCRIPTION_BYTES)?.to_vec();
    let mut waiting = Vec::new();
    let mut result = Ok(());
    for record in records.chunks_exact(SUBSCRIPTION_BYTES as usize) {
        match Subscription::begin(guest.host(), record).await {
            Ok(subscription) => waiting.push(subscription),
            Err(fault) => {
                result = Err(fault);
                break;
            }
        }
    }
    let happened = match result {
        Ok(()) => wait(guest.host(), &waiting).await,
        Err(fault) => Err(fault),
    };
    for subscription in &waiting {
        if let Wait::Pollable(pollable) = &subscription.wait {
            guest.host().table.drop(Resource::new_own(pollable.rep()))?;
        }
    }
    let happened = happened?;
    for (index, event) in happened.iter().enumerate() {
        guest.write(offset(events, index * EVENT_BYTES)?, event)?;
    }
    guest.write_u32(stored, size(happened.len())?)
}

/// Waits until something happens, and makes the events of all that has.
async fn wait(host: &mut Host, waiting: &[Subscription]) -> Result<Vec<[u8; EVENT_BYTES]>, Fault> {
    let at_once = waiting.iter().any(|subscription| !matches!(subscription.wait, Wait::Pollable(_)));
    let mut happened: Vec<bool> =
        waiting.iter().map(|subscription| !matches!(subscription.wait, Wait::Pollable(_))).collect();
    let pollables = waiting.iter().enumerate().filter_map(|(index, subscription)| match &subscription.wait {
        Wait::Pollable(pollable) => Some((index, pollable)),
        Wait::Ready(_) | Wait::Failed(_) => None,
    });
    let (indexes, pollables): (Vec<_>, Vec<_>) = pollables.unzip();
    let ready: Vec<usize> = if at_once {
        let mut ready = Vec::new();
        for (place, pollable) in pollables.iter().enumerate() {
            if host.table.ready(borrow(pollable)).await? {
                ready.push(place);
            }
        }
        ready
    } else {
        let pollables = pollables.into_iter().map(borrow).collect();
        host.table.poll(pollables).await?.into_iter().map(|place| place as usize).collect()
    };
    for place in ready {
        if let Some(happened) = indexes.get(place).and_then(|index| happened.get_mut(*index)) {
            *happened = true;
        }
    }
    let events = waiting.iter().zip(happened).filter(|(_, happened)| *happened);
    Ok(events.map(|(subscription, _)| subscription.event()).collect())
}

impl Subscription {
    async fn begin(host: &mut Host, record: &[u8]) -> Result<Self, Fault> {
        let kind = record.get(8).copied().unwrap_or_default();
        let wait = match kind {
            CLOCK => Self::clock(host, record),
            FD_READ | FD_WRITE => Self::descriptor(host, kind, u32_at(record, 16)).await,
            _ => Err(Errno::INVAL.into()),
        };
        let wait = match wait {
            Err(Fault::Errno(errno)) => Wait::Failed(errno),
            wait => wait?,
        };
        Ok(Self { userdata: u64_at(record, 0), kind, wait })
    }

    fn clock(host: &mut Host, record: &[u8]) -> Result<Wait, Fault> {
        let (clock, timeout) = (u32_at(record, 16), u64_at(record, 24));
        if clock != MONOTONIC && clock != REALTIME {
            return Err(Errno::INVAL.into());
        }
        let duration = match u32_at(record, 40) & 0xffff {
            0 => timeout,
            ABSOLUTE => timeout.saturating_sub(time(host, clock)?),
            _ => return Err(Errno::INVAL.into()),
        };
        Ok(Wait::Pollable(host.subscribe_duration(duration)?))
    }

    /// Files never wait; streams may.
    async fn descriptor(host: &mut Host, kind: u8, fd: u32) -> Result<Wait, Fault> {
        let wait = match (host.entry(fd)?, kind) {
            (Entry::Input(stream), FD_READ) => {
                let stream = borrow(stream);
                Wait::Pollable(subscribe(&mut host.table, stream)?)
            }
            (Entry::Output(stream), FD_WRITE) => {
                let stream = borrow(stream);
                Wait::Pollable(subscribe(&mut host.table, stream)?)
            }
            (Entry::File(file), _) => {
                let (descriptor, position) = (borrow(&file.descriptor), file.position);
                Wait::Ready(host.metadata(&descriptor).await?.len.saturating_sub(position))
            }
            _ => return Err(Errno::BADF.into()),
        };
        Ok(wait)
    }

    fn event(&self) -> [u8; EVENT_BYTES] {
        let (errno, bytes) = match self.wait {
            Wait::Failed(errno) => (errno, 0),
            Wait::Ready(bytes) => (Errno::SUCCESS, bytes),
            Wait::Pollable(_) if self.kind == CLOCK => (Errno::SUCCESS, 0),
            // How many is not known before they are read.
            Wait::Pollable(_) => (Errno::SUCCESS, 1),
        };
        let at_end = self.kind == FD_READ && matches!(self.wait, Wait::Ready(0));
        let mut event = [0; EVENT_BYTES];
        put(&mut event, 0, &self.userdata.to_le_bytes());
        put(&mut event, 8, &errno.0.to_le_bytes());
        put(&mut event, 10, &[self.kind]);
        put(&mut event, 16, &bytes.to_le_bytes());
        put(&mut event, 24, &(if at_end { HANGUP } else { 0 }).to_le_bytes());
        event
    }
}
