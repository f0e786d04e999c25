//! What to find, in the filter language of MLflow: `name = 'a' AND tags.stage != 'old' AND metrics.auroc > 0.9`.
//!
//! Conditions are joined by AND, there is no OR. A key may be quoted with backticks or double quotes, a text is in
//! single or double quotes, a list is `('a', 'b')`. Errors say where the text stops making sense.

use thiserror::Error;

/// Longest filter, in bytes.
const FILTER_BYTES_MAX: usize = 6_000;
/// Most conditions of one filter.
const CONDITIONS_MAX: usize = 50;

/// A filter or an order that cannot be read, or that asks for what is not there.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{clause}: at character {at}: {reason}")]
pub struct FilterError {
    /// `filter` or `order_by`.
    pub clause: &'static str,
    /// Characters before the fault.
    pub at: usize,
    /// What was expected.
    pub reason: String,
}

/// What a condition is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// A field of the thing itself.
    Attribute(String),
    /// A tag.
    Tag(String),
    /// A setting of a run.
    Param(String),
    /// The last value of a figure of a run.
    Metric(String),
}

/// How it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `=`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `LIKE`, `%` for any text and `_` for any character.
    Like,
    /// The same in capitals or not.
    Ilike,
    /// `IN`
    In,
    /// `NOT IN`
    NotIn,
}

/// What it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// Texts.
    List(Vec<String>),
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// What it is about.
    pub of: Of,
    /// How it is compared.
    pub op: Op,
    /// With what.
    pub value: Value,
}

/// What to order by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The key.
    pub of: Of,
    /// The largest first.
    pub descending: bool,
}

/// Reads a filter; an empty one has no condition.
///
/// # Errors
/// A text that is no filter, with the place.
pub fn filter(text: &str) -> Result<Vec<Condition>, FilterError> {
    let mut words = Words::new("filter", text)?;
    let mut conditions = Vec::new();
    while !words.at_end() {
        if !conditions.is_empty() {
            words.keyword("AND")?;
        }
        if conditions.len() == CONDITIONS_MAX {
            return Err(words.fault(format!("more than {CONDITIONS_MAX} conditions")));
        }
        conditions.push(words.condition()?);
    }
    Ok(conditions)
}

/// Reads one item of `order_by`, such as `metrics.auroc DESC`.
///
/// # Errors
/// A text that is none, with the place.
pub fn order(text: &str) -> Result<Order, FilterError> {
    let mut words = Words::new("order_by", text)?;
    let of = words.key()?;
    let descending = if words.at_end() {
        false
    } else {
        let word = words.bare().unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "ASC" => false,
            "DESC" => true,
            _ => return Err(words.fault("expected ASC or DESC")),
        }
    };
    if words.at_end() { Ok(Order { of, descending }) } else { Err(words.fault("expected the end")) }
}

