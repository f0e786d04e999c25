//! Where medicine knows the direction of an input, no weights whatsoever make the risk fall in it.

use models::bundle::{Activation, BodyConfig, NetworkConfig, RisingConfig, RiskConfig};
use models::{Model, Tensor};
use proptest::prelude::*;

use crate::support::{config, inputs, model, run, trained};

fn rises(column: usize, from: f64, absent: Option<f64>) -> RisingConfig {
    RisingConfig { column, from, absent }
}

/// Four columns are free, column 4 rises throughout, column 5 above 0.5.
fn network(hidden: &[usize], masked: bool) -> NetworkConfig {
    let body = BodyConfig { members: 2, skip: true, ..BodyConfig::new(hidden) };
    let rising = vec![rises(4, -10.0, None), rises(5, 0.5, None)];
    NetworkConfig::Risk(RiskConfig { inputs: 6, masked, rising, body })
}

fn answer(model: &mut dyn Model, values: &[f32], present: Option<&[f32]>) -> f32 {
    let tensor = |values: &[f32]| Tensor::from_f32(vec![1, 6], values).expect("a tensor");
    let inputs: Vec<Tensor> = [Some(values), present].into_iter().flatten().map(tensor).collect();
    run(model, &inputs)[0].as_f32().expect("a number")[0]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// The support draws the weights of either sign.
    #[test]
    fn the_risk_never_falls_in_a_rising_column(
        values in prop::collection::vec(-4.0f32..4.0, 6), by in 0.0f32..5.0, column in 4usize..6,
        gaps in prop::collection::vec(any::<bool>(), 6), hidden in prop::sample::select(vec![0usize, 1, 7, 16]),
    ) {
        let hidden: &[usize] = if hidden == 0 { &[] } else { &[hidden] };
        for masked in [false, true] {
            let mut model = model(&network(hidden, masked));
            let mut present: Vec<f32> = gaps.iter().map(|there| f32::from(u8::from(*there))).collect();
            present[column] = 1.0;
            let mut lower = values.clone();
            lower[column] = if column == 5 { lower[column].max(0.5) } else { lower[column] };
            let mut upper = lower.clone();
            upper[column] += by;
            let present = masked.then_some(&present[..]);
            let (low, high) = (answer(&mut *model, &lower, present), answer(&mut *model, &upper, present));
            prop_assert!(high >= low - 1e-5 * low.abs().max(1.0), "{low} {high}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// A finding on record as absent never costs more than an unknown one, nor an unknown one more than a present one.
    #[test]
    fn unknown_lies_between_no_and_yes(
        values in prop::collection::vec(-4.0f32..4.0, 6), column in 4usize..6, absent in 0.0f64..=1.0,
        gaps in prop::collection::vec(any::<bool>(), 6), hidden in prop::sample::select(vec![0usize, 1, 7, 16]),
    ) {
        let body = BodyConfig {
            members: 2,
            skip: true,
            ..BodyConfig::new(if hidden == 0 { vec![] } else { vec![hidden] })
        };
        let rising = vec![rises(4, 0.0, Some(absent)), rises(5, 0.0, Some(absent))];
        let mut model = model(&NetworkConfig::Risk(RiskConfig { inputs: 6, masked: true, rising, body }));
        let mut present: Vec<f32> = gaps.iter().map(|there| f32::from(u8::from(*there))).collect();
        let mut answers = |there: f32, value: f32| {
            let mut values = values.clone();
            (values[column], present[column]) = (value, there);
            answer(&mut *model, &values, Some(&present))
        };
        let (no, unknown, yes) = (answers(1.0, 0.0), answers(0.0, 0.7), answers(1.0, 1.0));
        let close = 1e-5 * yes.abs().max(1.0);
        prop_assert!(no <= unknown + close && unknown <= yes + close, "{no} {unknown} {yes}");
    }
}

#[test]
fn other_columns_and_lower_values_are_free_to_fall() {
    let mut model = model(&network(&[16], false));
    let mut falls = |column: usize, from: f32, to: f32| {
        (0..40).any(|draw| {
            let mut values: Vec<f32> =
                (0..6).map(|at| ((draw * 7 + at * 13) % 17) as f32 / 4.0 - 2.0).collect();
            values[column] = from;
            let before = answer(&mut *model, &values, None);
            values[column] = to;
            answer(&mut *model, &values, None) < before - 1e-3
        })
    };
    let free = (0..4).filter(|column| falls(*column, -1.0, 1.0) || falls(*column, 1.0, -1.0)).count();
    assert_eq!(free, 4);
    assert!(falls(5, -2.0, 0.5) || falls(5, 0.5, -2.0), "below its value column 5 is free");
}

#[test]
fn a_rising_network_is_trained_as_it_is_served() {
    for kind in [network(&[], true), network(&[8], true), network(&[8], false)] {
        let (map, network) = trained(&kind);
        let inputs = inputs(&config(&kind), 9, 3);
        let features = inputs[0].as_f32().expect("numbers");
        let present = inputs.get(1).map(|input| input.as_f32().expect("numbers"));
        let prepared = network.prepare(&features, present.as_deref()).expect("prepared");
        let raw = network.forward_logits(&prepared, None).expect("log risks");
        let mean = raw.mean(0).and_then(|raw| raw.flatten_all()?.to_vec1::<f32>()).expect("numbers");
        let served = run(&mut *model(&kind), &inputs)[0].as_f32().expect("numbers").to_vec();
        for (trained, served) in mean.iter().zip(&served) {
            assert!((trained - served).abs() <= 1e-5 * served.abs().max(1.0), "{trained} {served}");
        }
        let slopes = raw.sqr().and_then(|raw| raw.mean_all()?.backward()).expect("slopes");
        for (name, var) in map.data().lock().expect("one thread").iter() {
            let moves = name.ends_with("weight") || name.ends_with("bias");
            assert_eq!(slopes.get(var).is_some(), moves, "{name}");
        }
    }
}

#[test]
fn what_cannot_rise_is_refused() {
    config(&network(&[4], true)).check().expect("accepted");
    let refused = |change: &dyn Fn(&mut RiskConfig)| {
        let mut kind = network(&[4], true);
        let NetworkConfig::Risk(risk) = &mut kind else { panic!("a risk network") };
        change(risk);
        config(&kind).check().expect_err("refused").to_string()
    };
    assert!(refused(&|risk| risk.body.hidden.push(3)).contains("network.rising"));
    assert!(refused(&|risk| risk.body.activation = Activation::Gelu).contains("network.rising"));
    assert!(refused(&|risk| risk.rising[0].column = 6).contains("network.rising"));
    assert!(refused(&|risk| risk.rising[0].column = 5).contains("network.rising"));
    assert!(refused(&|risk| risk.rising[1].from = f64::NAN).contains("network.rising"));
    assert!(refused(&|risk| risk.rising[1].absent = Some(f64::NAN)).contains("network.rising.absent"));
    let unmasked = |risk: &mut RiskConfig| (risk.masked, risk.rising[1].absent) = (false, Some(0.0));
    assert!(refused(&unmasked).contains("network.rising.absent"));
}
