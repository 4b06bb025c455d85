//! From the text of a trigger to its tree. `!` binds tightest, then comparisons, `and`, `or`.

use super::ast::{Call, Comparison, Expr, Operand};
use super::lex::{LexError, Token, token};
use super::{TRIGGER_BYTES_MAX, TRIGGER_DEPTH_MAX, TriggerError};
use crate::route::field::Field;
use crate::route::glob::Glob;
use crate::route::meta::{self, Meta};
use crate::route::preset;

const FUNCTIONS: &str = "contains, match, lowercase, uppercase, length and typeof";

/// Compiles `source`.
pub(super) fn parse(source: &str) -> Result<Expr, TriggerError> {
    let fail = |error: LexError| TriggerError {
        source: source.to_owned(),
        at: error.at,
        what: error.what,
        help: error.help,
    };
    if source.len() > TRIGGER_BYTES_MAX {
        return Err(fail(LexError {
            at: 0,
            what: format!("the trigger has more than {TRIGGER_BYTES_MAX} bytes"),
            help: None,
        }));
    }
    Parser::new(source).and_then(Parser::whole).map_err(fail)
}

struct Parser<'s> {
    source: &'s str,
    token: Token,
    /// First byte of the token.
    at: usize,
    /// Byte after the token.
    end: usize,
    depth: usize,
}

type Parsed<T> = Result<T, LexError>;

impl<'s> Parser<'s> {
    fn new(source: &'s str) -> Parsed<Self> {
        let (token, at, end) = token(source, 0)?;
        let depth = 0;
        Ok(Self {
            source,
            token,
            at,
            end,
            depth,
        })
    }

    fn whole(mut self) -> Parsed<Expr> {
        let expr = self.any()?;
        match self.token {
            Token::End => Ok(expr),
            _ => Err(self.fault("expected and, or, or the end", None)),
        }
    }

    fn fault(&self, what: &str, help: Option<String>) -> LexError {
        LexError {
            at: self.at,
            what: what.to_owned(),
            help,
        }
    }

