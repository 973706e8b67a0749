//! An actor moves between threads, so its state must be `Send`.

use std::rc::Rc;

use airssys_rt::{Actor, Context, ExitReason};

struct Counter(Rc<u64>);

impl Actor for Counter {
    type Msg = u64;

    async fn handle(&mut self, n: u64, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.0 = Rc::new(n);
        Ok(())
    }
}
