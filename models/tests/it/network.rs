//! What the networks promise whatever their weights: rows do not see each other, missing values
//! do not count, answers are finite and in range, and training computes what serving computes.

use models::bundle::NetworkConfig;
use models::engine::candle::network::Network;
use models::{Batch, Tensor};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::support::{config, inputs, model, networks, numbers, run, trained};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_batch_is_its_rows_one_by_one(sizes in prop::collection::vec(1usize..9, 1..6), seed: u64) {
        for network in networks() {
            let mut model = model(&network);
            let parts: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(index, rows)| inputs(&config(&network), *rows, seed ^ index as u64))
                .collect();
            let column = |at: usize| parts.iter().map(|part| &part[at]).collect::<Vec<_>>();
            let together: Vec<Tensor> =
                (0..parts[0].len()).map(|at| Tensor::concat_rows(&column(at)).expect("alike")).collect();
            let together = run(&mut *model, &together);
            let mut start = 0;
            for part in &parts {
                let alone = run(&mut *model, part);
                let rows = part[0].rows();
                for (together, alone) in together.iter().zip(&alone) {
                    // Bit for bit: the bytes are compared, not the numbers.
                    prop_assert_eq!(&together.slice_rows(start, rows).expect("within"), alone);
                }
                start += rows;
            }
        }
    }

    #[test]
    fn a_missing_value_never_counts(at in 0usize..6, value: f32) {
        for network in networks().iter().filter(|network| network.masked()) {
            let mut model = model(network);
            let present: Vec<f32> = (0..6).map(|column| f32::from(u8::from(column != at))).collect();
            let mut answer = |value: f32| {
                let mut features = numbers(6, 5);
                features[at] = value;
                let tensor = |values: &[f32]| Tensor::from_f32(vec![1, 6], values).expect("a tensor");
                run(&mut *model, &[tensor(&features), tensor(&present)])
            };
            prop_assert_eq!(answer(0.0), answer(value));
            prop_assert_eq!(answer(0.0), answer(f32::INFINITY));
        }
    }

    #[test]
    fn answers_are_finite_and_in_range(values in prop::collection::vec(any::<f32>(), 6)) {
        prop_assume!(values.iter().all(|value| value.is_finite()));
        for network in networks() {
            let tensor = |values: &[f32]| Tensor::from_f32(vec![1, 6], values).expect("a tensor");
            let mut inputs = vec![tensor(&values), tensor(&[1.0; 6])];
            inputs.truncate(config(&network).inputs.len());
            let outputs = run(&mut *model(&network), &inputs);
            prop_assert!(outputs.iter().all(|output| output.first_non_finite().is_none()), "{network:?}");
            let first = outputs[0].as_f32().expect("numbers");
            match network {
                NetworkConfig::Classifier(_) => {
                    prop_assert!((first.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                    prop_assert!(first.iter().all(|probability| (0.0..=1.0).contains(probability)));
                }
                NetworkConfig::Regressor(_) => prop_assert!(first.iter().all(|value| *value > 0.0)),
                NetworkConfig::Autoencoder(_) => prop_assert!(first[0] >= 0.0),
                NetworkConfig::Forecaster(_) => {
                    prop_assert!(first.chunks(5).all(|quantiles| quantiles.is_sorted()), "{first:?}");
                }
                NetworkConfig::Risk(_) | NetworkConfig::Encoder(_) => {}
            }
        }
    }
}

/// Logits of training turned into the first output of serving, by candle.
fn from_logits(
    network: &Network,
    raw: &candle_core::Tensor,
    features: &[f32],
) -> candle_core::Result<Vec<f32>> {
    let answer = match network {
        Network::Classifier(_) => candle_nn::ops::softmax(raw, candle_core::D::Minus1)?.mean(0)?,
        Network::Regressor(regressor) => regressor.values(raw)?.mean(0)?,
        Network::Autoencoder(_) | Network::Risk(_) => raw.mean(0)?,
        Network::Forecaster(_) => {
            // The centre and scale that the support gives every forecaster.
            let (map, _) = trained(&networks()[3]);
            let scale = crate::support::tensors(&map)
                .iter()
                .find(|(name, _)| name == "standardise.scale")
                .map(|(_, tensor)| tensor.as_f32().expect("numbers")[0])
                .expect("a scale");
            let relative = raw.mean(0)?.flatten_all()?.to_vec1::<f32>()?;
            let size = relative.len() / (features.len() / 6);
            let last = |at: usize| features[at / size * 6 + 5];
            return Ok(relative.iter().enumerate().map(|(at, value)| value * scale + last(at)).collect());
        }
    };
    answer.flatten_all()?.to_vec1()
}

#[test]
fn training_computes_what_serving_computes() {
    for kind in networks() {
        let (_, network) = trained(&kind);
        let config = config(&kind);
        let inputs = inputs(&config, 7, 11);
        let features = inputs[0].as_f32().expect("numbers");
        let present = inputs.get(1).map(|input| input.as_f32().expect("numbers"));
        let prepared = network.prepare(&features, present.as_deref()).expect("prepared");
        let raw = network.forward_logits(&prepared, None).expect("logits");
        assert_eq!(raw.dims()[..2], [network.body().members(), 7]);
        let outputs = network.run(&features, present.as_deref()).expect("outputs");
        let trained = from_logits(&network, &raw, &features).expect("answers");
        let served = match &network {
            // The reconstruction itself is not an output: values minus residuals give it back.
            Network::Autoencoder(autoencoder) => {
                let (values, mask) = autoencoder.target(&prepared).expect("a target");
                let flat = |tensor: candle_core::Tensor| {
                    tensor.contiguous().and_then(|t| t.flatten_all()?.to_vec1::<f32>()).expect("numbers")
                };
                let (values, mask) = (flat(values), flat(mask.expect("masked")));
                let back =
                    |at: usize| if mask[at] == 0.0 { trained[at] } else { values[at] - outputs[1][at] };
                (0..values.len()).map(back).collect()
            }
            Network::Classifier(_) | Network::Regressor(_) | Network::Forecaster(_) | Network::Risk(_) => {
                outputs[0].clone()
            }
        };
        assert_eq!(trained.len(), served.len());
        for (trained, served) in trained.iter().zip(&served) {
            assert!((trained - served).abs() <= 1e-5 * served.abs().max(1.0), "{kind:?}: {trained} {served}");
        }
    }
}

#[test]
fn dropout_is_seeded_and_only_in_training() {
    let (_, network) = trained(&networks()[0]);
    let prepared = network.prepare(&numbers(12, 4), Some(&[1.0; 12])).expect("prepared");
    let logits = |seed: Option<u64>| {
        let mut rng = seed.map(ChaCha8Rng::seed_from_u64);
        let raw = network.forward_logits(&prepared, rng.as_mut()).expect("logits");
        raw.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("numbers")
    };
    assert_eq!(logits(Some(1)), logits(Some(1)));
    assert_ne!(logits(Some(1)), logits(Some(2)));
    assert_ne!(logits(Some(1)), logits(None));
    assert_eq!(logits(None), logits(None));
}

#[test]
fn every_trained_tensor_has_a_slope() {
    for kind in networks() {
        let (map, network) = trained(&kind);
        let inputs = inputs(&config(&kind), 16, 9);
        let present = inputs.get(1).map(|input| input.as_f32().expect("numbers"));
        let features = inputs[0].as_f32().expect("numbers");
        let prepared = network.prepare(&features, present.as_deref()).expect("prepared");
        let raw = network.forward_logits(&prepared, None).expect("logits");
        let slopes = raw.sqr().and_then(|raw| raw.mean_all()?.backward()).expect("slopes");
        for (name, var) in map.data().lock().expect("one thread").iter() {
            let trained = name.ends_with("weight") || name.ends_with("bias");
            assert_eq!(slopes.get(var).is_some(), trained, "{name} of {kind:?}");
        }
    }
}

#[test]
fn the_error_is_the_mean_square_of_what_is_present() {
    let kind = &networks()[2];
    let inputs = inputs(&config(kind), 4, 2);
    let outputs = run(&mut *model(kind), &inputs);
    let (errors, residuals) = (outputs[0].as_f32().expect("numbers"), outputs[1].as_f32().expect("numbers"));
    let present = inputs[1].as_f32().expect("numbers");
    for (row, error) in errors.iter().enumerate() {
        let columns = row * 6..row * 6 + 6;
        let count: f32 = present[columns.clone()].iter().sum();
        let squares: f32 = residuals[columns.clone()].iter().map(|residual| residual * residual).sum();
        assert!((error - squares / count).abs() < 1e-5);
        let missing = columns.filter(|at| present[*at] == 0.0);
        assert!(missing.map(|at| residuals[at]).all(|residual| residual == 0.0));
    }
}

#[test]
fn wrong_tensors_are_refused_by_name() {
    let mut model = model(&networks()[0]);
    let tensor = |shape: &[usize]| {
        Tensor::from_f32(shape.to_vec(), &vec![1.0; shape.iter().product()]).expect("a tensor")
    };
    for (tensors, part) in [
        (vec![], "inputs"),
        (vec![tensor(&[1, 6])], "inputs"),
        (vec![tensor(&[1, 6]), tensor(&[1, 5])], "present"),
        (vec![tensor(&[2, 6]), tensor(&[1, 6])], "present"),
        (vec![tensor(&[6]), tensor(&[1, 6])], "features"),
        (vec![tensor(&[0, 6]), tensor(&[0, 6])], "no rows"),
    ] {
        let error = model.run(Batch { tensors }).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    }
}
