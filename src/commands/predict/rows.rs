//! CSV to requests. A column is named like the feature it holds, with its unit in brackets when
//! it is not the usual one: `age,sex,tsh,t3 [nmol/L],smoker`. An empty cell is a missing value.

use std::path::Path;

use anyhow::{Context, bail};
use clinical::{Biomarker, Finding};
use proto::manpasik::v1::{self as wire, Observation, Panel, Series, SeriesPoint, Sex, Subject};

/// What a column holds.
enum Column {
    Age,
    Sex,
    Value { code: String, unit: String },
    Finding(String),
}

/// Panels of a file, one a row.
pub(super) fn panels(path: &Path) -> anyhow::Result<Vec<Panel>> {
    let mut reader = csv::Reader::from_path(path).context("cannot read the rows")?;
    let columns: Vec<Column> = reader.headers()?.iter().map(column).collect::<anyhow::Result<_>>()?;
    let mut panels = Vec::new();
    for (number, record) in (1..).zip(reader.records()) {
        let record = record.with_context(|| format!("row {number}"))?;
        panels.push(panel(&columns, &record).with_context(|| format!("row {number}"))?);
    }
    Ok(panels)
}

fn column(header: &str) -> anyhow::Result<Column> {
    let (name, unit) = match header.trim().split_once('[') {
        Some((name, unit)) => (name.trim(), Some(unit.trim_end_matches(']').trim())),
        None => (header.trim(), None),
    };
    match name {
        "age" => return Ok(Column::Age),
        "sex" => return Ok(Column::Sex),
        _ => {}
    }
    if let Some(finding) = Finding::from_code(name) {
        return Ok(Column::Finding(finding.code().to_owned()));
    }
    let biomarker = Biomarker::from_code(name).or_else(|| Biomarker::from_loinc(name));
    let Some(biomarker) = biomarker else {
        bail!(
            "column `{name}` is neither age, sex, a biomarker nor a finding; use codes such as tsh or 3016-3"
        );
    };
    let unit = unit.unwrap_or(biomarker.unit().ucum());
    Ok(Column::Value { code: biomarker.code().to_owned(), unit: unit.to_owned() })
}

fn panel(columns: &[Column], record: &csv::StringRecord) -> anyhow::Result<Panel> {
    let mut panel = Panel { subject: Some(Subject::default()), ..Default::default() };
    for (column, cell) in columns.iter().zip(record) {
        let cell = cell.trim();
        if cell.is_empty() {
            continue;
        }
        let subject = panel.subject.get_or_insert_default();
        match column {
            Column::Age => subject.age_years = Some(number("age", cell)?),
            Column::Sex => subject.sex = sex(cell)?.into(),
            Column::Value { code, unit } => panel.observations.push(Observation {
                code: code.clone(),
                value: number(code, cell)?,
                unit: unit.clone(),
            }),
            Column::Finding(code) => {
                panel.findings.push(wire::Finding { code: code.clone(), present: truth(code, cell)? });
            }
        }
    }
    Ok(panel)
}

/// A series from `time_unix_ms,<name> [unit]`, or from one column of values five minutes apart.
pub(super) fn series(path: &Path) -> anyhow::Result<Series> {
    const STEP_MS: i64 = 5 * 60 * 1000;
    let mut reader = csv::Reader::from_path(path).context("cannot read the series")?;
    let headers = reader.headers()?.clone();
    let (Some(last), 1..=2) = (headers.iter().next_back(), headers.len()) else {
        bail!("a series has one or two columns, time_unix_ms and the value; this file has {}", headers.len());
    };
    let Column::Value { code, unit } = column(last)? else { bail!("column `{last}` is not a biomarker") };
    let mut points = Vec::new();
    for (number, record) in (0..).zip(reader.records()) {
        let record = record.with_context(|| format!("row {}", number + 1))?;
        let time = match record.len() {
            2 => record[0].trim().parse().with_context(|| format!("row {}: time_unix_ms", number + 1))?,
            _ => number * STEP_MS,
        };
        let value = self::number(&code, record.iter().next_back().unwrap_or_default().trim())
            .with_context(|| format!("row {}", number + 1))?;
        points.push(SeriesPoint { time_unix_ms: time, value });
    }
    Ok(Series { code, unit, points })
}

fn number(name: &str, cell: &str) -> anyhow::Result<f64> {
    cell.parse().with_context(|| format!("{name}: `{cell}` is not a number"))
}

fn sex(cell: &str) -> anyhow::Result<Sex> {
    match cell.to_lowercase().as_str() {
        "female" | "f" => Ok(Sex::Female),
        "male" | "m" => Ok(Sex::Male),
        _ => bail!("sex: `{cell}` is neither female nor male"),
    }
}

fn truth(name: &str, cell: &str) -> anyhow::Result<bool> {
    match cell.to_lowercase().as_str() {
        "1" | "true" | "t" | "yes" => Ok(true),
        "0" | "false" | "f" | "no" => Ok(false),
        _ => bail!("{name}: `{cell}` is neither true nor false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn rows_become_panels_and_empty_cells_are_missing() {
        let file = file("age,sex,tsh,t3 [nmol/L],smoker\n47,m,80,0.4,no\n30,female,,2,\n");
        let panels = panels(file.path()).expect("valid");
        assert_eq!(panels.len(), 2);
        assert_eq!(panels[0].observations.len(), 2);
        assert_eq!(panels[0].observations[1].unit, "nmol/L");
        assert_eq!(panels[0].findings.len(), 1);
        assert_eq!((panels[1].observations.len(), panels[1].findings.len()), (1, 0));
    }

    #[test]
    fn mistakes_name_column_row_and_cell() {
        let wrong = |text: &str| format!("{:#}", panels(file(text).path()).expect_err("refused"));
        assert!(wrong("colour\n1\n").contains("colour"));
        let message = wrong("tsh\n1\nmany\n");
        assert!(message.contains("row 2") && message.contains("many"), "{message}");
    }

    #[test]
    fn a_series_has_times_or_steps_of_five_minutes() {
        let found = series(file("glucose\n100\n110\n").path()).expect("valid");
        assert_eq!(found.points[1].time_unix_ms, 300_000);
        let found = series(file("time_unix_ms,glucose [mmol/L]\n7,5.5\n").path()).expect("valid");
        assert_eq!((found.points[0].time_unix_ms, found.unit.as_str()), (7, "mmol/L"));
    }
}
