//! The core against a model of two brokers with a real broker's rules of de-duplication:
//! whatever fails, and in whatever order, each batch is in the log once and in its place, and
//! nothing is acknowledged that is not there.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::Compression;
use crate::kafka::outcome::verdict;
use crate::kafka::{BatchBuilder, EncodedBatch, Expiry, RecordRef};
use crate::proof::{self, SeqRange, SeqRanges};

/// Batches that the broker refuses as too large, by the remainder of their number.
const TOO_LARGE: u64 = 7;

/// The batches of a producer that a broker remembers.
const REMEMBERED: usize = 5;

mod runs;

#[derive(Debug, Clone)]
enum Step {
    /// A new batch.
    Send,
    /// A broker works on its oldest request, with this code for a failure before or after
    /// the append.
    Work {
        broker: i32,
        code: i16,
        after: bool,
    },
    /// The answer to a broker's oldest request arrives.
    Answer {
        broker: i32,
        throttle: bool,
    },
    /// The connection ends; `worked` requests are still worked on, the next one late.
    Drop {
        broker: i32,
        worked: usize,
        late: bool,
    },
    /// A request of a dead connection is worked on at last.
    Late,
    /// The broker restarts and remembers each producer's last batch only.
    Restart {
        broker: i32,
    },
    /// The other broker becomes the leader.
    Move,
    /// The producer hears who leads.
    Metadata,
    /// The topic is forgotten, if nothing of it is unresolved.
    Forget,
    Time {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let broker = 1..=2_i32;
    let code = prop_oneof![
        8 => Just(0_i16),
        1 => prop::sample::select(vec![2, 3, 5, 6, 19, 29, 56, 89]),
        1 => prop::sample::select(vec![-1, 7, 13, 20]),
    ];
    prop_oneof![
        6 => Just(Step::Send),
        8 => (broker.clone(), code, any::<bool>())
            .prop_map(|(broker, code, after)| Step::Work { broker, code, after }),
        8 => (broker.clone(), prop::bool::weighted(0.05))
            .prop_map(|(broker, throttle)| Step::Answer { broker, throttle }),
        1 => (broker.clone(), 0..4_usize, any::<bool>())
            .prop_map(|(broker, worked, late)| Step::Drop { broker, worked, late }),
        1 => Just(Step::Late),
        1 => broker.prop_map(|broker| Step::Restart { broker }),
        1 => Just(Step::Move),
        2 => Just(Step::Metadata),
        1 => Just(Step::Forget),
        3 => (1..400_u64).prop_map(|ms| Step::Time { ms }),
    ]
}

/// What a partition's leader knows of a producer.
#[derive(Debug, Default)]
struct Memory {
    epoch: i16,
    /// First and last sequence of the newest batches.
    batches: VecDeque<(i32, i32)>,
}

#[derive(Debug)]
struct Wire {
    request: RequestId,
    records: Bytes,
    /// The code to answer with, once worked on.
    code: Option<i16>,
}

struct World {
    core: Core,
    now: Now,
    to: TopicPartition,
    leader: i32,
    log: Vec<u64>,
    memory: HashMap<i64, Memory>,
    wires: HashMap<i32, VecDeque<Wire>>,
    late: Vec<(i32, Bytes)>,
    /// Number of a batch by its records.
    numbers: HashMap<Bytes, u64>,
    /// Records by identity and sequence, to see a sequence used twice.
    used: HashMap<(i64, i16, i32), Bytes>,
    next: u64,
    unresolved: usize,
    acked: Vec<u64>,
    refused: Vec<u64>,
    /// `delivery.timeout.ms`
    lifetime: Option<Duration>,
    born: HashMap<u64, Instant>,
    expired: Vec<u64>,
    given_up: Vec<u64>,
    term: u32,
    next_id: i64,
}

impl World {
    fn new(retries: Option<u32>) -> Self {
        let millis = Duration::from_millis;
        let settings = Settings {
            max_in_flight: 5,
            max_request_bytes: 1 << 20,
            retry: Backoff {
                first: millis(50),
                max: millis(200),
            },
            idempotent: true,
            retries,
        };
        let (_, authority) = proof::issue();
        let mut world = Self {
            core: Core::new(settings, Some(authority), fastrand::Rng::with_seed(1)),
            now: Now {
                mono: Instant::now(),
                unix_ms: 1_000_000,
            },
            to: TopicPartition {
                topic: "t".into(),
                partition: 0,
            },
            leader: 1,
            log: Vec::new(),
            memory: HashMap::new(),
            wires: HashMap::from([(1, VecDeque::new()), (2, VecDeque::new())]),
            late: Vec::new(),
            numbers: HashMap::new(),
            used: HashMap::new(),
            next: 1,
            unresolved: 0,
            acked: Vec::new(),
            refused: Vec::new(),
            lifetime: None,
            born: HashMap::new(),
            expired: Vec::new(),
            given_up: Vec::new(),
            term: 0,
            next_id: 1,
        };
        world.core.connection(1, true, world.now);
        world.core.connection(2, true, world.now);
        world.step(Step::Metadata);
        world
    }

