//! All metrics of the process as text, in either form that Prometheus reads.

use super::histogram;

/// Which form a scraper asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The form every scraper reads.
    Classic,
    /// The newer form, which has exemplars.
    OpenMetrics,
}

impl Form {
    /// The form that an `Accept` header asks for.
    pub(crate) fn asked(accept: Option<&str>) -> Self {
        let newer = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if newer { Self::OpenMetrics } else { Self::Classic }
    }

    /// Its `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// `classic`, what the recorder says, and the histograms in this form.
    pub(crate) fn render(self, classic: String) -> String {
        match self {
            Self::Classic => {
                let mut text = classic;
                histogram::write(&mut text, false);
                text
            }
            Self::OpenMetrics => {
                let lines = classic.lines().filter(|line| !line.is_empty());
                let mut text: String = lines.map(|line| translated(line) + "\n").collect();
                histogram::write(&mut text, true);
                text + "# EOF\n"
            }
        }
    }
}

/// In the newer form a counter is named without the `_total` of its sample.
fn translated(line: &str) -> String {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    match words[..] {
        ["#", "TYPE", name, "counter"] => match name.strip_suffix("_total") {
            Some(name) => format!("# TYPE {name} counter"),
            None => format!("# TYPE {name} unknown"),
        },
        ["#", "HELP", name, help] => {
            format!("# HELP {} {help}", name.strip_suffix("_total").unwrap_or(name))
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_form_is_given_to_who_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        assert_eq!(Form::asked(Some(prometheus)), Form::OpenMetrics);
        assert_eq!(Form::asked(Some("*/*")), Form::Classic);
        assert_eq!(Form::asked(None), Form::Classic);
    }

    #[test]
    fn counters_change_their_name_and_nothing_else_does() {
        let classic =
            "# HELP a_total As so far\n# TYPE a_total counter\na_total{b=\"c\"} 3\n\n# TYPE d gauge\nd 1\n";
        let text = Form::OpenMetrics.render(classic.to_owned());
        let want = "# HELP a As so far\n# TYPE a counter\na_total{b=\"c\"} 3\n# TYPE d gauge\nd 1\n";
        assert!(text.starts_with(want), "{text}");
        assert!(text.ends_with("# EOF\n") && !text.contains("\n\n"));
        assert!(Form::Classic.render(classic.to_owned()).starts_with(classic));
    }
}
