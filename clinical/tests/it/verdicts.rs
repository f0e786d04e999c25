//! What holds for every biomarker, every value and every opinion: a model makes a verdict worse and never milder,
//! doubt is never called normal, and neither the unit nor a hair's breadth decides by accident.

use clinical::correction::Correction;
use clinical::fingerprint::Fingerprint;
use clinical::gate::{drift_percent, packet_loss_percent, snr_db};
use clinical::range::{classify, reference_range};
use clinical::safety::{CONFIDENCE_MIN, ModelOpinion, Reason, SafetyVerdict, Verdict, assess};
use clinical::simulator::circuit::{Frequency, Randles};
use clinical::unit::{accepted, convert};
use clinical::{Biomarker, Class, Person, RiskLevel, Sex};
use proptest::prelude::*;

fn biomarker() -> impl Strategy<Value = Biomarker> {
    prop::sample::select(Biomarker::ALL.to_vec())
}

fn person() -> impl Strategy<Value = Person> {
    let sex = prop::sample::select(vec![None, Some(Sex::Female), Some(Sex::Male)]);
    (prop::option::of(0.0f64..120.0), sex).prop_map(|(age, sex)| Person::new(age, sex).expect("possible"))
}

fn opinion() -> impl Strategy<Value = ModelOpinion> {
    (prop::sample::select(Class::ALL.to_vec()), -0.2f64..1.2)
        .prop_map(|(class, confidence)| ModelOpinion { class, confidence })
}

/// A value that a living person can have, spread over the whole range.
fn value(biomarker: Biomarker, share: f64) -> f64 {
    let (low, high) = biomarker.plausible();
    low + (high - low) * share.powi(3)
}

fn judged(biomarker: Biomarker, value: f64, person: &Person, model: Option<ModelOpinion>) -> SafetyVerdict {
    assess(biomarker, value, person, model, CONFIDENCE_MIN)
}

