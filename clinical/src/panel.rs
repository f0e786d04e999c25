//! A panel: what is known about one person at one time. It can only be built from checked values, so whoever holds a
//! panel may use its numbers without looking at units or limits again.

use std::collections::BTreeMap;

use crate::biomarker::{Biomarker, ValueError};
use crate::finding::Finding;
use crate::person::Person;
use crate::unit::Unit;

/// Why a field of a panel was refused; the message begins with the field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PanelError {
    /// A value is not a number, impossible, or in a unit that does not fit.
    #[error("field '{field}' refused")]
    Value {
        /// Code of the biomarker.
        field: &'static str,
        /// What was wrong with it.
        #[source]
        source: ValueError,
    },
    /// The same field came twice.
    #[error("field '{field}' is given twice: send each once")]
    Duplicate {
        /// Code of the biomarker or finding.
        field: &'static str,
    },
    /// No value at all.
    #[error("field 'values' is empty: send at least one biomarker")]
    Empty,
}

/// Checked values in canonical units and yes/no findings of one person.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    person: Person,
    values: BTreeMap<Biomarker, f64>,
    findings: BTreeMap<Finding, bool>,
}

impl Panel {
    /// Starts an empty panel of `person`.
    #[must_use]
    pub fn builder(person: Person) -> PanelBuilder {
        PanelBuilder { panel: Self { person, values: BTreeMap::new(), findings: BTreeMap::new() } }
    }

    /// Whose panel it is.
    #[must_use]
    pub const fn person(&self) -> &Person {
        &self.person
    }

    /// All values, canonical units.
    #[must_use]
    pub const fn values(&self) -> &BTreeMap<Biomarker, f64> {
        &self.values
    }

    /// One value, canonical unit.
    #[must_use]
    pub fn value(&self, biomarker: Biomarker) -> Option<f64> {
        self.values.get(&biomarker).copied()
    }

    /// All findings that are known.
    #[must_use]
    pub const fn findings(&self) -> &BTreeMap<Finding, bool> {
        &self.findings
    }

    /// One finding, `None` when unknown.
    #[must_use]
    pub fn finding(&self, finding: Finding) -> Option<bool> {
        self.findings.get(&finding).copied()
    }
}

/// Collects the fields of a [`Panel`], checking each as it comes.
#[derive(Debug, Clone)]
pub struct PanelBuilder {
    panel: Panel,
}

impl PanelBuilder {
    /// Adds a value given in `unit`.
    ///
    /// # Errors
    /// [`PanelError::Value`] or [`PanelError::Duplicate`], naming the field.
    pub fn value(mut self, biomarker: Biomarker, value: f64, unit: Unit) -> Result<Self, PanelError> {
        let field = biomarker.code();
        let value = biomarker.read(value, unit).map_err(|source| PanelError::Value { field, source })?;
        match self.panel.values.insert(biomarker, value) {
            Some(_) => Err(PanelError::Duplicate { field }),
            None => Ok(self),
        }
    }

    /// Adds a yes/no finding.
    ///
    /// # Errors
    /// [`PanelError::Duplicate`], naming the field.
    pub fn finding(mut self, finding: Finding, present: bool) -> Result<Self, PanelError> {
        match self.panel.findings.insert(finding, present) {
            Some(_) => Err(PanelError::Duplicate { field: finding.code() }),
            None => Ok(self),
        }
    }

    /// Finishes the panel.
    ///
    /// # Errors
    /// [`PanelError::Empty`] when no value was added.
    pub fn build(self) -> Result<Panel, PanelError> {
        if self.panel.values.is_empty() { Err(PanelError::Empty) } else { Ok(self.panel) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_in_canonical_units() {
        let panel = Panel::builder(Person::default())
            .value(Biomarker::TotalT4, 100.0, Unit::NmolPerL)
            .and_then(|b| b.finding(Finding::Pregnant, false))
            .and_then(PanelBuilder::build)
            .expect("valid panel");
        assert!((panel.value(Biomarker::TotalT4).expect("present") - 7.7687).abs() < 1e-6);
        assert_eq!(panel.finding(Finding::Pregnant), Some(false));
        assert_eq!(panel.finding(Finding::Sick), None, "absent is unknown, not no");
        assert_eq!(panel.value(Biomarker::Tsh), None);
    }

    #[test]
    fn refusals_name_the_field() {
        let builder = || Panel::builder(Person::default());
        let error = builder().value(Biomarker::Glucose, -5.0, Unit::MgPerDl).expect_err("impossible");
        assert!(matches!(error, PanelError::Value { field: "glucose", .. }), "{error}");
        let once = builder().value(Biomarker::Tsh, 1.0, Unit::MilliIuPerL).expect("fine");
        let error = once.clone().value(Biomarker::Tsh, 1.0, Unit::MilliIuPerL).expect_err("twice");
        assert_eq!(error, PanelError::Duplicate { field: "tsh" });
        let flagged = once.finding(Finding::Sick, true).expect("fine");
        assert_eq!(
            flagged.finding(Finding::Sick, true).map(|_| ()),
            Err(PanelError::Duplicate { field: "sick" })
        );
        assert_eq!(builder().build(), Err(PanelError::Empty));
    }
}
