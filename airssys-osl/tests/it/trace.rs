//! Records say which request they belong to.

use std::{future::Future, pin::pin, task::Poll};

use airssys_osl::{
    Action,
    audit::{Log, LogOptions, Outcome, Query, Reader},
    fs::Flush,
    policy::{Grant, Policy, Protocol, Rights},
    trace,
};
use tokio::io::AsyncWriteExt as _;

use super::{
    fixture::Fixture,
    net_fixture::{Net, echo_server},
};

const REQUEST: [u8; 16] = [7; 16];

#[tokio::test]
async fn intents_ends_and_denials_belong_to_the_request() {
    let fixture = Fixture::new(Rights::READ | Rights::WRITE | Rights::CREATE);
    let dir = fixture.dir().await;
    fixture.sink.take();
    trace::scope(REQUEST, async {
        dir.replace("new", b"x", Flush::Later).await.unwrap();
        dir.read("new", 10).await.unwrap();
        dir.remove_file("new").await.unwrap_err();
        dir.read("../outside/secret", 10).await.unwrap_err();
    })
    .await;
    let records = fixture.sink.take();
    assert_eq!(records.len(), 5, "{records:?}");
    assert!(records.iter().all(|record| record.trace == REQUEST), "{records:?}");
    dir.read("new", 10).await.unwrap();
    assert_eq!(fixture.sink.take()[0].trace, trace::NONE);
}

#[test]
fn what_is_cancelled_belongs_to_the_request_wherever_it_is_dropped() {
    // One blocking thread, and somebody has it: the write begins and gets no further.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let fixture = Fixture::new(Rights::all());
        let dir = fixture.dir().await;
        fixture.sink.take();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let occupied = tokio::task::spawn_blocking(move || released.recv());
        {
            let mut write = pin!(trace::scope(REQUEST, dir.replace("new", b"x", Flush::Later)));
            let once = std::future::poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_pending()));
            assert!(once.await);
        }
        release.send(()).unwrap();
        occupied.await.unwrap().unwrap();
        let records = fixture.sink.take();
        assert_eq!(records.last().unwrap().outcome, Outcome::Cancelled);
        assert!(records.iter().all(|record| record.trace == REQUEST), "{records:?}");
    });
}

#[tokio::test]
async fn a_connection_ends_for_the_request_that_it_was_opened_for() {
    let server = echo_server().await;
    let net = Net::new([Grant::connect(Protocol::Tcp, "127.0.0.1", server.port())]);
    let connector = net.principal().tcp_connector();
    let mut stream = trace::scope(REQUEST, connector.connect("127.0.0.1", server.port())).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    drop(stream);
    let records = net.sink.take();
    assert_eq!(records.last().unwrap().action, Action::NetClose);
    assert!(records.iter().all(|record| record.trace == REQUEST), "{records:?}");
}

#[tokio::test]
async fn a_query_finds_all_of_a_request_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), "example.org/log", LogOptions::default()).unwrap();
    let policy = Policy::builder().principal("p", [Grant::clock(), Grant::random()]).build().unwrap();
    let principal = airssys_osl::Os::new(policy, log.clone()).principal("p").unwrap();
    principal.random().unwrap();
    trace::sync_scope(REQUEST, || principal.clock().unwrap());
    principal.random().unwrap();
    log.close().unwrap();
    let query = Query { trace: Some(REQUEST), ..Query::default() };
    let found: Vec<_> = Reader::query(folder.path(), query).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.iter().map(|record| record.action()).collect::<Vec<_>>(), [Some(Action::ClockRead)]);
}
