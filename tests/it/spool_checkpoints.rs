//! Checkpoints against the events that they cover: whatever crash or damage comes, the two
//! agree. Limits and the rest are in `spool_notes`.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use spoolway::config::SpoolConfig;
use spoolway::event::{Checkpoint, EventBuf, FileSource, Source};
use spoolway::spool::{Appender, CheckpointLoss, FileRead, Pending, Want};

use crate::spool_rig::{self, Rig, copy_dir, generations, noise};

const BARRIER: &[u8] = b"barrier";

/// Generations of a few bursts each.
pub(crate) fn config(place: &Path) -> SpoolConfig {
    SpoolConfig {
        generation_bytes: 4 << 20,
        ..spool_rig::config(place)
    }
}

/// Files with lines numbered from 0; a checkpoint is the number of lines that were read.
pub(crate) struct Files {
    pub(crate) lines: BTreeMap<u64, u64>,
    rng: fastrand::Rng,
}

pub(crate) fn line(key: u64, number: u64) -> Vec<u8> {
    let len = (key * 31 + number * 7) as usize % 900;
    [format!("{key} {number} ").into_bytes(), noise(number, len)].concat()
}

pub(crate) fn checkpoint(key: u64, lines: u64) -> Checkpoint {
    Checkpoint {
        key,
        value: Some(lines.to_le_bytes().as_slice().into()),
    }
}

pub(crate) fn source(key: u64) -> Arc<Source> {
    Arc::new(Source {
        file: Some(Arc::new(FileSource {
            inode: key,
            device: 7,
            path: Path::new("/var/log/app").join(key.to_string()).into(),
            captures: [("app".into(), key.to_string().into())].into(),
        })),
        ..Source::of_input("logs")
    })
}

impl Files {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            lines: BTreeMap::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// The next `count` lines of the file.
    pub(crate) fn read(&mut self, key: u64, count: u64) -> FileRead {
        let next = self.lines.entry(key).or_default();
        let mut events = EventBuf::default();
        (*next..*next + count).for_each(|number| events.push(&line(key, number)));
        *next += count;
        FileRead {
            events,
            source: source(key),
            received: 9,
            runs: Vec::new(),
            checkpoint: checkpoint(key, *next),
        }
    }

    /// Hands over some reads at once, some of them almost a block, so that commits hold
    /// several blocks and blocks several reads.
    pub(crate) async fn burst(&mut self, appender: &Appender) {
        let mut pending: Vec<Pending> = Vec::new();
        for _ in 0..self.rng.u64(1..12) {
            let (key, count) = (self.rng.u64(0..5), self.rng.u64(1..400));
            let read = self.read(key, count);
            pending.push(appender.append_file(read, Want::Durable).await.unwrap());
        }
        for one in &mut pending {
            one.receipt().await.unwrap();
        }
    }
}

/// An image of what a process killed now leaves behind.
///
/// The committer may still be about a rotation after the last receipt, and no copy is made in
/// one moment; it has done with it when it answers again, and twice, as that may be one more.
pub(crate) fn image(rig: &Rig, place: &Path, to: &Path) {
    rig.append(&[BARRIER]);
    rig.append(&[BARRIER]);
    copy_dir(place, to);
}

/// The lines of each file in the spool: all of them from the first on, each once.
fn lines_in(rig: &mut Rig) -> BTreeMap<u64, u64> {
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    for (seq, bytes) in rig.read_all() {
        if bytes == BARRIER {
            continue;
        }
        let mut words = bytes.split(|byte| *byte == b' ');
        let mut number = || -> u64 {
            let word = words.next().unwrap();
            std::str::from_utf8(word).unwrap().parse().unwrap()
        };
        let (key, number) = (number(), number());
        let next = found.entry(key).or_default();
        assert_eq!(number, *next, "event {seq}: line of file {key}");
        assert!(bytes == line(key, number), "event {seq} is what it was");
        *next += 1;
    }
    found
}

pub(crate) fn checkpoints(rig: &Rig) -> BTreeMap<u64, u64> {
    let entries = rig.opened.checkpoints.entries.iter();
    entries
        .map(|(&key, value)| (key, u64::from_le_bytes((**value).try_into().unwrap())))
        .collect()
}

