//! Make it: data sets, trainers, evaluation, calibration, export to a bundle.

pub mod boosting;
pub mod data;
mod error;
pub mod evaluate;
pub mod export;
pub mod families;
pub mod food;
pub mod optimise;
pub mod text;

pub use error::TrainingError;
