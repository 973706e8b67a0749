//! What a program should not do, and does until it is stopped.

use std::{
    future::{Future, poll_fn},
    task::Poll,
};

use crate::bindings::{
    wasi::{
        cli::{stdin, stdout},
        clocks::monotonic_clock,
    },
    wit_stream,
};

/// The answer to a word, if it is one of these and comes to an end.
pub(crate) async fn attack(word: &str) -> Option<String> {
    match word {
        "spin" => loop {
            std::hint::spin_loop();
        },
        "yield" => loop {
            wit_bindgen::yield_async().await;
        },
        "sleep" => monotonic_clock::wait_for(u64::MAX).await,
        "deadlock" => {
            let (_writer, mut reader) = wit_stream::new::<u8>();
            reader.read(Vec::with_capacity(1)).await;
        }
        "streams" => streams(),
        "calls" => calls().await,
        "flood" => flood().await,
        "drink" => drink().await,
        "grow" => grow(),
        _ => return None,
    }
    Some("it came to an end".to_owned())
}

/// As many streams as there may be.
fn streams() {
    let mut streams = Vec::new();
    loop {
        streams.push(wit_stream::new::<u8>());
    }
}

/// As many calls at a time as there may be.
async fn calls() {
    let mut calls = Vec::new();
    loop {
        let mut call = Box::pin(monotonic_clock::wait_for(u64::MAX));
        poll_fn(|cx| {
            let _ = call.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
        calls.push(call);
    }
}

/// Output without an end.
async fn flood() {
    let (mut writer, reader) = wit_stream::new();
    let _done = stdout::write_via_stream(reader);
    while writer.write_all(vec![b'x'; 65_536]).await.is_empty() {}
}

/// Input without an end.
async fn drink() {
    let (mut reader, _done) = stdin::read_via_stream();
    while reader.next().await.is_some() {}
}

fn grow() {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 1 << 20]);
    }
}
