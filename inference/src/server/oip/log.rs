//! The logging extension: what is logged, read and changed by a client.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::InferError;

/// Puts settings into effect.
pub type LogControl = Arc<dyn Fn(&LogSettings) + Send + Sync>;

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Whether events of the level are written.
    pub info: bool,
    /// The same for warnings.
    pub warning: bool,
    /// The same for errors.
    pub error: bool,
    /// Above 0 also what helps to find faults, above 1 everything.
    pub verbose_level: u32,
    /// `default` or `ISO8601`; times are written in the latter either way.
    pub format: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { info: true, warning: true, error: true, verbose_level: 0, format: "default".into() }
    }
}

/// A value of either face.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LogValue {
    Bool(bool),
    Number(u32),
    Text(String),
}

impl LogSettings {
    fn take(&mut self, name: &str, value: &LogValue) -> Result<(), InferError> {
        let fault = |reason: &str| Err(InferError::input(name, reason));
        match (name, value) {
            ("log_info", LogValue::Bool(on)) => self.info = *on,
            ("log_warning", LogValue::Bool(on)) => self.warning = *on,
            ("log_error", LogValue::Bool(on)) => self.error = *on,
            ("log_verbose_level", LogValue::Number(level)) => self.verbose_level = *level,
            ("log_format", LogValue::Text(text)) if matches!(text.as_str(), "default" | "ISO8601") => {
                self.format.clone_from(text);
            }
            ("log_file", LogValue::Text(text)) if text.is_empty() => {}
            ("log_info" | "log_warning" | "log_error", _) => return fault("must be true or false"),
            ("log_verbose_level", _) => return fault("must be a whole number, not negative"),
            ("log_format", _) => return fault("must be default or ISO8601"),
            ("log_file", _) => return fault("cannot be changed by a client; logs go to standard error"),
            _ => return Err(InferError::Malformed(format!("unknown log setting '{name}'"))),
        }
        Ok(())
    }

    /// By name, in the order the protocol tells them.
    pub(super) fn written(&self) -> Vec<(&'static str, LogValue)> {
        vec![
            ("log_file", LogValue::Text(String::new())),
            ("log_info", LogValue::Bool(self.info)),
            ("log_warning", LogValue::Bool(self.warning)),
            ("log_error", LogValue::Bool(self.error)),
            ("log_verbose_level", LogValue::Number(self.verbose_level)),
            ("log_format", LogValue::Text(self.format.clone())),
        ]
    }
}

/// The settings that hold, and what puts them into effect.
pub(super) struct Log {
    settings: Mutex<LogSettings>,
    control: Option<LogControl>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Log {
    pub(super) fn new(control: Option<LogControl>) -> Self {
        Self { settings: Mutex::default(), control }
    }

    pub(super) fn settings(&self) -> LogSettings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes settings, all of them or none; gives what holds afterwards.
    pub(super) fn update(&self, changes: &[(String, LogValue)]) -> Result<LogSettings, InferError> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = settings.clone();
        for (name, value) in changes {
            changed.take(name, value)?;
        }
        if let Some(control) = self.control.as_ref().filter(|_| *settings != changed) {
            control(&changed);
        }
        settings.clone_from(&changed);
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(log: &Log, name: &str, value: LogValue) -> Result<LogSettings, InferError> {
        log.update(&[(name.to_owned(), value)])
    }

    #[test]
    fn a_change_is_put_into_effect_once_and_a_mistake_never() {
        let seen: Arc<Mutex<Vec<LogSettings>>> = Arc::default();
        let noted = Arc::clone(&seen);
        let log =
            Log::new(Some(Arc::new(move |settings| noted.lock().expect("lock").push(settings.clone()))));
        change(&log, "log_verbose_level", LogValue::Number(1)).expect("valid");
        change(&log, "log_verbose_level", LogValue::Number(1)).expect("valid");
        for (name, value) in [
            ("log_info", LogValue::Number(1)),
            ("log_verbose_level", LogValue::Bool(true)),
            ("log_format", LogValue::Text("xml".into())),
            ("log_file", LogValue::Text("a".into())),
            ("colour", LogValue::Bool(true)),
        ] {
            let both = [("log_error".to_owned(), LogValue::Bool(false)), (name.to_owned(), value)];
            assert!(log.update(&both).is_err(), "{name}");
        }
        let want = LogSettings { verbose_level: 1, ..LogSettings::default() };
        assert_eq!(*seen.lock().expect("lock"), std::slice::from_ref(&want));
        assert_eq!(log.settings(), want);
    }
}
