//! Streams into actors and out of them: order, ends, and who waits for whom. OTP has none.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use airssys_rt::stream::{self, EmitError, Outlet, StreamEnd, StreamRef};
use airssys_rt::{
    Actor, ActorRef, ChildSpec, Context, ExitReason, Init, Mailbox, MailboxOptions, Reply, SendError,
    SpawnOptions, Strategy, System, task,
};
use futures_core::Stream;
use futures_sink::Sink;

use crate::stage::{LONG, settle, start, top};

/// Counts up, as fast as it is asked; says how far it is, and when it is dropped.
#[derive(Default)]
struct Counting {
    polled: Arc<AtomicUsize>,
    dropped: Arc<AtomicBool>,
}

impl Stream for Counting {
    type Item = usize;
    fn poll_next(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Option<usize>> {
        Poll::Ready(Some(self.polled.fetch_add(1, Ordering::SeqCst)))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
    }
}

/// Adds a stream at its start, collects, and stops collecting when told to hang.
struct Collector<S> {
    stream: Option<S>,
    added: Option<StreamRef>,
    items: Vec<usize>,
}

enum Msg {
    Item(usize),
    End(StreamEnd),
    Hang,
    Exit,
    Cancel,
    Items(Reply<Vec<usize>>),
    IsFinished(Reply<bool>),
}

/// What stands for the end of a stream among the items.
const FINISHED: usize = usize::MAX;
const PANICKED: usize = usize::MAX - 1;

impl<S: Stream<Item = usize> + Send + 'static> Actor for Collector<S> {
    type Msg = Msg;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        self.added = self.stream.take().map(|stream| cx.add_stream_with_end(stream, Msg::Item, Msg::End));
        Ok(Init::Ready)
    }

    async fn handle(&mut self, message: Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            Msg::Item(item) => self.items.push(item),
            Msg::End(StreamEnd::Finished) => self.items.push(FINISHED),
            Msg::End(end) => {
                assert_eq!(end, StreamEnd::Panicked("boom".into()));
                self.items.push(PANICKED);
            }
            Msg::Hang => std::future::pending().await,
            Msg::Exit => return Err(ExitReason::Normal),
            Msg::Cancel => self.added.as_ref().unwrap().cancel(),
            Msg::Items(reply) => reply.send(self.items.clone()),
            Msg::IsFinished(reply) => reply.send(self.added.as_ref().unwrap().is_finished()),
        }
        Ok(())
    }
}

fn collector<S>(stream: S) -> Collector<S> {
    Collector { stream: Some(stream), added: None, items: Vec::new() }
}

