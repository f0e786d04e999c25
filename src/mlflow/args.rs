//! What a call brings: its query, its path and its JSON body as one set of names.
//!
//! The body is the JSON of a protocol buffer as clients write it: a whole number may come as a number or as a text,
//! a number that is none as `"NaN"`, and an absent field, an empty text and `null` mean the same.

use std::collections::BTreeMap;

use axum::{body::Bytes, extract::RawPathParams};
use serde_json::{Map, Value};

use super::fault::Fault;

/// Longest list of a call: metrics, tags or ids.
const LIST_MAX: usize = 1_000;

/// The arguments of a call.
#[derive(Debug, Default)]
pub(crate) struct Args(Map<String, Value>);

impl Args {
    /// Reads them; the path wins over the body, the body over the query.
    pub(super) fn read(query: &str, path: &RawPathParams, body: &Bytes) -> Result<Self, Fault> {
        let mut args = Map::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            collect(&mut args, &key, Value::String(value.into_owned()));
        }
        if !body.iter().all(u8::is_ascii_whitespace) {
            let body: Value = serde_json::from_slice(body)
                .map_err(|error| Fault::invalid(format!("the body is not JSON: {error}")))?;
            match body {
                Value::Object(fields) => args.extend(fields),
                Value::Null => {}
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    return Err(Fault::invalid("the body is not a JSON object"));
                }
            }
        }
        for (key, value) in path {
            args.insert(key.to_owned(), Value::String(value.to_owned()));
        }
        Ok(Self(args))
    }

    /// A text, if it is there and not empty.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, Fault> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(Fault::invalid(format!("`{key}` must be a text")))
            }
        }
    }

    /// A text that must be there.
    pub(super) fn needed(&self, key: &str) -> Result<&str, Fault> {
        self.text(key)?.ok_or_else(|| Fault::invalid(format!("Missing value for required parameter '{key}'")))
    }

    /// A text in one of two places, of which older clients know the second only.
    pub(super) fn either(&self, key: &str, older: &str) -> Result<&str, Fault> {
        match self.text(key)? {
            Some(text) => Ok(text),
            None => self.text(older)?.map_or_else(|| self.needed(key), Ok),
        }
    }

    /// A whole number.
    pub(super) fn int(&self, key: &str) -> Result<Option<i64>, Fault> {
        self.0.get(key).map_or(Ok(None), |value| int(key, value))
    }

    /// A number; may be none (NaN) or without bounds.
    pub(super) fn number(&self, key: &str) -> Result<f64, Fault> {
        number(key, self.0.get(key).unwrap_or(&Value::Null))
    }

    /// A list of texts or numbers, as texts; a single one is a list of one.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, Fault> {
        let read = |value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                Err(Fault::invalid(format!("`{key}` must be a list of texts")))
            }
        };
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => bounded(key, list)?.iter().map(read).collect(),
            Some(one @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_))) => {
                read(one).map(|one| vec![one])
            }
        }
    }

    /// A list of objects, each a set of arguments.
    pub(super) fn list(&self, key: &str) -> Result<Vec<Self>, Fault> {
        let read = |value: &Value| match value {
            Value::Object(fields) => Ok(Self(fields.clone())),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(Fault::invalid(format!("`{key}` must be a list of objects")))
            }
        };
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => bounded(key, list)?.iter().map(read).collect(),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                Err(Fault::invalid(format!("`{key}` must be a list")))
            }
        }
    }

    /// A list of `{key, value}`.
    pub(super) fn pairs(&self, key: &str) -> Result<BTreeMap<String, String>, Fault> {
        let pair = |pair: &Self| {
            Ok((pair.needed("key")?.to_owned(), pair.text("value")?.unwrap_or_default().to_owned()))
        };
        self.list(key)?.iter().map(pair).collect()
    }

    /// An experiment's id; absent: the default one.
    pub(super) fn experiment(&self, key: &str) -> Result<i64, Fault> {
        Ok(self.int(key)?.unwrap_or(registry::runs::DEFAULT_EXPERIMENT))
    }

    /// Where a list begins and how many it has, from `page_token` and `max_results`.
    pub(super) fn page(&self, usual: u64, most: u64) -> Result<Page, Fault> {
        let offset = match self.text("page_token")? {
            None => 0,
            Some(token) => {
                token.parse().map_err(|_| Fault::invalid("`page_token` is none of this server"))?
            }
        };
        let limit = match self.int("max_results")? {
            None => usual,
            Some(wanted) => u64::try_from(wanted)
                .ok()
                .filter(|wanted| (1..=most).contains(wanted))
                .ok_or_else(|| Fault::invalid(format!("`max_results` must be from 1 to {most}")))?,
        };
        Ok(Page { offset, limit })
    }

    /// The JSON of one field, as it came.
    pub(super) fn raw(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }
}

/// A part of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub(super) offset: u64,
    pub(super) limit: u64,
}

impl Page {
    /// One more than asked for, which tells whether there is a next page.
    pub(super) fn asked(self) -> u64 {
        self.limit + 1
    }

    /// Cuts what was asked for down to the page; the token of the next one, empty after the last.
    pub(super) fn cut<T>(self, found: &mut Vec<T>) -> String {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        if found.len() <= limit {
            return String::new();
        }
        found.truncate(limit);
        (self.offset + self.limit).to_string()
    }
}

/// A key that comes more than once in a query is a list.
fn collect(args: &mut Map<String, Value>, key: &str, value: Value) {
    match args.get_mut(key) {
        None => {
            args.insert(key.to_owned(), value);
        }
        Some(Value::Array(list)) => list.push(value),
        Some(one) => {
            let first = one.take();
            *one = Value::Array(vec![first, value]);
        }
    }
}

fn bounded<'v>(key: &str, list: &'v [Value]) -> Result<&'v [Value], Fault> {
    if list.len() > LIST_MAX {
        return Err(Fault::invalid(format!(
            "`{key}` has {} items; at most {LIST_MAX} at a time",
            list.len()
        )));
    }
    Ok(list)
}

fn int(key: &str, value: &Value) -> Result<Option<i64>, Fault> {
    let read = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    read.map(Some).ok_or_else(|| Fault::invalid(format!("`{key}` must be a whole number")))
}

fn number(key: &str, value: &Value) -> Result<f64, Fault> {
    let read = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok(),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    read.ok_or_else(|| Fault::invalid(format!("`{key}` must be a number")))
}
