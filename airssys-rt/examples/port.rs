//! A program as an actor: `tr` in a sandbox answers in capitals, line by line, until its input ends.
//!
//! `cargo run -p airssys-rt --features port --example port`

use std::error::Error;

#[cfg(target_os = "linux")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    linux::run().await
}

#[cfg(not(target_os = "linux"))]
fn main() -> Result<(), Box<dyn Error>> {
    Err("this example runs programs that Linux has".into())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{error::Error, time::Duration};

    use airssys_osl::{
        Os,
        policy::{ExecTerms, Grant, Policy},
        process::Launch,
        testing::MemorySink,
    };
    use airssys_rt::{
        Actor, Context, ExitReason, Reply, System,
        port::{Framing, Port, PortMsg},
    };

    const PROGRAM: &str = "/usr/bin/tr";

    /// Prints what the program says.
    struct Printer;

    enum Msg {
        Line(Vec<u8>),
        Flush(Reply<()>),
    }

    impl Actor for Printer {
        type Msg = Msg;

        async fn handle(&mut self, message: Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
            match message {
                Msg::Line(line) => println!("it says: {}", String::from_utf8_lossy(&line)),
                Msg::Flush(reply) => reply.send(()),
            }
            Ok(())
        }
    }

    pub(super) async fn run() -> Result<(), Box<dyn Error>> {
        let terms = ExecTerms::new().arg("a-z").arg("A-Z");
        let policy = Policy::builder().principal("shouter", [Grant::exec(PROGRAM, terms)]).build()?;
        let exec = Os::new(policy, MemorySink::new()).principal("shouter")?.exec(PROGRAM).await?;

        let system = System::new();
        let printer = system.spawn(Printer);
        let port = system.spawn(Port::new(exec, Launch::new(), Framing::Lines, printer.clone(), |line| {
            Msg::Line(line.to_vec())
        }));
        for line in ["one", "two"] {
            port.cast(PortMsg::Write(line.into())).await?;
        }
        port.cast(PortMsg::CloseInput).await?;
        println!("the port ended: {}", port.exited().await);
        // What it said last came before its end.
        printer.call(Msg::Flush, Duration::from_secs(60)).await?;
        Ok(())
    }
}
