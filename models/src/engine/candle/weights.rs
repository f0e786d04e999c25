//! The weights of a candle model: read from safetensors, checked, and handed to the network by
//! name, so that a tensor too few or too many is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType as CandleDType, Device, Error, Result, Shape, Tensor as CandleTensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use crate::bundle::from_safetensors;
use crate::{DType, ModelError, Tensor};

/// What the names of the tensors of a dense block begin with.
const DENSE: [&str; 2] = ["body.", "skip."];

/// Tensors by name and the names that were asked for; a clone shares both.
#[derive(Clone)]
pub(super) struct Weights {
    tensors: Arc<BTreeMap<String, CandleTensor>>,
    taken: Arc<Mutex<BTreeSet<String>>>,
}

impl Weights {
    /// Reads `content`, every number of which must be finite. The dense blocks, where a network spends its time, are put
    /// on `device`; what is read number by number stays in main memory.
    pub(super) fn read(file: &str, content: &[u8], device: &Device) -> std::result::Result<Self, ModelError> {
        let mut tensors = BTreeMap::new();
        for (name, tensor) in from_safetensors(file, content)? {
            if let Some(at) = tensor.first_non_finite() {
                let reason = format!("tensor `{name}` is not finite at element {at}");
                return Err(ModelError::invalid(file, reason));
            }
            let is_dense = DENSE.iter().any(|start| name.starts_with(start));
            let device = if is_dense { device } else { &Device::Cpu };
            let tensor = convert(&tensor, device).map_err(|error| {
                ModelError::invalid(file, format!("tensor `{name}` cannot be used: {error}"))
            })?;
            tensors.insert(name, tensor);
        }
        Ok(Self { tensors: Arc::new(tensors), taken: Arc::default() })
    }

    /// Where a network takes its tensors from.
    pub(super) fn builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), CandleDType::F32, Device::Cpu)
    }

    /// A tensor that no network asked for.
    pub(super) fn unused(&self) -> Option<&str> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        self.tensors.keys().find(|name| !taken.contains(*name)).map(String::as_str)
    }
}

/// Half precision is widened: the processor computes in single precision anyway.
fn convert(tensor: &Tensor, device: &Device) -> Result<CandleTensor> {
    let values: Vec<f32> = match tensor.dtype() {
        DType::F32 => bytemuck::pod_collect_to_vec(tensor.data()),
        DType::F16 | DType::Bf16 => {
            tensor.to_f64().unwrap_or_default().into_iter().map(|value| value as f32).collect()
        }
        DType::Bool
        | DType::U8
        | DType::U16
        | DType::U32
        | DType::U64
        | DType::I8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::F64
        | DType::Bytes => candle_core::bail!("it is {}, not FP32, FP16 or BF16", tensor.dtype().oip()),
    };
    CandleTensor::from_vec(values, tensor.shape(), device)
}

impl SimpleBackend for Weights {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: CandleDType,
        device: &Device,
    ) -> Result<CandleTensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if tensor.shape() != &shape {
            return Err(Error::Msg(format!(
                "tensor `{name}` has shape {:?}, the network needs {:?}",
                tensor.dims(),
                shape.dims()
            )));
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: CandleDType, _: &Device) -> Result<CandleTensor> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        let tensor = self.tensors.get(name);
        tensor.cloned().ok_or_else(|| Error::Msg(format!("has no tensor `{name}`, which the network needs")))
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}
