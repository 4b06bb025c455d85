//! Triggers: which events a route takes.
//!
//! A small language in the manner of Segment's Filter Query Language: comparisons of fields,
//! `and`, `or`, `!`, parentheses and a few functions; no loops, no definitions. It is parsed
//! once, with a bound on length and depth, so that evaluating costs at most the length of the
//! trigger times the length of the fields that it names.
//!
//! A field that is not there is null. A comparison of different types is false, except `!=`.
//! A field on its own is true only when it is the boolean true.

use std::fmt;

use super::caret::Caret;
use super::field::{Field, Fields, Slots, View};

mod ast;
mod eval;
mod lex;
mod parse;

use ast::{Expr, Operand};

/// Longest trigger in bytes.
pub const TRIGGER_BYTES_MAX: usize = 8 * 1024;

/// Deepest nesting of parentheses, `!` and function calls.
pub const TRIGGER_DEPTH_MAX: usize = 64;

/// A condition on events, compiled.
#[derive(Debug, Clone)]
pub struct Trigger {
    source: String,
    expr: Expr,
}

/// A text that is no trigger. Its display shows the text with a caret under the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerError {
    /// The trigger as it was written.
    pub source: String,
    /// Byte of the place.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Trigger {
    /// Compiles `source`.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse(source: &str) -> Result<Self, TriggerError> {
        parse::parse(source).map(|expr| Self {
            source: source.to_owned(),
            expr,
        })
    }

    /// The trigger as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// A word that is compared with as a field, where a text without its quotes is likelier.
    /// Whoever means the field can write `$.word`.
    pub fn unquoted_word(&self) -> Option<String> {
        let mut found = None;
        self.expr.each_second_field(&mut |field| {
            let word = field.to_string();
            let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if is_plain && !self.source.contains(&format!("$.{word}")) {
                found.get_or_insert(word);
            }
        });
        found
    }

    pub(super) fn holds(&self, view: &View<'_>, slots: &Slots) -> bool {
        eval::holds(&self.expr, &eval::Context { view, slots })
    }
}

impl Fields for Trigger {
    fn each_field(&mut self, visit: &mut dyn FnMut(&mut Field)) {
        self.expr.each_field(visit);
    }
}

impl fmt::Display for TriggerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, at) = (&self.source, self.at);
        write!(f, "{}{}", self.what, Caret { source, at })?;
        match &self.help {
            Some(help) => write!(f, " {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TriggerError {}

#[cfg(test)]
mod tests;
