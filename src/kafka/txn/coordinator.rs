//! The task that asks the transaction coordinator what the machine wants to know, one question
//! at a time, and says what the answers mean for the run.
//!
//! How a coordinator is found and an answer is had is the dialog's.

use std::sync::Arc;

use super::super::TopicPartition;
use super::super::code;
use super::super::core::Identity;
use super::super::outcome::verdict;
use super::super::position::reader::{self, Located};
use super::super::wire::{AddPartitions, EndTxn, EndTxnBumping, TxnProducerId, millis};
use super::super::wiring::Wiring;
use super::dialog::Dialog;
use crate::config::TransactionConfig;

/// What the machine asks for, one at a time.
#[derive(Debug)]
pub(in super::super) enum Ask {
    /// Abort what is open under this identity, take a new one, read the position.
    Recover {
        spool_id: u64,
        abort: Option<Identity>,
    },
    /// Register partitions.
    Add {
        identity: Identity,
        partitions: Vec<TopicPartition>,
    },
    /// Commit.
    Commit { identity: Identity },
}

/// The answers.
#[derive(Debug)]
pub(in super::super) enum News {
    Recovered {
        identity: Identity,
        /// Partitions join the transaction by being written.
        implicit: bool,
        located: Located,
    },
    Added,
    /// `denied`: the topic that may not be written.
    NotAdded {
        denied: Option<Arc<str>>,
        words: String,
    },
    /// `next`: whom the next transaction belongs to, when it is another.
    Committed {
        next: Option<Identity>,
    },
    /// Not committed as far as this answer tells; the position will tell.
    NotCommitted {
        words: String,
    },
    /// The coordinator knows a newer epoch than ours. `recovering`: it said so to
    /// [`Ask::Recover`], which is over by this.
    Fenced {
        words: String,
        recovering: bool,
    },
    /// No answer yet; asked again by itself.
    Trouble {
        words: String,
        needs_person: bool,
    },
}

/// See the module.
pub(in super::super) struct CoordinatorTask<F> {
    dialog: Dialog<F>,
    /// Partitions join by being written: what the present producer id was taken for.
    implicit: bool,
    /// Recoveries without a commit in between.
    recoveries: u32,
}

impl<F: Fn(News) + Send> CoordinatorTask<F> {
    pub(in super::super) fn new(wiring: Wiring<Ask, F>, config: TransactionConfig) -> Self {
        Self {
            dialog: Dialog::new(wiring, config),
            implicit: false,
            recoveries: 0,
        }
    }

    /// Runs until the sender of questions is dropped.
    pub(in super::super) async fn run(mut self) {
        while let Some(question) = self.dialog.question().await {
            let answer = match question {
                Ask::Recover { spool_id, abort } => self.recover(spool_id, abort).await,
                Ask::Add {
                    identity,
                    partitions,
                } => self.add(identity, partitions).await,
                Ask::Commit { identity } => self.commit(identity).await,
            };
            match answer {
                Some(news) => self.dialog.answer(news),
                None => return,
            }
        }
    }

    async fn recover(&mut self, spool_id: u64, abort: Option<Identity>) -> Option<News> {
        if self.recoveries > 0 {
            self.dialog.rest(self.recoveries).await;
        }
        self.recoveries += 1;
        if let Some(identity) = abort
            && let Some(words) = self.abort(identity).await?
        {
            let recovering = true;
            return Some(News::Fenced { words, recovering });
        }
        let body = |dialog: &Dialog<F>| TxnProducerId {
            transactional_id: dialog.config().id.clone(),
            timeout_ms: millis(dialog.config().timeout),
        };
        let identity = loop {
            let given = self.dialog.exchange(body, |answer| answer.code).await?;
            if let Some(identity) = given.given() {
                break identity;
            }
            self.dialog
                .trouble(format!("no producer id: {}", verdict(given.code)), true);
            self.dialog.pause().await?;
        };
        self.implicit = self.dialog.offers_implicit();
        let located = self.locate(spool_id).await?;
        Some(News::Recovered {
            identity,
            implicit: self.implicit,
            located,
        })
    }

    /// Aborts; the words when we are fenced. Whether there was anything to abort is the same.
    async fn abort(&mut self, identity: Identity) -> Option<Option<String>> {
        let (code, _) = self.end(identity, false).await?;
        Some(self.fenced(code))
    }

    fn fenced(&self, code: i16) -> Option<String> {
        matches!(code, code::INVALID_PRODUCER_EPOCH | code::PRODUCER_FENCED).then(|| {
            format!(
                "another producer has taken over transactional.id {:?} ({}): stop it or give it \
                 another id, then restart this one",
                self.dialog.config().id,
                verdict(code).name
            )
        })
    }

    async fn end(&mut self, identity: Identity, commit: bool) -> Option<(i16, Option<Identity>)> {
        let body = move |dialog: &Dialog<F>| EndTxn {
            transactional_id: dialog.config().id.clone(),
            identity,
            commit,
        };
        let ended = if self.implicit {
            let body = move |dialog: &Dialog<F>| EndTxnBumping(body(dialog));
            self.dialog.exchange(body, |answer| answer.code).await?
        } else {
            self.dialog.exchange(body, |answer| answer.code).await?
        };
        Some((ended.code, ended.next))
    }

    async fn commit(&mut self, identity: Identity) -> Option<News> {
        let (code, next) = self.end(identity, true).await?;
        if code == code::NONE {
            self.recoveries = 0;
            return Some(News::Committed { next });
        }
        Some(match self.fenced(code) {
            Some(words) => News::Fenced {
                words,
                recovering: false,
            },
            None => News::NotCommitted {
                words: format!("not committed: {}", verdict(code)),
            },
        })
    }

    async fn add(&mut self, identity: Identity, partitions: Vec<TopicPartition>) -> Option<News> {
        let body = move |dialog: &Dialog<F>| AddPartitions {
            transactional_id: dialog.config().id.clone(),
            identity,
            partitions: partitions.clone(),
        };
        let worst = |parts: &[(String, i32, i16)]| {
            let told = |(_, _, code): &&(String, i32, i16)| *code != code::OPERATION_NOT_ATTEMPTED;
            let failed = parts.iter().filter(|(_, _, code)| *code != code::NONE);
            failed.clone().find(told).or(failed.clone().next()).cloned()
        };
        let answer = self
            .dialog
            .exchange(body, |answer| {
                worst(&answer.parts).map_or(code::NONE, |(_, _, code)| code)
            })
            .await?;
        let Some((topic, partition, code)) = worst(&answer.parts) else {
            return Some(News::Added);
        };
        if let Some(words) = self.fenced(code) {
            let recovering = false;
            return Some(News::Fenced { words, recovering });
        }
        let denied = code == code::TOPIC_AUTHORIZATION_FAILED;
        Some(News::NotAdded {
            words: format!("{topic}-{partition}: {}", verdict(code)),
            denied: denied.then(|| topic.into()),
        })
    }

    /// Reads the position, again and again until it is known.
    async fn locate(&mut self, spool_id: u64) -> Option<Located> {
        loop {
            let Some(home) = self.dialog.home().await else {
                self.dialog.pause().await?;
                continue;
            };
            let topic = &self.dialog.config().position_topic;
            match reader::read(self.dialog.connector(), &home, topic, spool_id).await {
                Ok(located) => {
                    self.dialog.keep(home);
                    return Some(located);
                }
                Err(error) => {
                    self.dialog.trouble(error.to_string(), error.needs_person());
                    self.dialog.pause().await?;
                }
            }
        }
    }
}
