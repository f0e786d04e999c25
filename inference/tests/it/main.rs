//! The scheduler and the wire servers from outside, over models made up for the purpose.

#![allow(missing_docs)]

mod ai;
#[path = "../../../models/tests/it/bundles.rs"]
mod bundles;
mod dashboard;
mod dishes;
mod drain;
mod ensemble;
mod food;
mod knowledge;
mod lengths;
mod memory;
mod oip_edges;
mod oip_golden;
mod oip_grpc;
mod oip_manage;
mod oip_rest;
mod oip_stream;
mod operations;
mod overload;
mod policy;
mod release;
mod resume;
mod scheduler;
mod sequence;
mod series;
mod support;
mod swap;