    fn send(&mut self, number: u64) {
        let encoded = sealed(number);
        let ranges = SeqRanges::from(SeqRange {
            first: number,
            count: 1,
        });
        self.unresolved += 1;
        let to = self.to.clone();
        self.core.send(
            Batch {
                to,
                encoded,
                ranges,
                term: self.term,
                expires: self.lifetime.map(|lifetime| {
                    let at = *self.born.entry(number).or_insert(self.now.mono) + lifetime;
                    Expiry {
                        oldest: at,
                        newest: at,
                    }
                }),
            },
            self.now,
        );
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send => {
                self.next += 1;
                self.send(self.next - 1);
            }
            Step::Work {
                broker,
                code,
                after,
            } => self.work(broker, code, after),
            Step::Answer { broker, throttle } => self.answer(broker, throttle),
            Step::Drop {
                broker,
                worked,
                late,
            } => self.drop_link(broker, worked, late),
            Step::Late => {
                if !self.late.is_empty() {
                    let (broker, records) = self.late.remove(0);
                    self.append(broker, &records);
                }
            }
            Step::Restart { broker } => {
                self.drop_link(broker, 0, false);
                if self.leader == broker {
                    for memory in self.memory.values_mut() {
                        while memory.batches.len() > 1 {
                            memory.batches.pop_front();
                        }
                    }
                }
            }
            Step::Move => self.leader = 3 - self.leader,
            Step::Metadata => {
                self.core.topic_usable("t");
                let to = self.to.clone();
                self.core.leader(&to, Some(self.leader), self.now);
            }
            Step::Forget if self.unresolved > 0 => {}
            Step::Forget => {
                self.core.forget_topic("t");
                self.term = 0;
                self.step(Step::Metadata);
            }
            Step::Time { ms } => {
                self.now.mono += Duration::from_millis(ms);
                self.now.unix_ms += ms as i64;
                self.core.tick(self.now);
            }
        }
        self.act();
    }

    fn work(&mut self, broker: i32, fault: i16, after: bool) {
        let wires = self.wires.get_mut(&broker).unwrap();
        let Some(at) = wires.iter().position(|w| w.code.is_none()) else {
            return;
        };
        let records = wires[at].records.clone();
        let appends = fault == 0 || (after && matches!(fault, -1 | 7 | 13 | 20));
        let mut code = fault;
        if appends {
            let done = self.append(broker, &records);
            if fault == 0 || done != 0 {
                code = done;
            }
        }
        self.wires.get_mut(&broker).unwrap()[at].code = Some(code);
    }

    /// A broker's rules (ProducerAppendInfo.java, UnifiedLog.scala).
    fn append(&mut self, broker: i32, records: &Bytes) -> i16 {
        let at = |from: usize| &records[from..];
        let id = i64::from_be_bytes(at(43)[..8].try_into().unwrap());
        let epoch = i16::from_be_bytes(at(51)[..2].try_into().unwrap());
        let first = i32::from_be_bytes(at(53)[..4].try_into().unwrap());
        let count = i32::from_be_bytes(at(57)[..4].try_into().unwrap());
        let last = first + count - 1;
        let body = records.slice(61..);
        let number = self.numbers[&body];
        let before = self.used.insert((id, epoch, first), body.clone());
        assert!(
            before.is_none_or(|b| b == body),
            "sequence {first} names two contents"
        );
        if broker != self.leader {
            return 6;
        }
        if number.is_multiple_of(TOO_LARGE) {
            return 10;
        }
        let known = self.memory.contains_key(&id);
        let memory = self.memory.entry(id).or_default();
        if known && epoch < memory.epoch {
            return 47;
        }
        if known && epoch > memory.epoch {
            if first != 0 {
                return 45;
            }
            memory.batches.clear();
        } else if known {
            if memory.batches.contains(&(first, last)) {
                return 0;
            }
            if memory
                .batches
                .back()
                .is_some_and(|(_, end)| first != end + 1)
            {
                return 45;
            }
        }
        memory.epoch = epoch;
        memory.batches.push_back((first, last));
        if memory.batches.len() > REMEMBERED {
            memory.batches.pop_front();
        }
        self.log.push(number);
        0
    }

