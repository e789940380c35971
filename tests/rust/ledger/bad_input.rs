//! What a ledger refuses: the kind of error, what its sentence names, and that nothing is stored half.

use std::path::Path;
use std::process::Command;

use certssb::{Error, ErrorKind, Ledger, Result, Watch};
use ndarray::{array, Array2};
use rusqlite::Connection;

use super::{all_records, place};

#[track_caller]
fn assert_error<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, parts: &[&str]) -> Error {
    let error = result.unwrap_err();
    assert_eq!(*error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "'{part}' is not in: {error}");
    }
    error
}

/// A ledger with `n` entries in 5 dimensions, closed.
fn filled(path: &Path, n: usize) {
    let points = Array2::from_shape_fn((n, 5), |(i, j)| (i * 7 + j) as f32 / 3.0);
    let predictions: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
    let mut ledger = Ledger::open(path).unwrap();
    ledger.update_many(points.view(), &predictions, &vec![2.5; n], &mut Watch::new()).unwrap();
}

/// Opens and verifies.
fn whole(path: &Path) -> Result<u64> {
    Ledger::open(path)?.verify(&mut Watch::new()).map(|report| report.updates)
}

#[test]
fn values_that_are_no_numbers() {
    let (_folder, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_error(ledger.update(&[0.0, bad], 0, 1.0), ErrorKind::Parameter, &["'x'", "NaN", "position 1"]);
        assert_error(ledger.query(&[bad]), ErrorKind::Parameter, &["'x'", "position 0"]);
        let many = array![[0.0, 1.0], [bad, 0.0]];
        let result = ledger.update_many(many.view(), &[0, 1], &[1.0, 1.0], &mut Watch::new());
        assert_error(result, ErrorKind::Parameter, &["'points[1]'", "position 0"]);
    }
    assert_eq!(ledger.n_updates().unwrap(), 0);
}

