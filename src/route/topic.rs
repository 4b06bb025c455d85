//! Topic names: Kafka's rules, and which names a template may produce.

use super::field::{Field, Fields, Slots, View};
use super::glob::Glob;
use super::template::{Template, TemplateError};

/// Longest topic name (Kafka, `org.apache.kafka.common.internals.Topic`).
pub const TOPIC_BYTES_MAX: usize = 249;

/// Names that begin so belong to Kafka itself (`__consumer_offsets`).
const INTERNAL_PREFIX: &str = "__";

/// What breaks Kafka's rules for topic names, if anything.
pub fn topic_fault(topic: &str) -> Option<&'static str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if topic.is_empty() {
        return Some("is empty");
    }
    if topic == "." || topic == ".." {
        return Some("is not allowed as a topic");
    }
    if topic.len() > TOPIC_BYTES_MAX {
        return Some("is too long for a topic");
    }
    (!topic.bytes().all(allowed)).then_some("has characters that a topic cannot have")
}

/// The topic of a route: a name, or a template that is confined.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    template: Template,
    allowed: Vec<String>,
    globs: Vec<Glob>,
}

/// Why a topic is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The name breaks Kafka's rules.
    #[error("{name:?} {what}; use 1 to {TOPIC_BYTES_MAX} of a-z, A-Z, 0-9, dot, _ and -")]
    Name {
        /// The name.
        name: String,
        /// The rule.
        what: &'static str,
    },
    /// The template is broken.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Whoever writes an event could pick any topic.
    #[error(
        "{source_text:?} lets an event pick any topic; begin it with a fixed text such as \
         \"events-\", or list what is allowed in allowed_topics"
    )]
    Unconfined {
        /// The template.
        source_text: String,
    },
    /// An entry of the allow-list is broken.
    #[error("the allowed topic {pattern:?} {what}")]
    Pattern {
        /// The entry.
        pattern: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Why one event has no topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TopicRefused {
    #[error("the topic {name:?} {what}")]
    Name { name: String, what: &'static str },
    #[error("the topic {0:?} is not among allowed_topics")]
    NotAllowed(String),
    #[error("the topic {0:?} is one of Kafka's own")]
    Internal(String),
    #[error("no topic: {0}")]
    Missing(#[from] super::template::Missing),
}

impl TopicSpec {
    /// A topic from its template; `allowed` holds names, or patterns as in `match()`.
    ///
    /// # Errors
    /// When a name breaks Kafka's rules, or a template with holes has neither a fixed
    /// beginning nor an allow-list.
    pub fn new(source: &str, allowed: &[String]) -> Result<Self, TopicError> {
        let template = Template::parse(source)?;
        if let Some(name) = template.literal() {
            if let Some(what) = topic_fault(name) {
                let name = name.to_owned();
                return Err(TopicError::Name { name, what });
            }
        } else {
            let prefix = template.prefix();
            if prefix.is_empty() && allowed.is_empty() {
                let source_text = source.to_owned();
                return Err(TopicError::Unconfined { source_text });
            }
            if let Some(what) = topic_fault(&format!("{prefix}x")) {
                let name = prefix.to_owned();
                return Err(TopicError::Name { name, what });
            }
        }
        let globs = allowed.iter().map(|pattern| {
            Glob::new(pattern).map_err(|error| TopicError::Pattern {
                pattern: pattern.clone(),
                what: error.0,
            })
        });
        Ok(Self {
            template,
            globs: globs.collect::<Result<_, _>>()?,
            allowed: allowed.to_vec(),
        })
    }

    /// The topic, when it is the same for every event.
    pub fn fixed(&self) -> Option<&str> {
        self.template.literal()
    }

    /// The template as it was written.
    pub fn source(&self) -> &str {
        self.template.source()
    }

    /// The allow-list as it was written.
    pub fn allowed(&self) -> &[String] {
        &self.allowed
    }

    /// Appends the topic of one event to `out`, which is empty.
    pub(super) fn render(
        &self,
        view: &View<'_>,
        slots: &Slots,
        out: &mut Vec<u8>,
    ) -> Result<(), TopicRefused> {
        self.template.render(view, slots, out)?;
        let name = std::str::from_utf8(out).unwrap_or_default();
        if let Some(what) = topic_fault(name) {
            let name = name.chars().take(TOPIC_BYTES_MAX).collect();
            return Err(TopicRefused::Name { name, what });
        }
        if name.starts_with(INTERNAL_PREFIX) && !self.template.prefix().starts_with(INTERNAL_PREFIX)
        {
            return Err(TopicRefused::Internal(name.to_owned()));
        }
        if !self.globs.is_empty() && !self.globs.iter().any(|glob| glob.matches(name)) {
            return Err(TopicRefused::NotAllowed(name.to_owned()));
        }
        Ok(())
    }
}

impl Fields for TopicSpec {
    fn each_field(&mut self, visit: &mut dyn FnMut(&mut Field)) {
        self.template.each_field(visit);
    }
}
