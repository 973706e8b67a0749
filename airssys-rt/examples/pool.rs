//! A pool of workers: one address, several workers, and a crash that costs one message.
//!
//! `cargo run -p airssys-rt --example pool`

use std::error::Error;
use std::time::Duration;

use airssys_rt::{Actor, Balance, Context, ExitReason, Pool, Reply, System};

/// Counts the words of a text.
struct Counter {
    index: usize,
}

enum Job {
    Count { text: &'static str, reply: Reply<(usize, usize)> },
    Crash,
}

impl Actor for Counter {
    type Msg = Job;

    async fn handle(&mut self, job: Job, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match job {
            Job::Count { text, reply } => {
                reply.send((self.index, text.split_whitespace().count()));
                Ok(())
            }
            Job::Crash => Err(std::io::Error::other("told to crash").into()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let soon = Duration::from_secs(60);
    let pool = Pool::new("counters", 3, |index| Counter { index });
    let (supervisor, counters) = pool.balance(Balance::RoundRobin).build();
    let tree = System::new().start(supervisor).await?;
    println!("{} workers run", counters.running());

    for text in ["one", "one two", "one two three", "one two three four"] {
        let (worker, words) = counters.call(|reply| Job::Count { text, reply }, soon).await?;
        println!("worker {worker} counts {words} in {text:?}");
    }

    println!("each worker crashes, with work behind the crash");
    for _ in 0..counters.size() {
        counters.cast(Job::Crash).await?;
    }
    let (worker, words) = counters.call(|reply| Job::Count { text: "still here", reply }, soon).await?;
    println!("worker {worker} counts {words}, after its restart");

    for key in ["alice", "bob", "alice", "carol", "bob"] {
        let request = |reply| Job::Count { text: "a b", reply };
        let (worker, _) = counters.by_key(key).call(request, soon).await?;
        println!("{key} is served by worker {worker}");
    }

    for child in tree.which_children().await {
        println!("{}: restarted {} time(s)", child.name, child.restarts);
    }
    tree.shutdown().await;
    Ok(())
}
