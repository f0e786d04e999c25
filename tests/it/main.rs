//! Integration tests of the whole: one binary, so that everything is linked once.
//!
//! `house` checks the workspace itself: the arrows and absences that ARCHITECTURE.md promises.

mod house;
