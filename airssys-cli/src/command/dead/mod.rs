//! `airssys dead`: messages that were given up are looked at, sent again, or thrown away.
//!
//! Looking is reading the file. What changes it is done by the system while it runs, and by this program while it does not:
//! whoever holds the system's audit log.

mod served;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use airssys_osl::{
    ErrorKind, Principal, bootstrap,
    policy::{Grant, Policy, Rights},
};
use serde_json::Value;

pub(super) use self::served::{drop_from, retry};
use super::{
    ask::{ask, not_running, refusal},
    runtime,
};
use crate::{
    args::{Dead, DeadSystem, Dispose, List, Show},
    control::{Letters, Request},
    dead::{Contents, FILE, Letter, READ_BYTES, Shared, Shelf},
    door::Door,
    report::{Failure, Style, Terminal, letter_line, letter_text, printable},
    target::ManifestFile,
};

pub(super) fn dead(args: &Dead, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    match args {
        Dead::List(args) => list(args, terminal),
        Dead::Show(args) => show(args, terminal),
        Dead::Retry(args) => again(args, terminal),
        Dead::Drop(args) => thrown_away(args, terminal),
    }
}

/// What a program needs to be granted to keep dead letters.
pub(super) fn grants(state: &Path) -> [Grant; 2] {
    let rights = Rights::READ | Rights::WRITE | Rights::CREATE;
    [Grant::fs(state, rights).rule("builtin.state"), Grant::clock().rule("builtin.clock")]
}

/// Opens the file of dead letters to write it.
pub(super) async fn open_shelf(state: &Path, program: &Principal) -> Result<Shelf, Failure> {
    let opened = Shelf::open(state, program).await;
    let (shelf, broken) = opened.map_err(|error| {
        let path = state.join(FILE);
        let failure = Failure::failed("cannot open the file of dead letters").caused_by(error);
        failure.help(format!("move `{}` away: the next start begins a new one", path.display()))
    })?;
    tell_broken(broken);
    Ok(shelf)
}

fn tell_broken(lines: usize) {
    if lines > 0 {
        tracing::warn!(
            lines,
            "not every line of the dead letters is whole: a system was killed, or is writing it"
        );
    }
}

fn list(args: &List, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let file = ManifestFile::read(&args.system.target, &args.system.set)?;
    let (bytes, contents) = runtime()?.block_on(read(&file))?;
    let is_wanted = |letter: &Letter| {
        args.to.as_ref().is_none_or(|to| *to == letter.to)
            && args.from.as_ref().is_none_or(|from| *from == letter.from)
    };
    let mut is_empty = true;
    for letter in contents.letters(&bytes).filter(is_wanted) {
        is_empty = false;
        let printed = terminal.answer(|| letter_line(terminal.out, &letter), || letter.envelope())?;
        if printed.is_break() {
            break;
        }
    }
    if is_empty {
        terminal.say(&"no dead letters");
    }
    Ok(ExitCode::SUCCESS)
}

fn show(args: &Show, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let DeadSystem { target, set } = &args.system;
    let file = ManifestFile::read(target, set)?;
    let (bytes, contents) = runtime()?.block_on(read(&file))?;
    let letter = contents.letters(&bytes).find(|letter| letter.number == args.letter);
    let letter = letter.ok_or_else(|| absent(args.letter, &file.shown))?;
    let printed = match (args.raw, &letter.payload) {
        (false, _) => terminal.answer(|| letter_text(terminal.out, &letter), || letter.json())?,
        (true, Some(payload)) => terminal.raw(payload)?,
        (true, None) => return Err(Failure::failed(served::not_kept(&letter))),
    };
    let _ = printed;
    Ok(ExitCode::SUCCESS)
}

fn absent(letter: u64, shown: &str) -> Failure {
    let failure = Failure::failed(format!("there is no dead letter {letter}"));
    failure.help(format!("`airssys dead list {shown}` shows which there are"))
}

/// Reads the file, as the user, on whose own log that is.
async fn read(file: &ManifestFile) -> Result<(Vec<u8>, Contents), Failure> {
    let state = &file.manifest.state;
    let door = Door::open_for_user(Policy::builder(), vec![Grant::fs(state, Rights::READ)])?;
    door.started(&format!("dead letters of {}", file.shown))?;
    let bytes = match door.program.dir(state).await {
        Ok(dir) => dir.read(FILE, READ_BYTES).await,
        Err(error) => Err(error),
    };
    let bytes = match bytes {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        bytes => bytes,
    };
    door.close("looked")?;
    let bytes = bytes.map_err(|error| Failure::failed("cannot read the dead letters").caused_by(error))?;
    let contents = Contents::of(&bytes);
    tell_broken(contents.broken);
    Ok((bytes, contents))
}

