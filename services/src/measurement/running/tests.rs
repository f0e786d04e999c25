//! A running session fed with synthetic packets.

use clinical::Biomarker;
use clinical::gate::{Gate, Quality};
use clinical::simulator::{Simulator, SimulatorConfig};
use proptest::prelude::*;

use super::*;

fn cartridge() -> &'static Cartridge {
    Cartridge::parse("01:01").expect("registered")
}

fn packets(config: SimulatorConfig, count: usize) -> Vec<Packet> {
    let mut simulator = Simulator::new(config, 7).expect("valid settings");
    let session =
        simulator.session(cartridge(), &[(Biomarker::Glucose, 95.0)], count).expect("valid session");
    let packet = |packet: clinical::simulator::SyntheticPacket| Packet {
        sequence: packet.sequence,
        time_ms: packet.timestamp_ms,
        detection: packet.detection,
        reference: packet.reference,
        environment: Some(Environment {
            temperature_celsius: f64::from(packet.temperature_c),
            humidity_percent: f64::from(packet.humidity_percent),
            pressure_kilopascal: 101.3,
            battery_percent: f64::from(packet.battery_percent),
        }),
        self_test_passed: true,
    };
    session.packets.into_iter().map(packet).collect()
}

fn running() -> Running {
    Running::new(Uuid::from_u128(1), cartridge())
}

fn accepted(taken: Result<Taken, ServiceError>) -> Accepted {
    match taken {
        Ok(Taken::Accepted(accepted)) => accepted,
        other => panic!("expected an accepted packet, got {other:?}"),
    }
}

fn feed(running: &mut Running, packets: &[Packet]) {
    for packet in packets {
        accepted(running.take(packet, &Limits::default()));
    }
}

#[test]
fn a_sound_synthetic_session_passes_every_gate() {
    let mut running = running();
    for packet in packets(SimulatorConfig::default(), 150) {
        let taken = accepted(running.take(&packet, &Limits::default()));
        assert_eq!(taken.notes, [], "packet {}", packet.sequence);
    }
    let report = running.report();
    assert_eq!(report.with(GateStatus::Pass).count(), 8, "{report:?}");
    assert_eq!((report.quality, report.caution()), (Quality::Good, false));
    assert!(running.progress_percent() > 99.0);
}

#[test]
fn the_mean_is_the_mean_of_what_was_corrected() {
    let mut running = running();
    let packets = packets(SimulatorConfig::default(), 20);
    let mut sums = vec![0.0; 88];
    for packet in &packets {
        let corrected = accepted(running.take(packet, &Limits::default())).corrected;
        sums.iter_mut().zip(corrected).for_each(|(sum, value)| *sum += f64::from(value));
    }
    let mean: Vec<f32> = sums.iter().map(|sum| (sum / 20.0) as f32).collect();
    assert_eq!(running.mean(), mean);
}

