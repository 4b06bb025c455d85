//! One program as a child: an own process group, signals, and the certainty that it goes when the
//! test process goes. Knows nothing of Kafka or Spoolway.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::wait::wait_for;

/// Time to end well before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of the log's end that an error shows.
const LOG_TAIL: u64 = 3000;

/// Reads until the test process closes its end of the pipe, by whatever death, then kills the
/// process group $1 and removes the folder $2. A parent-death signal would not do: it comes
/// when the starting thread ends, and tests are threads.
const WATCHER: &str = r#"read -r _; kill -s KILL -- "-$1"; rm -rf -- "$2" || rm -rf -- "$2""#;

/// A running program and its watcher.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    watcher: Child,
    group: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output appended to `log`. If the test process dies first,
    /// the child is killed and `folder` removed.
    pub(crate) fn start(mut command: Command, log: &Path, folder: &Path) -> Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let watcher = Command::new("sh")
            .args(["-c", WATCHER, "process-watcher"])
            .arg(child.id().to_string())
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting the watcher")?;
        let group = Pid::from_child(&child);
        Ok(Self {
            child,
            watcher,
            group,
            log: log.to_owned(),
        })
    }

    /// Process id of the program.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process_group(self.group, signal).with_context(|| format!("sending {signal:?}"))
    }

    /// SIGSTOP, and waits until every thread has stopped: the signal does not wait for that, and
    /// a thread that runs on may still answer.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let tasks = format!("/proc/{}/task", self.child.id());
        wait_for(STOP_TIMEOUT, "every thread to stop", || {
            let mut stopped = true;
            for task in std::fs::read_dir(&tasks)? {
                // proc(5): the state follows the name in parentheses. A thread may have ended.
                let stat = std::fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
                let state = stat
                    .rsplit_once(") ")
                    .and_then(|(_, rest)| rest.chars().next());
                stopped &= matches!(state, None | Some('T' | 'Z' | 'X'));
            }
            Ok(stopped)
        })
    }

    /// Waits for the end and tells how it was.
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let mut status = None;
        wait_for(patience, "the process to end", || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        status.context("a process that ended has a status")
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.end()
    }

    /// SIGTERM, and SIGKILL when that is not enough. Continues a stopped process first.
    pub(crate) fn stop(mut self) -> Result<()> {
        if self.is_running()? {
            self.signal(Signal::TERM)?;
            self.signal(Signal::CONT)?;
            let ended = wait_for(STOP_TIMEOUT, "the process to stop", || {
                Ok(self.child.try_wait()?.is_some())
            });
            self.end()?;
            return ended;
        }
        self.end()
    }

    /// The end of what it wrote.
    pub(crate) fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
            let mut tail = Vec::new();
            file.read_to_end(&mut tail)?;
            Ok(String::from_utf8_lossy(&tail).into_owned())
        };
        read().unwrap_or_else(|error| format!("{}: {error}", self.log.display()))
    }

    /// Kills what still runs. The watcher goes first: from then on the group's number may
    /// come to name something else.
    fn end(&mut self) -> Result<()> {
        self.watcher.kill()?;
        self.watcher.wait()?;
        if self.is_running()? {
            self.signal(Signal::KILL)?;
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("cannot end process {}: {error:#}", self.id());
        }
    }
}
