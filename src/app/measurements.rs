//! How inference reaches stored measurements: through the measurement service's own client.

use async_trait::async_trait;
use inference::MeasurementSource;
use proto::manpasik::v1::{
    GetMeasurementRequest, Measurement, measurement_service_client::MeasurementServiceClient,
};
use services::kernel::GrpcService;
use tonic::Status;

/// A client as a source of measurements.
pub(super) struct Client {
    inner: MeasurementServiceClient<GrpcService>,
}

impl Client {
    pub(super) fn new(inner: MeasurementServiceClient<GrpcService>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl MeasurementSource for Client {
    async fn measurement(&self, id: &str) -> Result<Measurement, Status> {
        let request = GetMeasurementRequest { id: id.to_owned() };
        let answer = self.inner.clone().get_measurement(request).await.map_err(in_our_words)?.into_inner();
        answer.measurement.ok_or_else(|| Status::not_found(format!("measurement `{id}` is not known")))
    }
}

/// The measurement service speaks of its own field `id`; who asks for an analysis has sent `measurement_id`.
fn in_our_words(status: Status) -> Status {
    match status.message().strip_prefix("id: ") {
        Some(reason) => Status::new(status.code(), format!("measurement_id: {reason}")),
        None => status,
    }
}
