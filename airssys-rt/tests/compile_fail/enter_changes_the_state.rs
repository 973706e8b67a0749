//! The entry of a state cannot lead to another one.

use airssys_rt::statem::{Begin, Enter, Event, Machine, Next, StateMachine};
use airssys_rt::{Context, ExitReason};

struct Door;

impl StateMachine for Door {
    type State = bool;
    type Msg = ();

    async fn init(&mut self, _: &mut Context<Machine<Self>>) -> Result<Begin<Self>, ExitReason> {
        Ok(Begin::state(false))
    }

    async fn handle_event(
        &mut self,
        _: &bool,
        _: Event<()>,
        _: &mut Context<Machine<Self>>,
    ) -> Result<Next<Self>, ExitReason> {
        Ok(Next::keep())
    }

    async fn enter(
        &mut self,
        _: Option<&bool>,
        _: &bool,
        _: &mut Context<Machine<Self>>,
    ) -> Result<Enter<Self>, ExitReason> {
        Ok(Next::goto(true))
    }
}
