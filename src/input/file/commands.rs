//! What an operator can ask of the followed files: show them, move a checkpoint, forget one.
//!
//! Says what a change would lose or double, and makes it only when that is wanted. The
//! answers are what the control socket sends; docs/tailing.md has them in words.

use std::time::Instant;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::follow::{Follow, Presence};
use super::start::end_of;
use super::tailer::Tailer;

/// Requests that may wait for the thread "tail".
const WAITING: usize = 8;

/// Most files of one status answer.
pub const FILES_AT_ONCE: usize = 1000;

/// A followed file, as status shows it.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// Names the file in requests: 16 hexadecimal digits.
    pub key: String,
    /// `name` of its input.
    pub input: String,
    /// Path under which the patterns found it.
    pub path: String,
    /// Where it is now, when that is another path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now_at: Option<String>,
    /// `listed`, `moved`, `deleted` (held open) or `missing`.
    pub state: &'static str,
    /// Device number, major and minor in one.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Bytes of the content that are in the spool.
    pub offset: u64,
    /// Bytes of the file at the last look.
    pub size: u64,
    /// Bytes between the two.
    pub lag: u64,
    /// How often it was found truncated and written anew.
    pub rewritten: u32,
    /// Whether it is open.
    pub open: bool,
    /// Whether it was read to its end and let go.
    pub finished: bool,
    /// Why `delete_after_delivery` will leave it alone, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<&'static str>,
    /// Seconds since it last grew, as far as this daemon saw.
    pub quiet_seconds: u64,
    /// Why it is not read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One page of followed files.
#[derive(Debug, Clone, Serialize)]
pub struct FilesReport {
    /// In the order of input and path.
    pub files: Vec<FileReport>,
    /// How many there are, shown or not.
    pub total: usize,
}

/// Where a checkpoint is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekTo {
    /// The first byte.
    Beginning,
    /// The last line that has no end yet.
    End,
    /// The beginning of the line that holds this byte.
    Offset(u64),
}

#[derive(Debug)]
enum Request {
    Status {
        path: Option<String>,
        from: usize,
        limit: usize,
        answer: oneshot::Sender<FilesReport>,
    },
    Seek {
        file: String,
        to: SeekTo,
        yes: bool,
        answer: oneshot::Sender<Result<FileReport, String>>,
    },
    Forget {
        file: String,
        yes: bool,
        answer: oneshot::Sender<Result<FileReport, String>>,
    },
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Command(Request);

/// Asks the thread "tail". Cheap to clone.
#[derive(Debug, Clone)]
pub struct TailControl(mpsc::Sender<Command>);

/// A fresh pair.
pub(super) fn channel() -> (TailControl, mpsc::Receiver<Command>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (TailControl(sender), receiver)
}

const STOPPED: &str = "no files are followed: the daemon is stopping";

impl TailControl {
    /// The followed files from the `from`-th on, at most `limit` and [`FILES_AT_ONCE`];
    /// only those whose path contains `path`, when given.
    ///
    /// # Errors
    /// In words, when the daemon is stopping.
    pub async fn status(
        &self,
        path: Option<String>,
        from: usize,
        limit: usize,
    ) -> Result<FilesReport, String> {
        let (answer, answered) = oneshot::channel();
        let limit = limit.min(FILES_AT_ONCE);
        self.ask(Request::Status {
            path,
            from,
            limit,
            answer,
        })
        .await?;
        answered.await.map_err(|_| STOPPED.to_owned())
    }

    /// Moves the checkpoint of `file`, a key or a path. Without `yes` only where nothing is
    /// lost or doubled by it.
    ///
    /// # Errors
    /// In words: what it would lose or double, or why it cannot be done.
    pub async fn seek(&self, file: String, to: SeekTo, yes: bool) -> Result<FileReport, String> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Seek {
            file,
            to,
            yes,
            answer,
        })
        .await?;
        answered.await.map_err(|_| STOPPED.to_owned())?
    }

    /// Forgets `file`, a key or a path. Without `yes` only where nothing is lost or doubled
    /// by it.
    ///
    /// # Errors
    /// In words: what it would lose or double, or why it cannot be done.
    pub async fn forget(&self, file: String, yes: bool) -> Result<FileReport, String> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Forget { file, yes, answer }).await?;
        answered.await.map_err(|_| STOPPED.to_owned())?
    }

    async fn ask(&self, request: Request) -> Result<(), String> {
        let sent = self.0.send(Command(request)).await;
        sent.map_err(|_| STOPPED.to_owned())
    }
}

impl Tailer {
    /// Does what was asked for.
    pub(super) async fn serve(&mut self, command: Command) {
        // Whoever asked may have gone; what was done is done.
        match command.0 {
            Request::Status {
                path,
                from,
                limit,
                answer,
            } => {
                let _ = answer.send(self.report(path.as_deref(), from, limit));
            }
            Request::Seek {
                file,
                to,
                yes,
                answer,
            } => {
                let sought = self.seek(&file, to, yes);
                let _ = answer.send(self.when_durable(sought).await);
            }
            Request::Forget { file, yes, answer } => {
                let forgotten = self.forget(&file, yes);
                let _ = answer.send(self.when_durable(forgotten).await);
            }
        }
    }

