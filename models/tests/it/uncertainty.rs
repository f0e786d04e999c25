//! The figures of `calibration.json` against other ways to reach them: counting, sorting, textbook sums.
//! And what is refused of a file that was edited by hand.

use models::calibration::{
    AgeBand, BANDS, COVERAGE, Calibration, ClassCase, Grid, HorizonWidth, Interval, Part, Quantiles,
    RiskCase, RiskSpread, conformal_quantile, fit_classes, fit_normality, fit_reference, fit_residual,
    fit_risk, wilson,
};
use models::calibration::{OutputResidual, Residuals, Risk, Scale};
use proptest::prelude::*;
use serde_json::{Value, json};

fn finite() -> impl Strategy<Value = f64> {
    -1e3f64..1e3
}

proptest! {
    /// Of n scores at most `floor((n + 1)(1 - coverage))` may lie above the bound; one place lower would be too few.
    #[test]
    fn the_conformal_bound_is_the_smallest_that_keeps_its_promise(
        scores in prop::collection::vec(0i32..50, 1..80), percent in 50u32..99,
    ) {
        let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        let coverage = f64::from(percent) / 100.0;
        let enough = |bound: f64| {
            let below = scores.iter().filter(|score| **score <= bound).count();
            below as f64 + 1e-9 >= coverage * (scores.len() + 1) as f64
        };
        match conformal_quantile(scores.clone(), coverage) {
            Some(bound) => {
                prop_assert!(enough(bound));
                let lower = scores.iter().copied().filter(|score| *score < bound).fold(f64::MIN, f64::max);
                prop_assert!(!enough(lower));
            }
            None => prop_assert!(!enough(f64::MAX), "a bound was there to be had"),
        }
    }

    #[test]
    fn the_conformal_bound_moves_with_the_scores(
        scores in prop::collection::vec(finite(), 20..60), shift in finite(), stretch in 0.1f64..10.0,
    ) {
        let bound = conformal_quantile(scores.clone(), 0.9).expect("enough");
        let moved = conformal_quantile(scores.iter().map(|s| s * stretch + shift).collect(), 0.9).expect("enough");
        prop_assert!((moved - (bound * stretch + shift)).abs() < 1e-6);
    }

    /// The ends of Wilson's interval are the shares whose own normal interval just reaches the observed one.
    #[test]
    fn wilsons_ends_solve_the_score_equation(n in 5u32..400, part in 0.0f64..=1.0) {
        let (n, z) = (f64::from(n), 1.644_853_6);
        let share = (n * part).floor() / n;
        let (low, high) = wilson(share * n, n, 0.9);
        for end in [low, high] {
            if end > 0.0 && end < 1.0 {
                let reach = z * (end * (1.0 - end) / n).sqrt();
                prop_assert!(((share - end).abs() - reach).abs() < 2e-3, "{share} {end} {reach}");
            }
        }
    }

    #[test]
    fn a_rank_and_its_quantile_undo_each_other(
        sample in prop::collection::btree_set(-5000i32..5000, 3..80), level in 0.0f64..=1.0,
    ) {
        let points = sample.len();
        let grid = Grid::of(sample.into_iter().map(f64::from).collect(), points).expect("not empty");
        prop_assert!((grid.rank(grid.quantile(level)) - level).abs() < 1e-9);
    }

    #[test]
    fn a_grid_does_not_care_for_order_or_gaps(mut sample in prop::collection::vec(finite(), 2..60)) {
        let grid = Grid::of(sample.clone(), 11);
        sample.reverse();
        sample.extend([f64::NAN, f64::INFINITY]);
        prop_assert_eq!(Grid::of(sample, 11), grid);
    }

    #[test]
    fn a_prediction_set_grows_with_the_threshold(
        raw in prop::collection::vec(0.01f64..1.0, 3), low in 0.0f64..1.0, more in 0.0f64..1.0,
    ) {
        let sum: f64 = raw.iter().sum();
        let probabilities: Vec<f64> = raw.iter().map(|p| p / sum).collect();
        let set = |threshold: f64| {
            let classes = models::calibration::Classes { thresholds: vec![threshold; 3], bins: Vec::new() };
            classes.prediction_set(&probabilities)
        };
        let (narrow, wide) = (set(low), set((low + more).min(1.0)));
        prop_assert!(!narrow.is_empty() && narrow.iter().all(|class| wide.contains(class)));
        prop_assert_eq!(set(1.0).len(), 3, "a class is never ruled out at a threshold of one");
    }

    /// Relative errors are those of the ratio: a unit changes nothing.
    #[test]
    fn a_relative_width_does_not_depend_on_the_unit(
        pairs in prop::collection::vec((10.0f64..300.0, 10.0f64..300.0), 20..60), factor in 0.01f64..100.0,
    ) {
        let scaled: Vec<(f64, f64)> = pairs.iter().map(|(p, t)| (p * factor, t * factor)).collect();
        let width = |pairs: &[(f64, f64)]| {
            fit_residual("x", pairs, Scale::Relative, 0.9).expect("enough").half_width
        };
        prop_assert!((width(&pairs) - width(&scaled)).abs() < 1e-9);
    }

    #[test]
    fn an_interval_of_quantiles_never_excludes_its_own_median(
        low in finite(), median in -50.0f64..150.0, width in 0.0f64..100.0, stretch in 1e-6f64..20.0,
        persistence in 0.0f64..50.0, band in 0usize..9,
    ) {
        let horizon = HorizonWidth {
            seconds: 1,
            stretch: [stretch; BANDS],
            persistence_half_width: persistence,
            linear_half_width: 0.0,
        };
        // The median may lie outside its own quantiles: a model can be wrong.
        let said = Quantiles { low, median: low + median, high: low + width };
        let Interval { low: from, high: to, .. } = horizon.interval(said, band, 0.9);
        prop_assert!(from <= said.median && said.median <= to);
        prop_assert!(to - from >= persistence / 2.0 - 1e-9, "never narrower than a quarter to each side");
    }
}

