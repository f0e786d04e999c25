//! Integration tests of `training`.

mod bundles;
mod downloads;
mod fixtures;
mod food;
mod loaders;
mod readers;
mod real_data;
mod references;
mod splits;
mod text;
mod training;