/// A text read from the left.
struct Words<'a> {
    clause: &'static str,
    text: &'a str,
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn new(clause: &'static str, text: &'a str) -> Result<Self, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError { clause, at: 0, reason: format!("more than {FILTER_BYTES_MAX} bytes") });
        }
        Ok(Self { clause, text, rest: text.trim_start() })
    }

    fn fault(&self, reason: impl Into<String>) -> FilterError {
        let before = self.text.len() - self.rest.len();
        let at = self.text.get(..before).map_or(0, |before| before.chars().count());
        FilterError { clause: self.clause, at, reason: reason.into() }
    }

    fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `length` bytes and the blanks after them.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest.trim_start();
        taken
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let there = self.rest.starts_with(symbol);
        if there {
            self.take(symbol.len());
        }
        there
    }

    /// A word without quotes.
    fn bare(&mut self) -> Option<&'a str> {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
        let length = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        (length > 0).then(|| self.take(length))
    }

    /// A text between two of one of `quotes`, which stands twice where it is meant itself.
    fn quoted(&mut self, quotes: &[char]) -> Result<Option<String>, FilterError> {
        let Some(quote) = self.rest.chars().next().filter(|first| quotes.contains(first)) else {
            return Ok(None);
        };
        let mut found = String::new();
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c != quote {
                found.push(c);
            } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
                found.push(quote);
                chars.next();
            } else {
                self.take(at + quote.len_utf8());
                return Ok(Some(found));
            }
        }
        Err(self.fault(format!("the text that begins with {quote} does not end")))
    }

    fn keyword(&mut self, word: &str) -> Result<(), FilterError> {
        let before = self.rest;
        if self.bare().is_some_and(|found| found.eq_ignore_ascii_case(word)) {
            return Ok(());
        }
        self.rest = before;
        Err(self.fault(format!("expected {word}")))
    }

    fn condition(&mut self) -> Result<Condition, FilterError> {
        let of = self.key()?;
        let op = self.op()?;
        let value = match op {
            Op::In | Op::NotIn => self.list()?,
            Op::Equal
            | Op::Unequal
            | Op::Less
            | Op::AtMost
            | Op::Greater
            | Op::AtLeast
            | Op::Like
            | Op::Ilike => self.value()?,
        };
        Ok(Condition { of, op, value })
    }

    fn key(&mut self) -> Result<Of, FilterError> {
        let start = self.rest;
        if let Some(name) = self.quoted(&['`', '"'])? {
            return Ok(Of::Attribute(name));
        }
        let Some(word) = self.bare() else { return Err(self.fault("expected a key such as tags.name")) };
        let (head, tail) = word.split_once('.').map_or((None, word), |(head, tail)| (Some(head), tail));
        let Some(head) = head else { return Ok(Of::Attribute(word.to_owned())) };
        let key = match (tail.is_empty(), self.quoted(&['`', '"'])?) {
            (true, Some(quoted)) => quoted,
            (false, None) => tail.to_owned(),
            (true, None) | (false, Some(_)) => {
                self.rest = start;
                return Err(self.fault("expected a key after the point"));
            }
        };
        match head.to_ascii_lowercase().as_str() {
            "attribute" | "attributes" | "attr" | "run" => Ok(Of::Attribute(key)),
            "tag" | "tags" => Ok(Of::Tag(key)),
            "param" | "params" | "parameter" | "parameters" => Ok(Of::Param(key)),
            "metric" | "metrics" => Ok(Of::Metric(key)),
            _ => {
                self.rest = start;
                Err(self.fault(format!("`{head}` is none of attributes, tags, params, metrics")))
            }
        }
    }

    fn op(&mut self) -> Result<Op, FilterError> {
        let symbols = [
            ("!=", Op::Unequal),
            ("<=", Op::AtMost),
            (">=", Op::AtLeast),
            ("=", Op::Equal),
            ("<", Op::Less),
            (">", Op::Greater),
        ];
        for (symbol, op) in symbols {
            if self.symbol(symbol) {
                return Ok(op);
            }
        }
        let before = self.rest;
        match self.bare().map(str::to_ascii_uppercase).as_deref() {
            Some("LIKE") => Ok(Op::Like),
            Some("ILIKE") => Ok(Op::Ilike),
            Some("IN") => Ok(Op::In),
            Some("NOT") => self.keyword("IN").map(|()| Op::NotIn),
            Some(_) | None => {
                self.rest = before;
                Err(self.fault("expected one of = != < <= > >= LIKE ILIKE IN, NOT IN"))
            }
        }
    }

    fn value(&mut self) -> Result<Value, FilterError> {
        if let Some(text) = self.quoted(&['\'', '"'])? {
            return Ok(Value::Text(text));
        }
        let length =
            self.rest.find(|c: char| c.is_whitespace() || c == ',' || c == ')').unwrap_or(self.rest.len());
        let number = self.rest.get(..length).and_then(|word| word.parse::<f64>().ok());
        let Some(number) = number.filter(|number| number.is_finite()) else {
            return Err(self.fault("expected a text in quotes or a number"));
        };
        self.take(length);
        Ok(Value::Number(number))
    }

    fn list(&mut self) -> Result<Value, FilterError> {
        if !self.symbol("(") {
            return Err(self.fault("expected a list in brackets"));
        }
        let mut list = Vec::new();
        loop {
            let Some(text) = self.quoted(&['\'', '"'])? else {
                return Err(self.fault("expected a text in quotes"));
            };
            list.push(text);
            if self.symbol(")") {
                return Ok(Value::List(list));
            }
            if !self.symbol(",") {
                return Err(self.fault("expected a comma or the closing bracket"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(of: Of, op: Op, value: &str) -> Condition {
        Condition { of, op, value: Value::Text(value.into()) }
    }

    #[test]
    fn every_kind_of_condition_is_read() {
        let read = filter(
            "name='a b' and tags.`my key` LIKE \"x%\" AND metrics.auroc >= 9e-1 AND params.lr != '0.1'",
        );
        let expected = vec![
            text(Of::Attribute("name".into()), Op::Equal, "a b"),
            text(Of::Tag("my key".into()), Op::Like, "x%"),
            Condition { of: Of::Metric("auroc".into()), op: Op::AtLeast, value: Value::Number(0.9) },
            text(Of::Param("lr".into()), Op::Unequal, "0.1"),
        ];
        assert_eq!(read, Ok(expected));
        let list = Value::List(vec!["a".into(), "it's".into()]);
        let read = filter("run_id NOT IN ('a', 'it''s')");
        assert_eq!(
            read,
            Ok(vec![Condition { of: Of::Attribute("run_id".into()), op: Op::NotIn, value: list }])
        );
        assert_eq!(filter("  "), Ok(vec![]));
    }

    #[test]
    fn a_fault_says_where_it_is() {
        for (bad, at) in [("name = 'a", 7), ("name 'a'", 5), ("name = 'a' OR x = 'b'", 11), ("what.x = 1", 0)]
        {
            assert_eq!(filter(bad).expect_err(bad).at, at, "{bad}");
        }
        assert!(filter(&"a=1 and ".repeat(2_000)).is_err(), "too long");
    }

    #[test]
    fn orders_go_up_unless_told() {
        let key = Of::Metric("auroc".into());
        assert_eq!(order("metrics.auroc DESC"), Ok(Order { of: key.clone(), descending: true }));
        assert_eq!(order("metrics.auroc"), Ok(Order { of: key, descending: false }));
        assert!(order("name sideways").is_err() && order("name ASC, x").is_err());
    }

    proptest! {
        #[test]
        fn fuzz_filters_never_panic(text in ".{0,80}") {
            let _ = (filter(&text), order(&text));
        }

        #[test]
        fn any_text_can_be_asked_for(value in "[^\u{0}]{0,40}") {
            let read = filter(&format!("tags.k = '{}'", value.replace('\'', "''")));
            prop_assert_eq!(read, Ok(vec![text(Of::Tag("k".into()), Op::Equal, &value)]));
        }
    }
}
