//! The report as one page that needs nothing else: no script, no font, no picture from elsewhere.

mod draw;
mod style;
mod svg;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{EvalReport, Measure};
use crate::TrainingError;

/// Where a report was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The page.
    pub html: PathBuf,
    /// The same numbers for scripts.
    pub json: PathBuf,
}

/// Writes `report.html` and `report.json` to `<root>/<model>/<version>/`, each whole or not at all.
///
/// # Errors
/// A folder or file that cannot be written, named.
pub fn write(report: &EvalReport, root: &Path) -> Result<Written> {
    let folder = root.join(&report.model).join(&report.version);
    fs::create_dir_all(&folder).map_err(TrainingError::io("create", &folder))?;
    let written = Written { html: folder.join("report.html"), json: folder.join("report.json") };
    write_whole(&written.json, &(serde_json::to_string_pretty(report)? + "\n"))?;
    write_whole(&written.html, &html(report))?;
    Ok(written)
}

fn write_whole(path: &Path, text: &str) -> Result<(), TrainingError> {
    let part = path.with_extension(format!("{}.part", std::process::id()));
    fs::write(&part, text).map_err(TrainingError::io("write", &part))?;
    fs::rename(&part, path).map_err(TrainingError::io("move into place", path))
}

/// The page as text.
#[must_use]
pub fn html(report: &EvalReport) -> String {
    let title = escape(&format!("{} {}", report.model, report.version));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{}</style></head>\n<body><main>\n<h1>{title}</h1>\n",
        style::SHEET
    );
    for section in [head(report), figures(report), pictures(report), parts(report), protocol(report)] {
        page.push_str(&section);
    }
    page + "</main></body></html>\n"
}

fn head(report: &EvalReport) -> String {
    let mut text = String::new();
    if report.synthetic {
        text.push_str("<p class=\"notice\">Synthetic: trained and measured on simulated data only.</p>\n");
    }
    let _ = writeln!(
        text,
        "<p>Family {}, task {}. Test set: {}; {} rows. Reference information, not for diagnosis.</p>",
        escape(&report.family),
        escape(&report.task),
        escape(&report.test_set),
        report.rows
    );
    text
}

fn figures(report: &EvalReport) -> String {
    let whole = report.measures.iter().filter(|measure| measure.subgroup.is_none());
    let mut text = String::from("<h2>On the whole test set</h2>\n");
    text.push_str(&table(
        &["figure", "value", "95 % interval", "simple methods on the same rows", "rows"],
        whole,
        false,
    ));
    if !report.remarks.is_empty() {
        text.push_str("<ul>");
        for remark in &report.remarks {
            let _ = write!(text, "<li>{}</li>", escape(remark));
        }
        text.push_str("</ul>\n");
    }
    text
}

fn pictures(report: &EvalReport) -> String {
    if report.plots.is_empty() {
        return String::new();
    }
    let drawn: String = report.plots.iter().enumerate().map(|(at, plot)| draw::figure(at, plot)).collect();
    format!("<h2>Pictures</h2>\n<div class=\"figures\">\n{drawn}</div>\n")
}

/// One table for each way of dividing the test set: `age`, `sex`, `class` and so on.
fn parts(report: &EvalReport) -> String {
    let divided = |measure: &&Measure| measure.subgroup.is_some();
    let names: BTreeSet<&str> = report.measures.iter().filter(divided).map(division).collect();
    let mut text = String::new();
    for name in names {
        let _ = writeln!(text, "<h2>By {}</h2>", escape(name));
        let rows = report.measures.iter().filter(divided).filter(|measure| division(measure) == name);
        let header = ["part", "figure", "value", "95 % interval", "simple methods on the same rows", "rows"];
        text.push_str(&table(&header, rows, true));
    }
    text
}

/// What a subgroup divides by: the word before `=`, `<` or `>`.
fn division(measure: &Measure) -> &str {
    let subgroup = measure.subgroup.as_deref().unwrap_or_default();
    subgroup.split(['=', '<', '>']).next().unwrap_or_default()
}

fn table<'a>(header: &[&str], rows: impl Iterator<Item = &'a Measure>, parts: bool) -> String {
    let mut text = String::from("<div class=\"wide\"><table><tr>");
    for name in header {
        let _ = write!(text, "<th scope=\"col\">{}</th>", escape(name));
    }
    text.push_str("</tr>\n");
    for measure in rows {
        text.push_str("<tr>");
        if parts {
            let _ = write!(
                text,
                "<th scope=\"row\">{}</th>",
                escape(measure.subgroup.as_deref().unwrap_or_default())
            );
        }
        let interval = measure.low.zip(measure.high);
        let interval = interval.map(|(low, high)| format!("{} to {}", number(low), number(high)));
        let beside = measure.beside().map(|(name, value)| format!("{name} {}", number(value)));
        let beside: Vec<String> = beside.collect();
        for cell in [
            measure.name.clone(),
            number(measure.value),
            interval.unwrap_or_default(),
            beside.join("; "),
            measure.rows.to_string(),
        ] {
            let _ = write!(text, "<td>{}</td>", escape(&cell));
        }
        text.push_str("</tr>\n");
    }
    text + "</table></div>\n"
}

