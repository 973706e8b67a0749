//! Looking hosts up: the seam to whoever knows the addresses, and what is remembered of the answers.

use std::{collections::HashMap, io, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

use super::{HostName, account::Account};
use crate::{
    Action, Error, ErrorKind, Principal,
    limits::{ADDRESSES_PER_HOST, HOST_TTL, HOST_TTL_MOST, HOSTS_REMEMBERED},
    os::{Done, Fault, pool},
    policy::Resource,
    sys,
};

/// A lookup that is under way.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = io::Result<Answer>> + Send + 'a>>;

/// Whoever knows the addresses of hosts.
///
/// It is asked only after policy permitted the lookup and its intent is on record, and nothing that it answers is
/// trusted: each address is decided before anything connects to it. Give another than the system's to
/// [`OsBuilder::resolver`](crate::OsBuilder::resolver).
pub trait Resolve: Send + Sync + 'static {
    /// Looks up the addresses of `host`. The future is dropped when it takes too long.
    ///
    /// An empty answer and an error of the kind [`NotFound`](io::ErrorKind::NotFound) say that there is no such host.
    ///
    /// `slot` is one of the [`LOOKUPS_AT_A_TIME`](crate::limits::LOOKUPS_AT_A_TIME) of the principal that asks. Whoever
    /// goes on after the future was dropped, as a thread does that waits for the system, keeps it until it has ended.
    fn lookup<'a>(&'a self, host: &'a HostName, slot: LookupSlot) -> Lookup<'a>;
}

/// The right of one lookup to go on. It is free again when this is dropped.
#[derive(Debug)]
pub struct LookupSlot(#[expect(dead_code, reason = "it is kept for its drop")] OwnedSemaphorePermit);

/// The addresses of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The addresses, the best first. Beyond [`ADDRESSES_PER_HOST`] they are not looked at.
    pub addresses: Vec<IpAddr>,
    /// How long they hold; `None` where nobody says, which counts as [`HOST_TTL`].
    pub ttl: Option<Duration>,
}

/// The resolver of the operating system: `/etc/hosts`, the servers in `/etc/resolv.conf`, and what else it is set up to
/// ask. It waits on a thread of the blocking pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn lookup<'a>(&'a self, host: &'a HostName, slot: LookupSlot) -> Lookup<'a> {
        let host = host.clone();
        Box::pin(async move {
            let looked_up = pool(move || {
                let answer = sys::lookup(host.as_str()).map_err(Fault::Os);
                drop(slot);
                answer
            });
            let looked_up = looked_up.await;
            let addresses = looked_up.map_err(|fault| match fault {
                Fault::Os(error) => error,
                _ => io::ErrorKind::Other.into(),
            })?;
            Ok(Answer { addresses, ttl: None })
        })
    }
}

/// What is remembered of answers, for one principal. Pure: time comes in as an argument.
#[derive(Debug, Default)]
pub(super) struct Memory {
    hosts: HashMap<HostName, Remembered>,
}

#[derive(Debug)]
struct Remembered {
    addresses: Arc<[IpAddr]>,
    until: Instant,
}

impl Memory {
    pub(super) fn find(&self, host: &HostName, now: Instant) -> Option<Arc<[IpAddr]>> {
        let known = self.hosts.get(host).filter(|known| now < known.until)?;
        Some(Arc::clone(&known.addresses))
    }

    /// The hosts that were found to have `address`.
    pub(super) fn hosts_of(&self, address: IpAddr, now: Instant) -> Box<[HostName]> {
        let known = self.hosts.iter().filter(|(_, known)| now < known.until);
        let mut hosts: Box<[_]> = known
            .filter(|(_, known)| known.addresses.contains(&address))
            .map(|(host, _)| host.clone())
            .collect();
        hosts.sort_unstable();
        hosts
    }

    pub(super) fn keep(&mut self, host: HostName, addresses: Arc<[IpAddr]>, ttl: Duration, now: Instant) {
        if self.hosts.len() >= HOSTS_REMEMBERED && !self.hosts.contains_key(&host) {
            self.hosts.retain(|_, known| now < known.until);
        }
        if self.hosts.len() >= HOSTS_REMEMBERED && !self.hosts.contains_key(&host) {
            let soonest =
                self.hosts.iter().min_by_key(|(_, known)| known.until).map(|(host, _)| host.clone());
            soonest.and_then(|host| self.hosts.remove(&host));
        }
        self.hosts.insert(host, Remembered { addresses, until: now + ttl.min(HOST_TTL_MOST) });
    }
}

