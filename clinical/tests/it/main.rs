//! Integration tests: the instrument path and the clinical path end to end, through the public interface only.

mod instrument;
mod medical;
mod synthetic;
mod tables;
mod verdicts;
