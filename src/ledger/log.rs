//! What a write-ahead log may look like: one that a stopped process left behind, and not one that was damaged.
//!
//! SQLite reads a log up to the first frame whose checksum is wrong and takes the rest for a write that was interrupted.
//! So damage takes back updates that were reported, in silence. Two things tell damage from interruption:
//!
//! 1. A commit reaches the disk before the next transaction begins. What an interrupted write leaves behind the last good
//!    frame is part of one transaction; a second commit mark of the same generation (salts) is damage.
//! 2. The log's index (`-shm`) is written after the log. An index of the same generation that knows of more frames than
//!    the log has is a witness that frames are gone.
//! 3. A log that begins anew counts its first salt up by one. Frames, and an index, of a generation that does not come
//!    shortly before are another log's, or the header is.
//! 4. A ledger never shrinks: a log that leaves fewer pages than the file has is another ledger's.
//!
//! Format: sqlite.org/fileformat2.html, 4, and sqlite.org/walformat.html, 2.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::patience::pause;
use crate::error::Result;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const PAGE: usize = 4096;
/// The log's version, and the index's.
const VERSION: u32 = 3_007_000;
/// Bytes of the index that are looked at: two copies of its header, then how far the log has been copied back.
const INDEX: usize = 100;
/// Frames behind the last good one that are looked at: 64 MiB.
const BEHIND: usize = 16_384;
/// Most generations between a log and what an earlier one has left.
const GENERATIONS: u32 = 1 << 16;
/// How often a log is looked at that others are rewriting.
const TRIES: usize = 20;

/// What the log's index says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Witness {
    salts: [u8; 8],
    /// Frames of finished transactions, and how many of them have been copied back.
    frames: u32,
    copied: u32,
}

/// What the log itself shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    salts: [u8; 8],
    /// Frames up to the last commit mark among good frames.
    frames: u32,
    /// Commit marks behind the last good frame.
    marks_behind: usize,
    /// Whether frames follow the first of these.
    goes_on_behind: bool,
    /// Whether there are frames of a log that cannot have been here before.
    foreign: bool,
    /// Pages of the file after the last commit.
    pages: u32,
}

/// Why the log beside a ledger of `pages` pages cannot be one that was left behind; `None` for a log that can.
///
/// # Errors
/// When stopped. A log that cannot be read is left to SQLite.
pub(crate) fn fault(log: &Path, index: &Path, pages: u32) -> Result<Option<&'static str>> {
    // The index first: while others write, the log is never behind it.
    settled(|| (read(index, INDEX), read(log, HEADER)), log, pages)
}

/// The same, where `seen` says what index and log are at the moment.
///
/// When the last process closes a ledger both go, and the next one makes others: an index and the log of another moment say
/// nothing, so a fault is one if both are the same after the look.
fn settled(
    mut seen: impl FnMut() -> (Option<Vec<u8>>, Option<Vec<u8>>),
    log: &Path,
    pages: u32,
) -> Result<Option<&'static str>> {
    let mut fault = None;
    for _ in 0..TRIES {
        pause()?;
        let before = seen();
        fault = look(log, before.0.as_deref().and_then(witness), pages)?;
        if fault.is_none() || before == seen() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Ok(fault)
}

fn look(log: &Path, witness: Option<Witness>, pages: u32) -> Result<Option<&'static str>> {
    let size = std::fs::metadata(log).map_or(0, |known| known.len());
    let missing = witness.is_some_and(|witness| witness.frames > witness.copied);
    if size <= HEADER as u64 {
        return Ok(missing.then_some("its log is missing"));
    }
    let Ok(file) = File::open(log) else { return Ok(None) };
    let Some(found) = scan(BufReader::with_capacity(1 << 20, file))? else {
        return Ok(Some("the header of its log was changed"));
    };
    let foreign = |known: &Witness| known.frames > known.copied && !comes_before(&known.salts, &found.salts);
    let (same, other): (Option<Witness>, _) = match witness {
        Some(witness) if witness.salts == found.salts => (Some(witness), None),
        other => (None, other),
    };
    if found.foreign || other.is_some_and(|known| foreign(&known)) || (1..pages).contains(&found.pages) {
        return Ok(Some("its log is another ledger's, or was changed"));
    }
    if found.marks_behind > 1 || found.goes_on_behind || same.is_some_and(|known| known.frames > found.frames)
    {
        return Ok(Some("its log was changed or cut"));
    }
    Ok(None)
}

/// Whether a log with the second salts may have begun anew, some times, after one with the first.
fn comes_before(first: &[u8; 8], second: &[u8; 8]) -> bool {
    (1..=GENERATIONS).contains(&big(second, 0).wrapping_sub(big(first, 0)))
}

