//! The program, and all of its words but those about files and sockets.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use crate::{
    bindings::{
        exports::wasi::cli::run::Guest,
        wasi::{
            cli::{environment, exit, stderr, stdin, stdout, terminal_stdout::get_terminal_stdout},
            clocks::{monotonic_clock, system_clock},
            random::{insecure, insecure_seed, random},
        },
        wit_stream,
    },
    files, hostile, sockets,
};

const MILLISECOND: u64 = 1_000_000;

/// The program.
pub(crate) struct Program;

impl Guest for Program {
    async fn run() -> Result<(), ()> {
        for argument in environment::get_arguments().iter().skip(1) {
            let (word, rest) = argument.split_once(':').unwrap_or((argument, ""));
            let answer = match word {
                "fail" => return Err(()),
                "exit" => {
                    exit::exit_with_code(rest.parse().unwrap_or(1));
                    return Err(());
                }
                "ended" => {
                    exit::exit(Ok(()));
                    return Err(());
                }
                _ => match files::answer(word, rest).await {
                    Some(answer) => answer,
                    None => answer(word, rest).await,
                },
            };
            say(format!("{answer}\n")).await?;
        }
        Ok(())
    }
}

async fn answer(word: &str, rest: &str) -> String {
    match word {
        "say" => rest.to_owned(),
        "variables" => {
            let mut variables = environment::get_environment();
            variables.sort();
            format!("{variables:?} {:?}", environment::get_initial_cwd())
        }
        "terminal" => format!("{}", get_terminal_stdout().is_some()),
        "error" => format!("{:?}", error(rest).await),
        "input" => input().await,
        "clocks" => clocks().await,
        "together" => together().await,
        "random" => randomness(),
        _ => match sockets::answer(word, rest).await {
            Some(answer) => answer,
            None => hostile::attack(word).await.unwrap_or_else(|| format!("unknown: {word}")),
        },
    }
}

/// Writes to standard output, and waits until that is done.
pub(crate) async fn say(text: String) -> Result<(), ()> {
    let (mut writer, reader) = wit_stream::new();
    let done = stdout::write_via_stream(reader);
    let left = writer.write_all(text.into_bytes()).await;
    drop(writer);
    match done.await {
        Ok(()) if left.is_empty() => Ok(()),
        _ => Err(()),
    }
}

async fn error(text: &str) -> Result<(), crate::bindings::wasi::cli::types::ErrorCode> {
    let (mut writer, reader) = wit_stream::new();
    let done = stderr::write_via_stream(reader);
    writer.write_all(format!("{text}\n").into_bytes()).await;
    drop(writer);
    done.await
}

/// All of standard input.
async fn input() -> String {
    let (stream, done) = stdin::read_via_stream();
    let bytes = stream.collect().await;
    format!("{} {:?}", String::from_utf8_lossy(&bytes).trim_end(), done.await)
}

async fn clocks() -> String {
    let before = monotonic_clock::now();
    monotonic_clock::wait_for(MILLISECOND).await;
    let after = monotonic_clock::now();
    monotonic_clock::wait_until(after + MILLISECOND).await;
    let last = monotonic_clock::now();
    monotonic_clock::wait_until(before).await;
    let system = system_clock::now();
    let is_right = after >= before + MILLISECOND
        && last >= after + MILLISECOND
        && system.seconds > 1_700_000_000
        && system.nanoseconds < 1_000_000_000
        && monotonic_clock::get_resolution() > 0
        && system_clock::get_resolution() > 0;
    format!("clocks {is_right}")
}

/// Waits for two things at a time: the order of their ends is not that of their beginnings.
async fn together() -> String {
    let order = std::cell::RefCell::new(Vec::new());
    let wait = async |name, milliseconds| {
        monotonic_clock::wait_for(milliseconds * MILLISECOND).await;
        order.borrow_mut().push(name);
    };
    // The second begins before the first has ended, and ends before it.
    let first = async {
        let begun = monotonic_clock::now();
        while order.borrow().is_empty() {
            wait_until_later(begun).await;
        }
        order.borrow_mut().push("first");
    };
    join(first, wait("second", 20)).await;
    order.take().join(" ")
}

async fn wait_until_later(begun: u64) {
    monotonic_clock::wait_until(begun.max(monotonic_clock::now()) + MILLISECOND).await;
}

pub(crate) async fn join(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut one_is_done, mut other_is_done) = (false, false);
    poll_fn(|cx| {
        one_is_done = one_is_done || one.as_mut().poll(cx).is_ready();
        other_is_done = other_is_done || other.as_mut().poll(cx).is_ready();
        if one_is_done && other_is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn randomness() -> String {
    let bytes = random::get_random_bytes(16);
    let is_random = bytes.len() == 16
        && bytes != random::get_random_bytes(16)
        && random::get_random_u64() != insecure::get_insecure_random_u64()
        && insecure::get_insecure_random_bytes(3).len() == 3
        && insecure_seed::get_insecure_seed() != (0, 0);
    // More than the host gives in one call: it gives less.
    let most = random::get_random_bytes(u64::MAX).len();
    format!("random {is_random} {}", most > 0)
}
