//! Two published series with a marked stretch: an arterial pressure (UCR anomaly archive 135) and an excerpt of an
//! electrocardiogram (MIT-BIH). Values have the units of the source, mmHg and mV; samples are evenly spaced.

use std::io::Read;
use std::ops::Range;

use super::{Provenance, Store, table::Table};
use crate::TrainingError;

/// A series and where it is strange.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkedSeries {
    /// Short name.
    pub name: &'static str,
    /// The values, in order.
    pub values: Vec<f64>,
    /// Points that the source marks as strange: one stretch.
    pub strange: Range<usize>,
    /// The source read.
    pub provenance: Provenance,
}

/// `135_UCR_Anomaly_InternalBleeding16`, the part to test on, which begins with the part to train on.
///
/// # Errors
/// A package that cannot be had or a member that is not as expected.
pub fn ucr135(store: &Store) -> Result<MarkedSeries, TrainingError> {
    const MEMBER: &str = "aeon/datasets/data/KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16_TEST.csv";
    load(store, "ucr135", "ucr-135", MEMBER, ["value", "is_anomaly"])
}

/// `mitdb`, an excerpt of one lead with one premature beat.
///
/// # Errors
/// A package that cannot be had or a member that is not as expected.
pub fn mitdb(store: &Store) -> Result<MarkedSeries, TrainingError> {
    load(store, "mitdb", "mitdb", "sktime/datasets/data/mitdb/mitdb.csv", ["data", "label"])
}

fn load(
    store: &Store,
    name: &'static str,
    source: &str,
    member: &str,
    columns: [&'static str; 2],
) -> Result<MarkedSeries, TrainingError> {
    let (values, strange) = store.with_member(source, member, |input| parse(name, columns, input))?;
    Ok(MarkedSeries { name, values, strange, provenance: store.provenance(source)? })
}

fn parse(
    name: &'static str,
    [value, mark]: [&'static str; 2],
    input: &mut dyn Read,
) -> Result<(Vec<f64>, Range<usize>), TrainingError> {
    let mut table = Table::new(name, b',', &[value, mark], input)?;
    let (mut values, mut strange) = (Vec::new(), None::<Range<usize>>);
    while table.advance()? {
        let at = values.len();
        match table.text(mark)? {
            "0" => {}
            "1" => match &mut strange {
                Some(stretch) if stretch.end == at => stretch.end = at + 1,
                Some(_) => return Err(table.fault(format!("`{mark}` marks a second stretch"))),
                None => strange = Some(at..at + 1),
            },
            other => return Err(table.fault(format!("`{mark}` should be 0 or 1, is `{other}`"))),
        }
        values.push(table.required(value)?);
    }
    let strange = strange.ok_or_else(|| TrainingError::dataset(name, format!("`{mark}` marks nothing")))?;
    Ok((values, strange))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<f64>, Range<usize>), TrainingError> {
        parse("t", ["data", "label"], &mut text.as_bytes())
    }

    #[test]
    fn values_and_the_marked_stretch_come_through() {
        let (values, strange) = read("data,label\n-0.1,0\n0.5,1\n0.7,1\n0.2,0\n").expect("a series");
        assert_eq!((values, strange), (vec![-0.1, 0.5, 0.7, 0.2], 1..3));
    }

    #[test]
    fn what_is_no_marked_series_is_refused_with_its_line() {
        for (text, word) in [
            ("data,label\n1,0\n", "nothing"),
            ("data,label\n1,1\n1,0\n1,1\n", "second"),
            ("data,label\n1,0\n1,yes\n", "line 3"),
            ("data,label\n,1\n", "empty"),
            ("value,label\n1,1\n", "data"),
        ] {
            let error = read(text).expect_err(word).to_string();
            assert!(error.contains(word), "{error} lacks {word}");
        }
    }
}
