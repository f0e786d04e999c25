//! Integration tests of `training`.

mod real_data;