proptest! {
    #[test]
    fn a_model_makes_nothing_milder(marker in biomarker(), share in 0.0f64..=1.0, person in person(), opinion in opinion()) {
        let value = value(marker, share);
        let (alone, with) = (judged(marker, value, &person, None), judged(marker, value, &person, Some(opinion)));
        prop_assert!(with.verdict >= alone.verdict && with.class >= alone.class && with.risk >= alone.risk);
        prop_assert!(with.remeasure >= alone.remeasure);
        prop_assert_eq!(with.rule, alone.rule);
    }

    #[test]
    fn normal_needs_a_rule_and_whoever_took_part_to_say_so_with_confidence(
        marker in biomarker(), share in 0.0f64..=1.0, person in person(), opinion in prop::option::of(opinion()),
    ) {
        let value = value(marker, share);
        let told = judged(marker, value, &person, opinion);
        let content = opinion.is_none_or(|o| o.class == Class::Normal && (CONFIDENCE_MIN..=1.0).contains(&o.confidence));
        let rule = classify(marker, value, &person).map(|banded| banded.class);
        prop_assert_eq!(told.verdict == Verdict::Normal, rule == Some(Class::Normal) && content, "{:?}", told);
        prop_assert!(told.verdict == Verdict::Normal || !told.reasons.is_empty(), "a verdict says why");
    }

    #[test]
    fn what_no_person_can_have_is_never_vouched_for(
        marker in biomarker(), beyond in 1e-6f64..1e6, below: bool, person in person(), opinion in prop::option::of(opinion()),
    ) {
        let (low, high) = marker.plausible();
        for value in [if below { low - beyond } else { high + beyond }, f64::NAN, f64::INFINITY] {
            let told = judged(marker, value, &person, opinion);
            prop_assert!(told.verdict >= Verdict::Uncertain && told.remeasure && told.rule.is_none());
            prop_assert_eq!(told.reasons[0], Reason::Implausible);
        }
    }

    #[test]
    fn doubt_always_asks_to_measure_again(marker in biomarker(), share in 0.0f64..=1.0, opinion in opinion()) {
        let told = judged(marker, value(marker, share), &Person::default(), Some(opinion));
        let doubted = told.reasons.iter().any(|reason| {
            matches!(reason, Reason::LowConfidence { .. } | Reason::Disagreement { .. } | Reason::NoRule)
        });
        prop_assert!(told.remeasure >= doubted, "{told:?}");
        prop_assert!(!doubted || told.verdict >= Verdict::Uncertain, "{told:?}");
    }

    /// The same blood in another unit gets the same class, unless rounding alone moves it over an edge.
    #[test]
    fn the_unit_of_a_value_does_not_change_its_class(marker in biomarker(), share in 0.0f64..=1.0, person in person(), at in any::<prop::sample::Index>()) {
        let canonical = value(marker, share);
        let units: Vec<_> = accepted(marker).collect();
        let unit = units[at.index(units.len())];
        let given = convert(marker, canonical, marker.unit(), unit).expect("accepted");
        let back = marker.read(given, unit);
        prop_assume!(back.is_ok());
        let class = |value: f64| classify(marker, value, &person).map(|banded| banded.class);
        let hair = canonical.abs().max(1e-9) * 1e-9;
        let near = [canonical - hair, canonical, canonical + hair].map(class);
        prop_assert!(near.contains(&class(back.expect("checked"))), "{canonical} {unit:?}");
    }

    #[test]
    fn inside_the_reference_range_no_rule_speaks_of_abnormal(marker in biomarker(), share in 0.0f64..=1.0, person in person()) {
        if let Some(range) = reference_range(marker, &person) {
            let (low, high) = marker.plausible();
            let (low, high) = (range.low.unwrap_or(low), range.high.unwrap_or(high));
            let value = (low + (high - low) * share).clamp(low, high);
            prop_assert!(range.contains(value));
            let risk = classify(marker, value, &person).map(|banded| banded.risk);
            prop_assert_ne!(risk, Some(RiskLevel::Critical), "{} is within {:?}", value, range);
        }
    }

    #[test]
    fn a_correction_is_what_its_formula_says(
        channels in prop::collection::vec((-1e4f32..1e4, -1e4f32..1e4, -10.0f32..10.0, 0.5f32..2.0), 1..40),
        alpha in 0.0f32..2.0, coefficient in -0.05f32..0.05, temperature in 5.0f32..45.0,
    ) {
        let (offset, gain): (Vec<f32>, Vec<f32>) = channels.iter().map(|c| (c.2, c.3)).unzip();
        let correction = Correction::new(alpha)
            .and_then(|c| c.with_calibration(offset, gain))
            .and_then(|c| c.with_temperature(coefficient))
            .expect("possible");
        let detection: Vec<f32> = channels.iter().map(|c| c.0).collect();
        let reference: Vec<f32> = channels.iter().map(|c| c.1).collect();
        let corrected = correction.apply(&detection, &reference, temperature).expect("finite");
        for (corrected, (det, reference, offset, gain)) in corrected.iter().zip(&channels) {
            let [det, reference, offset, gain] = [det, reference, offset, gain].map(|v| f64::from(*v));
            let step = 1.0 + f64::from(coefficient) * (f64::from(temperature) - 25.0);
            let expected = (det - f64::from(alpha) * reference - offset) * gain * step;
            prop_assert!((f64::from(*corrected) - expected).abs() < 1e-2 + expected.abs() * 1e-4);
        }
    }

    #[test]
    fn fingerprints_compare_shape_and_not_strength(
        a in prop::collection::vec(-1e3f32..1e3, 8), b in prop::collection::vec(-1e3f32..1e3, 8), strength in 0.01f32..100.0,
    ) {
        prop_assume!(a.iter().any(|v| v.abs() > 1.0) && b.iter().any(|v| v.abs() > 1.0));
        let of = |vector: &[f32]| Fingerprint::new(vector).expect("a direction");
        let louder: Vec<f32> = b.iter().map(|v| v * strength).collect();
        let (here, there) = (of(&a), of(&b));
        let cosine = here.cosine(&there).expect("one layout");
        let dot: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        prop_assert!((cosine - dot / (norm(&a) * norm(&b))).abs() < 1e-5);
        prop_assert!((cosine - here.cosine(&of(&louder)).expect("one layout")).abs() < 1e-5);
        prop_assert_eq!(cosine, there.cosine(&here).expect("one layout"));
        let length: f64 = here.as_slice().iter().map(|v| f64::from(*v).powi(2)).sum();
        prop_assert!((length - 1.0).abs() < 1e-5);
    }

    /// Packets that are lost are those whose numbers never came, however the others arrived.
    #[test]
    fn loss_is_counted_and_does_not_depend_on_the_order(first in 0u64..1000, kept in prop::collection::vec(any::<bool>(), 1..60), twice: bool) {
        let numbers: Vec<u64> = (first..).zip(&kept).filter(|(_, kept)| **kept).map(|(number, _)| number).collect();
        prop_assume!(numbers.len() > 1);
        let span = numbers[numbers.len() - 1] - numbers[0] + 1;
        let expected = 100.0 * (span as f64 - numbers.len() as f64) / span as f64;
        let mut arrived = numbers.clone();
        arrived.reverse();
        if twice {
            arrived.extend(&numbers);
        }
        prop_assert!((packet_loss_percent(&arrived).expect("some came") - expected).abs() < 1e-9);
    }

    #[test]
    fn the_ratio_of_a_signal_does_not_depend_on_its_unit(packets in prop::collection::vec(prop::collection::vec(1.0f32..1e3, 4), 3..12), power in -3i32..4) {
        let factor = 2f32.powi(power);
        let scaled: Vec<Vec<f32>> = packets.iter().map(|p| p.iter().map(|v| v * factor).collect()).collect();
        let (one, other): (Vec<&[f32]>, Vec<&[f32]>) =
            (packets.iter().map(Vec::as_slice).collect(), scaled.iter().map(Vec::as_slice).collect());
        prop_assert_eq!(snr_db(&one).map(|db| (db * 1e6).round()), snr_db(&other).map(|db| (db * 1e6).round()));
        let (a, b) = (drift_percent(&one).expect("a mean"), drift_percent(&other).expect("a mean"));
        prop_assert!((a - b).abs() < 1e-6);
        let backwards: Vec<&[f32]> = one.iter().rev().copied().collect();
        prop_assert!((drift_percent(&backwards).expect("a mean") + a).abs() < 1e-6, "time turned round");
    }

    /// The circuit by complex arithmetic written out, without the logarithms of the fast form.
    #[test]
    fn the_impedance_is_that_of_the_circuit_as_drawn(
        rs in 1.0f64..1e3, rct in 1.0f64..1e5, q in 1e-7f64..1e-4, n in 0.6f64..=1.0, warburg in 0.0f64..1e4, log_hz in -2.0f64..5.0,
    ) {
        let (hz, parts) = (10f64.powf(log_hz), Randles { rs, rct, q, n, warburg });
        let omega = std::f64::consts::TAU * hz;
        let invert = |(re, im): (f64, f64)| {
            let square = re.powi(2) + im.powi(2);
            (re / square, -im / square)
        };
        let series = (rct + warburg / omega.sqrt(), -warburg / omega.sqrt());
        let angle = n * std::f64::consts::FRAC_PI_2;
        let layer = (q * omega.powf(n) * angle.cos(), q * omega.powf(n) * angle.sin());
        let branch = invert(series);
        let (re, im) = invert((branch.0 + layer.0, branch.1 + layer.1));
        let (found_re, found_im) = parts.impedance(Frequency::from_hz(hz));
        prop_assert!((found_re - rs - re).abs() <= 1e-9 * (rs + re).abs() && (found_im - im).abs() <= 1e-9 * im.abs().max(1e-6));
        prop_assert!(found_re >= rs && found_im <= 1e-12, "a passive circuit with capacitors only");
    }
}

