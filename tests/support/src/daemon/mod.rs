//! The real `spoolway` binary as a child, with a configuration, a spool and sockets in a
//! folder of its own. What writers say to it is `writer`'s, what Kafka must hold is
//! `journal`'s.
//!
//! ```no_run
//! # let binary = "spoolway"; let bootstrap = "127.0.0.1:9092".to_owned();
//! use spoolway_test_support::daemon::Daemon;
//!
//! // In an integration test: Daemon::builder(env!("CARGO_BIN_EXE_spoolway"))
//! let mut daemon = Daemon::builder(binary).bootstrap(&bootstrap).topic("events").start().unwrap();
//! let mut writer = daemon.writer().unwrap();
//! writer.send(b"{\"n\":1}").unwrap();
//! writer.wait_acked(1).unwrap();
//! daemon.kill9().unwrap();
//! daemon.start().unwrap(); // the same spool
//! ```

mod journal;
mod notify;
mod writer;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::kafka::process::Process;
use crate::kafka::wait::wait_for;
use notify::Notices;

pub use journal::{Findings, Journal};
pub use writer::{Told, Writer};

/// Longest time from the start of the program to READY=1: recovery of a small spool.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// What the daemon shall be given; see [`Daemon::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    binary: PathBuf,
    bootstrap: String,
    topic: String,
    ack: &'static str,
    route: Vec<String>,
    spool: Vec<String>,
    kafka: Vec<String>,
    root: Vec<String>,
    watchdog: Option<Duration>,
    env: Vec<(String, String)>,
}

impl Builder {
    /// `bootstrap.servers`
    #[must_use]
    pub fn bootstrap(mut self, list: &str) -> Self {
        list.clone_into(&mut self.bootstrap);
        self
    }

    /// Topic of the one route. `events` by default.
    #[must_use]
    pub fn topic(mut self, topic: &str) -> Self {
        topic.clone_into(&mut self.topic);
        self
    }

    /// `ack` of the one input: `none`, `durable` or `broker`. `durable` by default.
    #[must_use]
    pub fn ack(mut self, ack: &'static str) -> Self {
        self.ack = ack;
        self
    }

    /// One more line of `[[route]]`.
    #[must_use]
    pub fn route(mut self, line: &str) -> Self {
        self.route.push(line.to_owned());
        self
    }

    /// One more line of `[spool]`.
    #[must_use]
    pub fn spool(mut self, line: &str) -> Self {
        self.spool.push(line.to_owned());
        self
    }

    /// One more line of `[kafka]`. Plain TCP unless one of them is `security.protocol`.
    #[must_use]
    pub fn kafka(mut self, line: &str) -> Self {
        self.kafka.push(line.to_owned());
        self
    }

    /// One more line above all tables.
    #[must_use]
    pub fn root(mut self, line: &str) -> Self {
        self.root.push(line.to_owned());
        self
    }

    /// One more variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `WatchdogSec` of the service manager that the test plays.
    #[must_use]
    pub fn watchdog(mut self, period: Duration) -> Self {
        self.watchdog = Some(period);
        self
    }

    /// Makes the folder and starts the daemon in it.
    pub fn start(self) -> Result<Daemon> {
        let mut daemon = self.prepare()?;
        daemon.start()?;
        Ok(daemon)
    }

    /// Makes the folder and starts nothing yet.
    pub fn prepare(self) -> Result<Daemon> {
        let folder = tempfile::Builder::new()
            .prefix("spoolway-test-")
            .tempdir()?;
        let notices = Notices::listen(&folder.path().join("notify.sock"))?;
        let config = folder.path().join("spoolway.toml");
        fs::write(&config, self.text(folder.path()))?;
        Ok(Daemon {
            binary: self.binary,
            watchdog: self.watchdog,
            env: self.env,
            notices,
            process: None,
            config,
            folder,
        })
    }

    fn text(&self, folder: &Path) -> String {
        let block = |lines: &[String]| lines.join("\n");
        let named = self
            .kafka
            .iter()
            .any(|l| l.starts_with("security.protocol"));
        let plain = if named {
            ""
        } else {
            "security.protocol = \"PLAINTEXT\""
        };
        format!(
            "{root}\n\
             [spool]\ndir = {spool_dir:?}\n{spool}\n\
             [[input]]\nname = \"app\"\ntype = \"unix\"\npath = {socket:?}\nmode = \"0600\"\n\
             ack = \"{ack}\"\n\
             [kafka]\nbootstrap.servers = \"{bootstrap}\"\n{plain}\n{kafka}\n\
             [[route]]\ntopic = \"{topic}\"\n{route}\n",
            root = block(&self.root),
            spool_dir = folder.join("spool"),
            spool = block(&self.spool),
            socket = folder.join("app.sock"),
            ack = self.ack,
            bootstrap = self.bootstrap,
            kafka = block(&self.kafka),
            topic = self.topic,
            route = block(&self.route),
        )
    }
}