#[test]
fn each_failing_gate_is_told_and_the_session_goes_on() {
    let mut packets = packets(SimulatorConfig::default(), 40);
    let mut running = running();
    feed(&mut running, &packets[..20]);
    let environment = packets[20].environment.as_mut().expect("reported");
    (environment.temperature_celsius, environment.battery_percent) = (4.0, 12.0);
    packets[20].self_test_passed = false;
    packets[21].reference.iter_mut().for_each(|value| *value *= 1.2);
    packets[22].sequence += 5;
    let told = |taken: &Accepted| taken.notes.iter().map(|note| note.gate.clone()).collect::<Vec<_>>();
    let first = accepted(running.take(&packets[20], &Limits::default()));
    assert_eq!(told(&first), [Gate::Temperature, Gate::SelfTest, Gate::Battery].map(Gate::code));
    assert_eq!(first.notes.iter().map(|note| note.passed).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(told(&accepted(running.take(&packets[21], &Limits::default()))), ["reference"]);
    assert_eq!(told(&accepted(running.take(&packets[22], &Limits::default()))), ["packet_loss"]);
    let failed: Vec<_> = running.report().with(GateStatus::Fail).map(|outcome| outcome.gate).collect();
    assert_eq!(failed, [Gate::PacketLoss, Gate::Temperature, Gate::SelfTest, Gate::Reference]);
}

#[test]
fn a_refused_packet_changes_nothing() {
    let packets = packets(SimulatorConfig::default(), 4);
    let mut running = running();
    feed(&mut running, &packets[..3]);
    let before = running.kept().clone();
    let mut refuse = |change: &dyn Fn(&mut Packet), expected: &str| {
        let mut packet = packets[3].clone();
        change(&mut packet);
        let error = running.take(&packet, &Limits::default()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(*running.kept(), before, "{expected}");
    };
    refuse(&|packet| packet.detection.truncate(87), "packet.detection: has 87 channels");
    refuse(&|packet| packet.reference.push(1.0), "packet.reference: has 89 channels");
    refuse(&|packet| packet.detection[17] = f32::NAN, "packet.detection[17]");
    refuse(&|packet| packet.reference[3] = f32::INFINITY, "packet.reference[3]");
    refuse(&|packet| packet.sequence = u64::MAX, "packet.sequence");
    let empty = |packet: &mut Packet| packet.environment.iter_mut().for_each(|e| e.battery_percent = 9.0);
    refuse(&empty, "gate battery: 9 % is below 10 %");
    let full = Limits { session_packets_max: 3, ..Limits::default() };
    let error = running.take(&packets[3], &full).expect_err("full");
    assert!(matches!(error, ServiceError::Exhausted { limit: 3, .. }));
}

#[test]
fn the_chain_depends_on_every_packet_their_order_and_the_session() {
    let packets = packets(SimulatorConfig::default(), 3);
    let digest = |id: u128, packets: &[&Packet]| {
        let mut running = Running::new(Uuid::from_u128(id), cartridge());
        packets.iter().for_each(|packet| drop(running.take(packet, &Limits::default())));
        running.digest()
    };
    let [a, b, c] = [&packets[0], &packets[1], &packets[2]];
    let whole = digest(1, &[a, b, c]);
    assert_eq!(whole, digest(1, &[a, b, b, a, c]), "repeated packets do not count");
    assert_ne!(whole, digest(2, &[a, b, c]));
    assert_ne!(whole, digest(1, &[a, c, b]));
    let mut changed = c.clone();
    changed.detection[87] += 0.01;
    assert_ne!(whole, digest(1, &[a, b, &changed]));
}

#[test]
fn what_was_kept_goes_on_as_if_never_interrupted() {
    let packets = packets(SimulatorConfig::default(), 12);
    let mut whole = running();
    feed(&mut whole, &packets);
    let mut before = running();
    feed(&mut before, &packets[..7]);
    let mut after = Running::resume(cartridge(), before.kept().clone());
    let again = after.take(&packets[6], &Limits::default());
    assert!(matches!(again, Ok(Taken::Repeated { .. })));
    feed(&mut after, &packets[7..]);
    assert_eq!(after.kept(), whole.kept());
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let number = prop_oneof![4 => -1e4f32..1e4, 1 => any::<f32>(), 1 => Just(f32::MAX), 1 => Just(f32::MIN)];
    let vector = move || {
        let number = number.clone();
        let length = prop_oneof![9 => Just(8), 1 => 0..10usize];
        length.prop_flat_map(move |length| prop::collection::vec(number.clone(), length))
    };
    let percent = || prop_oneof![9 => 10.0..100.0, 1 => any::<f64>()];
    let surroundings = prop::option::of((15.0..40.0, percent(), percent(), percent()));
    let sequence = prop_oneof![9 => 0..200u64, 1 => any::<u64>()];
    (sequence, any::<u64>(), vector(), vector(), surroundings, any::<bool>()).prop_map(
        |(sequence, time_ms, detection, reference, surroundings, self_test_passed)| Packet {
            sequence,
            time_ms,
            detection,
            reference,
            environment: surroundings.map(
                |(temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent)| Environment {
                    temperature_celsius,
                    humidity_percent,
                    pressure_kilopascal,
                    battery_percent,
                },
            ),
            self_test_passed,
        },
    )
}

proptest! {
    /// Whatever a reader sends, nothing panics and nothing that is kept or told is not a number.
    #[test]
    fn no_packet_spoils_a_session(packets in prop::collection::vec(any_packet(), 1..120)) {
        let nose = Cartridge::parse("04:01").expect("registered");
        let mut running = Running::new(Uuid::from_u128(1), nose);
        let mut accepted = 0;
        for packet in &packets {
            let taken = running.take(packet, &Limits::default());
            accepted += u64::from(matches!(taken, Ok(Taken::Accepted(_))));
        }
        prop_assert_eq!(running.packets(), accepted);
        prop_assert!(running.mean().iter().all(|value| value.is_finite()));
        prop_assert!((0.0..=100.0).contains(&running.progress_percent()));
        for outcome in running.report().outcomes {
            prop_assert!(outcome.measured.is_none_or(f64::is_finite), "{:?}", outcome);
        }
    }
}
