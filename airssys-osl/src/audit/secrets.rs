//! The file of a log's secret: two blocks, of which one is blank but while the key changes. A secret is a line, and blanks fill its
//! block.
//!
//! The next secret is written over the blank block, and the old one is overwritten where it stands when the next signs. So who
//! changes the key waits for two small writes in place. A crash tears only the block that was being written; a drive that loses
//! power in a write may leave a block that cannot be read, and the other secret is not in it.

use std::io;

use super::{note::Signer, record::Malformed};

/// As many bytes as drives and file systems write at once, or more.
pub(super) const BLOCK_BYTES: usize = 4096;
/// How many blocks a file has.
pub(super) const BLOCKS: usize = 2;

/// The whole file, of a secret or two.
pub(super) fn whole(signers: &[&Signer]) -> String {
    let blank = (signers.len() < BLOCKS).then(|| block(""));
    blocks(signers).chain(blank).collect()
}

/// What to write over a file, and from which byte on, so that it has these secrets and no others; `None` where it has not two
/// blocks.
pub(super) fn changes(there: &[u8], signers: &[&Signer]) -> Option<Vec<(u64, String)>> {
    let blocks: Vec<String> = blocks(signers).collect();
    if there.len() != BLOCKS * BLOCK_BYTES
        || !(1..=BLOCKS).contains(&blocks.len())
        || blocks.iter().any(|block| block.len() != BLOCK_BYTES)
    {
        return None;
    }
    let there = || there.chunks(BLOCK_BYTES);
    let mut new = blocks.iter().filter(|block| there().all(|there| there != block.as_bytes()));
    let offsets = (0_u64..).step_by(BLOCK_BYTES);
    let free =
        offsets.zip(there()).filter(|(_, there)| blocks.iter().all(|block| block.as_bytes() != *there));
    let parts = free.map(|(offset, there)| {
        let part = new.next().cloned().unwrap_or_else(|| block(""));
        (part.as_bytes() != there).then_some((offset, part))
    });
    Some(parts.flatten().collect())
}

/// Puts the blocks of a file together. In the place of one that cannot be read there is none of a secret: that is only an error
/// where no other block has something.
pub(super) fn joined(blocks: impl IntoIterator<Item = io::Result<Vec<u8>>>) -> io::Result<Vec<u8>> {
    let (mut joined, mut is_blank, mut unread) = (Vec::new(), true, None);
    for block in blocks {
        match block {
            Ok(bytes) => {
                is_blank = is_blank && bytes.trim_ascii().is_empty();
                joined.extend(bytes);
            }
            Err(error) => {
                unread.get_or_insert(error);
                joined.resize(joined.len() + BLOCK_BYTES - 1, 0);
                joined.push(b'\n');
            }
        }
    }
    match unread {
        Some(error) if is_blank => Err(error),
        _ => Ok(joined),
    }
}

/// The secrets of a file, and whether there is something else than one. What a crash left of a line is none, and need not be text.
pub(super) fn read(bytes: &[u8]) -> Result<(Vec<Signer>, bool), Malformed> {
    let (mut signers, mut malformed, mut count) = (Vec::new(), Malformed("no key"), 0);
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    for line in lines.filter(|line| !line.is_empty()) {
        count += 1;
        match Signer::from_text(&String::from_utf8_lossy(line)) {
            Ok(signer) => signers.push(signer),
            Err(error) => malformed = error,
        }
    }
    if signers.is_empty() { Err(malformed) } else { Ok((signers, count > 1)) }
}

fn blocks(signers: &[&Signer]) -> impl Iterator<Item = String> {
    signers.iter().map(|signer| block(&signer.to_text()))
}

