//! What is known: biomarkers, units, ranges, safety rules, signal physics.
