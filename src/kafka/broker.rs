//! One task per broker that is written to: connects, pipelines requests, reconnects.
//!
//! Every request given to the task comes back in exactly one event, answered or lost. A
//! connection that misses a deadline is dropped and made anew; the deadline counts from the
//! last byte that moved, so a slow link that still moves is not taken for a dead one.
//! Decides nothing about batches; see `core`.

use std::collections::VecDeque;
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rskafka::messenger::RequestError;
use tokio::sync::mpsc;

use super::backoff::Backoff;
use super::connect::{Connection, Connector, request_failure};
use super::core::RequestId;
use super::wire::{Produce, Produced};
use crate::config::HostPort;

/// Part of a login's lifetime after which the connection is renewed in a quiet moment.
const LOGIN_RENEWAL: f64 = 0.8;

/// A request to send.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) request: RequestId,
    pub(super) body: Produce,
}

/// What a broker task tells the actor; `task` tells apart two tasks for one broker.
#[derive(Debug)]
pub(super) struct BrokerEvent {
    pub(super) broker: i32,
    pub(super) task: u64,
    pub(super) what: BrokerNews,
}

#[derive(Debug)]
pub(super) enum BrokerNews {
    Up,
    Down {
        error: String,
        needs_person: bool,
        retry_at: Instant,
    },
    Answered {
        request: RequestId,
        answer: Produced,
    },
    Lost {
        request: RequestId,
        reason: String,
    },
}

/// Everything a broker task owns.
pub(super) struct BrokerTask<F> {
    pub(super) broker: i32,
    pub(super) task: u64,
    pub(super) address: HostPort,
    pub(super) connector: Arc<Connector>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) emit: F,
    pub(super) rng: fastrand::Rng,
}

type Flight = Pin<Box<dyn Future<Output = (RequestId, Result<Produced, RequestError>)> + Send>>;

/// Why a connection is no longer served.
enum Ended {
    /// No more commands will come, and all are answered.
    Retired,
    /// It is to be made anew.
    Broken(String),
}

