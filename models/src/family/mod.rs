//! The model families: each turns a typed question into tensors and the tensors that come back into a typed answer
//! with its interval and explanation.
//!
//! A family is pure and knows no engine: `encode` gives the tensors of one request, in which row 0 is the case and the
//! further rows are copies with inputs hidden, for the explanation; whoever holds a model runs them as one batch;
//! `decode` reads the outputs with the help of the bundle's [`Calibration`]. What the case was travels in
//! [`Encoded`], so an answer cannot be read against another question.

pub mod anomaly;
pub mod biomarker;
pub mod discord;
pub mod encoder;
pub mod food;
pub mod health_score;
pub mod sensor;
mod tabular;
pub mod trend;

use std::borrow::Cow;

use crate::{Bundle, Calibration, ModelError, Tensor};

/// Tensors of one request and the case behind them.
#[derive(Debug, Clone)]
pub struct Encoded<C> {
    /// Inputs in signature order; row 0 is the case.
    pub tensors: Vec<Tensor>,
    /// What `decode` needs to know of the case.
    pub(crate) case: C,
}

impl<C> Encoded<C> {
    /// Rows of the request.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.tensors.first().map_or(0, Tensor::rows)
    }
}

/// The bundle's calibration; an absent file is [`crate::calibration::Part::None`]'s business to write.
pub(crate) fn calibration(bundle: &Bundle) -> Result<Calibration, ModelError> {
    Calibration::from_json(bundle.calibration_json().as_bytes())
}

/// Output `index` as rows of finite numbers, checked to be `rows` x `columns`.
pub(crate) fn output(
    model: &str,
    outputs: &[Tensor],
    index: usize,
    (rows, columns): (usize, usize),
) -> Result<Vec<f64>, ModelError> {
    let failed = |reason: String| ModelError::Run { model: model.into(), reason };
    let tensor = outputs.get(index).ok_or_else(|| failed(format!("output {index} is missing")))?;
    let values: Cow<'_, [f32]> = tensor.as_f32()?;
    if tensor.rows() != rows || values.len() != rows * columns {
        let shape = tensor.shape();
        return Err(failed(format!("output {index} has shape {shape:?}, expected {rows} rows of {columns}")));
    }
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(failed(format!("output {index} is not finite at {at}")));
    }
    Ok(values.iter().copied().map(f64::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_the_wrong_size_or_not_finite_are_the_models_fault() {
        let tensor = |values: &[f32]| Tensor::from_f32(vec![values.len() / 2, 2], values).expect("fits");
        assert!(output("m", &[tensor(&[1.0, 2.0])], 0, (1, 2)).is_ok());
        for (outputs, index) in
            [(vec![], 0), (vec![tensor(&[1.0; 4])], 0), (vec![tensor(&[1.0, f32::NAN])], 0)]
        {
            let error = output("m", &outputs, index, (1, 2)).expect_err("refused");
            assert!(matches!(error, ModelError::Run { .. }), "{error}");
        }
    }
}
