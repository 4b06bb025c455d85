//! Settings of topics and brokers: asked with DescribeConfigs, given with CreateTopics.

use std::sync::Arc;

use super::Read;
use super::put::{put_len, put_string};
use crate::kafka::read::Reader;

/// Kafka's numbers for what a name stands for (org.apache.kafka.common.config.ConfigResource).
const TOPIC: u8 = 2;
const BROKER: u8 = 4;

request!(SettingsQuery => Settings, DescribeConfigs, 1..=2);
request!(NewTopics => CreatedTopics, CreateTopics, 2..=4);

/// What has settings.
#[derive(Debug)]
pub(in crate::kafka) enum SettingsOf {
    /// Any broker tells them.
    Topic(Arc<str>),
    /// The broker of this id; only it tells them.
    Broker(i32),
}

/// Asks for some settings of one topic or broker.
#[derive(Debug)]
pub(in crate::kafka) struct SettingsQuery {
    pub(in crate::kafka) of: SettingsOf,
    pub(in crate::kafka) names: &'static [&'static str],
}

impl SettingsQuery {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_len(out, 1);
        match &self.of {
            SettingsOf::Topic(name) => {
                out.push(TOPIC);
                put_string(out, name);
            }
            SettingsOf::Broker(id) => {
                out.push(BROKER);
                put_string(out, &id.to_string());
            }
        }
        put_len(out, self.names.len());
        self.names.iter().for_each(|name| put_string(out, name));
        out.push(0); // include_synonyms
    }
}

/// The answer to [`SettingsQuery`].
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct Settings {
    pub(in crate::kafka) code: i16,
    /// Name and value; a value is missing when it is a secret.
    pub(in crate::kafka) values: Vec<(String, Option<String>)>,
}

impl Settings {
    fn read(r: &mut Reader<'_>, _version: i16) -> Read<Self> {
        let _throttle_ms = r.i32()?;
        let mut settings = Self::default();
        for _ in 0..r.len()? {
            settings.code = r.i16()?;
            let _message = r.nullable()?;
            let _kind = r.bytes(1)?;
            let _name = r.string()?;
            for _ in 0..r.len()? {
                let name = r.string()?;
                let value = r.nullable()?;
                let _read_only = r.bytes(1)?;
                let _source = r.bytes(1)?;
                let _sensitive = r.bytes(1)?;
                for _ in 0..r.len()? {
                    let _synonym = (r.string()?, r.nullable()?, r.bytes(1)?);
                }
                settings.values.push((name, value));
            }
        }
        Ok(settings)
    }

    /// The value of this name as a number.
    pub(in crate::kafka) fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// The value of this name.
    pub(in crate::kafka) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.values.iter().find(|(known, _)| known == name)?;
        value.as_deref()
    }
}

/// Asks for topics to be made.
#[derive(Debug)]
pub(in crate::kafka) struct NewTopics {
    pub(in crate::kafka) names: Vec<Arc<str>>,
    /// -1 = the broker's `num.partitions`, from version 4 on (KIP-464).
    pub(in crate::kafka) partitions: i32,
    /// -1 = the broker's `default.replication.factor`, from version 4 on.
    pub(in crate::kafka) replication: i16,
    /// Name and value, where the topics shall not have the broker's defaults.
    pub(in crate::kafka) settings: &'static [(&'static str, &'static str)],
    /// How long the broker may take.
    pub(in crate::kafka) timeout_ms: i32,
    /// Asks only whether they could be made.
    pub(in crate::kafka) dry_run: bool,
}

impl NewTopics {
    fn write(&self, out: &mut Vec<u8>, _version: i16) {
        put_len(out, self.names.len());
        for name in &self.names {
            put_string(out, name);
            out.extend_from_slice(&self.partitions.to_be_bytes());
            out.extend_from_slice(&self.replication.to_be_bytes());
            put_len(out, 0); // assignments
            put_len(out, self.settings.len());
            for (name, value) in self.settings {
                put_string(out, name);
                put_string(out, value);
            }
        }
        out.extend_from_slice(&self.timeout_ms.to_be_bytes());
        out.push(u8::from(self.dry_run));
    }
}

/// The answer to [`NewTopics`]: name, code and the broker's words.
#[derive(Debug, Default, PartialEq)]
pub(in crate::kafka) struct CreatedTopics {
    pub(in crate::kafka) topics: Vec<(String, i16, Option<String>)>,
}

impl CreatedTopics {
    fn read(r: &mut Reader<'_>, _version: i16) -> Read<Self> {
        let _throttle_ms = r.i32()?;
        let mut topics = Vec::new();
        for _ in 0..r.len()? {
            topics.push((r.string()?, r.i16()?, r.nullable()?));
        }
        Ok(Self { topics })
    }
}
