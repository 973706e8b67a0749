//! The one text that Windows starts a program with: its arguments, joined so that the program takes apart what we put in.
//!
//! Programs do that by the rules of `CommandLineToArgvW` and of the C library, which are those below. `cmd.exe` has others, by
//! which quotes do not protect: so neither it nor what it would run, batch files, is ever started (CVE-2024-24576, "BatBadBut").
//! To other programs with rules of their own (`wscript`, those of Cygwin) a text may be several arguments.

use std::path::Path;

/// How long the text is at most, in units of UTF-16, with the zero at its end.
const MOST: usize = 32_767;

/// Joins the program and its arguments, with a zero at the end; `None` where that cannot be done so that they are the same
/// afterwards: there is a zero in one, a quote in the program's name, or they are too long.
pub(crate) fn command_line(args: &[String]) -> Option<Vec<u16>> {
    let (program, rest) = args.split_first()?;
    // Of the first word no backslash is taken for an escape: it ends with the next quote.
    if program.is_empty() || program.contains('"') {
        return None;
    }
    let mut line = format!("\"{program}\"");
    for arg in rest {
        line.push(' ');
        quote(&mut line, arg);
    }
    let units: Vec<u16> = line.encode_utf16().chain([0]).collect();
    (units.len() <= MOST && !line.contains('\0')).then_some(units)
}

/// Backslashes are what they are, but before a quote: there two stand for one, and `\"` for a quote. What needs no quotes gets
/// none: some programs look for their options without taking them off.
fn quote(line: &mut String, arg: &str) {
    if !arg.is_empty() && !arg.contains([' ', '\t', '"']) {
        line.push_str(arg);
        return;
    }
    line.push('"');
    let mut backslashes = 0;
    for character in arg.chars() {
        match character {
            '\\' => backslashes += 1,
            '"' => {
                line.extend(std::iter::repeat_n('\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        line.push(character);
    }
    line.extend(std::iter::repeat_n('\\', backslashes));
    line.push('"');
}

/// The variables as Windows takes them: each ended by a zero, in the order of their names, and a zero behind them.
pub(crate) fn environment(variables: &[String]) -> Option<Vec<u16>> {
    if variables.iter().any(|variable| variable.contains('\0')) {
        return None;
    }
    let mut sorted: Vec<&String> = variables.iter().collect();
    sorted.sort_by_key(|variable| variable.split('=').next().unwrap_or_default().to_uppercase());
    let mut block: Vec<u16> = Vec::new();
    for variable in sorted {
        block.extend(variable.encode_utf16().chain([0]));
    }
    // An empty one ends with two as well.
    block.extend(if variables.is_empty() { &[0, 0][..] } else { &[0] });
    Some(block)
}

/// Whether what is called so is `cmd.exe`, which takes its arguments apart by rules of its own, or what that would run. Windows does
/// not see dots and spaces at the end of a name, and finds the same file behind the name of a stream. A copy under another name is
/// not seen through.
pub(crate) fn is_for_cmd(program: &Path) -> bool {
    let name = program.as_os_str().to_string_lossy();
    let name = name.rsplit(['\\', '/']).next().unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']).to_ascii_lowercase();
    matches!(&*name, "cmd" | "cmd.exe") || name.ends_with(".bat") || name.ends_with(".cmd")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(units: &[u16]) -> String {
        String::from_utf16(units).unwrap()
    }

    fn join(args: &[&str]) -> Option<String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        command_line(&args).map(|line| text(line.strip_suffix(&[0]).unwrap()))
    }

    /// What a program makes of the text, after the description of `CommandLineToArgvW`.
    fn apart(line: &str) -> Vec<String> {
        let characters: Vec<char> = line.chars().collect();
        let end = 1 + characters[1..].iter().position(|character| *character == '"').unwrap();
        let mut args = vec![characters[1..end].iter().collect()];
        let (mut at, mut word, mut quoted, mut any) = (end + 1, String::new(), false, false);
        while at < characters.len() {
            let backslashes = characters[at..].iter().take_while(|character| **character == '\\').count();
            at += backslashes;
            let next = characters.get(at).copied();
            if next == Some('"') {
                word.extend(std::iter::repeat_n('\\', backslashes / 2));
                at += 1;
                any = true;
                match backslashes % 2 {
                    1 => word.push('"'),
                    _ => quoted = !quoted,
                }
                continue;
            }
            word.extend(std::iter::repeat_n('\\', backslashes));
            any |= backslashes > 0;
            match next {
                Some(' ' | '\t') if !quoted => {
                    if any {
                        args.push(std::mem::take(&mut word));
                    }
                    any = false;
                }
                Some(character) => {
                    word.push(character);
                    any = true;
                }
                None => {}
            }
            at += 1;
        }
        if any {
            args.push(word);
        }
        args
    }

    #[track_caller]
    fn check(args: &[&str], expected: Option<&str>) {
        assert_eq!(join(args).as_deref(), expected);
    }

    #[test]
    fn words_are_quoted() {
        check(&[r"C:\a b\c.exe"], Some(r#""C:\a b\c.exe""#));
        check(&["c", "", "a b", "d"], Some(r#""c" "" "a b" d"#));
        check(&["c", r#"say "hi""#], Some(r#""c" "say \"hi\"""#));
        check(&["c", r"ends\", r#"\\"\"#], Some(r#""c" ends\ "\\\\\"\\""#));
    }

    #[test]
    fn what_cannot_be_said_is_not() {
        check(&[], None);
        check(&[""], None);
        check(&[r#"a"b"#], None);
        check(&["c", "a\0b"], None);
        check(&["c", &"a".repeat(MOST)], None);
        check(&["c", &"a".repeat(MOST - 7)], Some(&format!("\"c\" {}", "a".repeat(MOST - 7))));
    }

    #[test]
    fn variables_are_in_order_and_end() {
        let block = |variables: &[&str]| {
            environment(&variables.iter().map(|variable| (*variable).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(text(&block(&["b=1", "A=2"]).unwrap()), "A=2\0b=1\0\0");
        assert_eq!(text(&block(&[]).unwrap()), "\0\0");
        assert_eq!(block(&["A=1\0B=2"]), None);
    }

    #[test]
    fn batch_files_are_seen_through_their_disguises() {
        for name in [
            "a.bat",
            r"C:\x\A.CMD",
            "a.bat. .",
            "a.bat::$DATA",
            "a.cmd:stream",
            "C:/x/.bat",
            "a.b.bat ",
            r"C:\Windows\System32\CMD.exe",
            "cmd",
            "cmd.EXE. ",
            "C:/cmd.exe::$DATA",
        ] {
            assert!(is_for_cmd(Path::new(name)), "{name}");
        }
        for name in
            ["a.exe", r"C:\a.bat\b.exe", "bat", "a.bat.exe", r"C:\x\cmd\b.exe", "cmd.exe.exe", "xcmd.exe"]
        {
            assert!(!is_for_cmd(Path::new(name)), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_program_gets_what_was_put_in(args in prop::collection::vec(r#"[a-z"\\ \t&|<>^%!é$]{0,12}"#, 0..6)) {
            let mut all = vec![r"C:\Program Files\x\".to_owned()];
            all.extend(args);
            let line = command_line(&all).unwrap();
            prop_assert_eq!(apart(&text(line.strip_suffix(&[0]).unwrap())), all);
        }
    }
}
