//! A server whose only model takes 5 ms for at most 8 rows, to be overloaded by the benchmark.

use std::{thread, time::Duration};

use anyhow::Context;
use benches::overload::SLOW_MODEL;
use inference::{Candidate, Limits, ModelSource, Server, server};
use models::{Batch, DType, Model, ModelError, Signature, TensorSpec};
use tokio::net::TcpListener;

use crate::commands::print;

/// Time of one batch.
const COST: Duration = Duration::from_millis(5);
/// Rows of one batch.
const ROWS_MAX: usize = 8;

/// Gives back what it gets, late.
struct Slow;

impl Model for Slow {
    fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
        thread::sleep(COST);
        Ok(batch)
    }
}

/// Serves on a free loopback port until the process ends.
pub(super) async fn serve() -> anyhow::Result<()> {
    let spec =
        || TensorSpec { name: "x".into(), dtype: DType::F32, dims: vec![-1, 1], unit: None, loinc: None };
    let signature = Signature { inputs: vec![spec()], outputs: vec![spec()] };
    let load = || Ok(Box::new(Slow) as Box<dyn Model>);
    let source = ModelSource::new(SLOW_MODEL, "1", signature, ROWS_MAX, Box::new(load));
    let candidates = vec![Candidate { source, live: true }];
    let inference = Server::serve(Limits::default(), Vec::new(), candidates, Vec::new());
    let handle = inference.handle();
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot bind a loopback port")?;
    print(&format!("listening grpc={}", listener.local_addr()?))?;
    let routes = server::grpc_routes(&handle);
    server::serve_grpc(listener, handle, routes, None, std::future::pending()).await?;
    Ok(())
}
