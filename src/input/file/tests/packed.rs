//! Files compressed by gzip, through to the spool.

use super::*;

/// Follows compressed files as well.
fn with_packed(folder: &TempDir) -> impl FnOnce(&mut FileConfig) + use<> {
    let pattern = format!("{}/logs/*.gz", folder.path().display());
    move |config| config.patterns.include(&pattern).unwrap()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

#[test]
fn a_compressed_file_is_read_once_through_restarts() {
    let (folder, path) = folder();
    let (text, lines) = numbered(0, 200_000);
    fs::write(path.with_file_name("old.gz"), gzip(&text)).unwrap();
    let mut all = Vec::new();
    for share in [1, lines.len() / 2, lines.len()] {
        let mut rig = start(&folder, with_packed(&folder));
        // The cursor begins at the first event again: nothing was delivered.
        all = rig.wait_for(share);
        rig.stop();
    }
    assert!(all == lines, "{} lines", all.len());
    // Read once, and never again.
    append(&path, "new\n");
    let mut rig = start(&folder, with_packed(&folder));
    assert_eq!(rig.wait_for(lines.len() + 1).last().unwrap(), "new");
    rig.stop();
}

#[test]
fn a_file_compressed_by_rotation_goes_on_where_it_was_followed() {
    let (folder, path) = folder();
    append(&path, "one\ntwo\n");
    let mut rig = start(&folder, with_packed(&folder));
    rig.wait_for(2);
    // As gzip does it: the uncompressed file goes last.
    append(&path, "three\n");
    rig.wait_for(3);
    fs::write(
        path.with_file_name("app.log.1.gz"),
        gzip("one\ntwo\nthree\n"),
    )
    .unwrap();
    fs::remove_file(&path).unwrap();
    append(&path, "new\n");
    assert_eq!(rig.wait_for(4)[3], "new");
    rig.stop();
    // The same while nobody looks.
    append(&path, "newer\n");
    let packed = gzip("new\nnewer\n");
    fs::write(path.with_file_name("app.log.2.gz"), packed).unwrap();
    fs::remove_file(&path).unwrap();
    let mut rig = start(&folder, with_packed(&folder));
    assert_eq!(rig.wait_for(5)[4], "newer");
    append(&path, "newest\n");
    assert_eq!(rig.wait_for(6)[5], "newest");
    rig.stop();
}

#[test]
fn a_compressed_file_that_is_not_whole_waits_for_its_rest() {
    let (folder, path) = folder();
    let (text, lines) = numbered(0, 20_000);
    let packed = gzip(&text);
    let at = path.with_file_name("old.gz");
    fs::write(&at, &packed[..packed.len() / 2]).unwrap();
    let mut rig = start(&folder, with_packed(&folder));
    rig.until("the error", |stats| stats.errors.load(Relaxed) == 1);
    let mut file = File::options().append(true).open(&at).unwrap();
    file.write_all(&packed[packed.len() / 2..]).unwrap();
    assert!(rig.wait_for(lines.len()) == lines);
    rig.stop();
}

#[test]
fn a_file_that_is_let_go_while_it_is_unpacked_does_not_keep_others_waiting() {
    let (folder, path) = folder();
    // Large enough that it is not through when its first lines are seen.
    let text = ("x".repeat(4095) + "\n").repeat(10_000);
    fs::write(path.with_file_name("large.gz"), gzip(&text)).unwrap();
    let mut rig = start(&folder, with_packed(&folder));
    rig.wait_for(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let name = rig.got[0].path.to_str().unwrap().to_owned();
    let forgotten = runtime.block_on(rig.tail.control.forget(name, true));
    assert!(!forgotten.unwrap().finished, "it was not let go too late");
    fs::write(path.with_file_name("small.gz"), gzip("after\n")).unwrap();
    let mut count = rig.got.len();
    while rig.got.iter().all(|got| got.text != "after") {
        count += 1;
        rig.wait_for(count);
    }
    rig.stop();
}