/// People with the years and events of `rows`, all of the same risk or each of their own.
fn cases(rows: &[(u8, bool, u8)]) -> Vec<RiskCase> {
    let case = |&(years, event, risk): &(u8, bool, u8)| RiskCase {
        log_risk: f64::from(risk) / 4.0 - 1.0,
        years: f64::from(years),
        event,
    };
    rows.iter().map(case).collect()
}

proptest! {
    /// Breslow's sum as the textbook writes it: a double loop over deaths and those still at risk.
    #[test]
    fn a_higher_log_risk_is_a_higher_probability_inside_its_interval(
        rows in prop::collection::vec((1u8..12, any::<bool>(), 0u8..8), 30..60),
        a in -3.0f64..3.0, b in -3.0f64..3.0, half in 0.0f64..1.0,
    ) {
        let cases = cases(&rows);
        if let Some(risk) = fit_risk("death", 8.0, &cases, Vec::new(), RiskSpread::default(), 0.9) {
            prop_assert!(risk.absolute(a.min(b)) <= risk.absolute(a.max(b)));
            let interval = risk.absolute_interval(a, half, 0.9);
            prop_assert!((0.0..=1.0).contains(&interval.low) && (0.0..=1.0).contains(&interval.high));
            prop_assert!(interval.low <= risk.absolute(a) && risk.absolute(a) <= interval.high);
        }
    }
}

/// Nobody lost, everybody alike: Kaplan-Meier is the plain share, and the bin must hold it.
#[test]
fn without_losses_the_observed_risk_is_the_share_that_died() {
    let rows: Vec<(u8, bool, u8)> =
        (0..200).map(|i| if i % 4 == 0 { (5, true, 4) } else { (20, false, 4) }).collect();
    let risk =
        fit_risk("death", 10.0, &cases(&rows), Vec::new(), RiskSpread::default(), 0.9).expect("deaths");
    for bin in &risk.bins {
        assert!(bin.low < 0.25 && 0.25 < bin.high, "{bin:?}");
    }
}

