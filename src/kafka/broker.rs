//! One task per broker that is written to: connects, pipelines requests, reconnects.
//!
//! Every request given to the task comes back in exactly one event, answered or lost. A
//! connection that misses a deadline is dropped and made anew; the deadline counts from the
//! last byte that moved, so a slow link that still moves is not taken for a dead one. One
//! that was idle for `connections.max.idle.ms` is closed, and opened for the next request.
//!
//! With acks=0 a broker does not answer. A request is then taken for delivered when it was
//! written and a small one behind it was answered, or when the connection is lost.
//! Logins and certificates are renewed by `upkeep` in between.
//! Decides nothing about batches; see `core`.

use std::collections::VecDeque;
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rskafka::messenger::{Messenger, RequestError};
use tokio::sync::mpsc;

use super::backoff::Backoff;
use super::connect::{Connection, request_failure};
use super::core::RequestId;
use super::link::Link;
use super::session::no_answer;
use super::upkeep::Upkeep;
use super::wire::{ImplicitProduce, MetadataQuery, Produce, Produced};
use super::wiring::Wiring;
use crate::config::HostPort;

/// Requests with acks=0 on one connection: the messenger remembers each until the connection
/// ends, some hundred bytes apiece.
const UNASKED_MAX: u32 = 10_000;

/// A request to send.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) request: RequestId,
    pub(super) body: Produce,
    /// The partitions join the transaction by this; see [`ImplicitProduce`].
    pub(super) implicit: bool,
}

/// A request without an answer.
struct Open {
    request: RequestId,
    given: Instant,
    /// What stands for the answer, when none is asked for.
    unasked: Option<Produced>,
}

impl Open {
    fn new(command: &Command) -> Self {
        let body = &command.body;
        Self {
            request: command.request,
            given: Instant::now(),
            unasked: (body.acks == 0).then(|| Produced::unasked(body)),
        }
    }
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
    /// The connection is closed until there is a request.
    Idle,
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
    pub(super) wiring: Wiring<Command, F>,
}

type Flight = Pin<Box<dyn Future<Output = (RequestId, Result<Produced, RequestError>)> + Send>>;

/// Why a connection is no longer served.
enum Ended {
    /// No more commands will come, and all are answered.
    Retired,
    /// It is to be made anew.
    Broken(String),
    /// It is to be made anew for the next request.
    Idle,
    /// Another one goes on in its place; nothing was in flight.
    Replaced(Box<Connection>),
}

