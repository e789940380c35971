//! Claims: which members of a checkpoint directory a process is training right now, so that processes which share the
//! directory share the work.
//!
//! A claim is a file such as `claim-000017`, there from the moment a process begins member 17 until its file is written.
//! Its holder has a lock on it, which ends with the process, however that ends, and touches it every few seconds. Whoever
//! wants the member takes an abandoned claim over: on the machine of its holder one whose lock is free, elsewhere (where a
//! disk that several machines share may not pass locks on) one that was not touched for a while, by the clock of whoever
//! watches. Claims save work and are never needed for a result: members are the same whoever trains them, so that a claim
//! which is lost, or taken from a holder that lives, costs the time of one member.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::files::{self, Held, Trace};

/// How long a claim may lie untouched.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of which share of that time a holder touches it.
const BEATS: u32 = 6;

/// What one training has claimed in a directory; given up when dropped.
#[derive(Debug)]
pub(super) struct Claims {
    folder: PathBuf,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    held: HashMap<u64, Held>,
    /// Claims of others: what they looked like, and since when.
    watched: HashMap<u64, (Trace, Instant)>,
    touched: Instant,
}

impl Claims {
    pub(super) fn of(folder: &Path) -> Self {
        Self::patient_for(folder, PATIENCE)
    }

    fn patient_for(folder: &Path, patience: Duration) -> Self {
        let state = State { held: HashMap::new(), watched: HashMap::new(), touched: Instant::now() };
        Self { folder: folder.to_owned(), patience, state: Mutex::new(state) }
    }

    /// Claims a member; false if somebody else has it. True for one that is claimed here already.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn take(&self, number: u64) -> io::Result<bool> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if state.held.contains_key(&number) {
            return Ok(true);
        }
        let (path, machine) = (self.path(number), machine());
        for _ in 0..2 {
            if let Some(held) = files::hold(&path, &machine)?.or_else(|| files::take_over(&path, &machine)) {
                state.watched.remove(&number);
                state.held.insert(number, held);
                return Ok(true);
            }
            let Some(trace) = files::trace(&path) else { continue };
            let (seen, since) =
                state.watched.entry(number).or_insert_with(|| (trace.clone(), Instant::now()));
            if *seen != trace {
                (*seen, *since) = (trace, Instant::now());
            }
            if since.elapsed() <= self.patience {
                break;
            }
            files::clear(&path, seen)?;
        }
        Ok(false)
    }

    /// Gives a member up: it is written, or somebody else may have it.
    pub(super) fn give_up(&self, number: u64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).held.remove(&number);
    }

    /// Touches what is held, if that is due.
    pub(super) fn keep(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.touched.elapsed() >= self.patience / BEATS {
            state.held.values().for_each(Held::touch);
            state.touched = Instant::now();
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("claim-{number:06}"))
    }
}

/// Whether a file of this name is a claim.
pub(super) fn is_claim(name: &str) -> bool {
    name.strip_prefix("claim-")
        .is_some_and(|digits| digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// What tells a running machine from all others: locks of one that runs no more say nothing. Empty where nothing does.
fn machine() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_claimed_by_one_and_free_again_when_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Claims::of(folder.path()), Claims::of(folder.path()));
        assert!(one.take(3).unwrap() && one.take(3).unwrap());
        assert!(!other.take(3).unwrap() && other.take(4).unwrap());
        one.give_up(3);
        assert!(other.take(3).unwrap() && !one.take(3).unwrap());
        drop(other);
        assert!(one.take(3).unwrap() && one.take(4).unwrap());
        drop(one);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    /// What a process that was killed leaves: the file, without a lock.
    fn left_behind(folder: &Path, number: u64, machine: &str) -> PathBuf {
        let path = folder.join(format!("claim-{number:06}"));
        std::fs::write(&path, machine).unwrap();
        path
    }

    #[test]
    fn the_claim_of_a_dead_process_is_taken_over_at_once_on_its_machine() {
        let folder = tempfile::tempdir().unwrap();
        left_behind(folder.path(), 3, &machine());
        assert_eq!(Claims::of(folder.path()).take(3).unwrap(), !machine().is_empty());
    }

    /// The file of the one who takes it over may have the very number that the abandoned file had.
    #[test]
    fn of_many_who_take_an_abandoned_claim_over_one_has_it() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..200 {
            left_behind(folder.path(), number, &machine());
            let (start, claims) = (std::sync::Barrier::new(4), [(); 4].map(|()| Claims::of(folder.path())));
            let took: Vec<bool> = std::thread::scope(|scope| {
                let take = |own| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        Claims::take(own, number).unwrap()
                    })
                };
                let threads: Vec<_> = claims.iter().map(take).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let n = took.iter().filter(|took| **took).count();
            assert_eq!(n, usize::from(!machine().is_empty()), "claim {number}: {took:?}");
        }
    }

    #[test]
    fn the_claim_of_another_machine_is_taken_over_when_nobody_touches_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = left_behind(folder.path(), 3, "another machine");
        let claims = Claims::patient_for(folder.path(), Duration::from_millis(300));
        assert!(!claims.take(3).unwrap());
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(150));
            std::fs::File::open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
            assert!(!claims.take(3).unwrap(), "somebody touches it");
        }
        std::thread::sleep(Duration::from_millis(350));
        assert!(claims.take(3).unwrap());
    }

    #[test]
    fn who_lost_a_claim_does_not_remove_that_of_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let (slow, next) = (Claims::of(folder.path()), Claims::of(folder.path()));
        assert!(slow.take(3).unwrap());
        std::fs::remove_file(slow.path(3)).unwrap();
        assert!(next.take(3).unwrap());
        slow.give_up(3);
        assert!(next.path(3).exists());
    }

    #[test]
    fn holders_touch_what_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::patient_for(folder.path(), Duration::from_millis(60));
        assert!(claims.take(3).unwrap());
        let modified = || std::fs::metadata(claims.path(3)).unwrap().modified().unwrap();
        let before = modified();
        std::thread::sleep(Duration::from_millis(30));
        claims.keep();
        assert!(modified() > before);
    }

    #[test]
    fn claims_are_told_from_other_files() {
        assert!(is_claim("claim-000017") && is_claim("claim-1000017"));
        assert!(!is_claim("claim-17") && !is_claim("claim-00001x") && !is_claim("member-000017"));
    }
}
