//! Programs that write numbered lines to a log file and rotate it in every way that is in
//! use, at random moments.

use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::arrivals::{Arrivals, line};

/// Lines of one burst, and the pause behind it, in milliseconds.
const BURST: Range<u32> = 1..9;
const PAUSE_MS: Range<u64> = 10..120;
/// Bursts between two rotations.
const BURSTS: Range<u32> = 2..16;
/// Rotated files that are kept, and more as long as they are not read.
const KEPT: usize = 6;
/// Longest wait for lines to arrive before a rotation that needs them there.
const ARRIVED_WITHIN: Duration = Duration::from_secs(120);

/// How a file is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Renamed, older ones one number up; a new file only when the program writes again.
    Rename,
    /// Renamed with a new file at once; the program writes to the old one for a while.
    Create,
    /// The new file has its first lines before it gets its name.
    CreateFirst,
    /// Copied and truncated while the program pauses and everything was read.
    CopyTruncate,
    /// Deleted with lines unread, and written to after that.
    Delete,
    /// By logrotate, `create`; the program writes while it runs.
    LogrotateCreate,
    /// By logrotate, `copytruncate`; the program pauses.
    LogrotateCopy,
}

pub(crate) const KINDS: [Kind; 7] = [
    Kind::Rename,
    Kind::Create,
    Kind::CreateFirst,
    Kind::CopyTruncate,
    Kind::Delete,
    Kind::LogrotateCreate,
    Kind::LogrotateCopy,
];

impl Kind {
    pub(crate) fn needs_logrotate(self) -> bool {
        matches!(self, Self::LogrotateCreate | Self::LogrotateCopy)
    }
}

/// Where logrotate is; Debian has it out of the PATH of users.
pub(crate) fn logrotate() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("logrotate"))
        .find(|program| program.is_file())
}

/// Lines of a file that was deleted: they are lost when the daemon dies before it read them.
#[derive(Debug)]
pub(crate) struct AtRisk {
    pub(crate) lines: Range<u32>,
    /// From when on the daemon was known to read the file, to the last line.
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

/// What a program has written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) file: u32,
    pub(crate) lines: u32,
    pub(crate) races: u32,
    pub(crate) at_risk: Vec<AtRisk>,
}

/// One program with its log file.
pub(crate) struct Program {
    kind: Kind,
    path: PathBuf,
    file: File,
    rng: Rng,
    arrivals: Arc<Arrivals>,
    /// Rotated files, the oldest first, with the number behind the last line of each.
    rotated: Vec<(PathBuf, u32)>,
    /// Number of the first line in the live file.
    first: u32,
    written: Written,
}

impl Program {
    pub(crate) fn new(
        kind: Kind,
        number: u32,
        folder: &Path,
        arrivals: Arc<Arrivals>,
        rng: Rng,
    ) -> Self {
        fs::create_dir_all(folder).unwrap();
        let path = folder.join(format!("{number:04}.log"));
        Self {
            kind,
            file: open(&path),
            path,
            rng,
            arrivals,
            rotated: Vec::new(),
            first: 0,
            written: Written {
                file: number,
                ..Written::default()
            },
        }
    }

    /// Writes and rotates `races` times.
    pub(crate) fn run(mut self, races: u32) -> Written {
        for _ in 0..races {
            for _ in 0..self.rng.u32(BURSTS) {
                self.burst();
            }
            self.rotate();
            self.written.races += 1;
            self.remove_old();
        }
        self.burst();
        self.written
    }

    /// The next lines, in writes that end anywhere.
    fn write(&mut self, file: &mut File, count: u32) {
        let mut bytes = Vec::new();
        for _ in 0..count {
            bytes.extend(line(self.written.file, self.written.lines));
            bytes.push(b'\n');
            self.written.lines += 1;
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let whole = self.rng.bool();
            let count = if whole {
                rest.len()
            } else {
                self.rng.usize(1..=rest.len())
            };
            file.write_all(&rest[..count]).unwrap();
            rest = &rest[count..];
            if !whole {
                thread::park_timeout(Duration::from_millis(self.rng.u64(0..4)));
            }
        }
    }

    fn burst(&mut self) {
        let mut file = self.file.try_clone().unwrap();
        let count = self.rng.u32(BURST);
        self.write(&mut file, count);
        thread::park_timeout(Duration::from_millis(self.rng.u64(PAUSE_MS)));
    }

    fn rotate(&mut self) {
        match self.kind {
            Kind::Rename => self.rename(),
            Kind::Create => self.create(),
            Kind::CreateFirst => self.create_first(),
            Kind::CopyTruncate => self.copy_truncate(),
            Kind::Delete => self.delete(),
            Kind::LogrotateCreate => self.logrotate_create(),
            Kind::LogrotateCopy => self.logrotate_copy(),
        }
    }

    fn rename(&mut self) {
        self.shift();
        let to = self.numbered(1);
        fs::rename(&self.path, &to).unwrap();
        self.rotated.push((to, self.written.lines));
        if self.rng.bool() {
            thread::park_timeout(Duration::from_millis(self.rng.u64(PAUSE_MS)));
        }
        self.reopen();
    }

    /// `.1` becomes `.2`, and so on, the oldest first.
    fn shift(&mut self) {
        let count = self.rotated.len();
        for at in 0..count {
            let to = self.numbered(count - at + 1);
            fs::rename(&self.rotated[at].0, &to).unwrap();
            self.rotated[at].0 = to;
        }
    }

