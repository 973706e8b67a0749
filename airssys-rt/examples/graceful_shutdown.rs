//! Ctrl-C (or SIGTERM) stops a tree in order: what is queued is still handled, and nothing new is taken.
//!
//! `cargo run -p airssys-rt --example graceful_shutdown [JOBS]`; without a signal it stops when it has had enough work.

use std::time::Duration;

use airssys_rt::{
    Actor, ChildSpec, Context, ExitReason, Init, Mailbox, Shutdown, Strategy, Supervisor, System,
};

const JOBS: u32 = 40;

struct Worker {
    done: u32,
}

impl Actor for Worker {
    type Msg = u32;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        println!("{}: ready", cx.name());
        Ok(Init::Ready)
    }

    async fn handle(&mut self, _job: u32, _: &mut Context<Self>) -> Result<(), ExitReason> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.done += 1;
        Ok(())
    }

    async fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        println!("{}: {} jobs done, ends by {reason}", cx.name(), self.done);
    }
}

/// Resolves when somebody wants the program to end.
async fn told_to_stop() -> std::io::Result<&'static str> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        println!("stop it by Ctrl-C or SIGTERM");
        tokio::select! {
            result = tokio::signal::ctrl_c() => result.map(|()| "Ctrl-C"),
            _ = terminate.recv() => Ok("SIGTERM"),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map(|()| "Ctrl-C")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mailbox = Mailbox::bounded(8);
    let worker = mailbox.actor_ref();
    let child = ChildSpec::actor_with_mailbox("worker", mailbox, || Worker { done: 0 })
        // It finishes what is queued, but not for longer than this.
        .drain(true)
        .shutdown(Shutdown::Timeout(Duration::from_secs(60)));
    let system = System::new();
    let tree = system.start(Supervisor::new("jobs", Strategy::OneForOne).child(child)).await?;

    let jobs = std::env::args().nth(1).map_or(Ok(JOBS), |jobs| jobs.parse())?;
    let mut sent = 0;
    let why = tokio::select! {
        signal = told_to_stop() => signal?,
        () = async {
            while sent < jobs && worker.cast(sent).await.is_ok() {
                sent += 1;
            }
        } => "enough work",
    };
    println!("{why}: stopping after {sent} jobs sent, {} of them in the mailbox", worker.depth());
    tree.shutdown().await;
    println!("stopped; it takes no more: {}", worker.try_cast(0).is_err());
    Ok(())
}
