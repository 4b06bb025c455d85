//! Power cuts: nothing with a receipt is lost when the file system dies under the spool, and
//! the checkpoints of files name exactly the events that are there.
//!
//! Each cut: an ext4 image on a loop device, a child process (this binary again) that appends
//! and prints what it has receipts for, `FS_IOC_SHUTDOWN` without a log flush, a copy of the
//! image as the disk has it, and a check of the copy. Dirty pages and the journal's memory
//! are gone then, as after a cut; a lying drive cache is not modelled. Needs root and loop
//! devices, and says so when it cannot run. `SPOOLWAY_POWER_CUTS` sets the number of cuts.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test, helpers included, fails by panicking"
)]
#![allow(unsafe_code, reason = "the shutdown ioctl has no safe wrapper")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use spoolway::config::{SpoolCodec, SpoolConfig, WhenFull};
use spoolway::event::{Checkpoint, EventBuf, FileSource, Source};
use spoolway::proof::{self, Seq};
use spoolway::spool::{AppendError, FILE_READ_BYTES, FileRead, Spool, Want};
use spoolway_test_support::skipped;

const CUTS: u32 = 25;
/// Files that the child pretends to read; a checkpoint without events has the key after them.
const FILES: u64 = 3;
const CHILD: &str = "SPOOLWAY_POWER_CHILD";
/// `FS_IOC_SHUTDOWN` and its flag "do not flush the log" (linux/fs.h, fs/ext4/ext4.h).
const SHUTDOWN: libc::c_ulong = 0x8004_587D;
const NO_LOG_FLUSH: u32 = 2;

fn main() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return write_until_killed(Path::new(&dir));
    }
    if std::env::args().any(|arg| arg == "--list") {
        return println!("power_cuts: test");
    }
    let cuts = std::env::var("SPOOLWAY_POWER_CUTS").map_or(CUTS, |text| text.parse().unwrap());
    let work = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    if let Err(reason) = Disk::new(work.path(), "probe").map(drop) {
        return skipped("power cuts", &reason.to_string());
    }
    let mut rng = fastrand::Rng::with_seed(20_261_121);
    let began = Instant::now();
    let mut total = 0;
    for cut in 0..cuts {
        let wait = Duration::from_millis(rng.u64(20..250));
        let receipts = one_cut(work.path(), cut, wait);
        total += receipts;
    }
    assert!(
        total > 0,
        "no event ever got a receipt: the test proves nothing"
    );
    println!(
        "{cuts} power cuts, {total} events with receipts, 0 lost, 0 disagreements of checkpoints, {:?}",
        began.elapsed()
    );
}

/// Runs one cut; returns the number of events that had receipts.
fn one_cut(work: &Path, cut: u32, wait: Duration) -> u64 {
    let disk = Disk::new(work, &cut.to_string()).unwrap();
    let mut child = Running::start(&disk.mount.join("spool"));
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    lines.next().expect("the child writes").unwrap();
    let latest = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&latest);
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            told.store(line.parse().unwrap(), Ordering::SeqCst);
        }
    });
    std::thread::park_timeout(wait);
    // Only receipts given before the cut count: an fdatasync that the shutdown overtakes may
    // return success for what the dead file system kept, which a real cut cannot do.
    let acked: Seq = latest.load(Ordering::SeqCst);
    disk.cut();
    drop(child);
    reader.join().unwrap();
    let copy = disk.copy(work, &format!("copy-{cut}"));
    verify(&copy.mount.join("spool"), acked, cut);
    acked
}

/// The child: appends, reads and resolves like a daemon, and prints the last receipt.
fn write_until_killed(dir: &Path) {
    let (disk, broker) = proof::issue();
    let mut opened = Spool::open(&config(dir), disk).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let sources: Vec<Arc<Source>> = (0..FILES).map(source).collect();
    let mut next: Seq = 1;
    let mut rng = fastrand::Rng::new();
    let mut out = std::io::stdout();
    loop {
        let mut events = EventBuf::default();
        let mut bytes = 0;
        for _ in 0..rng.u64(1..400) {
            let event = event(next);
            bytes += event.len();
            if bytes > FILE_READ_BYTES {
                break;
            }
            events.push(&event);
            next += 1;
        }
        let key = rng.u64(0..FILES);
        let read = FileRead {
            events,
            source: Arc::clone(&sources[key as usize]),
            received: 1,
            runs: Vec::new(),
            checkpoint: checkpoint(key, next),
        };
        let note = rng.u8(..20) == 0;
        let receipt = runtime.block_on(async {
            let append = opened.appender.append_file(read, Want::Durable);
            let receipt = append.await?.receipt().await?;
            if note {
                let noted = opened.appender.note(vec![checkpoint(FILES, next)]).await?;
                noted.durable().await?;
            }
            Ok::<_, AppendError>(receipt)
        });
        // After the cut every write fails; the spool then waits, and we are killed.
        let Ok(receipt) = receipt else { return };
        writeln!(out, "{}", receipt.range().end() - 1).unwrap();
        if let Ok(Some(block)) = opened.cursor.next()
            && block.first() % 3 != 0
        {
            opened.cursor.acked(broker.acked(block.range().into()));
            opened.cursor.checkpoint();
        }
    }
}