#[tokio::test(start_paused = true)]
async fn items_come_in_order_and_then_the_end() {
    let (outlet, source) = stream::source(4);
    let actor = System::new().spawn(collector(source));
    for item in 0..10 {
        outlet.emit(item).await.unwrap();
    }
    settle().await;
    assert_eq!(actor.call(Msg::Items, LONG).await.unwrap(), (0..10).collect::<Vec<_>>());
    assert!(!actor.call(Msg::IsFinished, LONG).await.unwrap());
    drop(outlet);
    settle().await;
    assert_eq!(actor.call(Msg::Items, LONG).await.unwrap().last(), Some(&FINISHED));
    assert!(actor.call(Msg::IsFinished, LONG).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_stream_is_its_end_and_not_the_actors() {
    struct Mine(bool);
    impl Stream for Mine {
        type Item = usize;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Option<usize>> {
            assert!(!std::mem::replace(&mut self.0, true), "boom");
            Poll::Ready(Some(1))
        }
    }
    let actor = System::new().spawn(collector(Mine(false)));
    settle().await;
    assert_eq!(actor.call(Msg::Items, LONG).await.unwrap(), [1, PANICKED]);
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_holds_the_stream_back() {
    const CAPACITY: usize = 4;
    let counting = Counting::default();
    let (polled, dropped) = (Arc::clone(&counting.polled), Arc::clone(&counting.dropped));
    let mailbox = Mailbox::bounded(CAPACITY);
    mailbox.actor_ref().try_cast(Msg::Hang).unwrap();
    System::new().spawn_on(&mailbox, None, collector(counting)).unwrap();
    settle().await;
    // What fits into the mailbox, and the one that waits for room.
    assert_eq!(polled.load(Ordering::SeqCst), CAPACITY + 1);
    assert!(!dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn an_endless_stream_lets_others_run_and_ends_with_the_actor() {
    let counting = Counting::default();
    let dropped = Arc::clone(&counting.dropped);
    let options = SpawnOptions { mailbox: MailboxOptions::unbounded(), ..SpawnOptions::default() };
    let actor = System::new().spawn_with(options, collector(counting));
    while actor.call(Msg::Items, LONG).await.unwrap().is_empty() {}
    actor.cast(Msg::Exit).await.unwrap();
    actor.exited().await;
    settle().await;
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_incarnation_though_the_mailbox_goes_on() {
    let (mailbox, starts) = (Mailbox::default(), Arc::new(AtomicUsize::new(0)));
    let (drops, started) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&starts));
    /// Never has an item; counts its drops.
    struct Silent(Arc<AtomicUsize>);
    impl Stream for Silent {
        type Item = usize;
        fn poll_next(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Option<usize>> {
            Poll::Pending
        }
    }
    impl Drop for Silent {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropping = Arc::clone(&drops);
    let actor = mailbox.actor_ref();
    let child = ChildSpec::actor_with_mailbox("collector", mailbox, move || {
        started.fetch_add(1, Ordering::SeqCst);
        collector(Silent(Arc::clone(&dropping)))
    });
    // The first incarnation ends before its stream's task has run for the first time.
    actor.cast(Msg::Exit).await.unwrap();
    let tree = start(top(Strategy::OneForOne, [child])).await;
    settle().await;
    assert_eq!((starts.load(Ordering::SeqCst), drops.load(Ordering::SeqCst)), (2, 1));
    // The second after that, and the third before.
    actor.cast(Msg::Exit).await.unwrap();
    actor.cast(Msg::Exit).await.unwrap();
    settle().await;
    assert_eq!((starts.load(Ordering::SeqCst), drops.load(Ordering::SeqCst)), (4, 3));
    tree.shutdown().await;
    settle().await;
    assert_eq!(drops.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn cancelled_it_says_nothing_more() {
    let (outlet, source) = stream::source(4);
    let actor = System::new().spawn(collector(source));
    outlet.emit(1).await.unwrap();
    settle().await;
    actor.cast(Msg::Cancel).await.unwrap();
    settle().await;
    assert!(outlet.is_closed());
    assert!(actor.call(Msg::IsFinished, LONG).await.unwrap());
    assert_eq!(actor.call(Msg::Items, LONG).await.unwrap(), [1]);
}

#[tokio::test(start_paused = true)]
async fn errors_of_a_stream_are_messages() {
    struct Reader(Vec<String>, Option<stream::Source<Result<u32, std::fmt::Error>>>);
    impl Actor for Reader {
        type Msg = Result<Reply<Vec<String>>, Result<u32, std::fmt::Error>>;
        async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
            if let Some(source) = self.1.take() {
                cx.add_stream(source, Err);
            }
            Ok(Init::Ready)
        }
        async fn handle(&mut self, message: Self::Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
            match message {
                Ok(reply) => reply.send(self.0.clone()),
                Err(item) => self.0.push(format!("{item:?}")),
            }
            Ok(())
        }
    }
    let (outlet, source) = stream::source(4);
    let reader = System::new().spawn(Reader(Vec::new(), Some(source)));
    outlet.emit(Ok(1)).await.unwrap();
    outlet.emit(Err(std::fmt::Error)).await.unwrap();
    drop(outlet);
    settle().await;
    assert_eq!(reader.call(Ok, LONG).await.unwrap(), ["Ok(1)", "Err(Error)"]);
}

async fn send(sink: &mut (impl Sink<Msg, Error = SendError<Msg>> + Unpin), item: Msg) -> Result<(), ()> {
    poll_fn(|task| Pin::new(&mut *sink).poll_ready(task)).await.map_err(drop)?;
    Pin::new(sink).start_send(item).map_err(drop)
}

async fn flush(sink: &mut (impl Sink<Msg, Error = SendError<Msg>> + Unpin)) -> Result<(), ()> {
    poll_fn(|task| Pin::new(&mut *sink).poll_close(task)).await.map_err(drop)
}

fn lone(capacity: usize) -> (Mailbox<Msg>, ActorRef<Msg>) {
    let mailbox = Mailbox::bounded(capacity);
    let actor = mailbox.actor_ref();
    (mailbox, actor)
}

fn run_on(mailbox: Mailbox<Msg>) {
    let actor = Collector::<stream::Source<usize>> { stream: None, added: None, items: Vec::new() };
    System::new().spawn_on(&mailbox, None, actor).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sink_waits_for_room() {
    let (mailbox, actor) = lone(2);
    let mut sink = actor.sink();
    for item in 0..3 {
        send(&mut sink, Msg::Item(item)).await.unwrap();
    }
    // Two in the mailbox, one on its way: it is not ready for a fourth.
    let fourth = send(&mut sink, Msg::Item(3));
    assert!(tokio::time::timeout(Duration::from_secs(1), fourth).await.is_err());
    assert_eq!(actor.depth(), 2);
    run_on(mailbox);
    send(&mut sink, Msg::Item(3)).await.unwrap();
    flush(&mut sink).await.unwrap();
    assert_eq!(actor.call(Msg::Items, LONG).await.unwrap(), [0, 1, 2, 3]);
    assert!(actor.is_alive(), "closing the sink is not the actor's end");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_not_asked_whether_it_is_ready_keeps_the_order() {
    let (mailbox, actor) = lone(1);
    let mut sink = actor.sink();
    for item in 0..4 {
        Pin::new(&mut sink).start_send(Msg::Item(item)).unwrap();
    }
    run_on(mailbox);
    flush(&mut sink).await.unwrap();
    assert_eq!(actor.call(Msg::Items, LONG).await.unwrap(), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_to_a_dead_actor_is_an_error() {
    let (mailbox, actor) = lone(1);
    let (mut waiting, mut late) = (actor.sink(), actor.sink().clone());
    send(&mut waiting, Msg::Item(0)).await.unwrap();
    send(&mut waiting, Msg::Item(1)).await.unwrap();
    drop(mailbox);
    assert!(flush(&mut waiting).await.is_err(), "what was on its way is lost, and that is known");
    assert!(send(&mut late, Msg::Item(2)).await.is_err());
    assert!(flush(&mut late).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_source_holds_its_actor_back_and_knows_when_nobody_listens() {
    let (outlet, mut source) = stream::source(2);
    outlet.try_emit(1).unwrap();
    outlet.try_emit(2).unwrap();
    assert!(matches!(outlet.try_emit(3), Err(EmitError::Full(3))));
    let emit = tokio::spawn({
        let outlet: Outlet<u32> = outlet.clone();
        async move { outlet.emit(3).await }
    });
    settle().await;
    assert!(!emit.is_finished());
    assert_eq!(source.next().await, Some(1));
    emit.await.unwrap().unwrap();
    drop(source);
    assert!(outlet.is_closed());
    assert!(matches!(outlet.emit(4).await, Err(EmitError::Closed(4))));
}

#[tokio::test(start_paused = true)]
async fn a_map_of_tasks_is_a_stream() {
    let map = task::map(&System::new(), 0..5_usize, 2, |n| async move { n * n });
    struct Sum(usize, Option<Reply<usize>>);
    impl Actor for Sum {
        type Msg = Option<usize>;
        async fn handle(&mut self, n: Option<usize>, _: &mut Context<Self>) -> Result<(), ExitReason> {
            match n {
                Some(n) => self.0 += n,
                None => self.1.take().unwrap().send(self.0),
            }
            Ok(())
        }
    }
    /// Starts with a stream that somebody else made.
    struct Adder<S>(Option<S>);
    impl<S: Stream<Item = Result<usize, ExitReason>> + Send + 'static> Actor for Adder<S> {
        type Msg = Result<Reply<usize>, Option<usize>>;
        async fn handle(&mut self, message: Self::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            let Ok(reply) = message else { return Ok(()) };
            let sum = cx.system().spawn(Sum(0, Some(reply)));
            let (Some(stream), to) = (self.0.take(), sum.clone()) else { return Ok(()) };
            cx.add_stream_with_end(
                stream,
                move |item| {
                    to.try_cast(item.ok()).unwrap();
                    Err(None)
                },
                move |_| {
                    sum.try_cast(None).unwrap();
                    Err(None)
                },
            );
            Ok(())
        }
    }
    let adder = System::new().spawn(Adder(Some(map)));
    assert_eq!(adder.call(Ok, LONG).await, Ok(30));
}
