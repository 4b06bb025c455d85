//! Reads the position topic back at start: where a spool's record lies, and what it says.
//!
//! From the end backwards in growing steps: the record of a spool that was just running is
//! among the last ones. Asks one broker at a time; retries nothing, its caller does.

use super::scan::Scan;
use super::{Found, Position, ValueError, key};
use crate::config::HostPort;
use crate::kafka::TopicPartition;
use crate::kafka::code;
use crate::kafka::connect::{Connector, Trace};
use crate::kafka::creation::{new_topics, refusal};
use crate::kafka::outcome::verdict;
use crate::kafka::rights::{self, On, Right};
use crate::kafka::session::Session;
use crate::kafka::wire::{
    Fetch, Fetched, FirstOffsetQuery, Metadata, MetadataQuery, MetadataTopic, NewTopics,
    SettingsOf, SettingsQuery,
};

/// Bytes of one fetch; well below what an answer may have.
const FETCH_BYTES: i32 = 1 << 20;

/// Offsets that the first look back covers, and how much further each next one goes.
const FIRST_LOOK: i64 = 2_000;
const STEP: i64 = 16;

/// Setting of the topic that has to hold the position for ever.
const CLEANUP: &str = "cleanup.policy";
const COMPACT: &str = "compact";

/// Settings of a position topic that is made here: small segments are compacted sooner, so
/// that less is read at a start.
const NEW_TOPIC: [(&str, &str); 2] = [(CLEANUP, COMPACT), ("segment.bytes", "16777216")];

/// Why the position is not known.
#[derive(Debug, thiserror::Error)]
pub(in crate::kafka) enum ReadError {
    #[error(
        "the position topic {topic:?} does not exist; create it with cleanup.policy=compact, \
         see docs/transactions.md"
    )]
    NoTopic { topic: String },
    #[error(
        "the position topic {topic:?} has {CLEANUP}={policy}: positions would be deleted by age; \
         set it to compact"
    )]
    NotCompacted { topic: String, policy: String },
    /// `grant`: what gives the rights.
    #[error("no right to {missing} the position topic {topic:?}; {grant}")]
    Forbidden {
        topic: String,
        missing: &'static str,
        grant: String,
    },
    #[error(transparent)]
    Value(#[from] ValueError),
    /// In passing.
    #[error("{0}")]
    Passing(String),
}

impl ReadError {
    /// Whether only a person can mend it. It is retried all the same.
    pub(in crate::kafka) fn needs_person(&self) -> bool {
        !matches!(self, Self::Passing(_))
    }
}

/// Where a spool's position is written, and what it is now.
#[derive(Debug)]
pub(in crate::kafka) struct Located {
    pub(in crate::kafka) to: TopicPartition,
    pub(in crate::kafka) position: Option<Position>,
}

/// Reads the position of `spool_id`, by `session` and by one with the partition's leader.
pub(in crate::kafka) async fn read(
    connector: &Connector,
    session: &Session,
    topic: &str,
    spool_id: u64,
) -> Result<Located, ReadError> {
    let query = MetadataQuery {
        topics: Some(vec![topic.into()]),
    };
    let metadata = session.ask(query).await;
    let metadata = metadata.map_err(ReadError::Passing)?;
    let partitions = match partitions(connector, topic, &metadata) {
        Err(error @ ReadError::NoTopic { .. }) => {
            create(connector, session, topic).await?;
            return Err(error);
        }
        other => other?,
    };
    compacted(session, topic).await?;
    let key = key(spool_id);
    let count = partitions.len();
    let own = usize::try_from(spool_id % count.max(1) as u64).unwrap_or_default();
    let to = |index: usize| TopicPartition {
        topic: topic.into(),
        partition: partitions.get(index).map_or(0, |(id, _)| *id),
    };
    let look = async |index: usize| {
        let leader = partitions
            .get(index)
            .and_then(|(_, leader)| leader.as_ref());
        let leader = leader
            .ok_or_else(|| ReadError::Passing(format!("partition {} has no leader", to(index))))?;
        search(connector, leader, to(index), &key).await
    };
    let writable = rights::may_write(session, &topic.into(), to(own).partition).await;
    let writable = writable.map_err(ReadError::Passing)?;
    let mut found = match (writable, look(own).await) {
        (true, found) => found?,
        // Both at once, so that nobody has to mend it twice.
        (false, Err(ReadError::Forbidden { .. })) => {
            return Err(forbidden(connector, topic, &rights::OF_POSITIONS));
        }
        (false, _) => return Err(forbidden(connector, topic, &[Right::Write])),
    };
    if found.is_none() {
        // Never written, or written when the topic had another number of partitions.
        for index in (0..count).filter(|index| *index != own) {
            let other = look(index).await?;
            found = [found, other]
                .into_iter()
                .flatten()
                .max_by_key(|f: &Found| f.at);
        }
    }
    Ok(Located {
        to: to(own),
        position: found.map(|found| found.position),
    })
}

