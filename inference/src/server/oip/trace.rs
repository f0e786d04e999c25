//! The trace extension: which requests leave a line in the log that tells where their time went.
//!
//! A line holds the model, the request id, the caller's trace and durations, never a tensor. Settings of a model that has none of its
//! own are those of the server.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{Handle, InferError, Response, TraceContext, server::guard};

/// Settings by name, each with its values, in the order the protocol tells them.
pub(super) type Settings = Vec<(&'static str, Vec<String>)>;

/// What one place says; what it does not say is inherited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Given {
    timestamps: Option<bool>,
    /// One in so many requests is traced.
    rate: Option<u64>,
    /// So many are still traced; -1 for any number.
    count: Option<i64>,
    /// Lines written at once; kept for clients that read it, since every line is written when it is there.
    log_frequency: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whole {
    timestamps: bool,
    rate: u64,
    count: i64,
    log_frequency: u64,
}

impl Given {
    fn or(self, other: Self) -> Self {
        Self {
            timestamps: self.timestamps.or(other.timestamps),
            rate: self.rate.or(other.rate),
            count: self.count.or(other.count),
            log_frequency: self.log_frequency.or(other.log_frequency),
        }
    }

    fn whole(self) -> Whole {
        Whole {
            timestamps: self.timestamps.unwrap_or(false),
            rate: self.rate.unwrap_or(1000),
            count: self.count.unwrap_or(-1),
            log_frequency: self.log_frequency.unwrap_or(0),
        }
    }

    /// Takes one setting; without values it is inherited again.
    fn take(&mut self, name: &str, values: &[String]) -> Result<(), InferError> {
        let fault = |want: &str| InferError::input(name, format!("must be {want}"));
        let one = || match values {
            [] => Ok(None),
            [value] => Ok(Some(value.trim())),
            _ => Err(fault("one value")),
        };
        match name {
            "trace_level" => self.timestamps = level(values)?,
            "trace_rate" => {
                let rate = |text: &str| text.parse().ok().filter(|rate| *rate > 0);
                self.rate = one()?
                    .map(|text| rate(text).ok_or_else(|| fault("a whole number above 0")))
                    .transpose()?;
            }
            "trace_count" => {
                let count = |text: &str| text.parse().ok().filter(|count| *count >= -1);
                self.count = one()?
                    .map(|text| count(text).ok_or_else(|| fault("a whole number, -1 for any")))
                    .transpose()?;
            }
            "log_frequency" => {
                let number = |text: &str| text.parse().map_err(|_| fault("a whole number, not negative"));
                self.log_frequency = one()?.map(number).transpose()?;
            }
            "trace_file" | "trace_mode" => {
                return Err(InferError::input(
                    name,
                    "cannot be changed by a client; traces are lines of the log",
                ));
            }
            _ => return Err(InferError::Malformed(format!("unknown trace setting '{name}'"))),
        }
        Ok(())
    }
}

fn level(values: &[String]) -> Result<Option<bool>, InferError> {
    let mut timestamps = None;
    for value in values {
        match value.as_str() {
            "OFF" => timestamps = Some(timestamps.unwrap_or(false)),
            "TIMESTAMPS" => timestamps = Some(true),
            "TENSORS" => {
                return Err(InferError::input(
                    "trace_level",
                    "TENSORS is not offered: what was sent is never written",
                ));
            }
            other => {
                return Err(InferError::input(
                    "trace_level",
                    format!("'{other}' is neither OFF nor TIMESTAMPS"),
                ));
            }
        }
    }
    Ok(timestamps)
}

/// What the lock guards.
#[derive(Debug, Default)]
struct State {
    server: Given,
    models: BTreeMap<String, Given>,
    /// Requests seen by model.
    seen: BTreeMap<String, u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tracing {
    /// Whether any model is traced, so that requests look at the lock only then.
    on: AtomicBool,
    state: Mutex<State>,
}

impl Tracing {
    /// The settings of `model`, or of the server when it is empty.
    pub(super) fn settings(&self, handle: &Handle, model: &str) -> Result<Settings, InferError> {
        check_model(handle, model)?;
        let state = self.lock();
        let own = state.models.get(model).copied().unwrap_or_default();
        Ok(written(own.or(state.server).whole()))
    }

    /// Changes settings, all of them or none; gives what holds afterwards.
    pub(super) fn update(
        &self,
        handle: &Handle,
        model: &str,
        changes: &[(String, Vec<String>)],
    ) -> Result<Settings, InferError> {
        check_model(handle, model)?;
        let mut state = self.lock();
        let mut given = match model {
            "" => state.server,
            model => state.models.get(model).copied().unwrap_or_default(),
        };
        for (name, values) in changes {
            given.take(name, values)?;
        }
        match model {
            "" => state.server = given,
            model if given == Given::default() => {
                state.models.remove(model);
            }
            model => {
                state.models.insert(model.to_owned(), given);
            }
        }
        let any = state.server.whole().timestamps
            || state.models.values().any(|model| model.or(state.server).whole().timestamps);
        self.on.store(any, Ordering::Relaxed);
        Ok(written(given.or(if model.is_empty() { Given::default() } else { state.server }).whole()))
    }

    /// Tells of an answered request, when it is one of those to be traced.
    pub(super) fn observe(&self, id: &str, trace: Option<TraceContext>, response: &Response) {
        if self.on.load(Ordering::Relaxed) && self.due(&response.model) {
            tracing::info!(
                target: "manpasik::trace",
                model = &*response.model,
                version = &*response.version,
                request = id,
                trace = trace.map(|trace| tracing::field::display(trace.id)),
                queue_us = response.queue_us,
                compute_us = response.compute_us,
                "traced"
            );
        }
    }

    /// Counts a request of `model`; whether it is traced.
    fn due(&self, model: &str) -> bool {
        let mut state = self.lock();
        let own = state.models.get(model).copied().unwrap_or_default();
        let Whole { timestamps, rate, count, log_frequency: _ } = own.or(state.server).whole();
        if !timestamps || count == 0 {
            return false;
        }
        let seen = state.seen.entry(model.to_owned()).or_default();
        *seen += 1;
        if !seen.is_multiple_of(rate) {
            return false;
        }
        if count > 0 {
            let left = Some(count - 1);
            match state.models.get_mut(model) {
                Some(own) if own.count.is_some() => own.count = left,
                _ => state.server.count = left,
            }
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_model(handle: &Handle, model: &str) -> Result<(), InferError> {
    if model.is_empty() {
        return Ok(());
    }
    guard::check(model)?;
    if handle.models().iter().any(|status| status.name == model) {
        return Ok(());
    }
    Err(InferError::UnknownModel { name: model.to_owned() })
}

fn written(settings: Whole) -> Settings {
    let Whole { timestamps, rate, count, log_frequency } = settings;
    vec![
        ("trace_level", vec![if timestamps { "TIMESTAMPS" } else { "OFF" }.to_owned()]),
        ("trace_rate", vec![rate.to_string()]),
        ("trace_count", vec![count.to_string()]),
        ("log_frequency", vec![log_frequency.to_string()]),
        ("trace_file", vec![String::new()]),
        ("trace_mode", vec!["triton".to_owned()]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(tracing: &Tracing, model: &str, changes: &[(&str, &[&str])]) {
        let mut state = tracing.lock();
        let mut given = Given::default();
        for (name, values) in changes {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            given.take(name, &values).expect("valid");
        }
        if model.is_empty() {
            state.server = given;
        } else {
            state.models.insert(model.into(), given);
        }
    }

    #[test]
    fn one_in_so_many_is_traced_until_the_count_is_used_up() {
        let tracing = Tracing::default();
        assert!(!tracing.due("m"));
        changed(
            &tracing,
            "",
            &[("trace_level", &["TIMESTAMPS"]), ("trace_rate", &["3"]), ("trace_count", &["2"])],
        );
        let traced: Vec<bool> = (0..12).map(|_| tracing.due("m")).collect();
        assert_eq!(traced.iter().filter(|due| **due).count(), 2);
        assert!(traced[2] && traced[5]);
    }

    #[test]
    fn a_model_may_say_otherwise_than_the_server() {
        let tracing = Tracing::default();
        changed(&tracing, "", &[("trace_level", &["TIMESTAMPS"]), ("trace_rate", &["1"])]);
        changed(&tracing, "quiet", &[("trace_level", &["OFF"])]);
        assert!(tracing.due("loud") && !tracing.due("quiet"));
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        for (name, values) in [
            ("trace_level", &["TENSORS"][..]),
            ("trace_level", &["ALL"]),
            ("trace_rate", &["0"]),
            ("trace_rate", &["1", "2"]),
            ("trace_count", &["-2"]),
            ("log_frequency", &["x"]),
            ("trace_file", &["a"]),
            ("trace_mode", &["opentelemetry"]),
            ("colour", &["red"]),
        ] {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            assert!(Given::default().take(name, &values).is_err(), "{name} {values:?}");
        }
    }
}
