//! Several processes, and processes that are killed.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use certssb::{Entry, Ledger, Watch};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::reference::Reference;
use super::{all_records, place, Ask};

/// Rounds of killing in a default run; `LEDGER_KILLS` sets another number.
fn n_kills() -> u64 {
    std::env::var("LEDGER_KILLS").map_or(5, |n| n.parse().unwrap())
}

/// The updates that a child of this seed makes.
fn asks(seed: u64, n: usize) -> Vec<Ask> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut coordinate = || rng.random_range(-1024_i32..=1024) as f32 / 1024.0;
    let points: Vec<[f32; 2]> = (0..n).map(|_| [coordinate(), coordinate()]).collect();
    let ask = |x: &[f32; 2]| Ask {
        x: x.to_vec(),
        prediction: rng.random_range(0..3),
        radius: rng.random_range(0.0..0.5),
    };
    points.iter().map(ask).collect()
}

/// Runs in a process of its own: updates one by one, and says so after each.
#[test]
#[ignore = "started by the other tests, in processes of their own"]
fn child() {
    updated();
}

/// The same, and has the ledger open until it is killed.
#[test]
#[ignore = "started by the other tests, in processes of their own"]
fn child_that_stays() {
    let _ledger = updated();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn updated() -> Ledger {
    let setting = |name: &str| std::env::var(name).unwrap();
    let mut ledger = Ledger::open(PathBuf::from(setting("LEDGER_PATH"))).unwrap();
    for ask in asks(setting("LEDGER_SEED").parse().unwrap(), setting("LEDGER_N").parse().unwrap()) {
        let entry = ledger.update(&ask.x, ask.prediction, ask.radius).unwrap();
        println!("done {}", entry.number);
    }
    ledger
}

fn start(path: &Path, seed: u64, n: usize) -> (Child, BufReader<ChildStdout>) {
    start_as("child", path, seed, n)
}

fn start_as(what: &str, path: &Path, seed: u64, n: usize) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&format!("ledger::processes::{what}"), "--exact", "--ignored", "--nocapture"])
        .env("LEDGER_PATH", path)
        .env("LEDGER_SEED", seed.to_string())
        .env("LEDGER_N", n.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// Numbers of the entries that a line reports as done.
fn reported(line: &str) -> Option<u64> {
    line.split("done ").nth(1)?.trim().parse().ok()
}

/// The file is without fault, and repeats exactly what the plain reference makes of the same updates in that order.
fn assert_faultless(path: &Path) -> Vec<Entry> {
    Ledger::open(path).unwrap().verify(&mut Watch::new()).unwrap();
    let mut reference = Reference::default();
    let records = all_records(path);
    for record in &records {
        let (prediction, radius) = (record.asked.prediction, record.asked.radius);
        let again = reference.update(&Ask { x: record.centre.clone(), prediction, radius });
        assert_eq!(again, record.entry);
    }
    reference.assert_disjoint();
    records.iter().map(|record| record.entry).collect()
}

#[test]
fn two_processes_write_one_ledger() {
    let (_folder, path) = place();
    let n = 150;
    let (children, outputs): (Vec<_>, Vec<_>) = [1, 2].map(|seed| start(&path, seed, n)).into_iter().unzip();
    let numbers: Vec<Vec<u64>> = outputs
        .into_iter()
        .map(|output| output.lines().filter_map(|line| reported(&line.unwrap())).collect())
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert!(numbers.iter().all(|of_child| of_child.len() == n && of_child.is_sorted()));
    let entries = assert_faultless(&path);
    assert_eq!(entries.len(), 2 * n);
    let records = all_records(&path);
    for (seed, of_child) in [1, 2].into_iter().zip(&numbers) {
        for (ask, number) in asks(seed, n).iter().zip(of_child) {
            assert_eq!(records[*number as usize].centre, ask.x, "an update has the number that was reported");
        }
    }
}

/// Each may find no ledger and one that another has made a moment later.
#[test]
fn those_who_make_one_ledger_at_once_all_write_it() {
    for _ in 0..100 {
        let (_folder, path) = place();
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for own in 0..4_u16 {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut ledger = Ledger::open(path.clone()).unwrap();
                    ledger.update(&[f32::from(own), 0.0], 0, 0.1).unwrap();
                });
            }
        });
        assert_eq!(assert_faultless(&path).len(), 4);
    }
}

/// Runs in a process of its own: opens the ledger for each update.
#[test]
#[ignore = "started by the other tests, in processes of their own"]
fn visitor() {
    let setting = |name: &str| std::env::var(name).unwrap();
    let path = PathBuf::from(setting("LEDGER_PATH"));
    for ask in asks(setting("LEDGER_SEED").parse().unwrap(), setting("LEDGER_N").parse().unwrap()) {
        let entry = Ledger::open(&path).unwrap().update(&ask.x, ask.prediction, ask.radius).unwrap();
        println!("done {}", entry.number);
    }
}