    fn numbered(&self, number: usize) -> PathBuf {
        PathBuf::from(format!("{}.{number}", self.path.display()))
    }

    fn dated(&self) -> PathBuf {
        let day = 20_260_000 + self.written.races;
        PathBuf::from(format!("{}-{day}", self.path.display()))
    }

    fn create(&mut self) {
        let to = self.dated();
        fs::rename(&self.path, &to).unwrap();
        drop(open(&self.path));
        for _ in 0..self.rng.u32(0..4) {
            self.burst();
        }
        self.rotated.push((to, self.written.lines));
        self.reopen();
    }

    fn create_first(&mut self) {
        let behind = self.written.lines;
        let prepared = PathBuf::from(format!("{}.new", self.path.display()));
        let mut file = open(&prepared);
        let count = self.rng.u32(0..4);
        self.write(&mut file, count);
        let to = self.dated();
        fs::rename(&self.path, &to).unwrap();
        fs::rename(&prepared, &self.path).unwrap();
        self.rotated.push((to, behind));
        self.first = behind;
        self.file = file;
    }

    /// What is not read when the file is truncated is lost by the method itself.
    fn wait_until_read(&self) {
        let (file, lines) = (self.written.file, self.written.lines);
        let arrived = self
            .arrivals
            .wait_lines(ARRIVED_WITHIN, file, self.first, lines);
        assert!(
            arrived,
            "{:?}, file {file}: not all of {lines} lines arrived, {:?}",
            self.kind,
            self.missing()
        );
    }

    fn missing(&self) -> Vec<u32> {
        self.arrivals.look(|table| {
            (0..self.written.lines)
                .filter(|number| !table.has(self.written.file, *number))
                .take(5)
                .collect()
        })
    }

    fn copy_truncate(&mut self) {
        self.wait_until_read();
        let to = self.dated();
        fs::copy(&self.path, &to).unwrap();
        let size = self.file.metadata().unwrap().len();
        self.file.set_len(0).unwrap();
        self.rotated.push((to, self.written.lines));
        self.first = self.written.lines;
        if self.rng.bool() {
            self.grow_beyond(size);
        }
    }

    /// Writes the new content at once to more bytes than the old one had.
    fn grow_beyond(&mut self, size: u64) {
        let mut file = self.file.try_clone().unwrap();
        while file.metadata().unwrap().len() <= size {
            let mut bytes = line(self.written.file, self.written.lines);
            bytes.push(b'\n');
            file.write_all(&bytes).unwrap();
            self.written.lines += 1;
        }
    }

    fn delete(&mut self) {
        // A file that nobody has opened yet is lost with its name.
        let file = self.written.file;
        let (first, lines) = (self.first, self.written.lines);
        let seen = self.arrivals.wait(ARRIVED_WITHIN, |table| {
            (first..lines).any(|number| table.has(file, number))
        });
        assert!(seen, "no line of {first}..{lines} of file {file} arrived");
        let from = Instant::now();
        self.burst();
        let mut old = self.file.try_clone().unwrap();
        let pending = self.rng.u32(0..30);
        self.write(&mut old, pending);
        fs::remove_file(&self.path).unwrap();
        for _ in 0..self.rng.u32(0..3) {
            self.burst();
        }
        self.written.at_risk.push(AtRisk {
            lines: first..self.written.lines,
            from,
            until: Instant::now(),
        });
        self.reopen();
    }

    fn reopen(&mut self) {
        self.file = open(&self.path);
        self.first = self.written.lines;
    }

    fn logrotate_create(&mut self) {
        let mut child = self.logrotate("create");
        while child.try_wait().unwrap().is_none() {
            self.burst();
        }
        assert!(child.wait().unwrap().success(), "logrotate failed");
        for _ in 0..self.rng.u32(0..3) {
            self.burst();
        }
        self.reopen();
    }

    fn logrotate_copy(&mut self) {
        self.wait_until_read();
        let mut child = self.logrotate("copytruncate");
        assert!(child.wait().unwrap().success(), "logrotate failed");
        self.first = self.written.lines;
    }

    fn logrotate(&self, method: &str) -> Child {
        let (config, state) = (
            self.path.with_extension("conf"),
            self.path.with_extension("state"),
        );
        let text = format!(
            "{:?} {{\n    rotate 500\n    nocompress\n    {method}\n}}\n",
            self.path
        );
        fs::write(&config, text).unwrap();
        // Refused when others could write to it.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(&config, mode).unwrap();
        let mut command = Command::new(logrotate().unwrap());
        command.args(["--force", "--state"]).arg(state).arg(config);
        command.spawn().unwrap()
    }

    /// Removes the oldest rotated file that was read to its end.
    fn remove_old(&mut self) {
        let Some((path, behind)) = self.rotated.first() else {
            return;
        };
        let file = self.written.file;
        let is_read = self
            .arrivals
            .look(|table| (0..*behind).all(|number| table.has(file, number)));
        if self.rotated.len() > KEPT && is_read {
            fs::remove_file(path).unwrap();
            self.rotated.remove(0);
        }
    }
}

fn open(path: &Path) -> File {
    let mut options = File::options();
    options.create(true).append(true).open(path).unwrap()
}
