//! Whether a trigger holds for an event.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::Operand;
use super::ast::{Call, Comparison, Expr};
use crate::route::field::{Slots, View};
use crate::route::json::items;
use crate::route::value::Value;

/// Where values come from.
pub(super) struct Context<'v, 'e> {
    pub(super) view: &'v View<'e>,
    pub(super) slots: &'v Slots,
}

/// Whether `expr` holds. The depth of its recursion is bounded by the parser.
pub(super) fn holds(expr: &Expr, context: &Context<'_, '_>) -> bool {
    match expr {
        Expr::All(terms) => terms.iter().all(|term| holds(term, context)),
        Expr::Any(terms) => terms.iter().any(|term| holds(term, context)),
        Expr::Not(term) => !holds(term, context),
        Expr::True(operand) => value(operand, context) == Value::Bool(true),
        Expr::Compare(left, comparison, right) => {
            let left = value(left, context);
            match comparison {
                Comparison::In => is_in(&left, right, context),
                _ => compares(&left, *comparison, &value(right, context)),
            }
        }
    }
}

fn compares(left: &Value<'_>, comparison: Comparison, right: &Value<'_>) -> bool {
    let order = || left.order(right);
    match comparison {
        Comparison::Equal => left.equals(right),
        Comparison::Different => !left.equals(right),
        Comparison::Less => order() == Some(Ordering::Less),
        Comparison::More => order() == Some(Ordering::Greater),
        Comparison::AtMost => order().is_some_and(Ordering::is_le),
        Comparison::AtLeast => order().is_some_and(Ordering::is_ge),
        Comparison::In => false,
    }
}

fn is_in(left: &Value<'_>, right: &Operand, context: &Context<'_, '_>) -> bool {
    match right {
        Operand::List(list) => list.iter().any(|item| left.equals(&value(item, context))),
        _ => holds_element(&value(right, context), left),
    }
}

fn holds_element(list: &Value<'_>, wanted: &Value<'_>) -> bool {
    match list {
        Value::List(raw) => items(raw).any(|item| Value::of_json(item).equals(wanted)),
        _ => false,
    }
}

fn value<'x>(operand: &'x Operand, context: &Context<'_, 'x>) -> Value<'x> {
    match operand {
        Operand::Field(field) => context.view.value(field, context.slots),
        Operand::Text(text) => Value::Text(Cow::Borrowed(text)),
        Operand::Number(number) => Value::Number(Cow::Borrowed(number)),
        Operand::Bool(bool) => Value::Bool(*bool),
        Operand::Null | Operand::List(_) => Value::Null,
        Operand::Call(inner) => call(inner, context),
    }
}

/// What a function answers; null when it has no answer for that type.
fn call<'x>(call: &'x Call, context: &Context<'_, 'x>) -> Value<'x> {
    match call {
        Call::Contains(left, right) => {
            Value::Bool(contains(&value(left, context), &value(right, context)))
        }
        Call::Match(operand, glob) => match value(operand, context) {
            Value::Text(text) => Value::Bool(glob.matches(&text)),
            _ => Value::Bool(false),
        },
        Call::Lowercase(operand) => text_of(value(operand, context), |t| t.to_lowercase()),
        Call::Uppercase(operand) => text_of(value(operand, context), |t| t.to_uppercase()),
        Call::Length(operand) => {
            let length = match value(operand, context) {
                Value::Text(text) => text.chars().count(),
                Value::List(raw) => items(raw).count(),
                _ => return Value::Null,
            };
            Value::Number(Cow::Owned(length.to_string()))
        }
        Call::TypeOf(operand) => Value::Text(Cow::Borrowed(value(operand, context).type_name())),
    }
}

fn contains(whole: &Value<'_>, part: &Value<'_>) -> bool {
    match (whole, part) {
        (Value::Text(whole), Value::Text(part)) => {
            memchr::memmem::find(whole.as_bytes(), part.as_bytes()).is_some()
        }
        (Value::List(_), part) => holds_element(whole, part),
        _ => false,
    }
}

fn text_of(value: Value<'_>, change: impl FnOnce(&str) -> String) -> Value<'_> {
    match value {
        Value::Text(text) => Value::Text(Cow::Owned(change(&text))),
        _ => Value::Null,
    }
}