/// Who opens a ledger may look at a log that the last of the others is just removing.
#[test]
fn processes_that_open_a_ledger_for_each_update_do_not_take_it_for_damaged() {
    let (_folder, path) = place();
    let n: usize = std::env::var("LEDGER_VISITS").map_or(100, |n| n.parse().unwrap());
    let visitors: Vec<_> = [1, 2, 3].map(|seed| start_as("visitor", &path, seed, n)).into();
    for (mut child, output) in visitors {
        assert_eq!(output.lines().filter_map(|line| reported(&line.unwrap())).count(), n);
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(assert_faultless(&path).len(), 3 * n);
}

#[test]
fn killed_in_the_middle_everything_reported_is_there() {
    for round in 0..n_kills() {
        let (_folder, path) = place();
        let mut rng = ChaCha8Rng::seed_from_u64(1000 + round);
        let until = rng.random_range(1..1000);
        let (mut child, mut output) = start(&path, round, 1000);
        let (mut last, mut line) = (None, String::new());
        while last.is_none_or(|number| number < until) && output.read_line(&mut line).unwrap() > 0 {
            last = reported(&line).or(last);
            line.clear();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        while output.read_line(&mut line).unwrap() > 0 {
            last = reported(&line).or(last);
            line.clear();
        }
        let last = last.unwrap();
        let entries = assert_faultless(&path);
        assert!(entries.len() as u64 > last, "round {round}: {} entries, {last} reported", entries.len());
        let expected = asks(round, 1000);
        let records = all_records(&path);
        assert!(records.iter().zip(&expected).all(|(record, ask)| record.centre == ask.x));
        Ledger::open(&path).unwrap().update(&[0.0, 0.0], 1, 0.5).unwrap();
    }
}

/// A process that opens a file a second time, looks at it and closes it again must not lose its locks on it, by which
/// other processes know that the ledger is in use.
#[cfg(target_os = "linux")]
#[test]
fn a_second_look_at_a_file_keeps_its_locks() {
    use std::os::unix::fs::MetadataExt;
    let (_folder, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.update(&[5.0, 5.0], 0, 0.1).unwrap();
    let file = format!(":{}", std::fs::metadata(&path).unwrap().ino());
    // What the system says of a descriptor is of one moment; a list of all locks is read in pieces, while others come and go.
    let locks = || {
        let descriptors = std::fs::read_dir("/proc/self/fdinfo").unwrap();
        let texts =
            descriptors.filter_map(|descriptor| std::fs::read_to_string(descriptor.ok()?.path()).ok());
        let own = |line: &&str| {
            let posix = line.starts_with("lock:") && line.contains("POSIX");
            posix && line.split_whitespace().any(|word| word.ends_with(&file))
        };
        texts.map(|text| text.lines().filter(own).count()).sum::<usize>()
    };
    assert_eq!(locks(), 1, "an open ledger is locked");
    drop(Ledger::open(&path).unwrap());
    drop(Ledger::open_read_only(&path).unwrap());
    assert!(Ledger::open(path.with_file_name("none").join("x")).is_err());
    assert_eq!(locks(), 1, "a second look drops no lock");
    drop(ledger);
    assert_eq!(locks(), 0);
}

/// The files that a killed process leaves behind, damaged: whatever is accepted says what was said before.
#[test]
fn a_log_that_was_left_behind_and_damaged() {
    let (folder, path) = place();
    // So many that the log is not begun anew.
    let (mut child, mut output) = start_as("child_that_stays", &path, 5, 60);
    let (mut last, mut line) = (None, String::new());
    while last.is_none_or(|number| number < 59) && output.read_line(&mut line).unwrap() > 0 {
        last = reported(&line).or(last);
        line.clear();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let n_reported = last.unwrap() as usize + 1;
    let names = ["", "-wal", "-shm"].map(|suffix| folder.path().join(format!("regions.sqlite{suffix}")));
    let whole = names.clone().map(|name| std::fs::read(name).unwrap());
    let put = |files: &[Vec<u8>; 3]| {
        for (name, content) in names.iter().zip(files) {
            std::fs::write(name, content).unwrap();
        }
    };
    put(&whole);
    let expected = all_records(&path);
    assert!(expected.len() >= n_reported);

    let frame = 24 + 4096;
    let frames = (whole[1].len() - 32) / frame;
    assert!(frames > 40 && frames < 1000, "{frames} frames");
    let mut seen = [0, 0];
    let mut check = |what: &str, files: [Vec<u8>; 3]| {
        put(&files);
        match Ledger::open(&path) {
            Ok(_) => {
                let found = all_records(&path);
                // One update may have been written and not yet reported.
                let known = found.len() >= n_reported && expected.starts_with(&found);
                assert!(known, "{what}: {} of {} entries", found.len(), expected.len());
                seen[0] += 1;
            }
            Err(error) => {
                assert_eq!(*error.kind(), certssb::ErrorKind::LedgerCorrupt, "{what}: {error}");
                seen[1] += 1;
            }
        }
    };
    check("nothing", whole.clone());
    check("no index", [whole[0].clone(), whole[1].clone(), Vec::new()]);
    check("no log", [whole[0].clone(), Vec::new(), whole[2].clone()]);
    for at in (0..32).chain((0..frames).map(|n| 32 + n * frame + (n * 131) % frame)) {
        let mut log = whole[1].clone();
        log[at] ^= 0x20;
        check(&format!("byte {at} of the log"), [whole[0].clone(), log.clone(), whole[2].clone()]);
        // Without the index only the last transaction, which may have been interrupted, can be taken back.
        if at < 32 + (frames - 8) * frame {
            check(&format!("byte {at} of the log, no index"), [whole[0].clone(), log, Vec::new()]);
        }
    }
    for cut in (0..whole[1].len()).step_by(frame / 3) {
        check(
            &format!("the log cut at {cut}"),
            [whole[0].clone(), whole[1][..cut].to_vec(), whole[2].clone()],
        );
    }
    for at in 0..136 {
        let mut index = whole[2].clone();
        index[at] ^= 0x01;
        check(&format!("byte {at} of the index"), [whole[0].clone(), whole[1].clone(), index]);
    }
    assert!(seen[0] > 100 && seen[1] > 100, "{seen:?}");
}
