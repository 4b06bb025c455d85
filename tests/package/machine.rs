//! A fresh Debian 12 that boots: an overlay over a root made by mmdebstrap, under
//! systemd-nspawn with cgroup v2, its spool on a file system of its own.
//!
//! `scripts/setup.sh --package` makes the root. Knows nothing of what is tested in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use spoolway_test_support::kafka::wait::wait_for;
use tempfile::TempDir;

/// Longest time from power-on to a system that runs; a busy machine is slow.
const BOOT: Duration = Duration::from_secs(120);

/// Longest time that a command in the machine may take, in seconds.
const ANSWER: &str = "120";

/// Longest time until the processes of a machine that is off are gone.
const GONE: Duration = Duration::from_secs(10);

/// What the names of our cgroups begin with; the id of the test follows.
const GROUP: &str = "spoolway-test-";

/// Where the host has cgroup v2, alone or beside v1.
const CGROUPS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// Size of the spool's file system; it is sparse.
const SPOOL_SIZE: &str = "640M";

/// The machine; off and gone when dropped.
pub(crate) struct Machine {
    folder: TempDir,
    cgroup: PathBuf,
    nspawn: Option<Child>,
    leader: u32,
}

/// Why no machine can be had here, if so.
pub(crate) fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let tools = [
        "systemd-nspawn",
        "nsenter",
        "fsfreeze",
        "mkfs.ext4",
        "strace",
        "dpkg-deb",
    ];
    let present = |tool: &str| succeeds(Command::new("which").arg(tool));
    if let Some(tool) = tools.iter().find(|tool| !present(tool)) {
        return Some(format!("needs {tool}; run scripts/setup.sh --package"));
    }
    if !root().is_dir() {
        let root = root();
        return Some(format!(
            "needs {}; run scripts/setup.sh --package",
            root.display()
        ));
    }
    cgroup_v2().is_none().then(|| "needs cgroup v2".to_owned())
}

fn root() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = from("SPOOLWAY_TEST_CACHE")
        .or_else(|| Some(from("XDG_CACHE_HOME")?.join("spoolway")))
        .or_else(|| Some(from("HOME")?.join(".cache/spoolway")));
    cache.unwrap_or_default().join("debian12-root")
}

