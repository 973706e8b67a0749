//! The file of a log's secret: two lines of one length, of which one is blank but while the key changes.
//!
//! The next secret is written over the blank line, and the old one is overwritten where it stands when the next signs. So who
//! changes the key waits for two small writes in place, and a crash tears only the line that was being written.

use super::{note::Signer, record::Malformed};

/// The whole file, of a line or two.
pub(super) fn whole(lines: &[String]) -> String {
    let width = lines.first().map_or(0, String::len);
    let blank = (lines.len() == 1).then(|| blank(width));
    lines.iter().cloned().chain(blank).collect()
}

/// What to write over a file, and from which byte on, so that it has these lines and no others; `None` where it has not two lines
/// of their length.
pub(super) fn changes(there: &str, lines: &[String]) -> Option<Vec<(u64, String)>> {
    let width = lines.first()?.len();
    if there.len() != 2 * width || lines.len() > 2 || lines.iter().any(|line| line.len() != width) {
        return None;
    }
    let (first, second) = there.split_at_checked(width)?;
    let mut new = lines.iter().filter(|line| ![first, second].contains(&line.as_str()));
    let free = [(0, first), (width as u64, second)]
        .into_iter()
        .filter(|(_, there)| !lines.iter().any(|line| line == there));
    let parts = free.map(|(offset, there)| {
        let part = new.next().cloned().unwrap_or_else(|| blank(width));
        (part != there).then_some((offset, part))
    });
    Some(parts.flatten().collect())
}

/// The secrets of a file, and whether there is something else than one. What a crash left of a line is none.
pub(super) fn read(text: &str) -> Result<(Vec<Signer>, bool), Malformed> {
    let (mut signers, mut malformed, mut count) = (Vec::new(), Malformed("no key"), 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        count += 1;
        match Signer::from_text(line) {
            Ok(signer) => signers.push(signer),
            Err(error) => malformed = error,
        }
    }
    if signers.is_empty() { Err(malformed) } else { Ok((signers, count > 1)) }
}

fn blank(width: usize) -> String {
    let mut blank = " ".repeat(width.saturating_sub(1));
    blank.push('\n');
    blank
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(seed: u8) -> Signer {
        Signer::from_seed("example.org/log", &[seed; 32]).unwrap()
    }

    fn line(seed: u8) -> String {
        format!("{}\n", signer(seed).to_text())
    }

    /// Writes over `there`, and expects that nothing but the changed lines was touched.
    #[track_caller]
    fn changed(there: &str, lines: &[String], parts: usize) -> String {
        let changes = changes(there, lines).unwrap();
        assert_eq!(changes.len(), parts, "{changes:?}");
        let mut bytes = there.as_bytes().to_vec();
        for (offset, part) in changes {
            let offset = offset as usize;
            bytes[offset..offset + part.len()].copy_from_slice(part.as_bytes());
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_key_changes_line_by_line() {
        let mut file = whole(&[line(1)]);
        for (old, new) in [(1, 2), (2, 3), (3, 4)] {
            file = changed(&file, &[line(old), line(new)], 1);
            assert_eq!(file.lines().filter(|line| !line.trim().is_empty()).count(), 2, "{file}");
            assert!(read(&file).unwrap().1);
            file = changed(&file, &[line(new)], 1);
            assert!(!file.contains(line(old).trim_end()), "{file}");
            let (signers, more) = read(&file).unwrap();
            assert_eq!((signers.len(), more), (1, false));
            assert_eq!(signers[0].verifier(), signer(new).verifier());
        }
        assert_eq!(changed(&file, &[line(4)], 0), file);
    }

    #[test]
    fn another_file_is_replaced() {
        let lines = [line(1), line(2)];
        for there in ["", "x", &line(1), &format!("{}{}{}", line(1), line(2), line(3))] {
            assert_eq!(changes(there, &lines), None, "{there}");
        }
        assert_eq!(changes(&whole(&lines), &[]), None);
        assert_eq!(whole(&lines), format!("{}{}", line(1), line(2)));
    }

    #[test]
    fn a_torn_line_is_no_secret() {
        let file = whole(&[line(1)]);
        let (blank, next) = (&file[line(1).len()..], line(2));
        for at in [0, 1, 40, next.len() - 2] {
            for torn in
                [format!("{}{}", &next[..at], &blank[at..]), format!("{}{}", &blank[..at], &next[at..])]
            {
                let file = format!("{}{torn}", line(1));
                let is_torn = torn != blank && torn != next;
                let (signers, more) = read(&file).unwrap();
                assert_eq!(signers.len(), if torn == next { 2 } else { 1 }, "{torn}");
                assert_eq!(signers[0].verifier(), signer(1).verifier());
                assert_eq!(more, is_torn || torn == next, "{torn}");
                // The next change writes over it.
                assert_eq!(changed(&file, &[line(1), line(3)], 1), whole(&[line(1), line(3)]));
            }
        }
        assert!(read("").is_err() && read("x\n").is_err() && read(&blank.repeat(2)).is_err());
    }
}