fn block(line: &str) -> String {
    let blanks = (BLOCK_BYTES - 1).saturating_sub(line.len());
    format!("{line}{:blanks$}\n", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "exämple.org/log";

    fn signer(seed: u8) -> Signer {
        Signer::from_seed(ORIGIN, &[seed; 32]).unwrap()
    }

    fn whole_of(seeds: &[u8]) -> Vec<u8> {
        let signers: Vec<_> = seeds.iter().map(|seed| signer(*seed)).collect();
        whole(&signers.iter().collect::<Vec<_>>()).into_bytes()
    }

    fn changes_to(there: &[u8], seeds: &[u8]) -> Option<Vec<(u64, String)>> {
        let signers: Vec<_> = seeds.iter().map(|seed| signer(*seed)).collect();
        changes(there, &signers.iter().collect::<Vec<_>>())
    }

    /// Writes over `there`, and expects that nothing but the changed blocks was touched.
    #[track_caller]
    fn changed(there: &[u8], seeds: &[u8], parts: usize) -> Vec<u8> {
        let changes = changes_to(there, seeds).unwrap();
        assert_eq!(changes.len(), parts, "{changes:?}");
        let mut bytes = there.to_vec();
        for (offset, part) in changes {
            assert_eq!(
                (offset as usize % BLOCK_BYTES, part.len()),
                (0, BLOCK_BYTES),
                "in a block of its own"
            );
            let offset = offset as usize;
            bytes[offset..offset + part.len()].copy_from_slice(part.as_bytes());
        }
        bytes
    }

    fn expect_secrets(file: &[u8], seeds: &[u8], more: bool) {
        let (signers, has_more) = read(file).unwrap();
        let found: Vec<_> = signers.iter().map(Signer::verifier).cloned().collect();
        let expected: Vec<_> = seeds.iter().map(|seed| signer(*seed).verifier().clone()).collect();
        assert_eq!((found, has_more), (expected, more));
    }

    #[test]
    fn a_key_changes_block_by_block() {
        let mut file = whole_of(&[1]);
        assert_eq!(file.len(), 2 * BLOCK_BYTES);
        for (old, new) in [(1, 2), (2, 3), (3, 4)] {
            file = changed(&file, &[old, new], 1);
            assert!(read(&file).unwrap().0.len() == 2 && read(&file).unwrap().1);
            file = changed(&file, &[new], 1);
            expect_secrets(&file, &[new], false);
        }
        assert_eq!(changed(&file, &[4], 0), file);
    }

    #[test]
    fn another_file_is_replaced() {
        let two = whole_of(&[1, 2]);
        // As it was written before there were blocks, among others.
        let lines = format!("{}\n{}\n", signer(1).to_text(), signer(2).to_text()).into_bytes();
        for there in [&[][..], b"x", &lines, &two[..BLOCK_BYTES], &[&two[..], b"x"].concat()] {
            assert_eq!(changes_to(there, &[1, 2]), None, "{}", there.escape_ascii());
        }
        assert_eq!((changes_to(&two, &[]), changes_to(&two, &[1, 2, 3])), (None, None));
        expect_secrets(&lines, &[1, 2], true);
    }

    #[test]
    fn a_torn_block_is_no_secret_and_hides_none() {
        let file = whole_of(&[1]);
        let (first, blank) = file.split_at(BLOCK_BYTES);
        let next = &whole_of(&[2])[..BLOCK_BYTES];
        let within = signer(2).to_text().find('ä').unwrap() + 1;
        assert!(str::from_utf8(&next[..within]).is_err());
        for at in [0, 1, within, 40, signer(2).to_text().len() - 1, BLOCK_BYTES - 1] {
            for torn in [[&next[..at], &blank[at..]].concat(), [&blank[..at], &next[at..]].concat()] {
                let file = [first, &torn].concat();
                if torn == next {
                    expect_secrets(&file, &[1, 2], true);
                } else {
                    expect_secrets(&file, &[1], torn != blank);
                }
                // The next change writes over it.
                assert_eq!(changed(&file, &[1, 3], 1), whole_of(&[1, 3]));
            }
        }
        assert!(read(b"").is_err() && read(b"x\n").is_err() && read(&blank.repeat(2)).is_err());
    }

    #[test]
    fn a_block_that_cannot_be_read_takes_no_other_with_it() {
        let file = whole_of(&[1]);
        let (secret, blank) = file.split_at(BLOCK_BYTES);
        let [secret, blank] = [secret, blank].map(|block| || Ok(block.to_vec()));
        let unread = || Err(io::Error::other("unread"));
        for (blocks, expected) in
            [([secret(), unread()], whole_of(&[1, 2])), ([unread(), secret()], whole_of(&[2, 1]))]
        {
            let file = joined(blocks).unwrap();
            expect_secrets(&file, &[1], true);
            assert_eq!(changed(&file, &[1, 2], 1), expected);
        }
        assert_eq!(joined([secret(), blank()]).unwrap(), file);
        for blocks in [[blank(), unread()], [unread(), unread()]] {
            assert_eq!(joined(blocks).unwrap_err().to_string(), "unread");
        }
    }
}
