//! Who an actor is to the door: on whose behalf it handles a message, and what ends with it.

#![expect(clippy::disallowed_methods, reason = "a server to connect to")]

use std::net::TcpListener;
use std::time::Duration;

use airssys_osl::{
    ErrorKind, Os, Principal,
    net::Limits,
    policy::{Grant, Policy, Protocol},
    testing::MemorySink,
    trace,
};
use airssys_rt::security::{Carried, SecurityContext};
use airssys_rt::{
    Actor, ActorRef, ChildSpec, Context, ExitReason, Init, Mailbox, Reply, Strategy, Supervisor, System,
};
use tokio::io::AsyncReadExt as _;

/// Longer than anything here takes, on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(600);

const TRACE: [u8; 16] = [7; 16];

fn door(grants: impl IntoIterator<Item = Grant>) -> (Os, MemorySink) {
    let policy = Policy::builder()
        .principal("caller", [Grant::clock()])
        .principal("front", [Grant::random()])
        .principal("p", grants);
    let sink = MemorySink::new();
    (Os::new(policy.build().unwrap(), sink.clone()), sink)
}

/// Passes on what it is asked; the last one uses the door: as whoever asks, and as itself.
struct Clerk {
    os: Os,
    next: Option<ActorRef<Question>>,
    own: Option<Principal>,
}

type Question = Carried<Reply<Seen>>;

/// For whom a clerk works, whether that one may read clocks and draw random bytes, and whether the clerk itself may.
type Seen = (Option<String>, [bool; 2], [bool; 2]);

fn may(principal: &Principal) -> [bool; 2] {
    [principal.clock().is_ok(), principal.random().is_ok()]
}

impl Actor for Clerk {
    type Msg = Question;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        self.own = Some(cx.principal(&self.os, "front")?);
        Ok(Init::Ready)
    }

    async fn handle(&mut self, question: Question, _: &mut Context<Self>) -> Result<(), ExitReason> {
        let (context, reply) = question.open();
        let (own, next) = (self.own.clone().unwrap(), self.next.clone());
        let work = async move {
            // Others run on this thread meanwhile.
            tokio::task::yield_now().await;
            let context = SecurityContext::current();
            assert_eq!(context.trace(), trace::current());
            if let Some(next) = next {
                let answer = next.call(Carried::new, LONG).await;
                answer.map(|answer| reply.send(answer))
            } else {
                let of = |caller: &Principal| (Some(caller.name().to_owned()), may(caller));
                let (name, caller) = context.principal().map_or((None, [false; 2]), of);
                reply.send((name, caller, may(&own)));
                Ok(())
            }
        };
        Ok(context.scope(work).await?)
    }
}

#[tokio::test]
async fn a_context_goes_along_a_call_and_the_calls_within() {
    let (os, sink) = door([]);
    let system = System::new();
    let clerk = |next| system.spawn(Clerk { os: os.clone(), next, own: None });
    let first = clerk(Some(clerk(Some(clerk(None)))));
    let asked = SecurityContext::new(os.principal("caller").unwrap(), TRACE);
    let seen = asked.scope(first.call(Carried::new, LONG)).await.unwrap();
    assert_eq!(seen, (Some("caller".to_owned()), [true, false], [false, true]));
    let records = sink.take();
    let by = |name: &str| records.iter().filter(|record| record.principal == name).count();
    assert_eq!((by("caller"), by("front"), records.len()), (2, 2, 4));
    assert!(records.iter().all(|record| record.trace == TRACE), "{records:?}");

    // Who asks without one asks for nobody, whatever the call before was for.
    assert_eq!(first.call(Carried::new, LONG).await.unwrap(), (None, [false; 2], [false, true]));
    assert!(sink.take().iter().all(|record| record.trace == trace::NONE));
}

#[tokio::test]
async fn what_is_sent_later_or_by_another_carries_what_it_was_made_with() {
    let (os, _) = door([]);
    let context = SecurityContext::new(os.principal("caller").unwrap(), TRACE);
    let message = context.scope(async { Carried::new(5) }).await;
    assert_eq!(message.context().trace(), TRACE);
    let (context, number) = tokio::spawn(async { message.open() }).await.unwrap();
    assert_eq!((context.principal().map(Principal::name), number), (Some("caller"), 5));
    assert!(SecurityContext::current().principal().is_none());
}

tokio::task_local! {
    static ASKS: ();
}

/// Says whether its caller runs it, and whether it finds anything of that one's.
struct Guest;

impl Actor for Guest {
    type Msg = Reply<(bool, bool)>;