fn cgroup_v2() -> Option<PathBuf> {
    let mut places = CGROUPS.iter().map(PathBuf::from);
    places.find(|place| {
        place.join("cgroup.procs").exists() && place.join("cgroup.controllers").exists()
    })
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Runs a command of the host; its output when it succeeds.
pub(crate) fn host(words: &[&str]) -> Result<String> {
    let (program, args) = words.split_first().context("no command")?;
    let output = Command::new(program).args(args).output()?;
    told(words, output)
}

fn told(words: &[&str], output: Output) -> Result<String> {
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    ensure!(
        output.status.success(),
        "{}: {}\n{text}",
        words.join(" "),
        output.status
    );
    Ok(text)
}

impl Machine {
    /// Boots it and waits until it runs.
    pub(crate) fn boot() -> Result<Self> {
        let cgroups = cgroup_v2().context("no cgroup v2")?;
        remove_leftovers(&cgroups)?;
        let cgroup = cgroups.join(format!("{GROUP}{}", std::process::id()));
        let mut machine = Self {
            folder: TempDir::new()?,
            cgroup,
            nspawn: None,
            leader: 0,
        };
        machine.mount()?;
        fs::create_dir(&machine.cgroup)?;
        machine.power_on()?;
        Ok(machine)
    }

    fn mount(&self) -> Result<()> {
        for name in ["upper", "work", "root", "spool"] {
            fs::create_dir(self.path(name))?;
        }
        let (image, spool) = (self.text("spool.img"), self.text("spool"));
        host(&["truncate", "-s", SPOOL_SIZE, &image])?;
        host(&["mkfs.ext4", "-q", "-F", "-m", "0", &image])?;
        host(&["mount", "-o", "loop", &image, &spool])?;
        let (upper, work) = (self.text("upper"), self.text("work"));
        let lower = root();
        let layers = format!(
            "lowerdir={},upperdir={upper},workdir={work}",
            lower.display()
        );
        host(&[
            "mount",
            "-t",
            "overlay",
            "overlay",
            "-o",
            &layers,
            &self.text("root"),
        ])?;
        Ok(())
    }

    fn power_on(&mut self) -> Result<()> {
        // The shell moves itself into a cgroup of its own, which systemd then owns.
        let script = "echo $$ > \"$0/cgroup.procs\" && exec systemd-nspawn --quiet \
            --register=no --keep-unit --boot --console=read-only --machine=spoolway-test \
            --timezone=off --resolv-conf=off --directory=\"$1\" --bind=\"$2:/var/lib/spoolway\"";
        let console = fs::File::create(self.path("console"))?;
        let nspawn = Command::new("sh")
            .args(["-c", script])
            .args([&self.cgroup, &self.path("root"), &self.path("spool")])
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stderr(console.try_clone()?)
            .stdout(console)
            .spawn()?;
        let id = nspawn.id();
        self.nspawn = Some(nspawn);
        wait_for(BOOT, "the machine to boot", || {
            let children = format!("/proc/{id}/task/{id}/children");
            let children = fs::read_to_string(children).unwrap_or_default();
            self.leader = children.split_whitespace().next().unwrap_or("0").parse()?;
            // A degraded system runs too, and is told by a failure whose last line says so.
            let state = self.run(&["systemctl", "is-system-running"]);
            let state = state.unwrap_or_else(|error| error.to_string());
            let state = state.lines().last().unwrap_or_default();
            Ok(["running", "degraded"].contains(&state))
        })
        .with_context(|| fs::read_to_string(self.path("console")).unwrap_or_default())
    }

    /// Runs a command in the machine; its output when it succeeds. One that hangs fails with
    /// status 124.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String> {
        ensure!(self.leader > 1, "the machine does not run");
        // It ends the whole group: what runs in the machine does not keep the pipe open.
        let output = Command::new("timeout")
            .args([
                ANSWER,
                "nsenter",
                "--all",
                "--target",
                &self.leader.to_string(),
                "--",
            ])
            .args(words)
            .stdin(Stdio::null())
            .output()?;
        told(words, output)
    }

    /// Writes a file of the machine, with the folders above it.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.inside(path);
        fs::create_dir_all(path.parent().context("a path")?)?;
        Ok(fs::write(path, text)?)
    }

    /// Copies a file of the host into it.
    pub(crate) fn put(&self, from: impl AsRef<Path>, to: &str) -> Result<()> {
        fs::copy(from, self.inside(to))?;
        Ok(())
    }

    /// A path of the machine as this process can reach it while the machine runs.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }

    /// The file system of the spool, as the host has it.
    pub(crate) fn spool(&self) -> PathBuf {
        self.path("spool")
    }

    /// The ids, in this process's view, of the threads of the service's main process that
    /// have this name.
    pub(crate) fn threads(&self, unit: &str, name: &str) -> Result<Vec<String>> {
        let group = host(&["find", &self.cgroup.display().to_string(), "-name", unit])?;
        let ids = fs::read_to_string(Path::new(&group).join("cgroup.threads"))?;
        let named = |id: &&str| {
            let comm = fs::read_to_string(format!("/proc/{id}/comm"));
            comm.is_ok_and(|comm| comm.trim_end() == name)
        };
        Ok(ids.lines().filter(named).map(str::to_owned).collect())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn power_off(&mut self) -> Result<()> {
        let Some(mut nspawn) = self.nspawn.take() else {
            bail!("not on");
        };
        if self.leader > 1 {
            // The first process of a PID namespace takes all others with it.
            host(&["kill", "-KILL", &self.leader.to_string()])?;
        } else {
            nspawn.kill()?;
        }
        nspawn.wait()?;
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.power_off();
        for name in ["root", "spool"] {
            let _ = host(&["umount", &self.text(name)]);
        }
        // Those that were killed are not gone at once.
        let _ = wait_for(GONE, "an empty cgroup", || Ok(!is_populated(&self.cgroup)));
        remove_groups(&self.cgroup);
    }
}

/// Whether a process is in it or below. What is not there has none.
fn is_populated(group: &Path) -> bool {
    let events = fs::read_to_string(group.join("cgroup.events"));
    events.is_ok_and(|events| events.contains("populated 1"))
}

/// Removes a cgroup without processes, those below it first.
fn remove_groups(group: &Path) {
    let group = group.display().to_string();
    let _ = host(&["find", &group, "-depth", "-type", "d", "-delete"]);
}

/// Removes what runs that were killed have left in this folder.
fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let ours = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(GROUP.as_bytes());
        if ours && !is_populated(&entry.path()) {
            remove_groups(&entry.path());
        }
    }
    Ok(())
}
