//! Produce: batches as they were sealed, and what became of each.

use std::sync::Arc;

use bytes::Bytes;

use super::Read;
use super::put::{
    put_compact, put_count, put_len, put_no_tags, put_nullable, put_string, put_varint,
};
use crate::kafka::read::{Form, Reader};

/// First version whose answer names the refused records (KIP-467).
const RECORD_ERRORS: i16 = 8;

/// First version with tagged fields (KIP-482).
const TAGGED: i16 = 9;

request!(Produce => Produced, Produce, 3..=8);
question!(ImplicitProduce => Produced, Produce, 12..=12, tagged ALWAYS);

/// Batches for one broker, at most one per partition, grouped by topic.
#[derive(Debug)]
pub(in crate::kafka) struct Produce {
    /// Whose word is waited for: -1 all replicas in sync, 1 the leader, 0 nobody.
    pub(in crate::kafka) acks: i16,
    /// Set when the batches belong to a transaction.
    pub(in crate::kafka) transactional_id: Option<Arc<str>>,
    /// How long the broker may wait for its replicas.
    pub(in crate::kafka) timeout_ms: i32,
    pub(in crate::kafka) topics: Vec<TopicBatches>,
}

/// Batches of one topic.
#[derive(Debug)]
pub(in crate::kafka) struct TopicBatches {
    pub(in crate::kafka) topic: Arc<str>,
    /// Partition and batch.
    pub(in crate::kafka) batches: Vec<(i32, Bytes)>,
}

impl Produce {
    /// Bytes that it takes at most, but for names of unusual length.
    fn room(&self) -> usize {
        let all = self.topics.iter().flat_map(|t| &t.batches);
        64 + all.map(|(_, records)| records.len() + 300).sum::<usize>()
    }

    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        out.reserve(self.room());
        put_nullable(out, self.transactional_id.as_deref());
        out.extend_from_slice(&self.acks.to_be_bytes());
        out.extend_from_slice(&self.timeout_ms.to_be_bytes());
        put_len(out, self.topics.len());
        for TopicBatches { topic, batches } in &self.topics {
            put_string(out, topic);
            put_len(out, batches.len());
            for (partition, records) in batches {
                out.extend_from_slice(&partition.to_be_bytes());
                put_len(out, records.len());
                out.extend_from_slice(records);
            }
        }
    }
}

/// The answer to [`Produce`].
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct Produced {
    pub(in crate::kafka) parts: Vec<ProducedPart>,
    pub(in crate::kafka) throttle_ms: i32,
}

impl Produced {
    /// What stands for the answer that a broker does not give with acks=0.
    pub(in crate::kafka) fn unasked(request: &Produce) -> Self {
        let parts = request.topics.iter().flat_map(|topic| {
            topic.batches.iter().map(|(partition, _)| ProducedPart {
                topic: topic.topic.to_string(),
                partition: *partition,
                ..ProducedPart::default()
            })
        });
        Self {
            parts: parts.collect(),
            throttle_ms: 0,
        }
    }
}

/// The answer for one batch.
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct ProducedPart {
    pub(in crate::kafka) topic: String,
    pub(in crate::kafka) partition: i32,
    pub(in crate::kafka) code: i16,
    /// Index of the first refused record, v8 on.
    pub(in crate::kafka) record_index: Option<u32>,
    pub(in crate::kafka) message: Option<String>,
    /// Where the first record landed.
    pub(in crate::kafka) base_offset: i64,
    /// The broker's clock, when the topic keeps that (LogAppendTime); else -1.
    pub(in crate::kafka) append_time_ms: i64,
}

impl Produced {
    pub(super) fn read(r: &mut Reader<'_>, version: i16) -> Read<Self> {
        let form = Form::of(version >= TAGGED);
        let mut parts = Vec::new();
        for _ in 0..r.count(form)? {
            let topic = r.text(form)?;
            for _ in 0..r.count(form)? {
                parts.push(ProducedPart::read(r, version, form, &topic)?);
            }
            r.end(form)?;
        }
        let throttle_ms = r.i32()?;
        r.end(form)?;
        Ok(Self { parts, throttle_ms })
    }
}

impl ProducedPart {
    fn read(r: &mut Reader<'_>, version: i16, form: Form, topic: &str) -> Read<Self> {
        let partition = r.i32()?;
        let code = r.i16()?;
        let base_offset = r.i64()?;
        let append_time_ms = r.i64()?;
        if version >= 5 {
            let _log_start_offset = r.i64()?;
        }
        let mut record_index = None;
        let mut message = None;
        if version >= RECORD_ERRORS {
            for _ in 0..r.count(form)? {
                let index = u32::try_from(r.i32()?).ok();
                let text = r.nullable_text(form)?;
                r.end(form)?;
                if record_index.is_none() {
                    record_index = index;
                    message = text;
                }
            }
            let text = r.nullable_text(form)?;
            message = message.or(text);
        }
        r.end(form)?;
        Ok(Self {
            topic: topic.to_owned(),
            partition,
            code,
            record_index,
            message,
            base_offset,
            append_time_ms,
        })
    }
}

/// Produce with transaction version 2: a partition joins the transaction by being written.
#[derive(Debug)]
pub(in crate::kafka) struct ImplicitProduce(pub(in crate::kafka) Produce);

impl ImplicitProduce {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        let body = &self.0;
        out.reserve(body.room());
        match &body.transactional_id {
            Some(id) => put_compact(out, id),
            None => put_varint(out, 0),
        }
        out.extend_from_slice(&body.acks.to_be_bytes());
        out.extend_from_slice(&body.timeout_ms.to_be_bytes());
        put_count(out, body.topics.len());
        for topic in &body.topics {
            put_compact(out, &topic.topic);
            put_count(out, topic.batches.len());
            for (partition, records) in &topic.batches {
                out.extend_from_slice(&partition.to_be_bytes());
                put_count(out, records.len());
                out.extend_from_slice(records);
                put_no_tags(out);
            }
            put_no_tags(out);
        }
        put_no_tags(out);
    }
}
