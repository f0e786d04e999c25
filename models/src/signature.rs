//! What goes in and out of a model: named tensors with datatype, dimensions, unit and code.

use crate::{DType, ModelError, Tensor};

/// One named input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSpec {
    /// Name on the wire.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, batch first; -1 stands for any size.
    pub dims: Vec<i64>,
    /// UCUM unit of the elements, when they share one.
    pub unit: Option<String>,
    /// LOINC code of the elements, when they share one.
    pub loinc: Option<String>,
}

impl TensorSpec {
    /// Whether `shape` fits the dimensions.
    pub fn fits(&self, shape: &[usize]) -> bool {
        shape.len() == self.dims.len()
            && shape.iter().zip(&self.dims).all(|(got, want)| *want < 0 || i64::try_from(*got) == Ok(*want))
    }

    /// Checks datatype and shape of `tensor`; the message names the tensor, what was expected and got.
    pub fn check(&self, tensor: &Tensor) -> Result<(), ModelError> {
        if tensor.dtype() != self.dtype {
            let reason = format!("datatype is {}, expected {}", tensor.dtype().oip(), self.dtype.oip());
            return Err(ModelError::input(&self.name, reason));
        }
        if !self.fits(tensor.shape()) {
            let reason = format!("shape is {:?}, expected {:?}", tensor.shape(), self.dims);
            return Err(ModelError::input(&self.name, reason));
        }
        Ok(())
    }
}

/// Inputs and outputs of a model, in the order the engine takes and gives them.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// What the model takes.
    pub inputs: Vec<TensorSpec>,
    /// What the model gives.
    pub outputs: Vec<TensorSpec>,
}

impl Signature {
    /// Checks every input and that all have the same number of rows; returns that number.
    pub fn check_inputs(&self, tensors: &[Tensor]) -> Result<usize, ModelError> {
        if tensors.len() != self.inputs.len() {
            let reason = format!("expected {} inputs, got {}", self.inputs.len(), tensors.len());
            return Err(ModelError::input("inputs", reason));
        }
        for (spec, tensor) in self.inputs.iter().zip(tensors) {
            spec.check(tensor)?;
        }
        let rows = tensors.first().map_or(0, Tensor::rows);
        match tensors.iter().position(|tensor| tensor.rows() != rows) {
            Some(other) => {
                let reason = format!("has {} rows, but the first has {rows}", tensors[other].rows());
                Err(ModelError::input(&self.inputs[other].name, reason))
            }
            None if rows == 0 => Err(ModelError::input("inputs", "have no rows")),
            None => Ok(rows),
        }
    }

    /// Checks that a model gave every output with `rows` rows, as it must.
    pub fn check_outputs(&self, tensors: &[Tensor], rows: usize) -> Result<(), ModelError> {
        if tensors.len() != self.outputs.len() {
            let reason = format!("expected {} outputs, got {}", self.outputs.len(), tensors.len());
            return Err(ModelError::input("outputs", reason));
        }
        for (spec, tensor) in self.outputs.iter().zip(tensors) {
            spec.check(tensor)?;
            if tensor.rows() != rows {
                let reason = format!("has {} rows, expected {rows}", tensor.rows());
                return Err(ModelError::input(&spec.name, reason));
            }
        }
        Ok(())
    }
}
