//! The cache of Kafka versions: jars that `scripts/setup.sh` fetched, and beside them what
//! makes a start fast (a formatted log folder, an archive of loaded classes).
//!
//! Lives outside the build tree, is shared by all test processes, and each thing in it gets
//! its name only when it is complete.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::properties::scram_arguments;

/// An Apache Kafka release that `scripts/setup.sh` fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.9.2, the last line before 4.0.
    V3_9,
    /// 4.3.1
    V4_3,
    /// 4.4.0, the newest.
    V4_4,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V3_9, Self::V4_3, Self::V4_4];

    /// The release as its makers write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V3_9 => "3.9.2",
            Self::V4_3 => "4.3.1",
            Self::V4_4 => "4.4.0",
        }
    }

    /// The version whose command line tools to use: 4.4.0 came without a tools artifact, and
    /// the older tools do not run on its client jar.
    pub(super) fn of_tools(self) -> Self {
        match self {
            Self::V4_4 => Self::V4_3,
            other => other,
        }
    }

    pub(super) fn has_share_groups(self) -> bool {
        !matches!(self, Self::V3_9)
    }
}

/// Eclipse's compiler for Java: it needs no JDK.
const COMPILER: &str = "ecj-3.43.0.jar";

/// The same for every broker: they never meet.
const CLUSTER_ID: &str = "c3Bvb2x3YXktdGVzdHMtMQ";

/// The cache of one version.
#[derive(Debug, Clone)]
pub(super) struct Home {
    folder: PathBuf,
    java: PathBuf,
}

/// What it says of markers that it leaves out is of interest; see [`super::Kafka::log`].
const MARKERS: &str = "kafka.coordinator.transaction.TransactionMarkerChannelManager";

impl Home {
    /// Finds the jars of `version` and a `java`.
    pub(super) fn of(version: Version) -> Result<Self> {
        let folder = cache_root()?.join(format!("kafka-{}", version.as_str()));
        ensure!(
            folder.is_dir(),
            "no Apache Kafka {} in {}: run `make setup`",
            version.as_str(),
            folder.display(),
        );
        Ok(Self {
            folder,
            java: find_java()?,
        })
    }

    /// Where something of this version's own is kept.
    pub(super) fn inside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The Java compiler, with the class path of this version.
    pub(super) fn compiler(&self) -> Result<Command> {
        let compiler = cache_root()?.join(COMPILER);
        ensure!(
            compiler.is_file(),
            "no Java compiler in {}: run `make setup`",
            compiler.display(),
        );
        // Unlike java itself, the compiler does not know `libs/*`.
        let mut jars = Vec::new();
        for entry in fs::read_dir(self.folder.join("libs"))? {
            jars.push(entry?.path());
        }
        let mut command = Command::new(&self.java);
        command.arg("-jar").arg(compiler);
        command.arg("-cp").arg(env::join_paths(jars)?);
        Ok(command)
    }

    /// `java` with the class path of this version and `more`, its temporary files in
    /// `scratch`.
    pub(super) fn java(&self, scratch: &Path, more: Option<&Path>) -> Command {
        let libs = self.folder.join("libs/*");
        let mut path = libs.into_os_string();
        if let Some(more) = more {
            path.push(":");
            path.push(more);
        }
        let mut command = Command::new(&self.java);
        command
            .arg("-cp")
            .arg(path)
            // Unpacked native libraries would stay behind a kill -9 in the common folder.
            .arg(format!("-Djava.io.tmpdir={}", scratch.display()))
            .arg("-XX:-UsePerfData")
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .arg(format!("-Dorg.slf4j.simpleLogger.log.{MARKERS}=info"));
        command
    }

    /// Held while something in the cache is made, so that it is made once.
    pub(super) fn lock(&self) -> Result<File> {
        let file = File::create(self.folder.join(".lock"))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(file)
    }

    /// Where the archive of loaded classes is, or shall be. The name changes with the JVM,
    /// which refuses the archive of another build.
    pub(super) fn class_archive(&self) -> Result<PathBuf> {
        let meta = fs::metadata(&self.java)?;
        let build = format!("{} {} {}", self.java.display(), meta.mtime(), meta.size());
        let name = format!("classes-{:08x}.jsa", crc32c::crc32c(build.as_bytes()));
        Ok(self.folder.join(name))
    }

    /// A formatted log folder with all users in it, to copy from. Made at the first call,
    /// which takes a JVM start; `properties` is any valid `server.properties`.
    pub(super) fn formatted(&self, properties: &Path, log_dir: &Path) -> Result<PathBuf> {
        let users = scram_arguments();
        let revision = crc32c::crc32c(users.join(" ").as_bytes());
        let formatted = self.folder.join(format!("formatted-{revision:08x}"));
        let _lock = self.lock()?;
        if formatted.is_dir() {
            return Ok(formatted);
        }
        let output = self
            .java(&env::temp_dir(), None)
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
            .arg(properties)
            .args(users)
            .output()
            .context("starting the format tool")?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            bail!("the format tool failed with {}: {text}", output.status);
        }
        let partial = tempfile::tempdir_in(&self.folder)?;
        copy_tree(log_dir, partial.path())?;
        fs::rename(partial.keep(), &formatted)?;
        fs::remove_dir_all(log_dir)?;
        fs::create_dir(log_dir)?;
        Ok(formatted)
    }
}

/// `SPOOLWAY_TEST_CACHE`, or the user's cache folder; as in `scripts/setup.sh`.
pub(super) fn cache_root() -> Result<PathBuf> {
    let of = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = of("SPOOLWAY_TEST_CACHE") {
        return Ok(folder.into());
    }
    let base = match of("XDG_CACHE_HOME") {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(of("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("spoolway"))
}

fn find_java() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join("java"))
        .find(|java| java.is_file())
        .and_then(|java| java.canonicalize().ok())
        .context("no java on PATH: run `make setup`")
}

/// Copies the files and folders in `from` into `to`, which exists.
pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
