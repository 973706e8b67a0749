//! A connection as a state machine: it tries again after a while, and requests that come too early wait.
//!
//! `cargo run -p airssys-rt --example state_machine`

use std::time::Duration;

use airssys_rt::statem::{Begin, Enter, Event, Machine, Next, StateMachine};
use airssys_rt::{Context, ExitReason, Reply, System};

const RETRY: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_millis(100);

/// Its data: what is the same in every state.
struct Connection {
    tries: u32,
}

#[derive(Debug, PartialEq)]
enum State {
    Connecting,
    Connected,
    Closed,
}

enum Msg {
    Request(&'static str, Reply<String>),
    Try,
    Idle,
}

impl StateMachine for Connection {
    type State = State;
    type Msg = Msg;

    async fn init(&mut self, _: &mut Context<Machine<Self>>) -> Result<Begin<Self>, ExitReason> {
        Ok(Begin::state(State::Connecting).next_event(Msg::Try))
    }

    async fn handle_event(
        &mut self,
        state: &State,
        event: Event<Msg>,
        _: &mut Context<Machine<Self>>,
    ) -> Result<Next<Self>, ExitReason> {
        Ok(match (state, event) {
            (State::Connecting, Event::Internal(Msg::Try) | Event::StateTimeout(Msg::Try)) => {
                self.tries += 1;
                println!("try {}", self.tries);
                // The third try succeeds.
                match self.tries {
                    3 => Next::goto(State::Connected),
                    _ => Next::keep().state_timeout(RETRY, Msg::Try),
                }
            }
            // Not now; again when the state has changed.
            (State::Connecting, event) => Next::keep().postpone(event),
            (State::Connected, Event::Message(Msg::Request(what, reply))) => {
                println!("request {what}");
                Next::keep().reply(reply, format!("{what}: done")).event_timeout(IDLE, Msg::Idle)
            }
            (State::Connected, Event::EventTimeout(Msg::Idle)) => Next::goto(State::Closed),
            _ => Next::keep(),
        })
    }

    async fn enter(
        &mut self,
        old: Option<&State>,
        state: &State,
        _: &mut Context<Machine<Self>>,
    ) -> Result<Enter<Self>, ExitReason> {
        match old {
            Some(old) => println!("{old:?} -> {state:?}"),
            None => println!("{state:?}"),
        }
        Ok(if *state == State::Closed { Enter::stop(ExitReason::Normal) } else { Enter::keep() })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let connection = System::new().spawn(Machine::new(Connection { tries: 0 }));
    let patience = Duration::from_secs(60);
    let (one, two) = tokio::join!(
        connection.call(|reply| Msg::Request("one", reply), patience),
        connection.call(|reply| Msg::Request("two", reply), patience),
    );
    println!("{}, {}", one?, two?);
    println!("ended: {}", connection.exited().await);
    Ok(())
}