    fn answer(&mut self, broker: i32, throttle: bool) {
        let wires = self.wires.get_mut(&broker).unwrap();
        let Some(wire) = wires.pop_front_if(|w| w.code.is_some()) else {
            return;
        };
        let verdict = verdict(wire.code.unwrap());
        let reply = Reply::Code {
            verdict,
            message: None,
            record_index: None,
        };
        let replies = vec![PartReply {
            to: self.to.clone(),
            reply,
        }];
        let throttle = Duration::from_millis(if throttle { 100 } else { 0 });
        self.core
            .answered(wire.request, replies, throttle, self.now);
    }

    fn drop_link(&mut self, broker: i32, worked: usize, late: bool) {
        for _ in 0..worked {
            self.work(broker, 0, false);
        }
        self.core.connection(broker, false, self.now);
        for (at, wire) in std::mem::take(self.wires.get_mut(&broker).unwrap())
            .into_iter()
            .enumerate()
        {
            if wire.code.is_none() && late && at == worked {
                self.late.push((broker, wire.records.clone()));
            }
            self.core.lost(wire.request, "lost", self.now);
        }
        self.core.connection(broker, true, self.now);
    }

    fn act(&mut self) {
        loop {
            let actions = self.core.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.carry_out(action);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Produce {
                broker,
                request,
                parts,
            } => {
                assert_eq!(parts.len(), 1);
                let records = parts[0].records.clone();
                self.wires.get_mut(&broker).unwrap().push_back(Wire {
                    request,
                    records,
                    code: None,
                });
                let waiting = self.wires[&broker].len();
                assert!(waiting <= 5, "{waiting} requests on the wire");
            }
            Action::WantIdentity => {
                let identity = Identity {
                    id: self.next_id,
                    epoch: 0,
                };
                self.next_id += 1;
                self.core.identity(identity, self.now);
            }
            Action::Denied { topic, words } => {
                self.core
                    .topic_failing(&topic, words, self.now.mono, self.now);
            }
            Action::Refresh | Action::Accepted { .. } => {}
            Action::Stored { .. } => panic!("a core with the authority proves"),
            Action::Report(report) => self.report(report),
        }
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Acked { proof, .. } => {
                self.unresolved -= 1;
                let number = proof.ranges().first().unwrap();
                assert!(
                    self.log.contains(&number),
                    "{number} acknowledged, not in {:?}",
                    self.log
                );
                self.acked.push(number);
            }
            Report::Refused {
                refused, returned, ..
            } => {
                let number = refused.first().unwrap();
                assert!(number.is_multiple_of(TOO_LARGE), "{number} refused");
                self.unresolved -= 1;
                self.refused.push(number);
                self.returned(&returned);
            }
            Report::Returned { returned, .. } => {
                self.core.topic_usable("t");
                self.returned(&returned);
            }
            Report::GivenUp {
                given_up, returned, ..
            } => {
                self.unresolved -= given_up.len();
                self.given_up
                    .extend(given_up.iter().filter_map(SeqRanges::first));
                self.returned(&returned);
            }
            Report::ClusterChanged | Report::Run(_) => {}
        }
    }

    fn returned(&mut self, returned: &Returned) {
        if returned.term == self.term {
            self.term += 1;
        }
        self.unresolved -= returned.batches.len();
        for ranges in &returned.batches {
            let number = ranges.first().unwrap();
            let over = |(born, limit)| born + limit <= self.now.mono;
            let born = self.born.get(&number).copied();
            if born.zip(self.lifetime).is_some_and(over) {
                self.expired.push(number);
                continue;
            }
            assert!(
                !self.log.contains(&number),
                "{number} given back, and in the log"
            );
            self.send(number);
        }
    }

    /// All is well again: everything is resolved before long.
    fn heal(&mut self) {
        while !self.late.is_empty() {
            self.step(Step::Late);
        }
        self.step(Step::Metadata);
        for _ in 0..3000 {
            if self.unresolved == 0 {
                return;
            }
            for broker in [1, 2] {
                self.work(broker, 0, false);
                self.answer(broker, false);
            }
            self.step(Step::Time { ms: 20 });
            self.step(Step::Metadata);
        }
        panic!("{} are never resolved: {:?}", self.unresolved, self.core);
    }
}

/// A batch of one record, its number.
fn sealed(number: u64) -> EncodedBatch {
    let mut builder = BatchBuilder::new();
    builder.push(&RecordRef {
        key: None,
        value: Some(&number.to_be_bytes()),
        timestamp: None,
        headers: &[],
    });
    builder.seal(Compression::None).unwrap()
}
