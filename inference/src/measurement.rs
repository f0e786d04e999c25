//! How a request that names a measurement finds its data without this crate knowing the
//! service that keeps it.

use async_trait::async_trait;
use proto::manpasik::v1::Measurement;
use tonic::Status;

/// Resolves measurement ids; the composition root supplies a client of the measurement service.
#[async_trait]
pub trait MeasurementSource: Send + Sync {
    /// The measurement, or the status its service answered with.
    async fn measurement(&self, id: &str) -> Result<Measurement, Status>;
}
