//! What is known: biomarkers, units, ranges, safety rules, signal physics.
//!
//! This crate is pure: it reads no file, opens no socket and knows no wire format. Everything in it is a table with
//! a named source or a formula with a test, so that every other crate can rely on one meaning of "glucose 110 mg/dL".
//! Values are in the canonical unit of their [`Biomarker`] unless a [`Unit`] stands beside them.
//!
//! Medical knowledge: [`mod@unit`], [`biomarker`], [`finding`], [`person`], [`panel`], [`range`], [`safety`].
//! The instrument: [`cartridge`], [`layout`], [`correction`], [`gate`], [`fingerprint`], and the [`simulator`], whose
//! output is always labelled synthetic.

pub mod biomarker;
pub mod cartridge;
pub mod correction;
pub mod finding;
pub mod fingerprint;
pub mod gate;
pub mod layout;
pub mod panel;
pub mod person;
pub mod range;
pub mod safety;
pub mod simulator;
pub mod unit;

pub use biomarker::{Biomarker, ValueError};
pub use finding::Finding;
pub use panel::{Panel, PanelError};
pub use person::{Person, Sex};
pub use range::{Class, Interpretation, RiskLevel};
pub use unit::{Unit, UnitError};