fn protocol(report: &EvalReport) -> String {
    let of = if report.synthetic {
        "simulated anew from the bundle's own seed"
    } else {
        "frozen by a hash of the subject"
    };
    format!(
        "<h2>How it was measured</h2>\n<p>By the engine that serves, on test rows {of}; they were used once for this \
         report and for no choice. Simple methods were fitted on the same training rows in the same run. Intervals are \
         95 % percentile bootstraps over people, or over rows where rows are independent. Parts of the test set under \
         30 rows are not reported.</p>\n"
    )
}

/// Text that cannot be taken for markup, within elements and within quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Four digits after the point below ten, two above.
fn number(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.4}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evaluate::plots::{self, Axis, Band, Fan, Plot, Rival, Series};

    /// A report with a picture of each kind, and `word` wherever a text can stand.
    fn report(word: &str) -> EvalReport {
        let text = || word.to_owned();
        let labels = [text(), text()];
        let rival = Rival { name: text(), scores: vec![0.1, 0.9, 0.4] };
        let fan = Fan {
            title: text(),
            caption: text(),
            x: Axis::new(word),
            y: Axis::new(word),
            history: vec![(-1.0, 5.0), (0.0, 6.0)],
            truth: vec![(1.0, 7.0)],
            median: vec![(1.0, 6.5)],
            bands: vec![Band { name: text(), points: vec![(1.0, 6.0, 8.0)] }],
        };
        EvalReport {
            model: text(),
            version: text(),
            family: text(),
            task: text(),
            synthetic: false,
            test_set: text(),
            rows: 3,
            measures: vec![
                Measure::new(word, 0.5, 3)
                    .between(Some((0.4, 0.6)))
                    .against(word, Some(0.3))
                    .against(word, Some(0.2)),
                Measure::new(word, 0.5, 30).within("sex=female"),
            ],
            remarks: vec![text()],
            plots: vec![
                plots::roc(word, &[rival], &[false, true, true]),
                plots::confusion(word, &labels, &[0.5, 0.5], &[0]),
                plots::bland_altman(word, word, &[1.0, 2.0], &[1.5, 1.5]),
                Plot::Fan(fan),
                plots::histogram(word, word, Axis::share(word), &[(word, vec![0.5])]),
            ],
        }
    }

    #[test]
    fn a_report_is_written_whole_as_page_and_as_numbers() {
        let root = tempfile::tempdir().expect("a folder");
        let report = report("alpha");
        let written = write(&report, root.path()).expect("written");
        let again = write(&report, root.path()).expect("replaced");
        assert_eq!(written, again);
        assert!(written.html.ends_with("alpha/alpha/report.html"));
        let page = fs::read_to_string(&written.html).expect("readable");
        for part in [
            "<h1>alpha alpha</h1>",
            "0.4000 to 0.6000",
            "alpha 0.3000; alpha 0.2000",
            "sex=female",
            "<svg role=\"img\"",
        ] {
            assert!(page.contains(part), "`{part}` is missing");
        }
        let json: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&written.json).expect("readable")).expect("JSON");
        assert_eq!(json["plots"].as_array().map(Vec::len), Some(5));
        assert_eq!(
            fs::read_dir(written.html.parent().expect("a folder")).expect("list").count(),
            2,
            "no part is left"
        );
        let file = root.path().join("file");
        fs::write(&file, "").expect("written");
        assert!(write(&report, &file).is_err_and(|error| error.to_string().contains("file")));
    }

    #[test]
    fn the_page_fetches_and_runs_nothing() {
        let page = html(&report("x"));
        for part in ["<script", "http://", "https://", "<link", "<img", "url(", "@import", "onload"] {
            assert!(!page.contains(part), "`{part}`");
        }
    }

    #[test]
    fn every_picture_says_what_it_is() {
        let page = html(&report("x"));
        let count = |part: &str| page.matches(part).count();
        assert_eq!((count("<svg"), count("</title>") - 1, count("</desc>")), (4, 4, 4));
        assert_eq!(count("<figure>"), count("<figcaption>"));
    }

    #[test]
    fn a_line_of_one_dot_is_drawn_without_dividing_by_nothing() {
        let mut report = report("x");
        report.plots = vec![Plot::Curves(plots::Curves {
            title: "one".into(),
            caption: String::new(),
            x: Axis::new("x"),
            y: Axis::new("y"),
            series: vec![Series::dots("one", vec![(2.0, 2.0)], Vec::new())],
            diagonal: true,
        })];
        let page = html(&report);
        assert!(page.contains("<circle") && !page.contains("NaN"), "{page}");
    }

    proptest! {
        /// Whatever a text holds, the page has the same marks of markup as with a plain word.
        #[test]
        fn no_text_becomes_markup(word in "[a-z<>&\"'/=;!\\-\\n ]{0,24}") {
            let marks = |page: &str| ['<', '>', '"', '\''].map(|mark| page.matches(mark).count());
            prop_assert_eq!(marks(&html(&report(&word))), marks(&html(&report("x"))));
        }

        #[test]
        fn escaped_text_reads_back(word in "\\PC{0,24}") {
            let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
            let back = pairs.iter().fold(escape(&word), |text, (from, to)| text.replace(from, to));
            prop_assert_eq!(back, word);
        }
    }
}
