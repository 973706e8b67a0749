//! An actor that answers, in nine lines; and one with more than one message.
//!
//! `cargo run -p airssys-rt --example counter`

use std::time::Duration;

use airssys_rt::{Actor, Context, ExitReason, Reply, System};

/// Its only message is a request: the right to be answered.
struct Ticket(u64);
impl Actor for Ticket {
    type Msg = Reply<u64>;
    async fn handle(&mut self, reply: Reply<u64>, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.0 += 1;
        reply.send(self.0);
        Ok(())
    }
}

struct Counter(u64);

enum Msg {
    Add(u64),
    Get(Reply<u64>),
}

impl Actor for Counter {
    type Msg = Msg;

    async fn handle(&mut self, message: Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            Msg::Add(n) => self.0 += n,
            Msg::Get(reply) => reply.send(self.0),
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (system, patience) = (System::new(), Duration::from_secs(60));

    let ticket = system.spawn(Ticket(0));
    println!("ticket {}", ticket.call(|reply| reply, patience).await?);
    println!("ticket {}", ticket.call(|reply| reply, patience).await?);

    let counter = system.spawn(Counter(0));
    for n in 1..=10 {
        counter.cast(Msg::Add(n)).await?;
    }
    println!("counted {}", counter.call(Msg::Get, patience).await?);
    Ok(())
}