fn with_peers(references: &[(Option<&str>, f64, f64)]) -> Risk {
    let rows: Vec<(u8, bool, u8)> = (0..40).map(|i| (i % 9 + 1, i % 3 == 0, (i % 8))).collect();
    let peers = |&(sex, from, to): &(Option<&str>, f64, f64)| {
        fit_reference(sex, AgeBand { from, to }, vec![0.0, from, to]).expect("people")
    };
    let references = references.iter().map(peers).collect();
    fit_risk("death", 8.0, &cases(&rows), references, RiskSpread::default(), 0.9).expect("deaths")
}

#[test]
fn a_band_of_ages_begins_with_its_first_and_ends_before_its_last() {
    let risk = with_peers(&[(None, 40.0, 50.0), (None, 50.0, 60.0)]);
    let from = |age: f64| risk.reference(age, None).map(|peers| peers.ages.from);
    assert_eq!([from(39.999), from(40.0), from(50.0), from(60.0)], [None, Some(40.0), Some(50.0), None]);
    assert_eq!(from(f64::NAN), None);
}

#[test]
fn the_narrowest_group_of_peers_counts_wherever_it_stands() {
    let (wide, narrow) = ((Some("male"), 18.0, 120.0), (Some("male"), 50.0, 60.0));
    for order in [[wide, narrow], [narrow, wide]] {
        let risk = with_peers(&order);
        assert_eq!(risk.reference(55.0, Some("male")).map(|peers| peers.ages.from), Some(50.0));
        assert_eq!(risk.reference(30.0, Some("male")).map(|peers| peers.ages.from), Some(18.0));
    }
}

#[test]
fn few_normal_cases_leave_the_rank_open() {
    let normality = fit_normality((0..20).map(f64::from).collect(), Vec::new(), 0.05).expect("cases");
    let (few, many) = (normality.interval(0.5, 20, 0.9), normality.interval(0.5, 20_000, 0.9));
    assert!(few.high - few.low > 10.0 * (many.high - many.low));
    assert!(many.low <= 0.5 && 0.5 <= many.high);
    assert_eq!(fit_normality(vec![f64::NAN], Vec::new(), 0.05), None);
    let silent = vec![("tsh".to_owned(), Vec::new(), Vec::new())];
    let normality = fit_normality(vec![1.0, 2.0], silent, 0.05).expect("cases");
    assert!(normality.features.is_empty(), "a column nobody had says nothing of what is usual");
}

/// One valid file of each kind.
fn files() -> Vec<Value> {
    let cases: Vec<ClassCase> =
        (0..60).map(|i| ClassCase { probabilities: vec![0.7, 0.3], truth: i % 2 }).collect();
    let output = OutputResidual { output: "glucose".into(), scale: Scale::Absolute, half_width: 1.0 };
    let column = ("tsh".to_owned(), vec![0.0, 1.0], vec![-1.0, 1.0]);
    let horizons = [(1800, vec![forecast_case(); 20]), (3600, vec![forecast_case(); 20])];
    let parts = [
        Part::Classes(fit_classes(&cases, 2, COVERAGE)),
        Part::Residuals(Residuals { outputs: vec![output], baseline: vec![1.0] }),
        Part::Normality(fit_normality(vec![0.0, 1.0], vec![column], 0.05).expect("cases")),
        Part::Forecast(models::calibration::fit_forecast((0.05, 0.95), &horizons, COVERAGE).expect("enough")),
        Part::Risk(with_peers(&[(None, 18.0, 120.0)])),
    ];
    let write = |part| Calibration::new(COVERAGE, 60, part).and_then(|c| c.to_json()).expect("valid");
    parts.map(|part| serde_json::from_slice(&write(part)).expect("JSON")).into()
}

fn forecast_case() -> models::calibration::HorizonCase {
    let quantiles = Quantiles { low: 90.0, median: 100.0, high: 110.0 };
    models::calibration::HorizonCase { quantiles, spread: 5.0, last: 100.0, linear: 101.0, truth: 104.0 }
}

