//! Integration tests of `training`.

mod fixtures;
mod food;
mod loaders;
mod real_data;
