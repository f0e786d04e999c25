//! Make it: data sets, trainers, evaluation, calibration, export to a bundle.

pub mod data;
mod error;
pub mod food;

pub use error::TrainingError;