#[test]
fn the_threshold_itself_is_enough_confidence() {
    let at = |confidence: f64| {
        let opinion = ModelOpinion { class: Class::Normal, confidence };
        judged(Biomarker::Glucose, 90.0, &Person::default(), Some(opinion)).verdict
    };
    assert_eq!(at(CONFIDENCE_MIN), Verdict::Normal);
    assert_eq!(at(CONFIDENCE_MIN - 1e-9), Verdict::Uncertain);
    assert_eq!(at(1.0), Verdict::Normal);
    for nonsense in [1.0 + 1e-9, -0.1, f64::NAN, f64::INFINITY] {
        assert_eq!(at(nonsense), Verdict::Uncertain, "{nonsense}");
    }
}

#[test]
fn a_sure_model_alone_can_alarm_and_an_unsure_one_only_doubt() {
    let with = |class, confidence| {
        judged(Biomarker::Glucose, 90.0, &Person::default(), Some(ModelOpinion { class, confidence })).verdict
    };
    assert_eq!(with(Class::Abnormal, 0.99), Verdict::Alert);
    assert_eq!(with(Class::Abnormal, 0.5), Verdict::Uncertain);
    assert_eq!(with(Class::Borderline, 0.99), Verdict::Uncertain, "rule and model disagree");
}
