//! Integration tests of `training`.

mod food;
mod real_data;