    fn step(&mut self) -> Parsed<Token> {
        let (next, at, end) = token(self.source, self.end)?;
        (self.at, self.end) = (at, end);
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn keyword(&self) -> Option<&str> {
        match &self.token {
            Token::Path(path) => path.top_name(),
            _ => None,
        }
    }

    /// Takes the sign when it is the next word.
    fn sign(&mut self, sign: &str) -> Parsed<bool> {
        let found = matches!(self.token, Token::Sign(known) if known == sign);
        if found {
            self.step()?;
        }
        Ok(found)
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        match self.sign(sign)? {
            true => Ok(()),
            false => Err(self.fault(&format!("expected {sign}"), None)),
        }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= TRIGGER_DEPTH_MAX {
            let what = format!("nested deeper than {TRIGGER_DEPTH_MAX}");
            return Err(self.fault(&what, None));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn any(&mut self) -> Parsed<Expr> {
        self.joined("or", Self::all, Expr::Any)
    }

    fn all(&mut self) -> Parsed<Expr> {
        self.joined("and", Self::term, Expr::All)
    }

    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Parsed<Expr>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Parsed<Expr> {
        let first = part(self)?;
        if self.keyword() != Some(word) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.keyword() == Some(word) {
            self.step()?;
            parts.push(part(self)?);
        }
        Ok(join(parts))
    }

    fn term(&mut self) -> Parsed<Expr> {
        if self.sign("!")? {
            return self.deeper(|p| Ok(Expr::Not(Box::new(p.term()?))));
        }
        if self.sign("(")? {
            let inner = self.deeper(Self::any)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if let Token::At(name) = &self.token
            && let Some(condition) = preset::condition(name)
        {
            self.step()?;
            return self.deeper(|p| p.named_condition(condition));
        }
        let left = self.operand()?;
        let Some(comparison) = self.comparison() else {
            return self.alone(left);
        };
        self.step()?;
        let right = match (comparison, &self.token) {
            (Comparison::In, Token::Sign("[")) => self.list()?,
            _ => self.operand()?,
        };
        Ok(Expr::Compare(left, comparison, right))
    }

    /// A value that nothing is compared with has to be able to be true.
    fn alone(&self, operand: Operand) -> Parsed<Expr> {
        match operand {
            Operand::Field(_) | Operand::Bool(_) => Ok(Expr::True(operand)),
            Operand::Call(ref call) if matches!(**call, Call::Contains(..) | Call::Match(..)) => {
                Ok(Expr::True(operand))
            }
            _ => {
                let help = Some("write =, !=, <, <=, >, >= or in".to_owned());
                Err(self.fault("expected a comparison", help))
            }
        }
    }

    /// A named condition stands for its text.
    fn named_condition(&self, text: &str) -> Parsed<Expr> {
        let at = self.at;
        let inner = Parser {
            depth: self.depth,
            ..Parser::new(text)?
        };
        inner.whole().map_err(|error| LexError { at, ..error })
    }

    fn comparison(&self) -> Option<Comparison> {
        Some(match (&self.token, self.keyword()) {
            (Token::Sign("="), _) => Comparison::Equal,
            (Token::Sign("!="), _) => Comparison::Different,
            (Token::Sign("<"), _) => Comparison::Less,
            (Token::Sign("<="), _) => Comparison::AtMost,
            (Token::Sign(">"), _) => Comparison::More,
            (Token::Sign(">="), _) => Comparison::AtLeast,
            (_, Some("in")) => Comparison::In,
            _ => return None,
        })
    }

    fn operand(&mut self) -> Parsed<Operand> {
        let at = self.at;
        let word = self.keyword().map(str::to_owned);
        match self.token.clone() {
            Token::Text(text) => {
                self.step()?;
                Ok(Operand::Text(text))
            }
            Token::Number(number) => {
                self.step()?;
                Ok(Operand::Number(number))
            }
            Token::At(name) => {
                let meta = Meta::named(&name).ok_or_else(|| self.unknown_at(&name))?;
                self.step()?;
                Ok(Operand::Field(Field::Meta(meta)))
            }
            Token::Path(path) => {
                if let Some("and" | "or" | "in") = word.as_deref() {
                    return Err(self.fault("expected a value", None));
                }
                self.step()?;
                let constant = match word.as_deref() {
                    Some("true") => Some(Operand::Bool(true)),
                    Some("false") => Some(Operand::Bool(false)),
                    Some("null") => Some(Operand::Null),
                    _ => None,
                };
                match (constant, word) {
                    (Some(constant), _) => Ok(constant),
                    (None, Some(name)) if self.token == Token::Sign("(") => {
                        self.deeper(|p| p.call(&name, at))
                    }
                    _ => Ok(Operand::Field(Field::json(path))),
                }
            }
            Token::Sign(_) | Token::End => {
                let help = "a value is a field, a string, a number, true, false or null";
                Err(self.fault("expected a value", Some(help.to_owned())))
            }
        }
    }

    fn unknown_at(&self, name: &str) -> LexError {
        let conditions: Vec<String> = preset::CONDITIONS
            .iter()
            .map(|(name, _)| format!("@{name}"))
            .collect();
        let help = format!("known are {} and {}", meta::known(), conditions.join(", "));
        self.fault(&format!("@{name} is not known"), Some(help))
    }

    fn list(&mut self) -> Parsed<Operand> {
        self.expect("[")?;
        let mut items = vec![self.constant()?];
        while self.sign(",")? {
            items.push(self.constant()?);
        }
        self.expect("]")?;
        Ok(Operand::List(items))
    }

    fn constant(&mut self) -> Parsed<Operand> {
        let fault = self.fault("a list holds strings, numbers, true, false and null", None);
        match self.operand()? {
            Operand::Field(_) | Operand::Call(_) | Operand::List(_) => Err(fault),
            constant => Ok(constant),
        }
    }

    fn call(&mut self, name: &str, at: usize) -> Parsed<Operand> {
        self.expect("(")?;
        let call = match name {
            "contains" => {
                let left = self.operand()?;
                self.expect(",")?;
                Call::Contains(left, self.operand()?)
            }
            "match" => {
                let operand = self.operand()?;
                self.expect(",")?;
                Call::Match(operand, self.glob()?)
            }
            "lowercase" => Call::Lowercase(self.operand()?),
            "uppercase" => Call::Uppercase(self.operand()?),
            "length" => Call::Length(self.operand()?),
            "typeof" => Call::TypeOf(self.operand()?),
            _ => {
                return Err(LexError {
                    at,
                    what: format!("there is no function {name}"),
                    help: Some(format!("there are {FUNCTIONS}")),
                });
            }
        };
        self.expect(")")?;
        Ok(Operand::Call(Box::new(call)))
    }

    fn glob(&mut self) -> Parsed<Glob> {
        let Token::Text(pattern) = &self.token else {
            let help = Some("e.g. match(event, \"Order *\")".to_owned());
            return Err(self.fault("the pattern has to be a string", help));
        };
        let glob = Glob::new(pattern)
            .map_err(|error| self.fault(&format!("the pattern {}", error.0), None))?;
        self.step()?;
        Ok(glob)
    }
}
