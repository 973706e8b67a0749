//! The program: which word is answered by what.

use crate::{
    bindings::{
        exports::wasi::cli::run::Guest,
        wasi::{
            cli::{environment, stdout},
            http::types::Fields,
        },
        wit_stream,
    },
    errand, rules,
};

/// The program.
pub(crate) struct Program;

impl Guest for Program {
    async fn run() -> Result<(), ()> {
        for argument in environment::get_arguments().iter().skip(1) {
            let (word, rest) = argument.split_once(':').unwrap_or((argument, ""));
            let answer = match word {
                // What comes of it has to begin like this.
                "expect" => {
                    let (expected, terms) = rest.split_once('|').unwrap_or((rest, ""));
                    let answer = errand::send(terms).await;
                    if !answer.starts_with(expected) {
                        say(format!("not `{expected}`: {answer}\n")).await?;
                        return Err(());
                    }
                    answer
                }
                "send" => errand::send(rest).await,
                "cancel" => errand::cancel(rest).await,
                "resend" => errand::resend(rest).await,
                "fields" => rules::fields(),
                "requests" => rules::requests(),
                "options" => rules::options(),
                "responses" => rules::responses().await,
                "handles" => handles(),
                _ => format!("unknown: {word}"),
            };
            say(format!("{answer}\n")).await?;
        }
        Ok(())
    }
}

/// As many headers as there may be.
fn handles() -> String {
    let mut all = Vec::new();
    loop {
        all.push(Fields::new());
    }
}

/// Writes to standard output, and waits until that is done.
async fn say(text: String) -> Result<(), ()> {
    let (mut writer, reader) = wit_stream::new();
    let done = stdout::write_via_stream(reader);
    let left = writer.write_all(text.into_bytes()).await;
    drop(writer);
    match done.await {
        Ok(()) if left.is_empty() => Ok(()),
        _ => Err(()),
    }
}
