//! A handler moves between threads where it waits, so what it holds meanwhile must be `Send`.

use std::rc::Rc;

use airssys_rt::{Actor, ActorRef, Context, ExitReason};

struct Relay(ActorRef<u64>);

impl Actor for Relay {
    type Msg = u64;

    async fn handle(&mut self, n: u64, _: &mut Context<Self>) -> Result<(), ExitReason> {
        let held = Rc::new(n);
        self.0.cast(*held).await?;
        drop(held);
        Ok(())
    }
}