#[test]
fn radii_that_are_none() {
    let (_folder, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    for (bad, shown) in [(-0.5, "Got -0.5"), (f64::NAN, "Got NaN"), (f64::INFINITY, "Got inf")] {
        assert_error(ledger.update(&[0.0], 0, bad), ErrorKind::Parameter, &["'radius'", shown]);
        let result = ledger.update_many(array![[0.0], [9.0]].view(), &[0, 1], &[1.0, bad], &mut Watch::new());
        assert_error(result, ErrorKind::Parameter, &["'radii[1]'", shown]);
    }
    assert_eq!(ledger.n_updates().unwrap(), 0);
    assert_eq!(ledger.update(&[0.0], 0, -0.0).unwrap().radius.to_bits(), 0, "-0 is 0");
}

#[test]
fn shapes_that_do_not_fit() {
    let (_folder, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    assert_error(ledger.update(&[], 0, 1.0), ErrorKind::Shape, &["'x'"]);
    ledger.update(&[0.0, 0.0, 0.0], 0, 1.0).unwrap();
    let expected = ["must have 3 features", "Got 2"];
    assert_error(ledger.update(&[0.0, 0.0], 0, 1.0), ErrorKind::Shape, &["'x'", expected[0], expected[1]]);
    assert_error(ledger.query(&[0.0, 0.0]), ErrorKind::Shape, &["'x'", expected[0], expected[1]]);
    let two = array![[0.0, 0.0], [1.0, 1.0]];
    let result = ledger.update_many(two.view(), &[0, 1], &[1.0, 1.0], &mut Watch::new());
    assert_error(result, ErrorKind::Shape, &["'points'", expected[0], expected[1]]);
    let result = ledger.update_many(two.view(), &[0], &[1.0, 1.0], &mut Watch::new());
    assert_error(result, ErrorKind::Shape, &["'predictions'", "2 points", "Got 1"]);
    let result = ledger.update_many(two.view(), &[0, 1], &[1.0], &mut Watch::new());
    assert_error(result, ErrorKind::Shape, &["'radii'", "2 points", "Got 1"]);
    assert_eq!(ledger.n_updates().unwrap(), 1);
    let none = Array2::zeros((0, 3));
    assert!(ledger.update_many(none.view(), &[], &[], &mut Watch::new()).unwrap().is_empty());
    ledger.update(&[0.0, 0.0, 0.5], 0, 1.0).unwrap();
}

#[test]
fn files_that_are_no_ledgers() {
    let (_folder, path) = place();
    let noise: Vec<u8> = (0..5000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (content, why) in
        [(&noise[..], "not an SQLite database"), (&[], "empty"), (b"SQLite format 3\0abc", "header")]
    {
        std::fs::write(&path, content).unwrap();
        let kind = ErrorKind::LedgerCorrupt;
        assert_error(Ledger::open(&path), kind.clone(), &["regions.sqlite", why]);
        assert_error(Ledger::open_read_only(&path), kind, &["regions.sqlite", why]);
        assert_eq!(std::fs::read(&path).unwrap(), content, "the file is left as it was");
    }
    std::fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE entry (number INTEGER); INSERT INTO entry VALUES (7)").unwrap();
    drop(other);
    assert_error(Ledger::open(&path), ErrorKind::LedgerCorrupt, &["another application", "another path"]);
}

#[test]
fn tables_of_somebody_else() {
    let (_folder, path) = place();
    filled(&path, 3);
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE extra (a INTEGER)").unwrap();
    assert_error(Ledger::open(&path), ErrorKind::LedgerCorrupt, &["tables"]);
}

#[test]
fn other_schema_versions() {
    let (_folder, path) = place();
    filled(&path, 3);
    for (version, advice) in [(2, "Update certssb"), (999, "Update certssb"), (0, "backup")] {
        Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
        let parts = [&format!("version {version}"), advice];
        assert_error(Ledger::open(&path), ErrorKind::LedgerVersion, &parts);
        assert_error(Ledger::open_read_only(&path), ErrorKind::LedgerVersion, &parts);
    }
}

#[test]
fn truncated_files() {
    let (_folder, path) = place();
    filled(&path, 200);
    let content = std::fs::read(&path).unwrap();
    for length in (1..content.len()).step_by(997).chain([content.len() - 1, content.len() / 2]) {
        std::fs::write(&path, &content[..length]).unwrap();
        assert_error(whole(&path), ErrorKind::LedgerCorrupt, &["regions.sqlite"]);
    }
}

/// Every byte of every entry counts: a flipped one is noticed wherever it changes what the file says.
#[test]
fn flipped_bytes() {
    let (_folder, path) = place();
    filled(&path, 40);
    let content = std::fs::read(&path).unwrap();
    let records = all_records(&path);
    let mut noticed = 0;
    let step = std::env::var("LEDGER_FLIP_STEP").map_or(7, |step| step.parse().unwrap());
    for at in (0..content.len()).step_by(step) {
        let mut flipped = content.clone();
        flipped[at] ^= 0x10;
        std::fs::write(&path, &flipped).unwrap();
        let _ = std::fs::remove_file(path.with_extension("sqlite-wal"));
        match whole(&path) {
            Ok(_) => assert_eq!(all_records(&path), records, "byte {at} changed an entry unnoticed"),
            Err(error) => {
                let kinds = [ErrorKind::LedgerCorrupt, ErrorKind::LedgerVersion];
                assert!(kinds.contains(error.kind()), "byte {at}: {error}");
                noticed += 1;
            }
        }
    }
    assert!(noticed > 2100 / step, "{noticed} flips were noticed");
}

/// A flip inside the numbers of an entry, whatever SQLite thinks of it.
#[test]
fn every_column_of_an_entry_is_protected() {
    for change in [
        "centre = (SELECT centre FROM entry WHERE number = 2)",
        "asked_prediction = 7",
        "asked_radius = asked_radius + 1",
        "prediction = 7",
        "radius = radius / 2",
        "outcome = 'trimmed'",
        "outcome = 'whatever'",
        "cause = 0",
        "digest = zeroblob(32)",
        "digest = zeroblob(3)",
        "radius = 9e999",
        "prediction = -1",
    ] {
        let (_folder, path) = place();
        filled(&path, 6);
        let changed = format!("UPDATE entry SET {change} WHERE number = 4");
        assert_eq!(Connection::open(&path).unwrap().execute(&changed, []).unwrap(), 1);
        assert_error(Ledger::open(&path), ErrorKind::LedgerCorrupt, &["entry 4"]);
    }
}

#[test]
fn entries_dropped_or_moved() {
    for (change, part) in [
        ("DELETE FROM entry WHERE number = 3", "entry 3"),
        ("DELETE FROM entry WHERE number = 5", "6 entries, 5 were found"),
        ("DELETE FROM ledger", "damaged"),
        ("UPDATE ledger SET regions = 9", "head"),
        ("UPDATE ledger SET dimension = 1 << 60", "entry 0"),
        ("UPDATE ledger SET dimension = -5", "damaged"),
        (
            "UPDATE entry SET number = 99 WHERE number = 1; UPDATE entry SET number = 1 WHERE number = 2; \
          UPDATE entry SET number = 2 WHERE number = 99",
            "entry 1",
        ),
    ] {
        let (_folder, path) = place();
        filled(&path, 6);
        Connection::open(&path).unwrap().execute_batch(change).unwrap();
        assert_error(Ledger::open(&path), ErrorKind::LedgerCorrupt, &[part]);
    }
}

#[test]
fn entries_taken_back_under_an_open_ledger() {
    let (_folder, path) = place();
    filled(&path, 6);
    let mut ledger = Ledger::open(&path).unwrap();
    let older = Connection::open(&path).unwrap();
    older
        .execute_batch(
            "DELETE FROM entry WHERE number > 2; UPDATE ledger SET entries = 3, regions = 3, \
             digest = (SELECT digest FROM entry WHERE number = 2)",
        )
        .unwrap();
    assert_error(ledger.update(&[0.0; 5], 0, 1.0), ErrorKind::LedgerCorrupt, &["taken back"]);
}

/// A forger who also repairs the digests is found by the repetition of every update.
#[test]
fn an_answer_that_does_not_follow_is_found() {
    use sha2::{Digest, Sha256};
    let (_folder, path) = place();
    filled(&path, 1);
    let record = all_records(&path).remove(0);
    let centre: Vec<u8> = record.centre.iter().flat_map(|v| v.to_le_bytes()).collect();
    let forged = record.entry.radius * 2.0;
    let mut hash = Sha256::new();
    hash.update([0; 32]);
    hash.update(0_u64.to_le_bytes());
    hash.update(record.asked.prediction.to_le_bytes());
    hash.update(record.asked.radius.to_le_bytes());
    hash.update(record.entry.prediction.to_le_bytes());
    hash.update(forged.to_le_bytes());
    hash.update([0]);
    hash.update(u64::MAX.to_le_bytes());
    hash.update((record.centre.len() as u64).to_le_bytes());
    hash.update(&centre);
    let digest: [u8; 32] = hash.finalize().into();
    let file = Connection::open(&path).unwrap();
    file.execute("UPDATE entry SET radius = ?1, digest = ?2", rusqlite::params![forged, digest]).unwrap();
    file.execute("UPDATE ledger SET digest = ?1", [digest]).unwrap();
    drop(file);
    let mut ledger = Ledger::open(&path).unwrap();
    let parts = ["entry 0 should be kept with class 0 and radius 2.5"];
    assert_error(ledger.verify(&mut Watch::new()), ErrorKind::LedgerCorrupt, &parts);
}

#[test]
fn places_where_no_ledger_can_be() {
    let (folder, path) = place();
    assert_error(Ledger::open(folder.path()), ErrorKind::Ledger, &["cannot be read"]);
    let nowhere = folder.path().join("none").join("regions.sqlite");
    assert_error(Ledger::open(&nowhere), ErrorKind::Ledger, &["no folder", "none"]);
    assert_error(Ledger::open_read_only(&path), ErrorKind::Ledger, &["no ledger", "regions.sqlite"]);
    assert!(!path.exists());
    for (name, part) in [
        ("a\0b", "null character"),
        (":memory:", "nobody can open again"),
        ("", "empty"),
        ("file:regions.sqlite?mode=memory", "the address"),
        ("FILE:///tmp/regions.sqlite", "the address"),
    ] {
        let parts = ["The 'path' parameter must be the path of a file", part];
        assert_error(Ledger::open(name), ErrorKind::Ledger, &parts);
        assert_error(Ledger::open_read_only(name), ErrorKind::Ledger, &parts);
    }
}

/// A pipe would be waited for, a device has no end, and what is written through a link lands in somebody's file.
#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_not_opened() {
    let (folder, path) = place();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (strange, what) in [(pipe.as_path(), "a named pipe"), (Path::new("/dev/zero"), "a device")] {
        assert_error(Ledger::open(strange), ErrorKind::Ledger, &[what, "regular file"]);
        assert_error(Ledger::open_read_only(strange), ErrorKind::Ledger, &[what, "regular file"]);
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        filled(&path, 3);
        let beside = folder.path().join(format!("regions.sqlite{suffix}"));
        assert!(Command::new("mkfifo").arg(&beside).status().unwrap().success());
        assert_error(Ledger::open(&path), ErrorKind::Ledger, &[suffix, "a named pipe"]);
        std::fs::remove_file(&beside).unwrap();
        let victim = folder.path().join("victim");
        std::fs::write(&victim, b"").unwrap();
        std::os::unix::fs::symlink(&victim, &beside).unwrap();
        assert_error(Ledger::open(&path), ErrorKind::Ledger, &[suffix, "a link"]);
        assert_eq!(std::fs::read(&victim).unwrap(), b"");
        std::fs::remove_file(&beside).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
    std::os::unix::fs::symlink(folder.path().join("nothing"), &path).unwrap();
    assert_error(Ledger::open(&path), ErrorKind::Ledger, &["a link to a file that is not there"]);
    assert!(!folder.path().join("nothing").exists());
}

/// A file of terabytes of nothing behind a ledger is not read.
#[test]
fn a_file_longer_than_its_header_says() {
    let (_folder, path) = place();
    filled(&path, 3);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() + 4096).unwrap();
    assert_error(Ledger::open(&path), ErrorKind::LedgerCorrupt, &["not as long as its header says"]);
    if file.set_len(1 << 42).is_ok() {
        assert_error(Ledger::open(&path), ErrorKind::LedgerCorrupt, &["not as long as its header says"]);
    }
}

/// Pages of an empty ledger in place of a ledger's own: each of them, and all together.
#[test]
fn no_page_of_an_empty_ledger_makes_a_ledger_empty() {
    let (folder, path) = place();
    let other = folder.path().join("empty.sqlite");
    drop(Ledger::open(&other).unwrap());
    let empty = std::fs::read(&other).unwrap();
    filled(&path, 400);
    let content = std::fs::read(&path).unwrap();
    for (what, ranges) in [
        ("the header", &[(0, 100)][..]),
        ("the first page", &[(0, 4096)][..]),
        ("the entries' first page", &[(4096, 8192)][..]),
        ("the head's page", &[(8192, 12288)][..]),
        ("all but the first page", &[(4096, 12288)][..]),
        ("all but the header", &[(100, 12288)][..]),
        ("all", &[(0, 12288)][..]),
        ("the header and the head's page", &[(0, 100), (8192, 12288)][..]),
    ] {
        for cut in [content.len(), empty.len()] {
            let mut changed = content.clone();
            for &(start, end) in ranges {
                changed[start..end].copy_from_slice(&empty[start..end]);
            }
            changed.truncate(cut);
            if changed == empty {
                continue;
            }
            std::fs::write(&path, &changed).unwrap();
            let result = Ledger::open(&path);
            assert!(
                result.is_err(),
                "{what}, {cut} bytes: {:?}",
                result.map(|mut ledger| ledger.n_updates())
            );
            assert_error(result, ErrorKind::LedgerCorrupt, &["regions.sqlite"]);
        }
    }
}

/// What others write into rows of an open ledger is neither believed nor handed out.
#[test]
fn rows_edited_under_an_open_ledger() {
    let (_folder, path) = place();
    for change in [
        "centre = (SELECT centre FROM entry WHERE number = 2)",
        "centre = zeroblob(4)",
        "asked_prediction = 7",
        "radius = radius / 2",
        "prediction = 2",
        "digest = zeroblob(32)",
    ] {
        filled(&path, 6);
        let mut ledger = Ledger::open(&path).unwrap();
        let edit = format!("UPDATE entry SET {change} WHERE number = 4");
        assert_eq!(Connection::open(&path).unwrap().execute(&edit, []).unwrap(), 1);
        assert_error(ledger.records(0, 100), ErrorKind::LedgerCorrupt, &["entry 4"]);
        assert_error(ledger.records(4, 1), ErrorKind::LedgerCorrupt, &["entry 4"]);
        assert_error(ledger.verify(&mut Watch::new()), ErrorKind::LedgerCorrupt, &["entry 4"]);
        if change.starts_with("centre") {
            let near: Vec<f32> = (0..5).map(|j| (4 * 7 + j) as f32 / 3.0).collect();
            let parts = ["the centre of entry 4 was changed"];
            assert_error(ledger.update(&near, 7, 1.0), ErrorKind::LedgerCorrupt, &parts);
            assert_error(ledger.query(&near), ErrorKind::LedgerCorrupt, &parts);
        }
        assert_eq!(ledger.n_updates().unwrap(), 6);
        drop(ledger);
        std::fs::remove_file(&path).unwrap();
    }
}

/// The whole chain recomputed from one entry on: its own head no longer is what the open ledger has read.
#[test]
fn a_chain_that_was_rewritten_under_an_open_ledger() {
    let (folder, path) = place();
    filled(&path, 6);
    let other = folder.path().join("other.sqlite");
    let mut forged = Ledger::open(&other).unwrap();
    for i in 0..6 {
        forged.update(&[i as f32; 5], i, 0.5).unwrap();
    }
    drop(forged);
    let mut ledger = Ledger::open(&path).unwrap();
    let file = Connection::open(&path).unwrap();
    file.execute("ATTACH ?1 AS other", [other.to_str().unwrap()]).unwrap();
    file.execute_batch(
        "BEGIN; DELETE FROM entry; INSERT INTO entry SELECT * FROM other.entry; \
         DELETE FROM ledger; INSERT INTO ledger SELECT * FROM other.ledger; COMMIT",
    )
    .unwrap();
    assert_error(ledger.records(0, 100), ErrorKind::LedgerCorrupt, &["taken back"]);
    assert_error(ledger.verify(&mut Watch::new()), ErrorKind::LedgerCorrupt, &["taken back"]);
    assert_error(ledger.update(&[0.0; 5], 0, 1.0), ErrorKind::LedgerCorrupt, &["taken back"]);
}

#[test]
fn opened_for_reading_nothing_is_written() {
    let (_folder, path) = place();
    filled(&path, 3);
    let mut ledger = Ledger::open_read_only(&path).unwrap();
    assert_error(ledger.update(&[0.0; 5], 0, 1.0), ErrorKind::Ledger, &["for reading only"]);
    assert_eq!(ledger.len().unwrap(), 3);
}

/// Permission bits do not bind root, but /proc refuses new files to everybody.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_refuses_files() {
    let error =
        assert_error(Ledger::open("/proc/regions.sqlite"), ErrorKind::Ledger, &["/proc/regions.sqlite"]);
    assert!(error.to_string().contains("permission"), "{error}");
}

/// Runs in a process that cannot write for long: its disk is full, or its files must not grow.
#[test]
#[ignore = "started by other tests, in processes with limits of their own"]
fn child_with_limits() {
    let mut ledger = Ledger::open(std::env::var("LEDGER_PATH").unwrap()).unwrap();
    let mut done = 0;
    let error = loop {
        match ledger.update(&[done as f32; 500], 0, 1.0) {
            Ok(entry) => done = entry.number + 1,
            Err(error) => break error,
        }
    };
    assert_eq!(ledger.verify(&mut Watch::new()).unwrap().updates, done);
    println!("\nstored {done}");
    assert_error::<()>(Err(error), ErrorKind::Ledger, &["nothing of this update was stored"]);
}

/// Runs in a process that sees the ledger's folder as one that cannot be written.
#[test]
#[ignore = "started by another test, in a process of its own"]
fn child_in_a_read_only_folder() {
    let path = std::env::var("LEDGER_PATH").unwrap();
    let parts = ["cannot be written", "write permission"];
    assert_error(Ledger::open(&path), ErrorKind::Ledger, &parts);
    assert_error(Ledger::open(format!("{path}.other")), ErrorKind::Ledger, &parts);
    assert_eq!(Ledger::open_read_only(&path).unwrap().verify(&mut Watch::new()).unwrap().updates, 3);
    println!("\nstored 3");
}

/// Runs a child after a preparation by the shell, in which `$0` is the ledger's folder; the number that it stored.
#[cfg(unix)]
fn stored_after(shell: &[&str], preparation: &str, child: &str, path: &Path) -> Option<u64> {
    let script =
        format!("{preparation} || exit 77; \"$1\" ledger::bad_input::{child} --exact --ignored --nocapture");
    let output = Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", &script])
        .arg(path.parent().unwrap())
        .arg(std::env::current_exe().unwrap())
        .env("LEDGER_PATH", path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(77) || errors.starts_with("unshare:") {
        return None;
    }
    assert!(output.status.success(), "{text}{errors}");
    text.lines().find_map(|line| line.strip_prefix("stored ")).map(|n| n.parse().unwrap())
}

#[cfg(unix)]
#[test]
fn a_disk_that_stops_writing_loses_no_update() {
    let (_folder, path) = place();
    let limits = "trap '' XFSZ; ulimit -f 400";
    let stored = stored_after(&["sh"], limits, "child_with_limits", &path).unwrap();
    assert!(stored > 10);
    assert_eq!(whole(&path).unwrap(), stored);
}

/// Mounting needs privileges; where they are missing, this says so and checks nothing.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_and_a_read_only_folder() {
    let shell = ["unshare", "--mount", "sh"];
    let (_folder, path) = place();
    let small = "mount -t tmpfs -o size=600k tmpfs \"$0\"";
    let Some(stored) = stored_after(&shell, small, "child_with_limits", &path) else {
        println!("not checked: mounting is not permitted here");
        return;
    };
    assert!(stored > 10);
    filled(&path, 3);
    let bound = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
    assert_eq!(stored_after(&shell, bound, "child_in_a_read_only_folder", &path), Some(3));
}
