//! A simulated measurement session, streamed packet by packet through the measurement service.

use std::time::Duration;

use anyhow::Context;
use clinical::{
    Biomarker,
    cartridge::Cartridge,
    simulator::{Simulator, SimulatorConfig, SyntheticPacket, SyntheticSession},
};
use proto::manpasik::v1::{
    EndSessionRequest, EndSessionResponse, Environment, FindSimilarSessionsRequest,
    FindSimilarSessionsResponse, RawPacket, Sex, StartSessionRequest, StreamMeasurementRequest, Subject,
    find_similar_sessions_request::Like, measurement_service_client::MeasurementServiceClient,
};
use services::kernel::GrpcService;

/// Cartridge of the session: glucose.
const CARTRIDGE: &str = "01:01";
/// Concentration the simulator is told, mg/dL.
const GLUCOSE_TRUTH: f64 = 112.0;
/// The same in an earlier session of the same person.
const GLUCOSE_EARLIER: f64 = 98.0;
/// Whose sessions these are.
const USER: &str = "demonstration";
/// Packets sent; one every 100 ms of measured time.
const PACKETS: usize = 100;
/// Seed of the simulation, so that everyone sees the same session.
const SEED: u64 = 2026;
/// The shape of a session is kept just after its end: looks for it, and the time between two.
const LOOKS: usize = 50;
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// What came of the session.
pub(super) struct Outcome {
    /// Concentration that was simulated, mg/dL.
    pub(super) truth: f64,
    /// Packets that were analysed, and how many of them looked unusual.
    pub(super) packets: (usize, usize),
    /// Value and full analysis.
    pub(super) end: EndSessionResponse,
}

type Client = MeasurementServiceClient<GrpcService>;

/// Runs an earlier session, and then the one that is shown.
pub(super) async fn run(client: &mut Client) -> anyhow::Result<Outcome> {
    measure(client, GLUCOSE_EARLIER, SEED + 1).await?;
    measure(client, GLUCOSE_TRUTH, SEED).await
}

/// Earlier sessions of the same shape, the nearest only.
pub(super) async fn similar(
    client: &mut Client,
    session_id: &str,
) -> anyhow::Result<FindSimilarSessionsResponse> {
    let like = Some(Like::SessionId(session_id.to_owned()));
    let request = FindSimilarSessionsRequest { user_id: USER.into(), like, k: 1, ..Default::default() };
    for _ in 0..LOOKS {
        let answer = client.find_similar_sessions(request.clone()).await;
        let answer = answer.context("FindSimilarSessions failed")?.into_inner();
        if !answer.sessions.is_empty() {
            return Ok(answer);
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    anyhow::bail!("the earlier session was not found within {} s", (LOOK_PAUSE * LOOKS as u32).as_secs())
}

/// Runs one session from start to end.
async fn measure(client: &mut Client, truth: f64, seed: u64) -> anyhow::Result<Outcome> {
    let session = simulate(truth, seed)?;
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
    Ok(Outcome { truth, packets, end: end.into_inner() })
}

fn simulate(truth: f64, seed: u64) -> anyhow::Result<SyntheticSession> {
    let cartridge = Cartridge::parse(CARTRIDGE)?;
    let mut simulator = Simulator::new(SimulatorConfig::default(), seed)?;
    Ok(simulator.session(cartridge, &[(Biomarker::Glucose, truth)], PACKETS)?)
}

fn start() -> StartSessionRequest {
    let subject = Subject { age_years: Some(46.0), sex: Sex::Female.into() };
    StartSessionRequest {
        user_id: USER.into(),
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
        let again = || simulate(GLUCOSE_TRUTH, SEED).expect("simulates");
        let (first, second) = (again(), again());
        assert_eq!(first.packets.len(), PACKETS);
        assert_eq!(first.packets[0].detection, second.packets[0].detection);
        assert_eq!(first.packets[0].detection.len(), 88);
    }
}
