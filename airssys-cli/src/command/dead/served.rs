//! What a system does about its dead letters when it is asked to.

use std::collections::BTreeSet;

use airssys_osl::Milestone;
use airssys_wasm::{ErrorKind, Resend};
use serde_json::{Value, json};

use super::super::control::{Served, refused};
use crate::{
    control::Letters,
    dead::{Letter, Shared},
    door::Door,
};

/// How many refusals are told, each with its reason: the answer is one line.
const TOLD: usize = 8;

/// What came of letters, one after the other.
#[derive(Default)]
struct Tally {
    done: usize,
    stay: usize,
    refused: Vec<Value>,
}

impl Tally {
    fn refuse(&mut self, number: u64, mut why: Value) {
        self.stay += 1;
        if self.refused.len() < TOLD
            && let Some(fields) = why.as_object_mut()
        {
            fields.insert("letter".to_owned(), number.into());
            self.refused.push(why);
        }
    }

    fn json(self) -> Value {
        json!({"done": self.done, "stay": self.stay, "refused": self.refused})
    }
}

/// Sends letters again, the oldest first. One that was taken by its receiver's mailbox is gone from the file; all others
/// stay.
pub(in super::super) async fn retry(served: &Served<'_>, letters: Letters) -> Value {
    let mut tally = Tally::default();
    for number in wanted(&served.shelf.numbers().await, &letters) {
        match served.shelf.take(number, |letter| send(served, letter)).await {
            Ok(Some(Ok(()))) => tally.done += 1,
            Ok(Some(Err(why))) => tally.refuse(number, why),
            Ok(None) if letters == Letters::All => {}
            Ok(None) => tally.refuse(number, absent(number)),
            Err(error) => tally.refuse(
                number,
                json!({"error": "cannot read the letter, or note that it was sent", "because": error.to_string()}),
            ),
        }
    }
    if tally.done > 0
        && let Err(error) = served.shelf.clear(Vec::new()).await
    {
        tracing::warn!(cause = %error, "what was sent again stands in the file of dead letters still");
    }
    tally.json()
}

fn send(served: &Served<'_>, letter: Letter) -> Result<(), Value> {
    let kept = not_kept(&letter);
    let Letter { number, from, to, subject, content_type, is_published, trace, payload, .. } = letter;
    let Some(payload) = payload else {
        let help = format!("its digest is all that is left of it: `airssys dead drop {number}`");
        return Err(json!({"error": kept, "help": help}));
    };
    let what = format!("{number} from {from} to {to}");
    mark(served.door, &format!("{what}: begun"))?;
    let content_type = &content_type;
    let resend = Resend {
        sender: &from,
        receiver: &to,
        subject: &subject,
        content_type,
        is_published,
        payload,
        trace,
    };
    let sent = served.system.resend(resend);
    let end = if sent.is_ok() { "sent again" } else { "refused" };
    if mark(served.door, &format!("{what}: {end}")).is_err() {
        tracing::error!(letter = number, end, "the end of a dead letter is not on the record");
    }
    sent.map_err(|error| {
        let help = match error.kind() {
            ErrorKind::Denied if is_published => {
                format!("grant it in the manifest: `publish = [\"{subject}\"]` for `{from}`")
            }
            ErrorKind::Denied => format!("grant it in the manifest: `send = [\"{to}\"]` for `{from}`"),
            ErrorKind::Unavailable => "the letter stays: try again later".to_owned(),
            _ => "the letter stays".to_owned(),
        };
        let mut why = refused(&error);
        if let Some(fields) = why.as_object_mut() {
            fields.insert("help".to_owned(), help.into());
        }
        why
    })
}

/// Throws letters away: nothing of them is left in the file.
pub(in super::super) async fn drop_from(shelf: &Shared, door: &Door, letters: Letters) -> Value {
    let mut tally = Tally::default();
    let (there, mut gone) = (shelf.numbers().await, Vec::new());
    for number in wanted(&there, &letters) {
        if !there.contains(&number) {
            tally.refuse(number, absent(number));
            continue;
        }
        match mark(door, &format!("{number}: thrown away")) {
            Ok(()) => gone.push(number),
            Err(why) => tally.refuse(number, why),
        }
    }
    let done = gone.len();
    match shelf.clear(gone).await {
        Ok(()) => tally.done = done,
        Err(error) => {
            let because = error.to_string();
            return json!({"error": "cannot write the file of dead letters", "because": because});
        }
    }
    tally.json()
}

/// What comes of letters where there are none.
pub(super) fn nothing(letters: Letters) -> Value {
    let mut tally = Tally::default();
    if let Letters::These(numbers) = letters {
        numbers.into_iter().for_each(|number| tally.refuse(number, absent(number)));
    }
    tally.json()
}

/// The letters that are meant, each once, the oldest first.
fn wanted(there: &BTreeSet<u64>, letters: &Letters) -> BTreeSet<u64> {
    match letters {
        Letters::All => there.clone(),
        Letters::These(numbers) => numbers.iter().copied().collect(),
    }
}

pub(super) fn not_kept(letter: &Letter) -> String {
    format!("the payload of letter {} was not kept: its {} bytes were too many", letter.number, letter.bytes)
}

fn absent(number: u64) -> Value {
    json!({"error": format!("there is no dead letter {number}")})
}

fn mark(door: &Door, what: &str) -> Result<(), Value> {
    let marked = door.os.mark(Milestone::DeadLetter, what);
    marked.map_err(|error| json!({"error": "cannot record it", "because": error.to_string()}))
}
