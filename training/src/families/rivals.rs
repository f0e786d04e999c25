//! Simple methods that a classifier stands beside, fitted on its own training rows in the same run.

use std::collections::BTreeSet;

use super::columns::{Column, Panels};
use super::recipe::Prepared;
use crate::evaluate::Measure;
use crate::evaluate::baseline::{Boosted, Logistic};
use crate::evaluate::bootstrap::pick;
use crate::evaluate::plots::Rival;

/// Name of the method that knows how old somebody is and nothing else.
const AGE_ALONE: &str = "age alone";

/// What logistic regression, boosted trees and, for panels with an age, the age alone say of the test rows: class
/// probabilities, row after row. Columns in `hidden` are not shown to them.
pub(crate) fn of_panels(
    prepared: &Prepared,
    columns: &[Column],
    classes: usize,
    hidden: &BTreeSet<Column>,
) -> Vec<Rival> {
    let panels = Panels {
        columns: columns.to_vec(),
        values: prepared.inputs[0].clone(),
        present: prepared.inputs[1].clone(),
    };
    let mut rivals = of_table(prepared, classes, |rows| panels.with_gaps(rows, hidden));
    let ages = |rows: &[usize]| -> Vec<Vec<f64>> {
        rows.iter().map(|row| vec![prepared.people[*row].age_years.unwrap_or(f64::NAN)]).collect()
    };
    if columns.contains(&Column::Age) && !hidden.contains(&Column::Age) {
        rivals.push(logistic(AGE_ALONE, prepared, classes, ages));
    }
    rivals
}

/// The same two methods on rows that `table` gives, gaps as NaN.
pub(crate) fn of_table(
    prepared: &Prepared,
    classes: usize,
    table: impl Fn(&[usize]) -> Vec<Vec<f64>>,
) -> Vec<Rival> {
    let (train, truth) = learnt(prepared);
    let boosted = Boosted::fit(&table(train), &truth, classes);
    let scores = table(&prepared.parts.test).iter().flat_map(|row| boosted.predict(row)).collect();
    let boosted = Rival { name: "boosted trees".into(), scores };
    vec![logistic("logistic regression", prepared, classes, table), boosted]
}

fn logistic(
    name: &str,
    prepared: &Prepared,
    classes: usize,
    table: impl Fn(&[usize]) -> Vec<Vec<f64>>,
) -> Rival {
    let (train, truth) = learnt(prepared);
    let model = Logistic::fit(&table(train), &truth, classes);
    let scores = table(&prepared.parts.test).iter().flat_map(|row| model.predict(row)).collect();
    Rival { name: name.to_owned(), scores }
}

fn learnt(prepared: &Prepared) -> (&[usize], Vec<usize>) {
    let train = &prepared.parts.train;
    (train, pick(prepared.truth.classes(), train))
}

/// `measure` beside the same figure `of` each rival's scores.
pub(crate) fn beside(measure: Measure, rivals: &[Rival], of: impl Fn(&[f64]) -> Option<f64>) -> Measure {
    rivals.iter().fold(measure, |measure, rival| measure.against(&rival.name, of(&rival.scores)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::matrix::Matrix;
    use crate::families::parts::Parts;
    use crate::families::recipe::{Person, Truth};

    #[test]
    fn each_method_answers_every_test_row_and_age_only_where_it_is_an_input() {
        let person =
            |row: usize| Person { group: row as u64, age_years: Some((row % 60) as f64), male: None };
        let prepared = Prepared {
            inputs: vec![
                Matrix { cols: 1, data: (0..200).map(|row| (row % 60) as f32).collect() },
                Matrix { cols: 1, data: vec![1.0; 200] },
            ],
            truth: Truth::Class((0..200).map(|row| usize::from(row % 60 > 30)).collect()),
            parts: Parts::in_order([120, 20, 20, 40]),
            people: (0..200).map(person).collect(),
            provenance: Vec::new(),
            dropped: Vec::new(),
            test_set: String::new(),
            labels: Vec::new(),
            features: Vec::new(),
        };
        let rivals = of_panels(&prepared, &[Column::Age], 2, &BTreeSet::new());
        assert_eq!(rivals.len(), 3);
        for rival in &rivals {
            assert_eq!(rival.scores.len(), 2 * 40, "{}", rival.name);
            let right = prepared.parts.test.iter().enumerate();
            let right =
                right.filter(|(at, row)| (rival.scores[2 * at + 1] > 0.5) == (**row % 60 > 30)).count();
            assert!(right >= 36, "{} is right {right} times", rival.name);
        }
        let hidden = BTreeSet::from([Column::Age]);
        assert_eq!(of_panels(&prepared, &[Column::Age], 2, &hidden).len(), 2);
        let measure = beside(Measure::new("n", 1.0, 40), &rivals, |scores| Some(scores.len() as f64));
        assert_eq!(measure.beside().map(|(_, value)| value).collect::<Vec<_>>(), [80.0; 3]);
    }
}
