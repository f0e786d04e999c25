//! What a benchmark run found, as rows for a table, Markdown or JSON.

use serde::Serialize;

/// One measured figure beside its target.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was measured.
    pub measure: String,
    /// The figure with its unit.
    pub value: String,
    /// What it is compared with, measured in the same run.
    pub reference: String,
    /// The ratio or figure that the target speaks of.
    pub result: f64,
    /// The target in words, for example `≥ 0.90`.
    pub target: String,
    /// Whether the target was met.
    pub met: bool,
}

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Processor model and core count.
    pub machine: String,
    /// Rows in the order they were measured.
    pub rows: Vec<Row>,
    /// What could not be measured, and why.
    pub skipped: Vec<String>,
}

/// Which way a target points.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// At least this much.
    AtLeast(f64),
    /// At most this much.
    AtMost(f64),
}

impl Row {
    /// A row with the target applied to `result`.
    pub fn new(measure: &str, value: String, reference: String, result: f64, target: Target) -> Self {
        let (words, met) = match target {
            Target::AtLeast(limit) => (format!("≥ {limit}"), result >= limit),
            Target::AtMost(limit) => (format!("≤ {limit}"), result <= limit),
        };
        Self { measure: measure.into(), value, reference, result, target: words, met }
    }
}

impl Report {
    /// The report as a Markdown table with the machine below it.
    pub fn markdown(&self) -> String {
        let mut text =
            String::from("| measure | value | beside | result | target | met |\n|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let met = if row.met { "yes" } else { "no" };
            text += &format!(
                "| {} | {} | {} | {:.2} | {} | {met} |\n",
                row.measure, row.value, row.reference, row.result, row.target
            );
        }
        for reason in &self.skipped {
            text += &format!("\nNot measured: {reason}\n");
        }
        text + &format!("\nMachine: {}\n", self.machine)
    }
}

/// Processor model and number of cores of this machine.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        line.split_once(':').map(|(_, name)| name.trim().to_owned())
    });
    format!("{}, {cores} cores", model.as_deref().unwrap_or("unknown processor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_point_both_ways() {
        let row = |target| Row::new("m", String::new(), String::new(), 0.9, target);
        assert!(row(Target::AtLeast(0.9)).met);
        assert!(!row(Target::AtLeast(0.91)).met);
        assert!(row(Target::AtMost(0.9)).met);
        assert!(!row(Target::AtMost(0.89)).met);
    }

    #[test]
    fn markdown_has_a_line_per_row_and_says_what_was_skipped() {
        let row = Row::new("unary", "10 rps".into(), "echo 11 rps".into(), 0.91, Target::AtLeast(0.9));
        let report =
            Report { machine: "test".into(), rows: vec![row], skipped: vec!["food: no library".into()] };
        let text = report.markdown();
        assert!(text.contains("| unary | 10 rps | echo 11 rps | 0.91 | ≥ 0.9 | yes |"));
        assert!(text.contains("Not measured: food: no library"));
    }
}
