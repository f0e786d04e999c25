//! Delimited text with a header, read by column name, with errors that say the line and the column.

use std::io::Read;

use csv::{ReaderBuilder, StringRecord};

use crate::TrainingError;

/// A table being read: its name for errors, the wanted columns, one reused record.
pub(crate) struct Table<R> {
    name: &'static str,
    reader: csv::Reader<R>,
    columns: Vec<(&'static str, usize)>,
    record: StringRecord,
}

impl<R: Read> Table<R> {
    /// Opens a table and finds `wanted` in its header.
    ///
    /// # Errors
    /// [`TrainingError::Dataset`] naming a missing column.
    pub(crate) fn new(
        name: &'static str,
        delimiter: u8,
        wanted: &[&'static str],
        input: R,
    ) -> Result<Self, TrainingError> {
        let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(input);
        let header = reader.headers().map_err(|e| TrainingError::dataset(name, e.to_string()))?;
        let columns = wanted
            .iter()
            .map(|&column| {
                header
                    .iter()
                    .position(|h| h == column)
                    .map(|at| (column, at))
                    .ok_or_else(|| TrainingError::dataset(name, format!("no column `{column}`")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { name, reader, columns, record: StringRecord::new() })
    }

    /// Moves to the next row; false at the end.
    ///
    /// # Errors
    /// [`TrainingError::Dataset`] for a row with another number of fields or bytes that are no UTF-8.
    pub(crate) fn advance(&mut self) -> Result<bool, TrainingError> {
        self.reader.read_record(&mut self.record).map_err(|e| TrainingError::Dataset {
            dataset: self.name.to_owned(),
            line: e.position().map(csv::Position::line),
            reason: e.to_string(),
        })
    }

    /// The trimmed text of a column of this row.
    pub(crate) fn text(&self, column: &'static str) -> Result<&str, TrainingError> {
        self.columns
            .iter()
            .find(|(name, _)| *name == column)
            .and_then(|&(_, at)| self.record.get(at))
            .map(str::trim)
            .ok_or_else(|| self.fault(format!("column `{column}` was not asked for")))
    }

    /// A finite number, or `None` for an empty field, `NA` or `nan`.
    pub(crate) fn number(&self, column: &'static str) -> Result<Option<f64>, TrainingError> {
        let text = self.text(column)?;
        if text.is_empty() || text == "NA" || text.eq_ignore_ascii_case("nan") {
            return Ok(None);
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Some(value)),
            Ok(_) | Err(_) => Err(self.fault(format!("`{column}` should be a number, is `{text}`"))),
        }
    }

    /// A number that must be there.
    pub(crate) fn required(&self, column: &'static str) -> Result<f64, TrainingError> {
        self.number(column)?.ok_or_else(|| self.fault(format!("`{column}` is empty")))
    }

    /// An error at the current line.
    pub(crate) fn fault(&self, reason: String) -> TrainingError {
        let line = self.record.position().map(csv::Position::line);
        TrainingError::Dataset { dataset: self.name.to_owned(), line, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_faults_name_the_line() {
        let text = "b,a\n1,x\nNA,y\nbad,z\n";
        let mut table = Table::new("t", b',', &["a", "b"], text.as_bytes()).expect("header");
        assert!(table.advance().expect("row"));
        assert_eq!((table.text("a").expect("a"), table.number("b").expect("b")), ("x", Some(1.0)));
        assert!(table.advance().expect("row"));
        assert_eq!(table.number("b").expect("b"), None);
        assert!(table.required("b").expect_err("empty").to_string().contains("line 3"));
        assert!(table.advance().expect("row"));
        let error = table.number("b").expect_err("bad").to_string();
        assert!(error.contains("line 4") && error.contains("`bad`"), "{error}");
        assert!(!table.advance().expect("end"));
    }

    #[test]
    fn a_missing_column_and_a_short_row_are_refused() {
        assert!(Table::new("t", b',', &["z"], "a,b\n".as_bytes()).is_err());
        let mut table = Table::new("t", b',', &["a"], "a,b\n1\n".as_bytes()).expect("header");
        assert!(table.advance().is_err());
    }
}