/// Looks a host up for a principal: decided and recorded, remembered or asked.
pub(super) async fn resolve(principal: &Principal, host: &HostName) -> Result<Arc<[IpAddr]>, Error> {
    let standing = principal.standing();
    let decision = standing.decide(Action::NetResolve, Resource::Host(host.as_str()));
    let mut operation = principal.operation(Action::NetResolve, host.as_str().as_bytes());
    if !decision.permits() {
        return Err(operation.deny(decision.rule, standing.epoch));
    }
    let account = principal.account();
    let known = account.memory().find(host, Instant::now());
    if let Some(addresses) = known {
        return operation.begin(decision, standing.epoch)?.finish(Ok(Done::new(addresses)));
    }
    // A lookup tells the outside what is asked for, so its intent comes first.
    operation.mutates = true;
    let deadline = standing.limits().resolve_timeout;
    let execute = async {
        let asked = timeout(deadline, ask(principal, account, host));
        let addresses = asked.await.map_err(|_| Fault::errno(sys::errno::TIMED_OUT))??;
        Ok(Done::new(addresses))
    };
    let addresses = operation.run(decision, standing.epoch, execute).await?;
    if addresses.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("resolve `{host}`")));
    }
    Ok(addresses)
}

async fn ask(principal: &Principal, account: &Account, host: &HostName) -> Result<Arc<[IpAddr]>, Fault> {
    let slot = Arc::clone(&account.lookups).try_acquire_owned().map_err(|_| Fault::TooMany)?;
    let answer = match principal.os().resolver().lookup(host, LookupSlot(slot)).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Answer::default(),
        answer => answer.map_err(Fault::Os)?,
    };
    let addresses: Arc<[IpAddr]> = answer.addresses.into_iter().take(ADDRESSES_PER_HOST).collect();
    if !addresses.is_empty() {
        let ttl = answer.ttl.unwrap_or(HOST_TTL);
        account.memory().keep(host.clone(), Arc::clone(&addresses), ttl, Instant::now());
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn addresses(last: u8) -> Arc<[IpAddr]> {
        [IpAddr::from([1, 1, 1, last])].into()
    }

    #[test]
    fn an_answer_holds_as_long_as_it_says_and_no_longer_than_the_limit() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        memory.keep(name("a"), addresses(1), Duration::from_secs(5), start);
        memory.keep(name("b"), addresses(2), Duration::MAX, start);
        assert_eq!(memory.find(&name("a"), at(4)), Some(addresses(1)));
        assert_eq!(memory.find(&name("a"), at(5)), None);
        assert_eq!(memory.find(&name("b"), at(HOST_TTL_MOST.as_secs() - 1)), Some(addresses(2)));
        assert_eq!(memory.find(&name("b"), at(HOST_TTL_MOST.as_secs())), None);
        memory.keep(name("a"), addresses(3), Duration::ZERO, start);
        assert_eq!(memory.find(&name("a"), start), None, "what holds for no time is not remembered");
    }

    #[test]
    fn hosts_by_their_address() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        for host in ["b", "a"] {
            memory.keep(name(host), addresses(1), HOST_TTL, start);
        }
        memory.keep(name("c"), addresses(2), HOST_TTL, start);
        assert_eq!(*memory.hosts_of(IpAddr::from([1, 1, 1, 1]), start), [name("a"), name("b")]);
        assert_eq!(*memory.hosts_of(IpAddr::from([1, 1, 1, 1]), start + HOST_TTL), []);
    }

    #[test]
    fn it_forgets_what_ends_soonest() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        for number in 0..2 * HOSTS_REMEMBERED {
            let ttl = Duration::from_secs(1 + number as u64);
            memory.keep(name(&format!("h{number}")), addresses(1), ttl, start);
            assert!(memory.hosts.len() <= HOSTS_REMEMBERED);
        }
        assert_eq!(memory.find(&name("h0"), start), None);
        assert!(memory.find(&name(&format!("h{}", HOSTS_REMEMBERED)), start).is_some());
    }
}
