//! Files truncated and written anew in place, through to the spool.

use super::*;

#[test]
fn a_truncated_file_is_read_anew_whether_it_is_shorter_or_longer_than_before() {
    let (folder, path) = folder();
    let (text, first) = numbered(0, 50);
    append(&path, &text);
    let mut rig = start(&folder, |_| {});
    rig.wait_for(50);
    fs::write(&path, "short\n").unwrap();
    rig.wait_for(51);
    let (text, longer) = numbered(100, 400);
    fs::write(&path, text).unwrap();
    let texts = rig.wait_for(351);
    assert_eq!(texts[..50], first);
    assert_eq!(texts[50], "short");
    assert_eq!(texts[51..], longer);
    assert_eq!(rig.stats().possible_losses.load(Relaxed), 2);
    rig.stop();
    let mut rig = start(&folder, |_| {});
    append(&path, "after\n");
    assert_eq!(rig.wait_for(352)[351], "after");
    rig.stop();
}

#[test]
fn a_file_written_anew_while_nobody_looked_is_known_by_its_first_bytes() {
    let (folder, path) = folder();
    append(&path, "old content\n");
    let mut rig = start(&folder, |_| {});
    rig.wait_for(1);
    rig.stop();
    fs::write(&path, "other content, which is longer\n").unwrap();
    let mut rig = start(&folder, |_| {});
    assert_eq!(rig.wait_for(2)[1], "other content, which is longer");
    rig.stop();
}

/// The way of logrotate's copytruncate; the writer pauses meanwhile.
fn copytruncate(path: &Path, copy: &Path) {
    fs::copy(path, copy).unwrap();
    fs::write(path, "").unwrap();
}

#[test]
fn what_was_not_read_before_a_truncation_is_read_from_the_copy() {
    let (folder, path) = folder();
    let (text, first) = numbered(0, 40);
    append(&path, &text);
    let mut rig = start(&folder, |_| {});
    rig.wait_for(40);
    rig.stop();
    let (text, unread) = numbered(40, 80);
    append(&path, &text);
    copytruncate(&path, &path.with_file_name("app.log.1"));
    let (text, new) = numbered(1000, 1200);
    append(&path, &text);
    let mut rig = start(&folder, |_| {});
    let texts = rig.wait_for(280);
    let of = |from: &str| texts.iter().filter(|t| t.starts_with(from)).count();
    assert_eq!(
        of("line 1"),
        first
            .iter()
            .chain(&unread)
            .chain(&new)
            .filter(|t| t.starts_with("line 1"))
            .count()
    );
    let all: BTreeSet<&String> = texts.iter().collect();
    let wanted: BTreeSet<&String> = first.iter().chain(&unread).chain(&new).collect();
    assert_eq!(all, wanted);
    assert_eq!(rig.stats().possible_losses.load(Relaxed), 1);
    assert_eq!(rig.stats().lost_bytes.load(Relaxed), 0);
    rig.stop();
    let mut rig = start(&folder, |_| {});
    append(&path, "after\n");
    assert_eq!(rig.wait_for(281)[280], "after");
    rig.stop();
}

#[test]
fn a_copy_that_the_patterns_find_is_not_read_again() {
    let (folder, path) = folder();
    let with_copies = |config: &mut FileConfig| {
        let all = format!("{}/app.log*", path.parent().unwrap().display());
        config.patterns.include(&all).unwrap();
    };
    let mut wanted = Vec::new();
    let mut rig = start(&folder, with_copies);
    for round in 0..5 {
        let (text, lines) = numbered(round * 100, round * 100 + 50);
        append(&path, &text);
        wanted.extend(lines);
        rig.wait_for(wanted.len());
        copytruncate(&path, &path.with_file_name(format!("app.log.{round}")));
    }
    append(&path, "a last line that is long enough\n");
    wanted.push("a last line that is long enough".to_owned());
    rig.wait_for(wanted.len());
    rig.stop();
    let mut rig = start(&folder, with_copies);
    append(&path, "after\n");
    wanted.push("after".to_owned());
    assert_eq!(rig.wait_for(wanted.len()), wanted);
    rig.stop();
}
