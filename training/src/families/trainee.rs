//! A network in training: its weights, its buffers and how rows go through it.

use anyhow::{Context as _, Result, ensure};
use candle_core::Tensor;
use models::bundle::{Activation, BodyConfig, NetworkConfig, to_safetensors};
use models::engine::candle::network::{LOG_FLOOR, Network};

use super::columns::{Column, Panels};
use super::matrix::Matrix;
use super::recipe::Prepared;
use crate::optimise::Weights;

/// A network whose weights can move.
pub(crate) struct Trainee {
    weights: Weights,
    network: Network,
}

/// Hidden layers and members of a smooth ensemble.
pub(crate) fn body(hidden: &[usize], members: usize) -> BodyConfig {
    BodyConfig { members, activation: Activation::Gelu, ..BodyConfig::new(hidden) }
}

impl Trainee {
    pub(crate) fn new(config: &NetworkConfig) -> Result<Self> {
        let weights = Weights::new();
        let network = Network::new(config, weights.builder())?;
        Ok(Self { weights, network })
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Inputs as the body takes them.
    pub(crate) fn prepare(&self, inputs: &[Matrix]) -> Result<Tensor> {
        let features = inputs.first().context("a network has an input")?;
        Ok(self.network.prepare(&features.data, inputs.get(1).map(|present| &present.data[..]))?)
    }

    /// Raw answers of every member, `[members, rows, …]`.
    pub(crate) fn raw(&self, inputs: &[Matrix]) -> Result<Tensor> {
        Ok(self.network.forward_logits(&self.prepare(inputs)?, None)?)
    }

    /// The first output as it is served, rows by rows.
    pub(crate) fn first(&self, inputs: &[Matrix]) -> Result<Matrix> {
        let features = inputs.first().context("a network has an input")?;
        let present = inputs.get(1).map(|present| &present.data[..]);
        let data = self.network.run(&features.data, present)?.into_iter().next();
        let data = data.context("the network gave no output")?;
        Ok(Matrix { cols: data.len().checked_div(features.rows()).unwrap_or(0), data })
    }

    /// Content of `weights.safetensors`.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut tensors = Vec::new();
        for (name, tensor) in self.weights.snapshot()? {
            let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
            tensors.push((name, models::Tensor::from_f32(tensor.dims().to_vec(), &values)?));
        }
        Ok(to_safetensors(tensors.iter().map(|(name, tensor)| (name.clone(), tensor)))?)
    }

    /// Sets centre and spread of every column from `rows` of a table without gaps.
    pub(crate) fn standardise_all(&self, table: &Matrix, rows: &[usize]) -> Result<()> {
        let table = table.pick(rows);
        let columns = (0..table.cols).map(|col| spread(&table.column(col)));
        let (centres, scales): (Vec<f32>, Vec<f32>) = columns.unzip();
        self.weights.set("standardise.center", &centres)?;
        self.weights.set("standardise.scale", &scales)
    }

    /// Sets centre, spread and logarithm of every column of a panel from the training rows. Columns of 0 and 1
    /// are left as they are.
    pub(crate) fn standardise_panel(&self, prepared: &Prepared, columns: &[Column]) -> Result<()> {
        let [values, present] = &prepared.inputs[..] else { anyhow::bail!("a panel has values and marks") };
        let panels = Panels { columns: columns.to_vec(), values: values.clone(), present: present.clone() };
        let (mut centres, mut scales, mut logs) = (Vec::new(), Vec::new(), Vec::new());
        for (index, column) in columns.iter().enumerate() {
            let known = panels.known(index, &prepared.parts.train);
            let seen = |v: &f32| f64::from(if column.is_logarithmic() { v.max(LOG_FLOOR).ln() } else { *v });
            let known: Vec<f64> = known.iter().map(seen).collect();
            let (centre, scale) = if column.is_binary() { (0.0, 1.0) } else { spread(&known) };
            centres.push(centre);
            scales.push(scale);
            logs.push(f32::from(u8::from(column.is_logarithmic())));
        }
        self.weights.set("standardise.center", &centres)?;
        self.weights.set("standardise.scale", &scales)?;
        self.weights.set("standardise.log", &logs)
    }