impl<F: Fn(BrokerEvent) + Send> BrokerTask<F> {
    /// Runs until the sender of commands is dropped.
    pub(super) async fn run(mut self) {
        let backoff = Backoff::to_reconnect(self.wiring.config());
        let mut failures = 0_u32;
        let mut first = None;
        loop {
            let connector = self.wiring.connector.clone();
            let address = self.address.clone();
            let connecting = Box::pin(async move { connector.connect(&address, failures).await });
            let Some(connected) = self.while_down(connecting).await else {
                return;
            };
            let (error, needs_person) = match connected {
                Err(error) => (error.to_string(), error.needs_person()),
                Ok(connection) => {
                    self.tell(BrokerNews::Up);
                    let mut answered = false;
                    let mut connection = connection;
                    let reason = loop {
                        match self.serve(connection, first.take(), &mut answered).await {
                            Ended::Retired => return,
                            Ended::Broken(reason) => break Some(reason),
                            Ended::Idle => break None,
                            Ended::Replaced(next) => connection = *next,
                        }
                    };
                    let Some(reason) = reason else {
                        self.tell(BrokerNews::Idle);
                        failures = 0;
                        first = self.wiring.mail.recv().await;
                        if first.is_none() {
                            return;
                        }
                        continue;
                    };
                    if answered {
                        failures = 0;
                    }
                    (reason, false)
                }
            };
            if let Some(command) = first.take() {
                self.lose(command);
            }
            failures += 1;
            let pause = backoff.after(failures, &mut self.wiring.rng);
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
        (self.wiring.emit)(BrokerEvent {
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
                command = self.wiring.mail.recv() => self.lose(command?),
            }
        }
    }

    fn lose(&self, command: Command) {
        self.tell(BrokerNews::Lost {
            request: command.request,
            reason: "no connection to the broker".into(),
        });
    }

    /// Serves one connection, `first` before all others; what is unanswered at its end is
    /// lost.
    async fn serve(
        &mut self,
        connection: Connection,
        first: Option<Command>,
        answered: &mut bool,
    ) -> Ended {
        let mut open = VecDeque::new();
        let ended = self.exchange(&connection, first, &mut open, answered).await;
        drop(connection);
        let reason = match &ended {
            Ended::Retired => "the broker is no longer used",
            Ended::Broken(reason) => reason,
            Ended::Idle => "the connection was idle",
            Ended::Replaced(_) => "the connection is replaced", // and nothing is open
        };
        for Open {
            request, unasked, ..
        } in open
        {
            self.tell(match unasked {
                Some(answer) => BrokerNews::Answered { request, answer },
                None => BrokerNews::Lost {
                    request,
                    reason: reason.to_owned(),
                },
            });
        }
        ended
    }

    async fn exchange(
        &mut self,
        connection: &Connection,
        mut first: Option<Command>,
        open: &mut VecDeque<Open>,
        answered: &mut bool,
    ) -> Ended {
        let limit = self.wiring.config().request_timeout;
        let max_idle = self.wiring.config().connections_max_idle;
        let mut unasked = 0;
        let mut idle_since = Instant::now();
        let (connector, address) = (self.wiring.connector.clone(), self.address.clone());
        let mut upkeep = Upkeep::new(&connector, connection, &address);
        let mut flights: FuturesUnordered<Flight> = FuturesUnordered::new();
        let mut retired = false;
        loop {
            if open.is_empty() {
                if retired {
                    return Ended::Retired;
                }
                if let Some(successor) = upkeep.successor() {
                    return Ended::Replaced(Box::new(successor));
                }
                if max_idle.is_some_and(|most| idle_since.elapsed() >= most)
                    || unasked >= UNASKED_MAX
                {
                    return Ended::Idle;
                }
            }
            upkeep.begin();
            let overdue = overdue_at(open, connection.pulse.moved_at(), limit);
            let idle = max_idle.filter(|_| open.is_empty());
            let idle = idle.map(|most| idle_since + most);
            let wake = [overdue, upkeep.due(), idle].into_iter().flatten().min();
            let pause = wake.map_or(limit, |at| at.saturating_duration_since(Instant::now()));
            let taking = !retired && !upkeep.holds_requests();
            tokio::select! {
                biased;
                Some((request, result)) = flights.next() => match result {
                    Ok(answer) => {
                        *answered = true;
                        idle_since = Instant::now();
                        open.retain(|open| open.request != request);
                        self.tell(BrokerNews::Answered { request, answer });
                    }
                    Err(error) => return Ended::Broken(request_failure(&error)),
                },
                kept = upkeep.step() => if let Err(failure) = kept {
                    return Ended::Broken(failure.to_string());
                },
                command = next(&mut first, &mut self.wiring.mail), if taking => match command {
                    None => retired = true,
                    Some(command) => {
                        open.push_back(Open::new(&command));
                        unasked += u32::from(command.body.acks == 0);
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

async fn next(
    first: &mut Option<Command>,
    commands: &mut mpsc::UnboundedReceiver<Command>,
) -> Option<Command> {
    match first.take() {
        Some(command) => Some(command),
        None => commands.recv().await,
    }
}

/// Sends a request that has no answer, and one behind it that has: brokers take the requests
/// of a connection in order.
async fn unasked(messenger: &Messenger<Link>, body: Produce) -> Result<Produced, RequestError> {
    let answer = Produced::unasked(&body);
    let nothing = MetadataQuery {
        topics: Some(Vec::new()),
    };
    tokio::select! {
        biased;
        strange = messenger.request(body) => strange,
        behind = messenger.request(nothing) => behind.map(|_| answer),
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
    let Command {
        request,
        body,
        implicit,
    } = command;
    let mut flight: Flight = if implicit {
        Box::pin(async move { (request, messenger.request(ImplicitProduce(body)).await) })
    } else if body.acks == 0 {
        Box::pin(async move { (request, unasked(&messenger, body).await) })
    } else {
        Box::pin(async move { (request, messenger.request(body).await) })
    };
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
fn overdue_at(open: &VecDeque<Open>, moved: Instant, limit: Duration) -> Option<Instant> {
    open.front().map(|open| moved.max(open.given) + limit)
}

fn silence(limit: Duration) -> String {
    format!("{}; connection dropped", no_answer(limit))
}
