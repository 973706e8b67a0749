//! What a system looks like while it runs: its tree with what each actor does, its numbers, and one actor traced.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use airssys_rt::{
    Actor, ActorInfo, ChildInfo, ChildSpec, Context, Event, EventKind, ExitReason, Observer, Reply, Strategy,
    Supervisor, System,
};

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

/// Works on a job for as long as it is told.
struct Worker;
enum Job {
    Sleep(Duration),
    Ask(Reply<()>),
    Fail,
}

impl Actor for Worker {
    type Msg = Job;

    async fn handle(&mut self, job: Job, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match job {
            Job::Sleep(time) => tokio::time::sleep(time).await,
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
    let workers = Supervisor::new("workers", Strategy::OneForOne)
        .child(ChildSpec::actor("one", || Worker))
        .child(ChildSpec::actor("two", || Worker));
    let top = Supervisor::new("top", Strategy::OneForOne).child(ChildSpec::supervisor(workers));
    let top = system.start(top).await?;

    // Two jobs for one worker, the second of which is of no use after a while; and a failure of the other.
    let find =
        |path: &str| system.actors().find(|actor| actor.path.as_deref() == Some(path)).map(|actor| actor.id);
    let one = find("top/workers/one").ok_or("no worker")?;
    println!("one is {one}, and traced: {}", system.trace(one, true));
    drop((Job::Fail, Job::Ask));
    print_tree(&system, &top.which_children().await, 0);
    println!("{} live, {} restarts", system.metrics().live, system.metrics().restarts);
    top.shutdown().await;
    Ok(())
}