/// What a user named: letters and a system.
fn named(args: &Dispose) -> Result<(Letters, PathBuf), Failure> {
    let mut words = args.words.clone();
    let is_number = |word: &String| word.parse::<u64>().is_ok();
    let target = words.pop_if(|word| !is_number(word));
    let numbers = words.iter().map(|word| word.parse::<u64>()).collect::<Result<Vec<_>, _>>();
    let unclear = |what: &str| {
        let failure = Failure::invalid(what);
        failure.help("such as `airssys dead retry 17 18 SYSTEM`, or with `--all` in place of the numbers")
    };
    let numbers = numbers.map_err(|_| unclear("a letter is named by its number; the system comes last"))?;
    let letters = match (args.all, numbers) {
        (true, numbers) if numbers.is_empty() => Letters::All,
        (true, _) => return Err(unclear("both `--all` and some letters are named")),
        (false, numbers) if numbers.is_empty() => return Err(unclear("no letter is named")),
        (false, numbers) if numbers.len() > Letters::MOST => {
            return Err(unclear(&format!("more than {} letters are named", Letters::MOST)));
        }
        (false, numbers) => Letters::These(numbers),
    };
    Ok((letters, target.map_or_else(|| ".".into(), PathBuf::from)))
}

fn again(args: &Dispose, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let (letters, target) = named(args)?;
    let file = ManifestFile::read(&target, &args.set)?;
    let asked = runtime()?.block_on(ask(&file.manifest.state, &file.shown, &Request::Retry(letters)))?;
    let answer = asked.map_err(|error| {
        not_running(&file.shown, error)
            .help("a message needs a receiver that runs: start the system with `airssys run` and try again")
    })?;
    tell(&answer, "sent again", &file.shown, terminal)
}

fn thrown_away(args: &Dispose, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    let (letters, target) = named(args)?;
    let file = ManifestFile::read(&target, &args.set)?;
    let answer = runtime()?.block_on(async {
        match ask(&file.manifest.state, &file.shown, &Request::Drop(letters.clone())).await? {
            Ok(answer) => Ok(answer),
            Err(_) => drop_here(&file, letters, terminal).await,
        }
    })?;
    tell(&answer, "thrown away", &file.shown, terminal)
}

/// Throws letters of a system away that does not run. Its log is held meanwhile: no system starts, and it is on its record.
async fn drop_here(
    file: &ManifestFile,
    letters: Letters,
    terminal: &Arc<Terminal>,
) -> Result<Value, Failure> {
    if read(file).await?.1.places.is_empty() {
        // Nothing was there, so nothing is made.
        return Ok(served::nothing(letters));
    }
    let (manifest, state) = (&file.manifest, &file.manifest.state);
    let made = bootstrap::create_dir(state);
    made.map_err(|error| Failure::failed("cannot open the system's state folder").caused_by(error))?;
    let origin = format!("airssys/{}", manifest.name);
    let door = Door::open(manifest, &origin, Policy::builder(), grants(state).to_vec(), terminal)?;
    door.started(&format!("{} {}: dead letters are dropped", file.shown, file.digest))?;
    let answer = match open_shelf(state, &door.program).await {
        Ok(shelf) => Ok(drop_from(&Shared::new(shelf), &door, letters).await),
        Err(failure) => Err(failure),
    };
    door.close("dropped")?;
    answer
}

/// Tells what came of it. Letters that stay are a failure.
fn tell(answer: &Value, what: &str, shown: &str, terminal: &Terminal) -> Result<ExitCode, Failure> {
    if let Some(refusal) = refusal(answer) {
        return Err(refusal);
    }
    let count = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or_default();
    let (done, stay) = (count("done"), count("stay"));
    if done > 0 || stay == 0 {
        let text = || {
            let number = terminal.out.text(Style::Bold, done);
            format!("{number} {} {what}", if done == 1 { "letter" } else { "letters" })
        };
        let _ = terminal.answer(text, || answer.clone())?;
    }
    let refused = answer.get("refused").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if let ([only], 0) = (refused, done)
        && let Some(refusal) = refusal(only)
    {
        return Err(match only.get("help").and_then(Value::as_str) {
            Some(help) => refusal.help(printable(help.as_bytes())),
            None => refusal.help(format!("`airssys dead list {shown}` shows which letters there are")),
        });
    }
    for letter in refused {
        let said =
            |key: &str| printable(letter.get(key).and_then(Value::as_str).unwrap_or_default().as_bytes());
        let number = letter.get("letter").and_then(Value::as_u64).unwrap_or_default();
        terminal.say(&format!("  letter {number}: {}  {}", said("error"), said("because")).trim_end());
    }
    match stay {
        0 => Ok(ExitCode::SUCCESS),
        stay => Err(Failure::failed(format!("{stay} of {} letters were not {what}", done + stay))),
    }
}
