//! Integration tests of `training`.

mod bundles;
mod fixtures;
mod food;
mod loaders;
mod real_data;
mod text;
mod training;
