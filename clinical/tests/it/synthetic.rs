//! What the simulator promises: labels, lengths, a signal that can be read back, faults that show.

use clinical::biomarker::Biomarker;
use clinical::cartridge::Cartridge;
use clinical::layout::{BASE_FREQUENCIES, Layout};
use clinical::simulator::{Fault, SYNTHETIC, Simulator, SimulatorConfig};
use proptest::prelude::*;

fn simulator(seed: u64) -> Simulator {
    Simulator::new(SimulatorConfig::default(), seed).expect("valid settings")
}

#[test]
fn every_cartridge_gives_labelled_sessions_of_its_length() {
    let mut simulator = simulator(1);
    for cartridge in Cartridge::all() {
        let concentrations = simulator.random_concentrations(cartridge);
        let session = simulator.session(cartridge, &concentrations, 3).expect("valid request");
        assert_eq!((session.label(), session.packets.len()), (SYNTHETIC, 3));
        for packet in &session.packets {
            for vector in [&packet.detection, &packet.reference] {
                assert_eq!(vector.len(), cartridge.channels(), "{}", cartridge.name);
                assert!(vector.iter().all(|v| v.is_finite()));
            }
        }
        let sweep = simulator.sweep(cartridge, &concentrations, None).expect("valid request");
        assert_eq!((sweep.label(), sweep.corrected.len()), (SYNTHETIC, cartridge.channels()));
    }
}

#[test]
fn the_widest_layout_holds_this_packet_and_the_one_before() {
    let cartridge = Cartridge::parse("05:03").expect("registered");
    let session = simulator(2).session(cartridge, &[], 3).expect("valid request");
    assert_eq!(session.layout, Layout::Ultimate);
    assert_eq!(session.packets[2].detection[896..], session.packets[1].detection[..896]);
}

#[test]
fn lost_packets_leave_gaps_and_time_goes_on() {
    let config = SimulatorConfig { packet_loss: 0.5, packet_period_ms: 50, ..SimulatorConfig::default() };
    let cartridge = Cartridge::parse("01:01").expect("registered");
    let session =
        Simulator::new(config, 3).and_then(|mut s| s.session(cartridge, &[], 100)).expect("valid request");
    assert!((20..80).contains(&session.packets.len()));
    assert!(session.packets.iter().all(|p| p.timestamp_ms == p.sequence * 50));
}

/// The fault shows on the faulty part and leaves the rest of the vector as it was.
#[test]
fn faults_show_where_they_are() {
    let cartridge = Cartridge::parse("01:01").expect("registered");
    let sweep =
        |fault| simulator(4).sweep(cartridge, &[(Biomarker::Glucose, 95.0)], fault).expect("valid").corrected;
    let sound = sweep(None);
    let changed = |fault| -> Vec<usize> {
        let faulty = sweep(Some(fault));
        (0..88).filter(|&i| (faulty[i] - sound[i]).abs() > 0.2 * sound[i].abs().max(20.0)).collect()
    };
    assert_eq!(changed(Fault::SaturatedChannel { channel: 30 }), [30]);
    let open: Vec<usize> = (2 * BASE_FREQUENCIES..3 * BASE_FREQUENCIES).collect();
    assert_eq!(changed(Fault::OpenCircuit { electrode: 2 }), open);
    let bubble = changed(Fault::Bubble { electrode: 2 });
    assert!(bubble.len() >= 6 && bubble.iter().all(|i| open.contains(i)), "{bubble:?}");
    assert!(changed(Fault::DriftRunaway).len() > 8, "every working electrode drifts");
    assert!(simulator(4).sweep(cartridge, &[], Some(Fault::Bubble { electrode: 9 })).is_err());
}

/// Glucose read back from one channel by a straight comparison with noiseless neighbours: rank order must survive.
#[test]
fn concentration_can_be_read_from_the_corrected_signal() {
    let cartridge = Cartridge::parse("01:01").expect("registered");
    let mut simulator = simulator(6);
    let mut pairs: Vec<(f64, f32)> = (0..400)
        .map(|_| {
            let concentrations = simulator.random_concentrations(cartridge);
            let sweep = simulator.sweep(cartridge, &concentrations, None).expect("valid request");
            (concentrations[0].1, sweep.corrected[0])
        })
        .collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let concordant = (0..200).filter(|&i| pairs[i].1 < pairs[i + 200].1).count();
    assert!(concordant >= 199, "{concordant} of 200");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any seed and concentration gives finite, deterministic vectors; more analyte means more signal.
    #[test]
    fn the_signal_is_deterministic_finite_and_monotone(seed: u64, index in 0usize..17, share in 0.0f64..0.8) {
        let analytes: Vec<Biomarker> =
            Cartridge::all()[..14].iter().flat_map(|c| c.analytes.iter().copied()).collect();
        let analyte = analytes[index];
        let cartridge = Cartridge::measuring(analyte).expect("every analyte has a cartridge");
        let response = clinical::simulator::chemistry::response(analyte).expect("known");
        let at = |share: f64| response.low + share * (response.high - response.low);
        let electrode = cartridge.analytes.iter().position(|&a| a == analyte).expect("measured");
        let signal = |value| {
            let sweep = simulator(seed).sweep(cartridge, &[(analyte, value)], None).expect("valid request");
            sweep.corrected
        };
        let (less, more) = (signal(at(share)), signal(at(share + 0.2)));
        prop_assert!(less.iter().all(|v| v.is_finite()));
        prop_assert_eq!(&less, &signal(at(share)));
        let channel = electrode * BASE_FREQUENCIES;
        prop_assert!(more[channel] > less[channel], "{} {} {}", analyte, less[channel], more[channel]);
    }
}