fn read(path: &Path, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(most);
    File::open(path).ok()?.take(most as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn big(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

fn native(bytes: &[u8], at: usize) -> u32 {
    let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    u32::from_ne_bytes(word)
}

/// The checksum of logs over words of the given order, going on from `sum`.
fn checksum(mut sum: [u32; 2], bytes: &[u8], word: fn(&[u8], usize) -> u32) -> [u32; 2] {
    for pair in bytes.chunks_exact(8) {
        sum[0] = sum[0].wrapping_add(word(pair, 0)).wrapping_add(sum[1]);
        sum[1] = sum[1].wrapping_add(word(pair, 4)).wrapping_add(sum[0]);
    }
    sum
}

fn little(bytes: &[u8], at: usize) -> u32 {
    big(bytes, at).swap_bytes()
}

/// The index's account, if it is one: two equal copies with their checksum.
fn witness(bytes: &[u8]) -> Option<Witness> {
    let whole = bytes.len() >= INDEX && bytes[..48] == bytes[48..96];
    if !whole || native(bytes, 0) != VERSION || bytes[12] != 1 {
        return None;
    }
    let sum = checksum([0; 2], &bytes[..40], native);
    let salts: [u8; 8] = bytes[32..40].try_into().ok()?;
    (sum == [native(bytes, 40), native(bytes, 44)]).then(|| Witness {
        salts,
        frames: native(bytes, 16),
        copied: native(bytes, 96),
    })
}

/// Reads a log as SQLite does, and a little further; `None` where its header is none.
fn scan(mut log: impl Read) -> Result<Option<Found>> {
    let mut header = [0; HEADER];
    if log.read_exact(&mut header).is_err() {
        return Ok(None);
    }
    let word = match big(&header, 0) {
        0x377f_0682 => little,
        0x377f_0683 => big,
        _ => return Ok(None),
    };
    let mut sum = checksum([0; 2], &header[..24], word);
    let own = [big(&header, 4), big(&header, 8)] == [VERSION, PAGE as u32];
    if !own || sum != [big(&header, 24), big(&header, 28)] {
        return Ok(None);
    }
    let mut found = Found { salts: header[16..24].try_into().unwrap_or_default(), ..Found::default() };
    let (mut frame, mut number, mut good, mut behind) = (vec![0; FRAME_HEADER + PAGE], 0_u32, true, 0);
    while behind < BEHIND && log.read_exact(&mut frame).is_ok() {
        pause()?;
        let (same, commits) = (frame[8..16] == found.salts, big(&frame, 4) > 0);
        if good {
            sum = checksum(checksum(sum, &frame[..8], word), &frame[FRAME_HEADER..], word);
            good = same && big(&frame, 0) > 0 && sum == [big(&frame, 16), big(&frame, 20)];
        }
        if good {
            number += 1;
            if commits {
                (found.frames, found.pages) = (number, big(&frame, 4));
            }
        } else {
            behind += 1;
            let salts: [u8; 8] = frame[8..16].try_into().unwrap_or_default();
            // A file that had grown and was not written holds zeros.
            found.foreign |= !same && salts != [0; 8] && !comes_before(&salts, &found.salts);
            found.goes_on_behind |= same && found.marks_behind > 0;
            found.marks_behind += usize::from(same && commits);
        }
    }
    Ok(Some(found))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Ledger;
    use std::fs;

    /// The last to close a ledger removes index and log, and who opens it next makes others.
    #[test]
    fn an_index_and_the_log_of_another_moment_say_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let beside = |name: &str| folder.path().join(name);
        // Two ledgers, so that logs and indexes are of different generations.
        let [one, other] = ["a", "b"].map(|name| {
            let mut ledger = Ledger::open(beside(name)).unwrap();
            ledger.update(&[0.5], 1, 0.25).unwrap();
            ["wal", "shm"].map(|end| fs::read(beside(&format!("{name}-{end}"))).unwrap())
        });
        let (log, index) = (beside("log"), beside("index"));
        let put = |[own_log, own_index]: &[Vec<u8>; 2]| {
            fs::write(&log, own_log).unwrap();
            fs::write(&index, own_index).unwrap();
        };
        let missing = Some("its log is missing");
        let foreign = Some("its log is another ledger's, or was changed");
        for (then, fault_if_it_stays) in [(None, missing), (Some(&other), foreign)] {
            put(&one);
            let mut looks = 0;
            let seen = || {
                let index_before = read(&index, INDEX);
                looks += 1;
                if looks == 1 {
                    fs::remove_file(&index).unwrap();
                    fs::remove_file(&log).unwrap();
                    then.map(put);
                }
                (index_before, read(&log, HEADER))
            };
            assert_eq!(settled(seen, &log, 1).unwrap(), None);
            fs::write(&index, &one[1]).unwrap();
            assert_eq!(fault(&log, &index, 1).unwrap(), fault_if_it_stays);
        }
    }
}
