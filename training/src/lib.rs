//! Make it: data sets, trainers, evaluation, calibration, export to a bundle.
