//! An actor says what it understands.

use airssys_rt::{Actor, Context, ExitReason};

struct Counter(u64);

impl Actor for Counter {
    async fn handle(&mut self, n: u64, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.0 += n;
        Ok(())
    }
}