/// The complaint about file `kind` after the value at `pointer` was replaced.
fn complaint(kind: &str, pointer: &str, value: Value) -> String {
    let mut file = files().into_iter().find(|file| file["part"]["kind"] == kind).expect("a kind");
    *file.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} of {kind}")) = value;
    let read = Calibration::from_json(file.to_string().as_bytes());
    read.expect_err(pointer).to_string()
}

#[test]
fn each_senseless_figure_is_refused_with_its_name() {
    let cases = [
        ("classes", "/part/thresholds/0", json!(1.5), "thresholds"),
        ("classes", "/part/thresholds", json!([0.5]), "thresholds"),
        ("classes", "/part/bins/0/n", json!(0), "bins"),
        ("classes", "/part/bins/0/right", json!(1000), "bins"),
        ("residuals", "/part/outputs/0/half_width", json!(-0.1), "glucose"),
        ("residuals", "/part/outputs/0/scale", json!("decibel"), "decibel"),
        ("normality", "/part/errors", json!([2.0, 1.0]), "errors"),
        ("normality", "/part/threshold", json!(1.01), "threshold"),
        ("normality", "/part/features/0/low", json!(9.0), "tsh"),
        ("normality", "/part/features/0/residual_high", json!(-9.0), "tsh"),
        ("forecast", "/part/low", json!(0.96), "low and high"),
        ("forecast", "/part/horizons", json!([]), "horizons"),
        ("forecast", "/part/horizons/1/seconds", json!(1800), "ascend"),
        ("forecast", "/part/horizons/0/linear_half_width", json!(-1.0), "width"),
        ("risk", "/part/horizon_years", json!(0.0), "horizon_years"),
        ("risk", "/part/baseline_hazard", json!(-1.0), "baseline_hazard"),
        ("risk", "/part/spread/log_risk_half_width", json!(-1.0), "log_risk_half_width"),
        ("risk", "/part/references", json!([]), "references"),
        ("risk", "/part/spread/score/half_width", json!(-1.0), "score.half_width"),
        ("risk", "/part/spread/score/missing_factor", json!(-1.0), "score.missing_factor"),
        ("risk", "/part/references/0/excess", json!([1.0]), "excess"),
        ("risk", "/part/bins/0/high", json!(1.5), "bins"),
        (
            "risk",
            "/part/spread/missing",
            json!([{ "feature": "hdl", "log_risk_sd": 1.0, "score_sd": -1.0 }]),
            "hdl",
        ),
        ("risk", "/coverage", json!(0.0), "coverage"),
        ("risk", "/id", json!(""), "id"),
        ("risk", "/schema_version", json!(7), "schema_version is 7"),
        ("risk", "/part/kind", json!("oracle"), "oracle"),
    ];
    for (kind, pointer, value, word) in cases {
        let text = complaint(kind, pointer, value);
        assert!(
            text.contains("calibration.json") && text.contains(word),
            "{pointer}: `{text}` lacks `{word}`"
        );
    }
}

#[test]
fn an_unknown_key_is_refused_at_every_depth() {
    for file in files() {
        let pointers = ["", "/part"];
        for pointer in pointers {
            let mut changed = file.clone();
            changed.pointer_mut(pointer).expect("there")["surprise"] = json!(1);
            let error =
                Calibration::from_json(changed.to_string().as_bytes()).expect_err(pointer).to_string();
            assert!(error.contains("surprise"), "{} {pointer}: {error}", file["part"]["kind"]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_damage_to_the_file_makes_it_panic(kind in 0usize..5, at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = files()[kind].to_string().into_bytes();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        if let Ok(read) = Calibration::from_json(&bytes) {
            prop_assert!(Calibration::from_json(&read.to_json().expect("writes")).is_ok());
        }
        prop_assert!(Calibration::from_json(&bytes[..place]).is_err(), "half a file");
    }
}
