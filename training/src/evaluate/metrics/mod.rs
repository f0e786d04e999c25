//! The figures reports are made of, each tested against values worked out by hand.

mod class;
mod rank;
mod survival;
mod value;

pub use class::{accuracy, arg_max, brier, calibration_error, macro_f1};
pub use rank::{auprc, auroc, macro_auroc};
pub use survival::harrell_c;

pub(crate) use value::mean;
pub use value::{Agreement, agreement, coverage, mae, mard, r_squared, rmse};

/// A figure of scores against yes or no; `None` where it is not defined.
pub type BinaryFigure = fn(&[f64], &[bool]) -> Option<f64>;