/// A daemon under test. Killed and its folder removed when dropped, and also when the test
/// process dies.
#[derive(Debug)]
pub struct Daemon {
    binary: PathBuf,
    watchdog: Option<Duration>,
    env: Vec<(String, String)>,
    notices: Notices,
    config: PathBuf,
    // Before the folder: dropped first.
    process: Option<Process>,
    folder: TempDir,
}

impl Daemon {
    /// A daemon of this binary, `env!("CARGO_BIN_EXE_spoolway")` in an integration test.
    pub fn builder(binary: impl Into<PathBuf>) -> Builder {
        Builder {
            binary: binary.into(),
            bootstrap: "127.0.0.1:1".to_owned(),
            topic: "events".to_owned(),
            ack: "durable",
            route: Vec::new(),
            spool: Vec::new(),
            kafka: Vec::new(),
            root: Vec::new(),
            watchdog: None,
            env: Vec::new(),
        }
    }

    /// Starts it on its spool and waits for READY=1.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        let ready = wait_for(READY_TIMEOUT, "READY=1", || {
            ensure!(self.is_running()?, "the daemon ended");
            Ok(self.notices.has("READY=1"))
        });
        ready.with_context(|| format!("the daemon wrote:\n{}", self.log_tail()))
    }

    /// Starts it and does not wait.
    pub fn launch(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the daemon runs already");
        self.notices.forget();
        let mut command = self.program()?;
        command.arg("run").arg("--config").arg(&self.config);
        command.env("NOTIFY_SOCKET", self.notices.path());
        command.env("RUST_BACKTRACE", "1");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(period) = self.watchdog {
            command.env("WATCHDOG_USEC", period.as_micros().to_string());
        }
        let process = Process::start(command, &self.log_path(), self.folder.path())?;
        self.process = Some(process);
        Ok(())
    }

    /// The binary, with the descriptors that the run before left in the store.
    fn program(&self) -> Result<Command> {
        let count = self.notices.kept();
        if count == 0 {
            return Ok(Command::new(&self.binary));
        }
        let (places, names) = self.notices.hand_over()?;
        let script = format!("exec{places}; LISTEN_PID=$$ exec \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash"]).arg(&self.binary);
        command.env("LISTEN_FDS", count.to_string());
        command.env("LISTEN_FDNAMES", names);
        Ok(command)
    }

    /// How many descriptors the daemon left in the store of its service manager.
    pub fn descriptors_kept(&self) -> usize {
        self.notices.kept()
    }

    /// SIGKILL. The spool stays for [`Daemon::start`].
    pub fn kill9(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the daemon is not running")?
            .kill()
    }

    /// SIGTERM; how the daemon ended, which it must within `patience`.
    pub fn sigterm(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.running()?.signal(Signal::TERM)?;
        self.wait_exit(patience)
    }

    /// SIGHUP: the configuration is read again.
    pub fn sighup(&self) -> Result<()> {
        self.running()?.signal(Signal::HUP)
    }

    /// SIGSTOP and SIGCONT, by name of `rustix`.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.running()?.signal(signal)
    }

    /// Waits until it ends by itself.
    pub fn wait_exit(&mut self, patience: Duration) -> Result<ExitStatus> {
        let process = self.process.as_mut().context("the daemon is not running")?;
        let status = process.wait(patience);
        let status = status.with_context(|| format!("the daemon wrote:\n{}", self.log_tail()))?;
        self.process = None;
        Ok(status)
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.as_mut().map_or(Ok(false), Process::is_running)
    }

    /// Process id while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// The folder that holds everything of this daemon.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file; a test may rewrite it before [`Daemon::sighup`].
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The spool directory.
    pub fn spool_dir(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    /// The socket of the one input.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("app.sock")
    }

    /// A new connection to the one input.
    pub fn writer(&self) -> Result<Writer> {
        Writer::connect(&self.socket())
    }

    /// What `spoolway status --json` prints.
    pub fn status_json(&self) -> Result<Value> {
        let output = self.command("status").arg("--json").output()?;
        ensure!(
            output.status.success(),
            "spoolway status: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).context("the output of spoolway status --json")
    }

    /// What `spoolway dead-letter list` prints.
    pub fn dead_letters(&self) -> Result<String> {
        let output = self.command("dead-letter").arg("list").output()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `spoolway SUBCOMMAND --config FILE`, to be given further arguments.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(subcommand).arg("--config").arg(&self.config);
        command
    }

    /// What the daemon told the service manager since it was last started, a line each.
    pub fn notices(&self) -> Vec<String> {
        self.notices.lines()
    }

    /// Everything that all runs wrote on standard output and standard error.
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Forgets what was logged so far.
    pub fn clear_log(&self) -> Result<()> {
        File::options()
            .write(true)
            .open(self.log_path())?
            .set_len(0)?;
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("daemon.log")
    }

    fn log_tail(&self) -> String {
        self.process
            .as_ref()
            .map_or_else(|| self.log(), Process::log_tail)
    }

    fn running(&self) -> Result<&Process> {
        self.process.as_ref().context("the daemon is not running")
    }
}
