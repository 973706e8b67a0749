//! A reference takes the messages of its actor, and no others.

use airssys_rt::ActorRef;

enum Msg {
    Add(u64),
}

async fn add(counter: &ActorRef<Msg>) {
    drop(counter.cast(Msg::Add(1)).await);
    drop(counter.cast(1).await);
}