/// Opens what is in `place`: its checkpoints name exactly the lines that are in the spool.
pub(crate) fn check_agreement(
    place: &Path,
    what: &str,
) -> (BTreeMap<u64, u64>, Option<CheckpointLoss>) {
    let mut rig = Rig::open(&config(place));
    let found = checkpoints(&rig);
    assert_eq!(found, lines_in(&mut rig), "{what}");
    let report = &rig.opened.recovery;
    assert_eq!(report.checkpoints, found.len());
    assert_eq!(report.checkpoint_loss, rig.opened.checkpoints.loss);
    let loss = rig.opened.checkpoints.loss.clone();
    rig.close();
    (found, loss)
}

#[test]
fn a_process_killed_between_any_two_commits_leaves_checkpoints_that_agree() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("live");
    let rig = Rig::open(&config(&place));
    let mut files = Files::new(1);
    for round in 0..40 {
        rig.block_on(files.burst(&rig.opened.appender));
        let copied = dir.path().join(format!("image-{round}"));
        image(&rig, &place, &copied);
        let (found, loss) = check_agreement(&copied, &format!("image {round}"));
        assert_eq!((found, loss), (files.lines.clone(), None));
        // The second start reads what the first one wrote at its end.
        let (found, loss) = check_agreement(&copied, &format!("image {round}, again"));
        assert_eq!((found, loss), (files.lines.clone(), None));
        fs::remove_dir_all(copied).unwrap();
    }
    assert!(generations(&place).len() > 3, "there were rotations");
    rig.close();
}

#[test]
fn a_log_cut_anywhere_leaves_checkpoints_that_agree() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("live");
    let rig = Rig::open(&config(&place));
    let mut files = Files::new(2);
    while generations(&place).len() < 3 {
        rig.block_on(files.burst(&rig.opened.appender));
    }
    for _ in 0..3 {
        rig.block_on(files.burst(&rig.opened.appender));
    }
    let copied = dir.path().join("image");
    image(&rig, &place, &copied);
    let newest = generations(&copied).pop().unwrap().join("db");
    let bytes = fs::metadata(&newest).unwrap().len();
    // The mark trails by up to a second; with that of the end every cut is noticed.
    rig.close();
    fs::copy(place.join("highwater"), copied.join("highwater")).unwrap();
    let (mut losses, mut partial) = (0, 0);
    for step in 0..=24 {
        let copy = dir.path().join(format!("cut-{step}"));
        copy_dir(&copied, &copy);
        let newest = generations(&copy).pop().unwrap().join("db");
        let file = OpenOptions::new().write(true).open(newest).unwrap();
        file.set_len(bytes * step / 24).unwrap();
        drop(file);
        let (found, loss) = check_agreement(&copy, &format!("cut at {step}/24"));
        assert_eq!(loss.is_some(), found != files.lines, "cut at {step}/24");
        losses += u32::from(loss.is_some());
        let (again, second) = check_agreement(&copy, &format!("cut at {step}/24, again"));
        assert_eq!(again, found);
        assert_eq!(second.is_some(), loss.is_some(), "told until it is settled");
        partial += u32::from(loss.is_some() && !found.is_empty());
        fs::remove_dir_all(copy).unwrap();
    }
    assert!(
        losses > 5 && partial > 0,
        "{losses} losses, {partial} partial"
    );
}

#[test]
fn what_a_crash_leaves_beside_the_checkpoint_file_is_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("live");
    let rig = Rig::open(&config(&place));
    let mut files = Files::new(3);
    rig.block_on(files.burst(&rig.opened.appender));
    let copied = dir.path().join("image");
    image(&rig, &place, &copied);
    fs::write(copied.join("checkpoints.new"), b"half of a f").unwrap();
    assert_eq!(check_agreement(&copied, "half a file").0, files.lines);
    // Between the checkpoints and the new generation of a rotation.
    rig.close();
    let end = files.lines.values().sum::<u64>() + 3;
    let half = place.join(format!("gen-{end:020}"));
    fs::create_dir(&half).unwrap();
    fs::write(half.join("conf"), b"").unwrap();
    let (found, loss) = check_agreement(&place, "half a generation");
    assert_eq!((found, loss), (files.lines, None));
}

