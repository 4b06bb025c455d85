//! A trigger as a tree. Data only.

use crate::route::field::{Field, Fields};
use crate::route::glob::Glob;

/// Something that holds or does not.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    /// All of them hold.
    All(Vec<Expr>),
    /// At least one of them holds.
    Any(Vec<Expr>),
    /// It does not hold.
    Not(Box<Expr>),
    /// Two values compare so.
    Compare(Operand, Comparison, Operand),
    /// The value is the boolean true.
    True(Operand),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Different,
    Less,
    AtMost,
    More,
    AtLeast,
    /// The first is an element of the second.
    In,
}

/// Something that has a value.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    Field(Field),
    Text(String),
    Number(String),
    Bool(bool),
    Null,
    /// Values in brackets, on the right of `in` only.
    List(Vec<Operand>),
    Call(Box<Call>),
}

/// A function and its arguments.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Contains(Operand, Operand),
    Match(Operand, Glob),
    Lowercase(Operand),
    Uppercase(Operand),
    Length(Operand),
    TypeOf(Operand),
}

impl Expr {
    /// The second field of each comparison for equality between two fields.
    pub(super) fn each_second_field<'e>(&'e self, visit: &mut dyn FnMut(&'e Field)) {
        match self {
            Self::All(terms) | Self::Any(terms) => {
                terms.iter().for_each(|term| term.each_second_field(visit));
            }
            Self::Not(term) => term.each_second_field(visit),
            Self::Compare(
                Operand::Field(_),
                Comparison::Equal | Comparison::Different,
                Operand::Field(second),
            ) => visit(second),
            Self::Compare(..) | Self::True(_) => {}
        }
    }
}

impl Fields for Expr {
    fn each_field(&mut self, visit: &mut dyn FnMut(&mut Field)) {
        match self {
            Self::All(terms) | Self::Any(terms) => {
                terms.iter_mut().for_each(|term| term.each_field(visit));
            }
            Self::Not(term) => term.each_field(visit),
            Self::Compare(left, _, right) => {
                left.each_field(visit);
                right.each_field(visit);
            }
            Self::True(operand) => operand.each_field(visit),
        }
    }
}

impl Fields for Operand {
    fn each_field(&mut self, visit: &mut dyn FnMut(&mut Field)) {
        match self {
            Self::Field(field) => visit(field),
            Self::List(items) => items.iter_mut().for_each(|item| item.each_field(visit)),
            Self::Call(call) => match &mut **call {
                Call::Contains(left, right) => {
                    left.each_field(visit);
                    right.each_field(visit);
                }
                Call::Match(operand, _)
                | Call::Lowercase(operand)
                | Call::Uppercase(operand)
                | Call::Length(operand)
                | Call::TypeOf(operand) => operand.each_field(visit),
            },
            Self::Text(_) | Self::Number(_) | Self::Bool(_) | Self::Null => {}
        }
    }
}
