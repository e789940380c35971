//! Drafts, names and reading, under attack.
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use super::draft::Draft;
use super::write::replace_all;
use super::*;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_or_made_and_nothing_else_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    replace(&path, b"one").unwrap();
    replace(&path, b"two").unwrap();
    assert!(!create(&path, b"three").unwrap());
    assert!(create(&folder.path().join("b"), b"four").unwrap());
    assert_eq!(read(&path, 3).unwrap(), b"two");
    assert_eq!(names(folder.path()), ["a", "b"]);
    assert!(replace(&folder.path().join("none").join("a"), b"").is_err());
    fs::create_dir(folder.path().join("c")).unwrap();
    assert!(replace(&folder.path().join("c"), b"").is_err(), "a folder is no place for a file");
    assert_eq!(names(folder.path()), ["a", "b", "c"]);
}

/// Of several that give a file the same name at once, one does, with links between files and without.
#[test]
fn a_name_is_given_once() {
    let folder = tempfile::tempdir().unwrap();
    for way in ["linked", "renamed"] {
        let give = if way == "linked" { name_if_free } else { super::name::rename_if_free };
        for round in 0..50 {
            let path = folder.path().join(format!("{way}-{round}"));
            let start = std::sync::Barrier::new(4);
            let gave: Vec<bool> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|own| {
                        let (path, start) = (&path, &start);
                        let draft = folder.path().join(format!("{way}-draft-{own}"));
                        fs::write(&draft, [own]).unwrap();
                        scope.spawn(move || {
                            start.wait();
                            give(&draft, path).unwrap()
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let winner = gave.iter().position(|&gave| gave).unwrap();
            assert_eq!(gave.iter().filter(|&&gave| gave).count(), 1, "{way}");
            assert_eq!(
                usize::from(fs::read(&path).unwrap()[0]),
                winner,
                "{way}: what the first named is there"
            );
        }
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_replaced_and_what_it_leads_to_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (mine, link) = (folder.path().join("mine"), folder.path().join("link"));
    fs::write(&mine, "precious").unwrap();
    std::os::unix::fs::symlink(&mine, &link).unwrap();
    assert!(!create(&link, b"new").unwrap());
    replace(&link, b"new").unwrap();
    assert_eq!(fs::read_to_string(&mine).unwrap(), "precious");
    assert_eq!(fs::read_to_string(&link).unwrap(), "new");
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
}

#[cfg(unix)]
#[test]
fn files_have_the_mode_of_other_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (other, own) = (folder.path().join("other"), folder.path().join("own"));
    fs::write(&other, "").unwrap();
    replace(&own, b"").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&own), mode(&other));
}

#[test]
fn stale_drafts_are_swept_and_living_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let living = Draft::of(folder.path(), b"living").unwrap();
    let filled = DraftFolder::beside(&folder.path().join("x")).unwrap();
    fs::write(filled.path().join("member"), "living").unwrap();
    let hex = |digit: &str| format!(".certssb-{}.draft", digit.repeat(32));
    fs::write(folder.path().join(hex("a")), "stale").unwrap();
    fs::create_dir(folder.path().join(hex("b"))).unwrap();
    fs::write(folder.path().join(hex("b")).join("member"), "stale").unwrap();
    for near in [".certssb-.draft", ".certssb-a.draft", &hex("g"), &hex("A"), "notes.draft"] {
        fs::write(folder.path().join(near), "somebody's").unwrap();
        assert!(!is_draft(near));
    }
    sweep(folder.path());
    assert_eq!(names(folder.path()).len(), 5 + 2);
    assert!(filled.path().join("member").exists());
    living.rename(&folder.path().join("done")).unwrap();
    assert_eq!(fs::read(folder.path().join("done")).unwrap(), b"living");
    drop(filled);
    assert_eq!(names(folder.path()).len(), 5 + 1);
}

#[test]
fn many_writers_and_sweepers_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, folder) = (folder.path().join("a"), folder.path());
    std::thread::scope(|scope| {
        for writer in 0..4_u8 {
            let path = &path;
            scope.spawn(move || (0..50).for_each(|_| replace(path, &[writer; 999]).unwrap()));
            scope.spawn(move || (0..50).for_each(|_| sweep(folder)));
        }
    });
    let content = fs::read(&path).unwrap();
    assert!(content.len() == 999 && content.iter().all(|byte| *byte == content[0]));
    assert_eq!(names(folder), ["a"]);
}