/// Checks that every event with a receipt is in the spool unchanged, or was resolved.
fn verify(dir: &Path, acked: Seq, cut: u32) {
    let mut opened = Spool::open(&config(dir), proof::issue().0).unwrap();
    let checkpoints: Vec<Seq> = (0..=FILES)
        .map(|key| match opened.checkpoints.entries.get(&key) {
            Some(value) => Seq::from_le_bytes((**value).try_into().unwrap()),
            None => 1,
        })
        .collect();
    assert_eq!(opened.checkpoints.loss, None, "cut {cut}");
    let mut seen = 0;
    while let Some(block) = opened.cursor.next().unwrap() {
        for stored in block.events() {
            assert!(
                stored.bytes == event(stored.seq),
                "cut {cut}: event {} changed",
                stored.seq
            );
            let file = stored.source.file.as_ref().expect("it has a file");
            assert!(
                stored.seq < checkpoints[file.inode as usize],
                "cut {cut}: event {} would come twice",
                stored.seq
            );
            seen += u64::from(opened.cursor.is_unresolved(stored.seq));
        }
    }
    let status = opened.status.snapshot();
    let ledger = status.ledger;
    assert!(
        ledger.accepted >= acked,
        "cut {cut}: {acked} had receipts, there are {ledger:?}"
    );
    assert_eq!(ledger.lost, 0, "cut {cut}: {:?}", status.missing);
    assert_eq!(
        checkpoints.iter().max(),
        Some(&(ledger.accepted + 1)),
        "cut {cut}: the checkpoints end with the events"
    );
    assert_eq!(
        ledger.in_spool, seen,
        "cut {cut}: what is in the spool can be read"
    );
    assert_eq!(
        ledger.accepted,
        ledger.delivered + ledger.in_spool,
        "cut {cut}"
    );
    assert!(
        opened
            .handle
            .close(Instant::now() + Duration::from_secs(20))
    );
}

/// How far a file is: one past the last event that it or another one had.
fn checkpoint(key: u64, next: Seq) -> Checkpoint {
    Checkpoint {
        key,
        value: Some(next.to_le_bytes().as_slice().into()),
    }
}

fn source(key: u64) -> Arc<Source> {
    Arc::new(Source {
        file: Some(Arc::new(FileSource {
            inode: key,
            device: 1,
            path: Path::new("/var/log").join(key.to_string()).into(),
            captures: Box::default(),
        })),
        ..Source::of_input("power")
    })
}

/// The event of a sequence number: long enough to fill generations, told by its number.
fn event(seq: Seq) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seq);
    let len = rng.usize(10..900);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

fn config(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        dir: dir.to_owned(),
        max_bytes: 256 << 20,
        min_free: 0,
        max_event_bytes: 1 << 20,
        when_full: WhenFull::Block,
        commit_interval: Duration::ZERO,
        compression: SpoolCodec::Lz4,
        generation_bytes: 2 << 20,
        intake_memory: 1 << 20,
        cache_bytes: 1 << 20,
        dead_letter_max_bytes: 1 << 20,
    }
}

/// The child process, killed and reaped when it goes.
struct Running(Child);

impl Running {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .env(CHILD, dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A mounted ext4 image.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    fn new(work: &Path, name: &str) -> Result<Self, String> {
        let image = work.join(format!("{name}.img"));
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(192 << 20).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &[Path::new("-q"), Path::new("-F"), &image])?;
        Self::mount(image)
    }

    fn mount(image: PathBuf) -> Result<Self, String> {
        let mount = image.with_extension("mnt");
        fs::create_dir_all(&mount).map_err(|error| error.to_string())?;
        run(
            "mount",
            &[Path::new("-o"), Path::new("loop"), &image, &mount],
        )?;
        Ok(Self { image, mount })
    }

    /// Ends the file system without writing anything more.
    fn cut(&self) {
        let root = File::open(&self.mount).unwrap();
        let flags = NO_LOG_FLUSH;
        // SAFETY: the request reads one u32 behind the pointer, which outlives the call.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN as _, &raw const flags) };
        assert_eq!(
            result,
            0,
            "FS_IOC_SHUTDOWN: {}",
            std::io::Error::last_os_error()
        );
    }

    /// What the disk has, as another disk.
    fn copy(self, work: &Path, name: &str) -> Self {
        let image = work.join(format!("{name}.img"));
        fs::copy(&self.image, &image).unwrap();
        drop(self);
        Self::mount(image).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("umount", &[&self.mount]);
        let _ = fs::remove_file(&self.image);
    }
}

fn run(program: &str, args: &[&Path]) -> Result<(), String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {text}"))
    }
}
