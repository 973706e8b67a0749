//! What a system looks like while it runs: its tree with what each actor does, its numbers, and one actor traced.
//!
//! `cargo run -p airssys-rt --example observer`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use airssys_rt::{
    Actor, ActorInfo, ChildInfo, ChildSpec, Context, Event, EventKind, ExitReason, Mailbox, Observer, Reply,
    Strategy, Supervisor, System,
};
use tokio::sync::oneshot;

/// Prints what is worth it.
struct Printer;

impl Observer for Printer {
    fn event(&self, event: &Event) {
        match &event.kind {
            EventKind::Blocked { elapsed } => println!("{} blocks its thread for {elapsed:?}", event.path),
            EventKind::Received { input, depth, .. } => {
                println!("{} got a {input:?}, {depth} wait", event.path)
            }
            EventKind::DeadLetters { count, cause } => println!("{} lost {count}: {cause:?}", event.path),
            _ => {}
        }
    }
}

/// Works on a job until it is told that it is done.
struct Worker;
enum Job {
    Work(oneshot::Receiver<()>),
    Ask(Reply<()>),
    Fail,
}

impl Actor for Worker {
    type Msg = Job;

    async fn handle(&mut self, job: Job, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match job {
            Job::Work(until) => until.await?,
            Job::Ask(reply) => reply.send(()),
            Job::Fail => return Err(std::io::Error::other("no luck").into()),
        }
        Ok(())
    }
}

fn print_tree(system: &System, children: &[ChildInfo], indent: usize) {
    for child in children {
        let seen = child.id.and_then(|id| system.actor(id));
        println!("{:indent$}{}: {}", "", child.name, seen.as_ref().map_or_else(|| "-".to_owned(), describe));
        print_tree(system, &child.children, indent + 2);
    }
}

fn describe(actor: &ActorInfo) -> String {
    format!("{:?}, {} handled, {} wait, {} restarts", actor.state, actor.handled, actor.depth, actor.restarts)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let system = System::builder().observer(Arc::new(Printer)).build();
    let (one, two) = (Mailbox::bounded(8), Mailbox::bounded(8));
    let workers = Supervisor::new("workers", Strategy::OneForOne)
        .child(ChildSpec::actor_with_mailbox("one", one.clone(), || Worker))
        .child(ChildSpec::actor_with_mailbox("two", two.clone(), || Worker));
    let top = Supervisor::new("top", Strategy::OneForOne).child(ChildSpec::supervisor(workers));
    let top = system.start(top).await?;
    let (one, two) = (one.actor_ref(), two.actor_ref());

    // A long job, with one behind it that is soon of no use; and a failure, after which the other goes on.
    system.trace(two.id(), true);
    let (done, until) = oneshot::channel();
    one.cast(Job::Work(until)).await?;
    one.cast_for(Job::Fail, Duration::from_millis(50)).await?;
    two.cast(Job::Fail).await?;
    two.call(Job::Ask, Duration::from_secs(60)).await?;

    println!("top: {}", system.actor(top.id()).as_ref().map_or_else(String::new, describe));
    print_tree(&system, &top.which_children().await, 2);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let _ = done.send(());
    one.call(Job::Ask, Duration::from_secs(60)).await?;
    let metrics = system.metrics();
    println!("{} live, {} restart, {} expired", metrics.live, metrics.restarts, metrics.dead_letters.expired);
    top.shutdown().await;
    Ok(())
}