/// A sweeper that lets go of a lock before it removes the draft takes that of a writer who found the lock free: fails within
/// a few hundred drafts then.
#[test]
fn sweepers_never_take_a_draft_whose_writer_has_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let writers = std::sync::atomic::AtomicUsize::new(3);
    std::thread::scope(|scope| {
        for writer in 0..3_u8 {
            let writers = &writers;
            scope.spawn(move || {
                let done = folder.join(format!("done{writer}"));
                let lost = (0..2000).find(|_| {
                    let file = Draft::unsynced(folder, b"file").unwrap().rename(&done);
                    let filled = DraftFolder::beside(&done).unwrap();
                    let member = fs::write(filled.path().join("member"), "living");
                    file.is_err() || member.is_err() || !filled.path().join("member").exists()
                });
                writers.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                assert_eq!(lost, None);
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while writers.load(std::sync::atomic::Ordering::SeqCst) > 0 {
                    sweep(folder);
                }
            });
        }
    });
    assert_eq!(names(folder), ["done0", "done1", "done2"]);
}

#[test]
fn several_files_change_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    replace_all(folder.path(), &[(OsStr::new("a"), b"1"), (OsStr::new("b"), b"1")]).unwrap();
    assert_eq!(names(folder.path()), ["a", "b"]);
    assert!(replace_all(&folder.path().join("a"), &[(OsStr::new("a"), b"2")]).is_err());
}

#[test]
fn a_folder_takes_the_place_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ensemble");
    for content in ["one", "two"] {
        let draft = DraftFolder::beside(&path).unwrap();
        fs::write(draft.path().join("member"), content).unwrap();
        draft.take_place_of(&path).unwrap();
        assert_eq!(names(&path), ["member"]);
        assert_eq!(fs::read_to_string(path.join("member")).unwrap(), content);
        assert_eq!(names(folder.path()), ["ensemble"]);
    }
    assert_eq!(replaced(&path), folder.path().join(".ensemble.certssb-replaced"));
}

/// Each may find nothing in its place, or another one's folder that was put there a moment later.
#[test]
fn folders_that_take_one_place_at_once_are_all_whole() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let path = folder.path().join(format!("ensemble{round}"));
        let start = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            for own in 0..3_u8 {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    let draft = DraftFolder::beside(path).unwrap();
                    fs::write(draft.path().join("a"), [own]).unwrap();
                    fs::write(draft.path().join("b"), [own]).unwrap();
                    start.wait();
                    draft.take_place_of(path).unwrap();
                });
            }
        });
        assert_eq!(names(&path), ["a", "b"]);
        assert_eq!(fs::read(path.join("a")).unwrap(), fs::read(path.join("b")).unwrap());
        assert_eq!(names(folder.path()).len(), round + 1, "nothing else is left");
    }
}

#[cfg(unix)]
#[test]
fn what_cannot_be_looked_at_is_not_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink(path("nowhere"), path("link")).unwrap();
    std::os::unix::fs::symlink(path("loop"), path("loop")).unwrap();
    assert!(is_missing(&path("a")) && is_missing(&path("none").join("a")));
    assert!(!is_missing(&path("link")) && !is_missing(&path("loop").join("a")));
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_of_the_right_size_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let why = |path: &Path, limit| read(path, limit).unwrap_err().to_string();
    fs::write(&path, "abc").unwrap();
    assert_eq!(read(&path, 3).unwrap(), b"abc");
    assert_eq!(why(&path, 2), "it has 3 bytes, more than the 2 that such a file may have");
    assert_eq!(why(folder.path(), 9), "it is a folder, not a regular file");
    assert_eq!(why(Path::new("/dev/zero"), 9), "it is a pipe, a device or a socket, not a regular file");
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(why(&pipe, 9).contains("not a regular file"));
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(why(&path, 1 << 30).contains("1099511627776 bytes"));
    assert!(read(&folder.path().join("none"), 9).unwrap_err().kind() == std::io::ErrorKind::NotFound);
}