    async fn handle(&mut self, reply: Self::Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
        let context = SecurityContext::current();
        let has = context.principal().is_some()
            || context.trace() != trace::NONE
            || trace::current() != trace::NONE;
        reply.send((ASKS.try_with(|()| ()).is_ok(), has));
        Ok(())
    }
}

#[tokio::test]
async fn an_actor_on_the_stack_of_its_caller_acts_as_itself() {
    let (os, _) = door([]);
    let guest = System::builder().quick(Duration::from_millis(5)).build().spawn(Guest);
    let context = SecurityContext::new(os.principal("caller").unwrap(), TRACE);
    let asks = async {
        let mut visits = 0;
        // More than it takes to prove that it is quick.
        for _ in 0..10_000 {
            let (visited, has) = guest.call(|reply| reply, LONG).await.unwrap();
            assert!(!has, "after {visits} visits");
            visits += u32::from(visited);
            let own = SecurityContext::current();
            assert!(own.principal().is_some() && own.trace() == TRACE, "the caller's own is there again");
        }
        visits
    };
    assert!(ASKS.scope((), context.scope(asks)).await > 0);
}

/// Gives its principal away, and ends as it is told.
struct Holder(Os);

enum Hold {
    Show(Reply<Principal>),
    Ping(Reply<()>),
    End(ExitReason),
    Panic,
}

impl Actor for Holder {
    type Msg = Hold;

    async fn handle(&mut self, hold: Hold, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match hold {
            Hold::Show(reply) => reply.send(cx.principal(&self.0, "p")?),
            Hold::Ping(reply) => reply.send(()),
            Hold::End(reason) => return Err(reason),
            Hold::Panic => panic!("told to"),
        }
        Ok(())
    }
}

/// All the ways in which an actor ends.
const ENDS: [fn(&ActorRef<Hold>); 5] = [
    |holder| holder.try_cast(Hold::End(ExitReason::Normal)).unwrap(),
    |holder| holder.try_cast(Hold::End(std::io::Error::other("crash").into())).unwrap(),
    |holder| holder.try_cast(Hold::Panic).unwrap(),
    |holder| holder.stop(ExitReason::Shutdown),
    ActorRef::kill,
];

fn is_revoked(principal: &Principal) -> bool {
    let denied = principal.clock().unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied);
    denied.rule() == Some("revoked")
}

#[tokio::test]
async fn a_principal_ends_with_its_actor_whatever_the_end() {
    let (os, _) = door([Grant::clock()]);
    for end in ENDS {
        let holder = System::new().spawn(Holder(os.clone()));
        let (one, other) =
            (holder.call(Hold::Show, LONG).await.unwrap(), holder.call(Hold::Show, LONG).await.unwrap());
        assert_eq!((may(&one), may(&other)), ([true, false], [true, false]));
        end(&holder);
        let reason = holder.exited().await;
        assert!(is_revoked(&one) && is_revoked(&other), "after {reason}");
    }
    assert_eq!(may(&os.principal("p").unwrap()), [true, false], "another life of the same name");
}

/// Has the one connection that it may have read by a task that nobody ends.
struct Client {
    holder: Holder,
    port: u16,
}

impl Actor for Client {
    type Msg = Hold;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        let connector = cx.principal(&self.holder.0, "p")?.tcp_connector();
        let mut stream = loop {
            match connector.connect("127.0.0.1", self.port).await {
                Ok(stream) => break stream,
                // The task of the one before has still to hear that its connection was cut.
                Err(error) if error.kind() == ErrorKind::LimitExceeded => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        tokio::spawn(async move { stream.read_u8().await });
        Ok(Init::Ready)
    }

    async fn handle(&mut self, hold: Hold, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match hold {
            Hold::End(reason) => return Err(reason),
            Hold::Panic => panic!("told to"),
            Hold::Ping(reply) => reply.send(()),
            Hold::Show(_) => {}
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_an_actor_had_of_its_limits_is_there_for_the_next_incarnation() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let connect = Grant::connect(Protocol::Tcp, "127.0.0.1", port);
    let (os, _) = door([connect, Grant::net_limits(Limits::new().open(1))]);
    let mailbox = Mailbox::unbounded();
    let client = mailbox.actor_ref();
    let make = move || Client { holder: Holder(os.clone()), port };
    let top = Supervisor::new("top", Strategy::OneForOne)
        .intensity(ENDS.len(), LONG)
        .child(ChildSpec::actor_with_mailbox("client", mailbox, make));
    let top = tokio::time::timeout(LONG, System::new().start(top)).await.unwrap().unwrap();
    for end in ENDS {
        // Who answers has its connection.
        client.call(Hold::Ping, LONG).await.unwrap();
        end(&client);
    }
    client.call(Hold::Ping, LONG).await.unwrap();
    top.shutdown().await;
}