    /// Sets the centre of a series and the scale of its moves; returns the scale.
    pub(crate) fn standardise_series(&self, center: f32, scale: f32) -> Result<()> {
        ensure!(scale > 0.0, "a series that never moves cannot be learnt from");
        self.weights.set("standardise.center", &[center])?;
        self.weights.set("standardise.scale", &[scale])
    }

    /// Sets centre and spread of every output from the known targets, which `map` brings to the scale of the
    /// network's raw answers; returns the targets on that scale, 0 where unknown.
    pub(crate) fn scale_outputs(
        &self,
        values: &Matrix,
        known: &Matrix,
        rows: &[usize],
        map: impl Fn(f32) -> f32,
    ) -> Result<Matrix> {
        let mut targets = Matrix { cols: values.cols, data: Vec::with_capacity(values.data.len()) };
        targets
            .data
            .extend(values.data.iter().zip(&known.data).map(|(v, k)| if *k > 0.0 { map(*v) } else { 0.0 }));
        let (mut centres, mut scales) = (Vec::new(), Vec::new());
        for col in 0..values.cols {
            let of: Vec<f64> = rows
                .iter()
                .filter(|row| known.row(**row)[col] > 0.0)
                .map(|row| f64::from(targets.row(*row)[col]))
                .collect();
            let (centre, scale) = spread(&of);
            centres.push(centre);
            scales.push(scale);
        }
        self.weights.set("output.center", &centres)?;
        self.weights.set("output.scale", &scales)?;
        for (index, value) in targets.data.iter_mut().enumerate() {
            let col = index % values.cols;
            *value = if known.data[index] > 0.0 { (*value - centres[col]) / scales[col] } else { 0.0 };
        }
        Ok(targets)
    }
}

/// Mean and standard deviation; a column without spread gets 1.
fn spread(values: &[f64]) -> (f32, f32) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
    (mean as f32, if deviation > 1e-6 { deviation as f32 } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use models::bundle::{Link, RegressorConfig};

    use super::*;

    fn trainee() -> Trainee {
        let body = body(&[4], 2);
        let config = RegressorConfig { inputs: 2, masked: false, outputs: 1, link: Link::Linear, body };
        Trainee::new(&NetworkConfig::Regressor(config)).expect("network")
    }

    #[test]
    fn columns_are_standardised_from_the_training_rows_only() {
        let trainee = trainee();
        let table = Matrix { cols: 2, data: vec![1.0, 7.0, 3.0, 7.0, 100.0, 100.0] };
        trainee.standardise_all(&table, &[0, 1]).expect("set");
        let prepared = trainee.prepare(&[table.pick(&[0, 1])]).expect("rows");
        assert_eq!(prepared.to_vec2::<f32>().expect("numbers"), [[-1.0, 0.0], [1.0, 0.0]]);
        assert_eq!(trainee.raw(&[table]).expect("answers").dims(), [2, 3, 1]);
    }

    #[test]
    fn targets_are_on_the_scale_of_raw_answers() {
        let trainee = trainee();
        let values = Matrix { cols: 1, data: vec![1.0, 100.0, 5.0] };
        let known = Matrix { cols: 1, data: vec![1.0, 1.0, 0.0] };
        let targets = trainee.scale_outputs(&values, &known, &[0, 1, 2], f32::ln).expect("set");
        assert!((targets.data[0] + 1.0).abs() < 1e-6 && (targets.data[1] - 1.0).abs() < 1e-6);
        assert_eq!(targets.data[2], 0.0);
    }

    #[test]
    fn the_same_weights_give_the_same_bytes() {
        let bytes = |seed| {
            let trainee = trainee();
            trainee.weights().draw(seed).expect("drawn");
            trainee.to_bytes().expect("bytes")
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }
}