    async fn when_durable(
        &mut self,
        done: Result<FileReport, String>,
    ) -> Result<FileReport, String> {
        let report = done?;
        self.note_dirty(Instant::now(), Vec::new());
        if self.outbox.flush().await {
            Ok(report)
        } else {
            Err("the spool closed before the change was on disk".to_owned())
        }
    }

    fn report(&self, path: Option<&str>, from: usize, limit: usize) -> FilesReport {
        let is_wanted =
            |follow: &&Follow| path.is_none_or(|path| follow.path.to_string_lossy().contains(path));
        let mut files: Vec<&Follow> = self.files.iter().filter(is_wanted).collect();
        files.sort_by(|a, b| (a.input, &a.path, a.id).cmp(&(b.input, &b.path, b.id)));
        FilesReport {
            total: files.len(),
            files: files
                .into_iter()
                .skip(from)
                .take(limit)
                .map(report)
                .collect(),
        }
    }

    /// The one file that `name`, a key or a path, stands for.
    fn find_one(&self, name: &str) -> Result<u64, String> {
        let by_key = u64::from_str_radix(name, 16).ok();
        if let Some(key) = by_key.filter(|key| self.files.get(*key).is_some()) {
            return Ok(key);
        }
        let of_path =
            |follow: &&Follow| follow.path.as_os_str() == name || follow.at.as_os_str() == name;
        let mut found: Vec<&Follow> = self.files.iter().filter(of_path).collect();
        if found
            .iter()
            .any(|follow| follow.presence == Presence::Listed)
        {
            found.retain(|follow| follow.presence == Presence::Listed);
        }
        match found.as_slice() {
            [one] => Ok(one.key),
            [] => Err(format!("{name} is not followed; see spoolway tail status")),
            many => {
                let keys: Vec<String> = many.iter().map(|f| format!("{:016x}", f.key)).collect();
                Err(format!(
                    "{name} stands for several files, name one by its key: {}",
                    keys.join(", ")
                ))
            }
        }
    }

    fn seek(&mut self, name: &str, to: SeekTo, yes: bool) -> Result<FileReport, String> {
        let key = self.find_one(name)?;
        self.hold_open(key);
        let Some(follow) = self.files.get_mut(key) else {
            return Err(format!("{name} is not followed"));
        };
        let Some(input) = self.inputs.get(follow.input) else {
            return Err(format!("{name} belongs to no input"));
        };
        if follow.is_packed {
            return Err(format!(
                "{name} is compressed, and is read as a whole: tail forget has it read anew"
            ));
        }
        let failed = |error: std::io::Error| format!("{name} cannot be read: {error}");
        let file = follow
            .handle
            .as_ref()
            .ok_or_else(|| format!("{name} cannot be opened"))?;
        let size = file.metadata().map_err(failed)?.len();
        let wanted = match to {
            SeekTo::Beginning => 0,
            SeekTo::End => size,
            SeekTo::Offset(offset) => offset,
        };
        if wanted > size {
            return Err(format!("{name} has only {size} bytes, not {wanted}"));
        }
        let end = end_of(file, wanted, input.config.encoding).map_err(failed)?;
        let (old, new) = (follow.progress.consumed(), end.progress.consumed());
        if old > new && !yes {
            return Err(format!(
                "{name} would be read from byte {new} again: its events up to \
                byte {old} are doubled; say --yes to do it"
            ));
        }
        if old < new && !yes {
            return Err(format!(
                "the bytes {old} to {new} of {name} would never be read; say \
                --yes to do it"
            ));
        }
        follow.progress = end.progress;
        follow.mark = end.mark;
        follow.head = end.head;
        follow.compared = None;
        follow.finished = false;
        follow.keep("its checkpoint was moved by hand");
        let done = report(follow);
        self.dirty.insert(key);
        self.queue(key);
        Ok(done)
    }

    fn forget(&mut self, name: &str, yes: bool) -> Result<FileReport, String> {
        let key = self.find_one(name)?;
        let Some(follow) = self.files.get(key) else {
            return Err(format!("{name} is not followed"));
        };
        if follow.presence == Presence::Listed && !yes {
            return Err(format!(
                "{name} is there and would be read from its beginning again: \
                its events are doubled; say --yes to do it"
            ));
        }
        if follow.unread() > 0 && !yes {
            return Err(format!(
                "{} bytes of {name} are not read yet and would be lost; say \
                --yes to do it",
                follow.unread()
            ));
        }
        let done = report(follow);
        self.let_go(key);
        self.look_soon();
        Ok(done)
    }
}

fn report(follow: &Follow) -> FileReport {
    let is_elsewhere = follow.at != follow.path;
    FileReport {
        key: format!("{:016x}", follow.key),
        input: follow.source.input.to_string(),
        path: follow.path.to_string_lossy().into_owned(),
        now_at: is_elsewhere.then(|| follow.at.to_string_lossy().into_owned()),
        state: match follow.presence {
            Presence::Listed => "listed",
            Presence::Moved => "moved",
            Presence::Deleted => "deleted",
            Presence::Missing(_) => "missing",
        },
        device: follow.id.device,
        inode: follow.id.inode,
        offset: follow.progress.consumed(),
        size: follow.size,
        lag: follow.unread(),
        rewritten: follow.contents,
        open: follow.handle.is_some(),
        finished: follow.finished,
        kept: follow.kept,
        quiet_seconds: follow.grown.elapsed().as_secs(),
        error: follow.error.clone(),
    }
}
