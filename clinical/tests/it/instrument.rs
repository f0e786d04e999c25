//! A simulated session through gates, differential correction and fingerprint, as the measurement service does it.

use clinical::biomarker::Biomarker;
use clinical::cartridge::Cartridge;
use clinical::correction::Correction;
use clinical::fingerprint::Fingerprint;
use clinical::gate::{
    Gate, GateLimits, Observation, Quality, QualityReport, Status, drift_percent, evaluate,
    packet_loss_percent, snr_db,
};
use clinical::simulator::{Fault, Simulator, SimulatorConfig, SyntheticSession};

fn simulator(config: SimulatorConfig, seed: u64) -> Simulator {
    Simulator::new(config, seed).expect("valid settings")
}

fn glucose() -> &'static Cartridge {
    Cartridge::parse("01:01").expect("registered")
}

fn session(config: SimulatorConfig, fault: Option<Fault>) -> SyntheticSession {
    simulator(config, 42)
        .session_with(glucose(), &[(Biomarker::Glucose, 95.0)], 150, fault)
        .expect("valid request")
}

fn report(session: &SyntheticSession) -> QualityReport {
    let window: Vec<&[f32]> = session.packets.iter().map(|p| p.detection.as_slice()).collect();
    let sequences: Vec<u64> = session.packets.iter().map(|p| p.sequence).collect();
    let last = session.packets.last().expect("packets arrived");
    let baseline =
        simulator(SimulatorConfig::default(), 1).reference_baseline(glucose()).expect("registered cartridge");
    let seen = Observation {
        snr_db: snr_db(&window),
        drift_percent: drift_percent(&window),
        packet_loss_percent: packet_loss_percent(&sequences),
        temperature_c: Some(f64::from(last.temperature_c)),
        self_test_ok: Some(true),
        battery_percent: Some(f64::from(last.battery_percent)),
        reference_z: baseline.z(&last.reference),
        channels: last.detection.len(),
        channels_expected: glucose().channels(),
        finite: last.detection.iter().all(|v| v.is_finite()),
    };
    evaluate(&seen, &GateLimits::default())
}

fn failed(report: &QualityReport) -> Vec<Gate> {
    report.with(Status::Fail).map(|outcome| outcome.gate).collect()
}

#[test]
fn a_sound_session_passes_every_gate() {
    let report = report(&session(SimulatorConfig::default(), None));
    assert_eq!(report.with(Status::Pass).count(), 8, "{report:?}");
    assert_eq!((report.quality, report.caution()), (Quality::Good, false));
}

#[test]
fn bad_conditions_fail_their_gate_and_no_other() {
    let default = SimulatorConfig::default();
    let cold = SimulatorConfig { temperature_c: 8.0, ..default };
    let lossy = SimulatorConfig { packet_loss: 0.2, ..default };
    let empty = SimulatorConfig { battery_percent: 5.0, ..default };
    assert!(failed(&report(&session(cold, None))).contains(&Gate::Temperature));
    assert_eq!(failed(&report(&session(lossy, None))), [Gate::PacketLoss]);
    assert_eq!(failed(&report(&session(empty, None))), [Gate::Battery]);
    let noisy = SimulatorConfig { noise_relative: 0.3, ..default };
    assert!(failed(&report(&session(noisy, None))).contains(&Gate::Snr));
}

#[test]
fn a_runaway_drift_shows_as_poor_quality() {
    let report = report(&session(SimulatorConfig::default(), Some(Fault::DriftRunaway)));
    assert_eq!((report.quality, report.caution()), (Quality::Poor, true));
}

/// What both cells see is nearly gone after correction: the spread of blank specimens shrinks by an order of magnitude.
#[test]
fn differential_correction_removes_the_matrix() {
    let mut simulator = simulator(SimulatorConfig::default(), 5);
    let (mut raw, mut corrected) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let session = simulator.session(glucose(), &[], 1).expect("valid request");
        let packet = &session.packets[0];
        let out = Correction::for_cartridge(glucose())
            .apply(&packet.detection, &packet.reference, packet.temperature_c)
            .expect("finite");
        raw.push(f64::from(packet.detection[0]));
        corrected.push(f64::from(out[0]));
    }
    assert!(deviation(&corrected) < deviation(&raw) / 8.0, "{} {}", deviation(&corrected), deviation(&raw));
}

fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

#[test]
fn the_temperature_step_brings_warm_and_cold_together() {
    let at = |temperature_c| {
        let config = SimulatorConfig { temperature_c, noise_relative: 0.0, ..SimulatorConfig::default() };
        let session = session(config, None);
        let packet = &session.packets[0];
        let corrected = Correction::for_cartridge(glucose())
            .apply(&packet.detection, &packet.reference, packet.temperature_c)
            .expect("finite");
        (packet.detection[0], corrected[0])
    };
    let ((raw_cold, cold), (raw_warm, warm)) = (at(16.0), at(38.0));
    assert!(raw_cold / raw_warm > 1.3, "the raw signal depends on temperature");
    assert!((cold / warm - 1.0).abs() < 0.01, "{cold} {warm}");
}

#[test]
fn fingerprints_of_the_same_cartridge_are_nearer_than_those_of_another() {
    let mut simulator = simulator(SimulatorConfig::default(), 9);
    let mut print = |code, analyte, value| {
        let cartridge = Cartridge::parse(code).expect("registered");
        let sweep = simulator.sweep(cartridge, &[(analyte, value)], None).expect("valid request");
        Fingerprint::new(&sweep.corrected).expect("has direction")
    };
    let glucose = print("01:01", Biomarker::Glucose, 95.0);
    let again = print("01:01", Biomarker::Glucose, 100.0);
    let lipid = print("01:02", Biomarker::Triglyceride, 150.0);
    let near = glucose.cosine(&again).expect("one layout");
    let far = glucose.cosine(&lipid).expect("one layout");
    assert!(near > 0.99 && far < 0.9, "{near} {far}");
}
