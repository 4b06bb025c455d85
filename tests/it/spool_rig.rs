//! What the tests of the spool share.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spoolway::config::{SpoolCodec, SpoolConfig, WhenFull};
use spoolway::event::{EventBuf, Source};
use spoolway::proof::{self, BrokerAuthority, Seq, SeqRange, SeqRanges};
use spoolway::spool::{AppendError, DeadLetter, Ledger, Opened, Spool, Want};
use spoolway_test_support::skipped;
use tempfile::TempDir;

/// A spool in `dir` with small generations.
pub(crate) fn config(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        dir: dir.to_owned(),
        max_bytes: 1 << 30,
        min_free: 0,
        max_event_bytes: 16 << 20,
        when_full: WhenFull::Reject,
        commit_interval: Duration::ZERO,
        compression: SpoolCodec::Lz4,
        generation_bytes: 1 << 20,
        intake_memory: 8 << 20,
        cache_bytes: 1 << 20,
        dead_letter_max_bytes: 64 << 20,
    }
}

/// An open spool and what is needed to use it.
pub(crate) struct Rig {
    pub(crate) opened: Opened,
    broker: BrokerAuthority,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    pub(crate) fn open(config: &SpoolConfig) -> Self {
        let (disk, broker) = proof::issue();
        let opened = Spool::open(config, disk).expect("the spool always opens");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            opened,
            broker,
            runtime,
        }
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Appends and waits for the receipt.
    pub(crate) fn append<T: AsRef<[u8]>>(&self, events: &[T]) -> SeqRange {
        self.try_append(events).unwrap()
    }

    /// Appends, if the spool takes it, and waits for the receipt.
    pub(crate) fn try_append<T: AsRef<[u8]>>(&self, events: &[T]) -> Result<SeqRange, AppendError> {
        let mut buf = EventBuf::default();
        events.iter().for_each(|event| buf.push(event.as_ref()));
        let source = Arc::new(Source::of_input("test"));
        self.runtime.block_on(async {
            let append = self
                .opened
                .appender
                .append(buf, source, 1234, Want::Durable);
            Ok(append.await?.receipt().await?.range())
        })
    }

    /// Every unresolved event from the position on, until the spool says it is caught up.
    pub(crate) fn read_all(&mut self) -> Vec<(Seq, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(block) = self.opened.cursor.next().expect("the disk answers") {
            for event in block.events() {
                if self.opened.cursor.is_unresolved(event.seq) {
                    all.push((event.seq, event.bytes.to_vec()));
                }
            }
        }
        all
    }

    pub(crate) fn ack(&mut self, seqs: impl IntoIterator<Item = Seq>) {
        let mut ranges = SeqRanges::default();
        seqs.into_iter().for_each(|seq| ranges.push(seq));
        self.opened.cursor.acked(self.broker.acked(ranges));
        self.opened.cursor.checkpoint();
    }

    pub(crate) fn dead_letter(&mut self, seqs: &[Seq]) {
        let letters = seqs
            .iter()
            .map(|&seq| DeadLetter {
                seq,
                source: Source::of_input("test"),
                received: 1,
                topic: "topic".into(),
                partition: Some(3),
                reason: "MESSAGE_TOO_LARGE".into(),
                at: 2,
                bytes: seq.to_string().into_bytes(),
            })
            .collect();
        let proof = self
            .opened
            .dead_letters
            .put(letters)
            .expect("there is room");
        self.opened.cursor.dead_lettered(proof);
        self.opened.cursor.checkpoint();
    }

    pub(crate) fn ledger(&self) -> Ledger {
        let ledger = self.opened.status.snapshot().ledger;
        let ended = ledger.delivered + ledger.dead_lettered + ledger.dropped + ledger.lost;
        assert_eq!(
            ledger.accepted,
            ended + ledger.in_spool,
            "the ledger balances: {ledger:?}"
        );
        ledger
    }

    /// Waits for `condition`, for at most 20 s.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition(self) {
            let status = self.opened.status.snapshot();
            assert!(
                Instant::now() < deadline,
                "waited in vain: {what}: {status:?}"
            );
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub(crate) fn close(self) {
        let Opened { cursor, handle, .. } = self.opened;
        assert!(
            handle.close(Instant::now() + Duration::from_secs(30)),
            "it stops in time"
        );
        drop(cursor);
    }
}

/// Copies a directory: an image of what a killed process leaves behind.
///
/// A copy takes its time, and a spool that is open may delete a generation meanwhile: half of it
/// would be there, at no moment of the original. Then the copy is begun anew.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = try_copy_dir(from, to) {
        let is_deleted = error.kind() == io::ErrorKind::NotFound && from.exists();
        assert!(is_deleted && Instant::now() < deadline, "{error}");
        fs::remove_dir_all(to).unwrap();
    }
}

fn try_copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            try_copy_dir(&entry.path(), &target)?;
        } else if entry.file_name() != "reserve" {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

/// The directories of the generations, oldest first.
pub(crate) fn generations(place: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(place)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("gen-")
        })
        .collect();
    found.sort();
    found
}

/// A file system of its own, unmounted at the end.
pub(crate) struct Mount(pub(crate) PathBuf);

impl Mount {
    pub(crate) fn tmpfs(path: PathBuf, bytes: u64) -> Option<Self> {
        Self::tmpfs_of(path, &format!("size={bytes}"))
    }

    /// With options of its own (tmpfs(5)).
    pub(crate) fn tmpfs_of(path: PathBuf, options: &str) -> Option<Self> {
        Self::attach(path, &["-t", "tmpfs", "-o", options, "tmpfs"])
    }

    /// In a file of `folder`: old, and without `fallocate`.
    pub(crate) fn ext2(folder: &Path, bytes: u64) -> Option<Self> {
        let image = folder.join("image");
        fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        let mut format = Command::new("mkfs.ext2");
        let formatted = format.args(["-q", "-F"]).arg(&image).status();
        formatted.ok().filter(|status| status.success())?;
        let image = image.to_str().unwrap();
        Self::attach(folder.join("mounted"), &["-o", "loop", image])
    }

    fn attach(path: PathBuf, what: &[&str]) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(what).arg(&path).status();
        mounted.ok().filter(|status| status.success())?;
        Some(Self(path))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Nothing can be done about a failure here.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A disk of 48 MiB for a spool that may take more than that.
pub(crate) struct SmallDisk {
    mount: Mount,
    pub(crate) config: SpoolConfig,
    /// With room for copies; goes after the mount.
    pub(crate) folder: TempDir,
}

impl SmallDisk {
    pub(crate) fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Mount::tmpfs(folder.path().join("small"), 48 << 20)?;
        let mut config = config(&mount.0.join("spool"));
        config.max_bytes = 64 << 20;
        Some(Self {
            mount,
            config,
            folder,
        })
    }

    /// What may take all of its space.
    pub(crate) fn thief(&self) -> PathBuf {
        self.mount.0.join("thief")
    }
}

/// Writes to `path` until the disk is full.
pub(crate) fn take_all_space(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    let mut size = 1 << 20;
    while size >= 512 {
        if file.write_all(&vec![1; size]).is_err() {
            size /= 2;
        }
    }
}

/// Says so of a test that needs a [`Mount`].
pub(crate) fn skipped_mount(test: &str) {
    skipped(test, "it needs root, to mount a small tmpfs");
}