#[test]
fn without_its_newest_generation_checkpoints_fall_back_to_those_before() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("live");
    let rig = Rig::open(&config(&place));
    let mut files = Files::new(4);
    while generations(&place).len() < 3 {
        rig.block_on(files.burst(&rig.opened.appender));
    }
    rig.block_on(files.burst(&rig.opened.appender));
    let copied = dir.path().join("image");
    image(&rig, &place, &copied);
    rig.close();
    fs::copy(place.join("highwater"), copied.join("highwater")).unwrap();
    fs::remove_file(generations(&copied).pop().unwrap().join("db")).unwrap();
    let (found, loss) = check_agreement(&copied, "newest generation gone");
    assert_ne!(found, files.lines);
    assert!(
        matches!(loss, Some(CheckpointLoss::BlocksLost { .. })),
        "{loss:?}"
    );

    // Told until the inputs have dealt with it; then the past is past.
    let rig = Rig::open(&config(&copied));
    assert_eq!(rig.opened.checkpoints.loss, Some(CheckpointLoss::Unsettled));
    files.lines = found;
    rig.block_on(files.burst(&rig.opened.appender));
    rig.close();
    let (found, loss) = check_agreement(&copied, "unsettled");
    assert_eq!(
        (found, loss),
        (files.lines.clone(), Some(CheckpointLoss::Unsettled))
    );
    let rig = Rig::open(&config(&copied));
    let settled = rig.block_on(async {
        rig.opened
            .appender
            .settle(Vec::new())
            .await?
            .durable()
            .await
    });
    settled.unwrap();
    rig.close();
    assert_eq!(check_agreement(&copied, "settled"), (files.lines, None));
}

#[test]
fn no_flipped_bit_of_the_newest_generation_makes_a_checkpoint_skip_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("live");
    let rig = Rig::open(&config(&place));
    let mut files = Files::new(5);
    rig.block_on(files.burst(&rig.opened.appender));
    rig.block_on(files.burst(&rig.opened.appender));
    let copied = dir.path().join("image");
    image(&rig, &place, &copied);
    rig.close();
    let mut losses = 0;
    for round in 0..24 {
        let copy = dir.path().join(format!("flip-{round}"));
        copy_dir(&copied, &copy);
        let newest = generations(&copy).pop().unwrap().join("db");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(newest)
            .unwrap();
        let at = files.rng.u64(..file.metadata().unwrap().len());
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << files.rng.u8(..8)], at)
            .unwrap();
        let mut rig = Rig::open(&config(&copy));
        let mut there: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (_, bytes) in rig.read_all() {
            if bytes == BARRIER {
                continue;
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let mut numbers = text.split(' ').map_while(|word| word.parse::<u64>().ok());
            let (key, number) = (numbers.next().unwrap(), numbers.next().unwrap());
            there.entry(key).or_default().push(number);
        }
        for (key, lines) in checkpoints(&rig) {
            let before: Vec<u64> = (0..lines).collect();
            let there = there.get(&key).map_or(&[][..], Vec::as_slice);
            assert!(
                there.starts_with(&before),
                "flip {round} at {at}: file {key}"
            );
        }
        losses += u32::from(checkpoints(&rig) != files.lines);
        rig.close();
        fs::remove_dir_all(copy).unwrap();
    }
    assert!(losses > 0, "no flip hit anything: the test proves nothing");
}

#[test]
fn a_damaged_checkpoint_file_is_kept_aside_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("live");
    let rig = Rig::open(&config(&place));
    let mut files = Files::new(6);
    rig.block_on(async {
        let noted = rig.opened.appender.note(vec![checkpoint(99, 0)]).await;
        noted.unwrap().durable().await.unwrap();
    });
    rig.block_on(files.burst(&rig.opened.appender));
    let whole = dir.path().join("image");
    image(&rig, &place, &whole);
    rig.close();
    let bytes = fs::read(whole.join("checkpoints")).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(whole.join("checkpoints"), &damaged).unwrap();
        if at % 9 > 0 {
            continue;
        }
        let copy = dir.path().join("copy");
        copy_dir(&whole, &copy);
        let (found, loss) = check_agreement(&copy, &format!("byte {at}"));
        // The blocks know what they carried; the note was in the file alone.
        assert_eq!(found, files.lines);
        assert!(
            matches!(loss, Some(CheckpointLoss::FileDamaged { .. })),
            "{loss:?}"
        );
        assert_eq!(
            fs::read(copy.join("quarantine/checkpoints.0")).unwrap(),
            damaged
        );
        fs::remove_dir_all(copy).unwrap();
    }
}
