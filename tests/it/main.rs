//! Integration tests of the whole: one binary, so that everything is linked once.
//!
//! `house` checks the workspace itself: the arrows and absences that ARCHITECTURE.md promises.
//! `serving`, `analysis`, `similar`, `knowledge`, `gateway`, `runs`, `settings`, `predictions`, `tokens`, `telemetry`,
//! `encryption` and `cli` run the real program and talk to it as its clients do.

mod analysis;
mod cli;
mod encryption;
mod gateway;
mod house;
mod knowledge;
mod predictions;
mod registered;
mod releases;
mod runs;
mod serving;
mod settings;
mod similar;
mod support;
mod telemetry;
mod tokens;
