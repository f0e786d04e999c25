//! A simulated measurement session, streamed packet by packet through the measurement service.

use anyhow::Context;
use clinical::{
    Biomarker,
    cartridge::Cartridge,
    simulator::{Simulator, SimulatorConfig, SyntheticPacket, SyntheticSession},
};
use proto::manpasik::v1::{
    EndSessionRequest, EndSessionResponse, Environment, RawPacket, Sex, StartSessionRequest,
    StreamMeasurementRequest, Subject, measurement_service_client::MeasurementServiceClient,
};
use tonic::transport::Channel;

/// Cartridge of the session: glucose.
const CARTRIDGE: &str = "01:01";
/// Concentration the simulator is told, mg/dL.
const GLUCOSE_TRUTH: f64 = 112.0;
/// Packets sent; one every 100 ms of measured time.
const PACKETS: usize = 100;
/// Seed of the simulation, so that everyone sees the same session.
const SEED: u64 = 2026;

/// What came of the session.
pub(super) struct Outcome {
    /// Concentration that was simulated, mg/dL.
    pub(super) truth: f64,
    /// Packets that were analysed, and how many of them looked unusual.
    pub(super) packets: (usize, usize),
    /// Value and full analysis.
    pub(super) end: EndSessionResponse,
}

/// Runs one session from start to end.
pub(super) async fn run(client: &mut MeasurementServiceClient<Channel>) -> anyhow::Result<Outcome> {
    let session = simulate()?;
    let started = client.start_session(start()).await.context("StartSession failed")?.into_inner();
    let id = started.session_id;
    let requests: Vec<_> = session.packets.into_iter().map(|packet| request(&id, packet)).collect();
    let answers = client.stream_measurement(tokio_stream::iter(requests)).await;
    let mut answers = answers.context("StreamMeasurement failed")?.into_inner();
    let mut packets = (0, 0);
    while let Some(answer) = answers.message().await.context("the measurement stream broke")? {
        packets.0 += 1;
        packets.1 += usize::from(answer.anomalous());
    }
    let end = client.end_session(EndSessionRequest { session_id: id }).await.context("EndSession failed")?;
    Ok(Outcome { truth: GLUCOSE_TRUTH, packets, end: end.into_inner() })
}

fn simulate() -> anyhow::Result<SyntheticSession> {
    let cartridge = Cartridge::parse(CARTRIDGE)?;
    let mut simulator = Simulator::new(SimulatorConfig::default(), SEED)?;
    Ok(simulator.session(cartridge, &[(Biomarker::Glucose, GLUCOSE_TRUTH)], PACKETS)?)
}

fn start() -> StartSessionRequest {
    let subject = Subject { age_years: Some(46.0), sex: Sex::Female.into() };
    StartSessionRequest {
        user_id: "demonstration".into(),
        device_id: "simulated-reader".into(),
        cartridge_code: CARTRIDGE.into(),
        subject: Some(subject),
    }
}

fn request(session_id: &str, packet: SyntheticPacket) -> StreamMeasurementRequest {
    let environment = Environment {
        temperature_celsius: packet.temperature_c.into(),
        humidity_percent: packet.humidity_percent.into(),
        battery_percent: packet.battery_percent.into(),
        ..Default::default()
    };
    let packet = RawPacket {
        sequence: packet.sequence,
        time_ms: packet.timestamp_ms,
        detection: packet.detection,
        reference: packet.reference,
        environment: Some(environment),
        self_test_passed: true,
    };
    StreamMeasurementRequest { session_id: session_id.into(), packet: Some(packet) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulated_session_is_the_same_every_time() {
        let (first, second) = (simulate().expect("simulates"), simulate().expect("simulates"));
        assert_eq!(first.packets.len(), PACKETS);
        assert_eq!(first.packets[0].detection, second.packets[0].detection);
        assert_eq!(first.packets[0].detection.len(), 88);
    }
}
