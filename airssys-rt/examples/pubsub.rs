//! Publish and subscribe: sensors publish by subject, others subscribe to patterns, and nobody knows the others.
//!
//! `cargo run -p airssys-rt --example pubsub`

use std::error::Error;
use std::time::Duration;

use airssys_rt::{
    Actor, ActorRef, Context, ExitReason, Init, Mailbox, Pattern, Reply, Subject, System, Topics,
};

/// What is published: degrees Celsius.
type Temperatures = Topics<f64>;

/// Prints what it hears.
struct Display {
    name: &'static str,
    pattern: Pattern,
    topics: Temperatures,
}

enum Message {
    Reading(Subject, f64),
    /// Answered once it has subscribed.
    Ready(Reply<()>),
    Stop,
}

impl Actor for Display {
    type Msg = Message;

    /// Subscribes by its context: another incarnation would subscribe again.
    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        let message = |subject: &Subject, degrees: &f64| Some(Message::Reading(subject.clone(), *degrees));
        self.topics.subscribe_with(&self.pattern, cx, message)?;
        println!("{} subscribes to {}", self.name, self.pattern);
        Ok(Init::Ready)
    }

    async fn handle(&mut self, message: Message, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            Message::Reading(subject, degrees) => {
                println!("  {} hears {subject}: {degrees:.1} °C", self.name);
                Ok(())
            }
            Message::Ready(reply) => {
                reply.send(());
                Ok(())
            }
            Message::Stop => Err(ExitReason::Normal),
        }
    }
}

fn publish(topics: &Temperatures, subject: &str, degrees: f64) -> Result<(), Box<dyn Error>> {
    let fanout = topics.publish(&subject.parse()?, &degrees);
    println!("{subject} is published to {}", fanout.sent);
    Ok(())
}

async fn end(actor: &ActorRef<Message>) -> Result<(), Box<dyn Error>> {
    actor.cast(Message::Stop).await?;
    actor.exited().await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (system, topics) = (System::new(), Temperatures::new());
    let display = |name, pattern: Pattern| Display { name, pattern, topics: topics.clone() };
    let kitchen = system.spawn(display("kitchen", "house.kitchen.*".parse()?));
    let house = system.spawn(display("house", "house.>".parse()?));
    for display in [&kitchen, &house] {
        display.call(Message::Ready, Duration::from_secs(60)).await?;
    }

    // One who reads nothing, with room for one message: the others do not wait for it.
    let slow = Mailbox::<Message>::bounded(1);
    let frost = |subject: &Subject, degrees: &f64| {
        (*degrees < 0.0).then(|| Message::Reading(subject.clone(), *degrees))
    };
    let subscription = topics.subscribe_with(&">".parse()?, &slow.actor_ref(), frost)?;

    publish(&topics, "house.kitchen.oven", 180.0)?;
    publish(&topics, "house.cellar", 12.5)?;
    publish(&topics, "garden.pond", -1.0)?;
    publish(&topics, "garden.shed", -2.0)?;
    println!("the frost alarm got {} and missed {}", subscription.sent(), subscription.dropped());

    end(&kitchen).await?;
    println!("the kitchen's display has ended");
    publish(&topics, "house.kitchen.oven", 175.0)?;
    end(&house).await?;

    if let Err(error) = "house..oven".parse::<Subject>() {
        println!("`house..oven` is no subject: {error}");
    }
    println!("{:?}", topics.stats());
    Ok(())
}
