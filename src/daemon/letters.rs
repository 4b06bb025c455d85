//! What an operator does with dead letters: looks at them, sends them again, drops them.
//!
//! Works in steps, so that any number of letters takes little memory. Decides nothing about
//! what becomes a dead letter.

use std::collections::VecDeque;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::event::EventBuf;
use crate::proof::Seq;
use crate::spool::{Appender, DeadLetter, DeadLetters, Want};

/// Letters that one `list` shows, and one step of `retry` and `drop` handles.
const AT_ONCE: usize = 1000;

/// The letters that a command is for.
pub(super) enum Which {
    /// These, each of which has to exist.
    Named(VecDeque<Seq>),
    /// Those of all events in this range. What is sent again comes behind it: an event that
    /// is refused for ever is sent again once, and not for ever.
    Between(RangeInclusive<Seq>),
}

/// The letters that a command is for, step by step.
pub(super) struct Letters {
    pub(super) store: DeadLetters,
    pub(super) which: Which,
}

impl Letters {
    /// The next letters; none at the end.
    async fn next(&mut self) -> Result<Vec<DeadLetter>, String> {
        let store = self.store.clone();
        match &mut self.which {
            Which::Named(seqs) => match seqs.pop_front() {
                Some(seq) => Ok(vec![get(store, seq).await?]),
                None => Ok(Vec::new()),
            },
            Which::Between(range) => {
                let (from, last) = (*range.start(), *range.end());
                let mut step = blocking(move || store.list(from, AT_ONCE)).await?;
                step.retain(|letter| letter.seq <= last);
                let next = step.last().map_or(from, |letter| letter.seq + 1);
                *range = next..=last;
                Ok(step)
            }
        }
    }

    async fn remove(&self, letters: &[DeadLetter]) -> Result<(), String> {
        let store = self.store.clone();
        let seqs: Vec<Seq> = letters.iter().map(|letter| letter.seq).collect();
        blocking(move || store.remove(&seqs)).await.map(|_| ())
    }
}

/// Some letters, without their events.
pub(super) async fn list(
    store: &DeadLetters,
    from: Seq,
    limit: Option<usize>,
) -> Result<Value, String> {
    let (store, limit) = (store.clone(), limit.unwrap_or(AT_ONCE).min(AT_ONCE));
    let listed = blocking(move || store.list(from, limit)).await?;
    Ok(listed.iter().map(summary).collect())
}

/// One letter with its event.
pub(super) async fn show(store: &DeadLetters, seq: Seq) -> Result<Value, String> {
    Ok(whole(&get(store.clone(), seq).await?))
}

/// Appends letters as new events and removes them once they are durable: a crash between
/// the two sends an event twice, never never.
pub(super) async fn retry(appender: &Appender, mut letters: Letters) -> Result<Value, String> {
    let mut retried = 0;
    loop {
        let step = letters.next().await?;
        if step.is_empty() {
            return Ok(json!({"retried": retried}));
        }
        send_again(appender, &step)
            .await
            .map_err(|error| format!("{error}; {retried} sent again before"))?;
        letters.remove(&step).await?;
        retried += step.len();
    }
}

/// Returns once all of `letters` are durable as new events.
async fn send_again(appender: &Appender, letters: &[DeadLetter]) -> Result<(), String> {
    let mut pending = Vec::with_capacity(letters.len());
    for letter in letters {
        // Nobody would wait for room as long as that may take.
        if let Some(reason) = appender.is_full() {
            return Err(format!("the spool is full: {reason}"));
        }
        let mut event = EventBuf::default();
        event.push(&letter.bytes);
        let source = Arc::new(letter.source.clone());
        let appended = appender.append(event, source, letter.received, Want::Durable);
        pending.push(appended.await.map_err(|error| error.to_string())?);
    }
    for mut one in pending {
        one.receipt().await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Removes letters for good.
pub(super) async fn drop(mut letters: Letters) -> Result<Value, String> {
    let mut dropped = 0;
    loop {
        let step = letters.next().await?;
        if step.is_empty() {
            return Ok(json!({"dropped": dropped}));
        }
        letters.remove(&step).await?;
        dropped += step.len();
    }
}

async fn get(store: DeadLetters, seq: Seq) -> Result<DeadLetter, String> {
    let letter = blocking(move || store.get(seq)).await?;
    letter.ok_or_else(|| format!("there is no dead letter {seq}"))
}

async fn blocking<T: Send + 'static, E: Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| e.to_string())?;
    done.map_err(|e| e.to_string())
}

fn summary(letter: &DeadLetter) -> Value {
    json!({
        "seq": letter.seq,
        "topic": letter.topic,
        "partition": letter.partition,
        "reason": letter.reason,
        "dead_lettered_ms": letter.at,
        "received_ms": letter.received,
        "input": letter.source.input,
        "size": letter.bytes.len(),
    })
}

/// The event may be no text, so it is shown in hexadecimal.
fn whole(letter: &DeadLetter) -> Value {
    let mut value = summary(letter);
    let hex: String = letter
        .bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("bytes_hex".to_owned(), Value::String(hex));
    }
    value
}
