//! A pipeline with backpressure: lines come in as a stream, an actor counts their words, the counts go out as a stream.
//!
//! `cargo run -p airssys-rt --features stream --example streams`

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use airssys_rt::stream::{self, Outlet, Source, StreamEnd};
use airssys_rt::{Actor, Context, ExitReason, Init, System};
use futures_sink::Sink;

/// Small, so that everyone soon waits for everyone else.
const BUFFER: usize = 2;

struct Counter {
    lines: Option<Source<&'static str>>,
    counts: Outlet<(&'static str, usize)>,
    total: usize,
}

enum Msg {
    Line(&'static str),
    End(StreamEnd),
}

impl Actor for Counter {
    type Msg = Msg;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        if let Some(lines) = self.lines.take() {
            cx.add_stream_with_end(lines, Msg::Line, Msg::End);
        }
        Ok(Init::Ready)
    }

    async fn handle(&mut self, message: Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            Msg::Line(line) => {
                let words = line.split_whitespace().count();
                self.total += words;
                // Waits for whoever reads the counts; meanwhile the mailbox fills, and the lines wait.
                self.counts.emit((line, words)).await?;
            }
            Msg::End(end) => {
                println!("{end:?}: {} words", self.total);
                return Err(ExitReason::Normal);
            }
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = System::new();
    let (input, lines) = stream::source(BUFFER);
    let (counts, mut output) = stream::source(BUFFER);
    let counter = system.spawn(Counter { lines: Some(lines), counts, total: 0 });

    // One line from elsewhere: the actor is a sink, too.
    let mut sink = counter.sink();
    poll_fn(|task| Pin::new(&mut sink).poll_ready(task)).await?;
    Pin::new(&mut sink).start_send(Msg::Line("by the sink"))?;

    let feeding = system.task(async move {
        for line in ["one", "one two", "one two three", "one two three four"] {
            println!("  in: {line}");
            input.emit(line).await?;
        }
        Ok::<_, stream::EmitError<_>>(())
    });
    while let Some((line, words)) = output.next().await {
        println!("out: {words} in `{line}`");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    feeding.join(Duration::from_secs(60)).await??;
    Ok(())
}
