//! A small shop: a tree of supervisors that survives its workers.
//!
//! `cargo run -p airssys-rt --example supervision_tree`
//!
//! ```text
//! shop (rest_for_one)
//! ├── stock                 keeps its mailbox when it is restarted, and is probed
//! ├── tills (dynamic)       one child for each customer who pays
//! └── report                waits a little before it is started again
//! ```

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use airssys_rt::{
    Actor, ActorRef, Backoff, ChildInfo, ChildOptions, ChildSpec, ChildState, Context, DynamicSupervisor,
    Event, ExitReason, Mailbox, Observer, Probe, Reply, Restart, Strategy, Supervisor, SupervisorRef, System,
};

const SECOND: Duration = Duration::from_secs(1);

/// How long somebody waits who is served at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// The goods. Takes what is sold, and cannot sell what is not there.
struct Stock {
    pieces: u32,
}

enum StockMsg {
    Take(u32, Reply<u32>),
    AreYouWell(Reply<()>),
}

#[derive(Debug)]
struct SoldOut;

impl fmt::Display for SoldOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sold out")
    }
}

impl Error for SoldOut {}

impl Actor for Stock {
    type Msg = StockMsg;

    async fn handle(&mut self, message: StockMsg, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            StockMsg::Take(pieces, reply) => {
                self.pieces = self.pieces.checked_sub(pieces).ok_or(SoldOut)?;
                reply.send(self.pieces);
            }
            StockMsg::AreYouWell(reply) => reply.send(()),
        }
        Ok(())
    }
}

/// Serves one customer.
struct Till {
    customer: &'static str,
    stock: ActorRef<StockMsg>,
}

struct Pay {
    pieces: u32,
    reply: Reply<u32>,
}

impl Actor for Till {
    type Msg = Pay;

    async fn handle(&mut self, pay: Pay, _: &mut Context<Self>) -> Result<(), ExitReason> {
        // A stock that fails is a failure of this till, which is temporary: the customer comes again.
        let left = self.stock.call(|reply| StockMsg::Take(pay.pieces, reply), PATIENCE).await?;
        println!("{} takes {}, {left} are left", self.customer, pay.pieces);
        pay.reply.send(left);
        Err(ExitReason::Normal)
    }
}

/// Counts the days, and has a bad one.
struct Report;

impl Actor for Report {
    type Msg = u32;

    async fn handle(&mut self, day: u32, _: &mut Context<Self>) -> Result<(), ExitReason> {
        if day == 2 { Err(std::io::Error::other("out of ink").into()) } else { Ok(()) }
    }
}

/// Prints what happens.
struct Print;

impl Observer for Print {
    fn event(&self, event: &Event) {
        println!("    {} {:?}", event.path, event.kind);
    }
}

fn print(children: &[ChildInfo], depth: usize) {
    for child in children {
        let indent = "  ".repeat(depth);
        println!("{indent}{} {:?}, {} restarts", child.name, child.state, child.restarts);
        print(&child.children, depth + 1);
    }
}

async fn until_all_run(shop: &SupervisorRef) {
    while shop.which_children().await.iter().any(|child| child.state != ChildState::Running) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mailbox = Mailbox::default();
    let stock = mailbox.actor_ref();
    let probe = Probe::new(10 * SECOND, StockMsg::AreYouWell).timeout(PATIENCE);
    let options = ChildOptions { mailbox: Some(mailbox), probe: Some(probe) };

    let tills = DynamicSupervisor::new("tills", {
        let stock = stock.clone();
        move |customer| Till { customer, stock: stock.clone() }
    })
    .restart(Restart::Temporary)
    .max_children(100);
    let counter = tills.dynamic_ref();

    let reports = Mailbox::default();
    let report = reports.actor_ref();
    let backoff = Backoff::exponential(Duration::from_millis(50), SECOND);

    let shop = Supervisor::new("shop", Strategy::RestForOne)
        .intensity(3, 10 * SECOND)
        .child(ChildSpec::actor_with("stock", options, || Stock { pieces: 10 }))
        .child(ChildSpec::dynamic(tills))
        .child(ChildSpec::actor_with_mailbox("report", reports, || Report).backoff(backoff));
    let shop = System::builder().observer(Arc::new(Print)).build().start(shop).await?;

    for (customer, pieces) in [("Joe", 3), ("Robert", 4), ("Mike", 9), ("Mike", 9)] {
        let till = counter.start_child(customer).await?;
        match till.call(|reply| Pay { pieces, reply }, PATIENCE).await {
            Ok(_) => {}
            // The stock was started again, filled up, and with it all that depends on it.
            Err(error) => println!("{customer} goes away: {error}"),
        }
        // Whoever was asked too much is being started again, and what depends on it.
        until_all_run(&shop).await;
    }

    for day in 1..=3 {
        report.cast(day).await?;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    print(&shop.which_children().await, 0);
    shop.shutdown().await;
    Ok(())
}