/// Partitions in order, each with its leader's address.
fn partitions(
    connector: &Connector,
    topic: &str,
    metadata: &Metadata,
) -> Result<Vec<(i32, Option<HostPort>)>, ReadError> {
    let passing = |words: String| Err(ReadError::Passing(words));
    let Some(answer) = metadata.topics.iter().find(|known| known.name == topic) else {
        return passing(format!("the broker did not tell about topic {topic:?}"));
    };
    let MetadataTopic {
        code, partitions, ..
    } = answer;
    match *code {
        0 if !partitions.is_empty() => {}
        code::UNKNOWN_TOPIC_OR_PARTITION => {
            return Err(ReadError::NoTopic {
                topic: topic.into(),
            });
        }
        code::TOPIC_AUTHORIZATION_FAILED => {
            return Err(forbidden(connector, topic, &rights::OF_POSITIONS));
        }
        code => return passing(format!("topic {topic:?}: {}", verdict(code))),
    }
    let address = |leader: Option<i32>| {
        let broker = metadata.brokers.iter().find(|b| Some(b.id) == leader)?;
        Some(broker.address())
    };
    let with_leader = partitions.iter().map(|p| (p.id, address(p.leader)));
    Ok(with_leader.collect())
}

fn forbidden(connector: &Connector, topic: &str, missing: &[Right]) -> ReadError {
    ReadError::Forbidden {
        topic: topic.into(),
        missing: match missing {
            [Right::Read] => "read",
            [Right::Write] => "write",
            _ => "write and read",
        },
        grant: rights::grant(connector.config(), On::Topic(topic), missing),
    }
}

/// Makes the topic, with `topic.auto.create` only; it is asked for again a moment later.
async fn create(connector: &Connector, session: &Session, topic: &str) -> Result<(), ReadError> {
    let config = connector.config();
    let Some(how) = config.topic_creation else {
        return Ok(());
    };
    let request = NewTopics {
        settings: &NEW_TOPIC,
        ..new_topics(vec![topic.into()], how, config.request_timeout)
    };
    let answer = session.ask(request).await;
    let answer = answer.map_err(ReadError::Passing)?;
    let words = match answer.topics.first() {
        Some((_, code::NONE | code::TOPIC_ALREADY_EXISTS, _)) => {
            format!("the position topic {topic:?} is made; waiting for its leader")
        }
        Some((_, code, message)) => refusal(topic, *code, message.as_deref()),
        None => format!("creating the position topic {topic:?}: an empty answer"),
    };
    Err(ReadError::Passing(words))
}

/// Refuses a topic that forgets by age. Who may not ask is believed.
async fn compacted(session: &Session, topic: &str) -> Result<(), ReadError> {
    let query = SettingsQuery {
        of: SettingsOf::Topic(topic.into()),
        names: &[CLEANUP],
    };
    let answer = session.ask(query).await;
    let answer = answer.map_err(ReadError::Passing)?;
    match answer.text(CLEANUP) {
        Some(policy) if answer.code == code::NONE && policy != COMPACT => {
            Err(ReadError::NotCompacted {
                topic: topic.into(),
                policy: policy.into(),
            })
        }
        Some(_) if answer.code == code::NONE => Ok(()),
        _ => {
            tracing::info!(
                topic,
                "cannot see whether the position topic is compacted; \
                grant DescribeConfigs on it to have this checked"
            );
            Ok(())
        }
    }
}

/// The newest committed record with this key in one partition, up to its high watermark.
async fn search(
    connector: &Connector,
    leader: &HostPort,
    of: TopicPartition,
    key: &str,
) -> Result<Option<Found>, ReadError> {
    let session = Session::open(connector, leader, &mut Trace::default()).await;
    let session = session.map_err(|error| ReadError::Passing(error.to_string()))?;
    let leader = AtLeader {
        connector,
        session,
        of,
    };
    let first = leader.first().await?;
    let end = leader.fetch(first).await?.high_watermark;
    let mut look = FIRST_LOOK;
    loop {
        let from = first.max(end.saturating_sub(look));
        let found = leader.read(key, from..end).await?;
        if found.is_some() || from == first {
            return Ok(found);
        }
        look = look.saturating_mul(STEP);
    }
}

/// One partition, at its leader.
struct AtLeader<'c> {
    connector: &'c Connector,
    session: Session,
    of: TopicPartition,
}

impl AtLeader<'_> {
    async fn first(&self) -> Result<i64, ReadError> {
        let query = FirstOffsetQuery {
            of: self.of.clone(),
        };
        let first = self.session.ask(query).await;
        let first = first.map_err(ReadError::Passing)?;
        self.pass(first.code)?;
        Ok(first.offset)
    }

    async fn read(
        &self,
        key: &str,
        offsets: std::ops::Range<i64>,
    ) -> Result<Option<Found>, ReadError> {
        let mut scan = Scan::new(key.to_owned());
        let mut at = offsets.start;
        while at < offsets.end {
            let fetched = self.fetch(at).await?;
            match scan.take(&fetched.records)? {
                Some(next) if next > at => at = next,
                // Compaction has emptied the rest.
                _ if fetched.records.is_empty() => break,
                _ => return Err(ValueError::Batch("it is longer than its answer").into()),
            }
        }
        Ok(scan.found())
    }

    async fn fetch(&self, offset: i64) -> Result<Fetched, ReadError> {
        let query = Fetch {
            of: self.of.clone(),
            offset,
            max_bytes: FETCH_BYTES,
        };
        let fetched = self.session.ask(query).await;
        let fetched = fetched.map_err(ReadError::Passing)?;
        self.pass(fetched.code)?;
        Ok(fetched)
    }

    fn pass(&self, code: i16) -> Result<(), ReadError> {
        match code {
            0 => Ok(()),
            code::TOPIC_AUTHORIZATION_FAILED => {
                Err(forbidden(self.connector, &self.of.topic, &[Right::Read]))
            }
            code => {
                let words = format!("{}: {}", self.of, verdict(code));
                Err(ReadError::Passing(words))
            }
        }
    }
}
