//! The answer has the type that the request asks for.

use std::time::Duration;

use airssys_rt::{ActorRef, CallError, Reply};

enum Msg {
    Get(Reply<u64>),
}

async fn get(counter: &ActorRef<Msg>) -> Result<String, CallError> {
    counter.call(Msg::Get, Duration::from_secs(1)).await
}
