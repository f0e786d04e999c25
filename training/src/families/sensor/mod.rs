//! Models between the sensor and the value. All of them are trained and measured on the simulator: what they
//! reach says how well they undo its documented law, nothing about a real instrument.

pub(crate) mod anomaly;
pub(crate) mod calibration;
pub(crate) mod fingerprint;
pub(crate) mod quality;
mod robustness;
mod simulate;
pub(crate) mod value;