impl<F: Fn(BrokerEvent) + Send> BrokerTask<F> {
    /// Runs until the sender of commands is dropped.
    pub(super) async fn run(mut self) {
        let config = self.connector.config();
        let backoff = Backoff {
            first: config.reconnect_backoff,
            max: config.reconnect_backoff_max,
        };
        let mut failures = 0_u32;
        loop {
            let connector = self.connector.clone();
            let address = self.address.clone();
            let connecting = Box::pin(async move { connector.connect(&address).await });
            let Some(connected) = self.while_down(connecting).await else {
                return;
            };
            let (error, needs_person) = match connected {
                Err(error) => (error.to_string(), error.needs_person()),
                Ok(connection) => {
                    self.tell(BrokerNews::Up);
                    let mut answered = false;
                    let reason = match self.serve(connection, &mut answered).await {
                        Ended::Retired => return,
                        Ended::Broken(reason) => reason,
                    };
                    if answered {
                        failures = 0;
                    }
                    (reason, false)
                }
            };
            failures += 1;
            let pause = backoff.after(failures, &mut self.rng);
            let retry_at = Instant::now() + pause;
            self.tell(BrokerNews::Down {
                error,
                needs_person,
                retry_at,
            });
            if self
                .while_down(Box::pin(tokio::time::sleep(pause)))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    fn tell(&self, what: BrokerNews) {
        (self.emit)(BrokerEvent {
            broker: self.broker,
            task: self.task,
            what,
        });
    }

    /// Waits for `wanted`; commands that come meanwhile are lost. `None` = retired.
    async fn while_down<T>(
        &mut self,
        mut wanted: Pin<Box<dyn Future<Output = T> + Send>>,
    ) -> Option<T> {
        loop {
            tokio::select! {
                done = &mut wanted => return Some(done),
                command = self.commands.recv() => {
                    let reason = "no connection to the broker".into();
                    self.tell(BrokerNews::Lost { request: command?.request, reason });
                }
            }
        }
    }

    /// Serves one connection; what is unanswered at its end is lost.
    async fn serve(&mut self, connection: Connection, answered: &mut bool) -> Ended {
        let mut open = VecDeque::new();
        let ended = self.exchange(&connection, &mut open, answered).await;
        drop(connection);
        let reason = match &ended {
            Ended::Retired => "the broker is no longer used",
            Ended::Broken(reason) => reason,
        };
        for (request, _) in open {
            self.tell(BrokerNews::Lost {
                request,
                reason: reason.to_owned(),
            });
        }
        ended
    }

    async fn exchange(
        &mut self,
        connection: &Connection,
        open: &mut VecDeque<(RequestId, Instant)>,
        answered: &mut bool,
    ) -> Ended {
        let limit = self.connector.config().request_timeout;
        let renewal = connection
            .lifetime
            .map(|l| Instant::now() + l.mul_f64(LOGIN_RENEWAL));
        let mut flights: FuturesUnordered<Flight> = FuturesUnordered::new();
        let mut retired = false;
        loop {
            if open.is_empty() {
                if retired {
                    return Ended::Retired;
                }
                if renewal.is_some_and(|at| at <= Instant::now()) {
                    return Ended::Broken("the login is renewed before it expires".into());
                }
            }
            let overdue = overdue_at(open, connection.pulse.moved_at(), limit);
            let wake = [overdue, renewal].into_iter().flatten().min();
            let pause = wake.map_or(limit, |at| at.saturating_duration_since(Instant::now()));
            tokio::select! {
                biased;
                Some((request, result)) = flights.next() => match result {
                    Ok(answer) => {
                        *answered = true;
                        open.retain(|(id, _)| *id != request);
                        self.tell(BrokerNews::Answered { request, answer });
                    }
                    Err(error) => return Ended::Broken(request_failure(&error)),
                },
                command = self.commands.recv(), if !retired => match command {
                    None => retired = true,
                    Some(command) => {
                        open.push_back((command.request, Instant::now()));
                        if let Some(ended) = launch(connection, command, &mut flights).await {
                            return ended;
                        }
                    }
                },
                () = connection.pulse.closed(), if flights.is_empty() => {
                    return Ended::Broken("the broker closed the connection".into());
                }
                () = tokio::time::sleep(pause) => {
                    let moved = connection.pulse.moved_at();
                    if overdue_at(open, moved, limit).is_some_and(|at| at <= Instant::now()) {
                        return Ended::Broken(silence(limit));
                    }
                }
            }
        }
    }
}

/// Gives the request to the messenger. Its first step queues it for writing, so requests
/// leave in the order of their launch.
async fn launch(
    connection: &Connection,
    command: Command,
    flights: &mut FuturesUnordered<Flight>,
) -> Option<Ended> {
    let messenger = connection.messenger.clone();
    let Command { request, body } = command;
    let mut flight: Flight = Box::pin(async move { (request, messenger.request(body).await) });
    match poll_fn(|cx| Poll::Ready(flight.as_mut().poll(cx))).await {
        Poll::Pending => flights.push(flight),
        // The one step wrote the request and found the answer: a near broker is that fast.
        Poll::Ready((id, Ok(answer))) => flights.push(Box::pin(ready((id, Ok(answer))))),
        Poll::Ready((_, Err(error))) => return Some(Ended::Broken(request_failure(&error))),
    }
    None
}

/// When the oldest request is overdue: `limit` after it was given or after bytes last
/// moved, whichever is later. Answers come in order, so the oldest holds up all others.
fn overdue_at(
    open: &VecDeque<(RequestId, Instant)>,
    moved: Instant,
    limit: Duration,
) -> Option<Instant> {
    open.front().map(|(_, given)| moved.max(*given) + limit)
}

fn silence(limit: Duration) -> String {
    format!(
        "no answer within {} ms (request.timeout.ms); connection dropped",
        limit.as_millis()
    )
}
