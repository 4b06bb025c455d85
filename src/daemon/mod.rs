//! The composition root: opens the spool, starts producer, drain and inputs, and stops them
//! in order.
//!
//! Start: spool (recovered and locked), producer (does not wait for brokers), drain, inputs,
//! READY. Stop: inputs stop, appends become durable, in-flight batches are awaited, the
//! spool closes; all within `stop_timeout`. Holds no logic of the parts it wires.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::drain::{Drain, Mailbox, Message, Settings};
use crate::input::activation::Handed;
use crate::input::park::Parked;
use crate::input::stop::{Stopper, stopper};
use crate::input::unix::BindError;
use crate::kafka::{Producer, StartError};
use crate::proof;
use crate::route::Host;
use crate::spool::{OpenError, Opened, Spool, SpoolHandle};

mod control;
mod inputs;
mod letters;
mod signals;
mod status;
mod systemd;
mod watchdog;

use signals::Request;
use status::{Rates, Watched};
use watchdog::{Pulse, Watchdog};

/// Runtime threads: sockets and brokers share them; the committer and the drain have
/// threads of their own.
const RUNTIME_THREADS: usize = 2;

/// How often rates are sampled and the status line is renewed.
const TICK: Duration = Duration::from_secs(1);

/// Why the daemon could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The spool could not be opened.
    #[error("cannot open the spool")]
    Spool(#[from] OpenError),
    /// A socket could not be bound.
    #[error("cannot listen")]
    Bind(#[from] BindError),
    /// The producer could not be started.
    #[error("cannot start the Kafka producer")]
    Kafka(#[from] StartError),
    /// A thread or task that everything depends on has ended by itself.
    #[error(
        "{what} has ended in a panic; this is a bug. Nothing acknowledged is lost: \
         start the daemon again"
    )]
    Ended {
        /// Which.
        what: &'static str,
    },
    /// The system refused a thread, a signal handler or the runtime.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

fn system(action: &'static str) -> impl FnOnce(std::io::Error) -> RunError {
    move |source| RunError::System { action, source }
}

/// Applies a reloaded configuration outside the daemon (the log filter) and gives the new
/// one, or says in words why it was refused.
pub type Reloader = Box<dyn FnMut(&Config) -> Result<Config, String> + Send>;

/// Runs the daemon until a signal stops it.
///
/// # Errors
/// When it cannot start; once running, it stops only when asked.
pub fn run(config: Config, reload: Reloader) -> Result<(), RunError> {
    let handed = Handed::take().map_err(system("take the sockets handed over"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("runtime")
        .enable_all()
        .build()
        .map_err(system("start the runtime"))?;
    let result = runtime.block_on(async {
        let requests = signals::listen().map_err(system("install signal handlers"))?;
        let daemon = Daemon::start(Arc::new(config), handed)?;
        daemon.attend(requests, reload).await
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

/// What routes may say of this machine.
fn host(spool_id: u64) -> Host {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Host {
        name: name.trim_end().into(),
        spool_id,
    }
}

fn settings(config: &Config, host: Host) -> Settings {
    Settings::new(&config.kafka, &config.routes, &config.routing, host)
}

struct Daemon {
    config: Arc<Config>,
    spool: SpoolHandle,
    producer: Producer,
    watched: Arc<Watched>,
    stopper: Stopper,
    inputs: Vec<JoinHandle<()>>,
    parked: UnboundedReceiver<Parked>,
    control: JoinHandle<()>,
}

impl Daemon {
    fn start(config: Arc<Config>, handed: Handed) -> Result<Self, RunError> {
        let started = Instant::now();
        let (disk, broker) = proof::issue();
        let opened = Spool::open(&config.spool, disk)?;
        let Opened {
            appender,
            cursor,
            dead_letters,
            status,
            handle,
            checkpoints,
            recovery,
        } = opened;
        info!(
            created = recovery.created,
            generations = recovery.generations,
            in_spool = recovery.in_spool,
            checkpoints = recovery.checkpoints,
            took = ?started.elapsed(),
            "spool open"
        );
        for missing in &recovery.missing {
            error!(
                first = missing.first,
                last = missing.end.saturating_sub(1),
                lost = missing.lost,
                kept_in = ?missing.quarantine,
                reason = missing.reason,
                "part of the spool is damaged or missing"
            );
        }
        let mailbox = Mailbox::new();
        let reports = mailbox.sender();
        let producer = Producer::start(&config.kafka, broker, move |report| {
            let _ = reports.send(Message::Report(report));
        })?;
        let settings = settings(&config, host(handle.spool_id()));
        let drain = Drain::spawn(
            mailbox,
            cursor,
            dead_letters.clone(),
            producer.clone(),
            handle.spool_id(),
            settings,
        )
        .map_err(system("start the drain"))?;
        let (stopper, stop) = stopper();
        let control_socket = control::bind(&config.control.path)?;
        let inputs = inputs::start(&config, handed, &appender, checkpoints, &stop)?;
        let watched = Arc::new(Watched {
            rates: Mutex::new(Rates::new(&status.snapshot())),
            spool: status,
            producer: producer.clone(),
            drain: Arc::new(Mutex::new(Some(drain))),
            inputs: inputs.sockets,
            files: inputs.files,
            config: config.clone(),
            started,
        });
        let reach = control::Control {
            watched: watched.clone(),
            dead_letters,
            appender,
            tail: inputs.tail,
        };
        let control = tokio::spawn(control::serve(control_socket, Arc::new(reach)));
        systemd::ready();
        info!(took = ?started.elapsed(), "ready");
        Ok(Self {
            config,
            spool: handle,
            producer,
            watched,
            stopper,
            inputs: inputs.running,
            parked: inputs.parked,
            control,
        })
    }

    /// Looks after the running daemon until a stop is asked for, then stops it.
    async fn attend(
        mut self,
        mut requests: tokio::sync::mpsc::Receiver<Request>,
        mut reload: Reloader,
    ) -> Result<(), RunError> {
        let mut tick = tokio::time::interval(TICK);
        let watch = systemd::watchdog_interval();
        let mut watch_tick = tokio::time::interval(watch.unwrap_or(Duration::from_secs(3600)));
        let mut dog = Watchdog::default();
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Request::Reload) => self.reload(&mut reload),
                    Some(Request::Stop) | None => break,
                },
                _ = tick.tick() => {
                    // Better started again than hanging on with a part missing.
                    if let Some(what) = self.ended() {
                        return Err(RunError::Ended { what });
                    }
                    self.watched.sample();
                    systemd::status(&self.watched.line());
                }
                _ = watch_tick.tick(), if watch.is_some() => {
                    if dog.alive(self.pulse()) {
                        systemd::alive();
                    } else {
                        error!("no progress in intake or drain; the watchdog is not fed");
                    }
                }
            }
        }
        self.stop(requests).await;
        Ok(())
    }

    /// What has ended although nobody asked it to.
    fn ended(&self) -> Option<&'static str> {
        if let Some(thread) = self.spool.ended() {
            return Some(thread);
        }
        let drain = self.watched.drain.lock().ok();
        if drain.is_none_or(|drain| drain.as_ref().is_some_and(Drain::has_ended)) {
            return Some("the drain");
        }
        if self.producer.has_ended() {
            return Some("the Kafka producer");
        }
        if self.inputs.iter().any(JoinHandle::is_finished) {
            return Some("an input");
        }
        self.control.is_finished().then_some("the control socket")
    }

    fn pulse(&self) -> Pulse {
        let drain = self.watched.drain.lock().ok();
        let turns = drain.and_then(|drain| drain.as_ref().map(|drain| drain.status().turns));
        Pulse {
            drain_turns: turns.unwrap_or_default(),
            commits: self.spool.progress(),
            committing: self.spool.busy_for().is_some(),
        }
    }

    fn reload(&mut self, reload: &mut Reloader) {
        systemd::reloading();
        match reload(&self.config) {
            Ok(config) => {
                let settings = settings(&config, host(self.spool.spool_id()));
                if let Ok(drain) = self.watched.drain.lock()
                    && let Some(drain) = drain.as_ref()
                {
                    drain.reload(settings);
                }
                self.config = Arc::new(config);
            }
            Err(report) => {
                error!(
                    "the changed configuration is refused; the old one stays in force: {report}"
                );
            }
        }
        systemd::ready();
    }

    async fn stop(self, mut requests: tokio::sync::mpsc::Receiver<Request>) {
        systemd::stopping();
        let deadline = Instant::now() + self.config.stop_timeout;
        info!(within = ?self.config.stop_timeout, "stopping");
        let ordered = self.stop_in_order(deadline);
        tokio::pin!(ordered);
        loop {
            tokio::select! {
                () = &mut ordered => break,
                request = requests.recv() => if request == Some(Request::Stop) {
                    warn!("already stopping");
                },
            }
        }
        info!("stopped");
    }

    async fn stop_in_order(mut self, deadline: Instant) {
        self.stopper.stop();
        let half = deadline - self.config.stop_timeout / 2;
        for input in self.inputs {
            // Writers that wait for their acks get half of the time.
            if tokio::time::timeout_at(half.into(), input).await.is_err() {
                warn!("an input did not end in time; writers that wait for acks are cut off");
            }
        }
        let parked: Vec<Parked> = std::iter::from_fn(|| self.parked.try_recv().ok()).collect();
        systemd::park(&parked);
        drop(parked);
        self.parked.close();
        self.control.abort();
        let drain = self
            .watched
            .drain
            .lock()
            .ok()
            .and_then(|mut drain| drain.take());
        if let Some(drain) = drain {
            drain.stop(deadline - self.config.stop_timeout / 4);
            let joined = tokio::task::spawn_blocking(move || drain.join()).await;
            if !matches!(joined, Ok(Some(_))) {
                error!("the drain ended in a panic; what it had in hand is sent again");
            }
        }
        let left = || deadline.saturating_duration_since(Instant::now());
        self.producer.close(left()).await;
        let spool = self.spool;
        if tokio::task::spawn_blocking(move || spool.close(deadline))
            .await
            .is_err()
        {
            error!("the spool did not close in order; it is checked at the next start");
        }
    }
}
