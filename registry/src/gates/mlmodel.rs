//! The file `MLmodel`: which flavours an MLflow model has, and its signature.

use std::collections::BTreeMap;

use models::{DType, TensorSpec};
use serde::Deserialize;
use serde_yaml_ng::Value;

/// Its name.
pub(super) const FILE: &str = "MLmodel";
/// Largest one, in bytes.
pub(super) const BYTES_MAX: u64 = 1 << 20;

/// What it says.
#[derive(Debug, Deserialize)]
pub(super) struct MlModel {
    #[serde(default)]
    flavors: BTreeMap<String, Value>,
    #[serde(default)]
    signature: Option<SignatureText>,
}

#[derive(Debug, Deserialize)]
struct SignatureText {
    #[serde(default)]
    inputs: Option<String>,
    #[serde(default)]
    outputs: Option<String>,
}

/// One column of a signature, as its JSON has it.
#[derive(Debug, Deserialize)]
struct Column {
    #[serde(default)]
    name: Option<String>,
    #[serde(rename = "tensor-spec", default)]
    tensor: Option<Tensor>,
}

#[derive(Debug, Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<i64>,
}

/// A tensor of the signature; where the model has one only, it may have no name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named {
    pub(super) name: Option<String>,
    pub(super) dtype: DType,
    pub(super) dims: Vec<i64>,
}

impl Named {
    /// Why the tensor of a graph is not this one.
    pub(super) fn differs(&self, graph: &TensorSpec) -> Option<String> {
        if self.dtype != graph.dtype {
            return Some(format!("is {} in the graph, not {}", graph.dtype.oip(), self.dtype.oip()));
        }
        let agree = |(one, other): (&i64, &i64)| *one < 0 || *other < 0 || one == other;
        if self.dims.len() != graph.dims.len() || !self.dims.iter().zip(&graph.dims).all(agree) {
            return Some(format!("has dimensions {:?} in the graph, not {:?}", graph.dims, self.dims));
        }
        None
    }
}

impl MlModel {
    /// Reads the file.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        serde_yaml_ng::from_str(text).map_err(|error| format!("{FILE}: {error}"))
    }

    /// The graph of the ONNX flavour, as a plain file name.
    pub(super) fn onnx_file(&self) -> Option<Result<String, String>> {
        let flavour = self.flavors.get("onnx")?;
        let file = flavour.get("data").and_then(Value::as_str).unwrap_or("model.onnx");
        let is_plain = !file.is_empty() && !file.contains(['/', '\\']) && file != "..";
        Some(if is_plain {
            Ok(file.to_owned())
        } else {
            Err(format!("{FILE}: `{file}` is no plain file name"))
        })
    }

    /// Why a model without an ONNX flavour is not served, with the line that converts it.
    pub(super) fn conversion(&self) -> String {
        let known = [
            (
                "sklearn",
                "mlflow.onnx.log_model(skl2onnx.to_onnx(model, X[:1]), name=\"model\", signature=signature)",
            ),
            (
                "xgboost",
                "mlflow.onnx.log_model(onnxmltools.convert_xgboost(model, initial_types=types), name=\"model\", signature=signature)",
            ),
            (
                "lightgbm",
                "mlflow.onnx.log_model(onnxmltools.convert_lightgbm(model, initial_types=types), name=\"model\", signature=signature)",
            ),
            (
                "pytorch",
                "torch.onnx.export(model, (x,), \"model.onnx\"); mlflow.onnx.log_model(onnx.load(\"model.onnx\"), name=\"model\", signature=signature)",
            ),
            (
                "tensorflow",
                "mlflow.onnx.log_model(tf2onnx.convert.from_keras(model)[0], name=\"model\", signature=signature)",
            ),
            (
                "keras",
                "mlflow.onnx.log_model(tf2onnx.convert.from_keras(model)[0], name=\"model\", signature=signature)",
            ),
        ];
        let names: Vec<&str> = self.flavors.keys().map(String::as_str).collect();
        let line = known.iter().find(|(name, _)| self.flavors.contains_key(*name));
        let how = line.map_or(
            "log it with mlflow.onnx.log_model(onnx_model, name=\"model\", signature=signature)",
            |(_, line)| line,
        );
        format!("flavours {} are kept but not served; convert the model: {how}", names.join(", "))
    }

    /// Inputs and outputs of the signature; none of a side that is not there.
    pub(super) fn signature(&self) -> Result<(Vec<Named>, Vec<Named>), String> {
        let Some(SignatureText { inputs, outputs }) = &self.signature else {
            return Err(
                "the model has no signature: log it with signature=mlflow.models.infer_signature(X, y)"
                    .into(),
            );
        };
        Ok((side("inputs", inputs.as_deref())?, side("outputs", outputs.as_deref())?))
    }
}

fn side(side: &str, text: Option<&str>) -> Result<Vec<Named>, String> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let columns: Vec<Column> =
        serde_json::from_str(text).map_err(|error| format!("{FILE}: signature.{side}: {error}"))?;
    columns.into_iter().map(|column| named(side, column)).collect()
}

fn named(side: &str, column: Column) -> Result<Named, String> {
    let shown = column.name.clone().unwrap_or_else(|| "(without a name)".into());
    let Some(Tensor { dtype, shape }) = column.tensor else {
        return Err(format!(
            "{FILE}: signature.{side}: `{shown}` is a column, not a tensor: give infer_signature an array, \
             or a dict of arrays, instead of a table"
        ));
    };
    let ours =
        dtype_of(&dtype).ok_or_else(|| format!("{FILE}: signature.{side}: `{shown}` has dtype {dtype}"))?;
    Ok(Named { name: column.name.filter(|name| !name.is_empty()), dtype: ours, dims: shape })
}

/// Numpy's name of a datatype.
fn dtype_of(name: &str) -> Option<DType> {
    Some(match name {
        "bool" => DType::Bool,
        "uint8" => DType::U8,
        "uint16" => DType::U16,
        "uint32" => DType::U32,
        "uint64" => DType::U64,
        "int8" => DType::I8,
        "int16" => DType::I16,
        "int32" => DType::I32,
        "int64" => DType::I64,
        "float16" => DType::F16,
        "float32" => DType::F32,
        "float64" => DType::F64,
        "str" | "object" => DType::Bytes,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "flavors:\n  onnx:\n    data: model.onnx\n    onnx_version: 1.2\n  python_function: {}\nsignature:\n  \
        inputs: '[{\"name\":\"x\",\"type\":\"tensor\",\"tensor-spec\":{\"dtype\":\"float32\",\"shape\":[-1,3]}}]'\n  \
        outputs: '[{\"type\":\"tensor\",\"tensor-spec\":{\"dtype\":\"int64\",\"shape\":[-1]}}]'\n";

    #[test]
    fn graph_and_signature_are_read() {
        let model = MlModel::read(TEXT).expect("readable");
        assert_eq!(model.onnx_file(), Some(Ok("model.onnx".into())));
        let (inputs, outputs) = model.signature().expect("a signature");
        assert_eq!(inputs, [Named { name: Some("x".into()), dtype: DType::F32, dims: vec![-1, 3] }]);
        assert_eq!(outputs, [Named { name: None, dtype: DType::I64, dims: vec![-1] }]);
    }

    #[test]
    fn what_cannot_be_served_says_how_to_convert_it() {
        let model = MlModel::read("flavors:\n  sklearn: {}\n  python_function: {}\n").expect("readable");
        assert!(model.onnx_file().is_none());
        assert!(model.conversion().contains("skl2onnx.to_onnx"), "{}", model.conversion());
        assert!(model.signature().is_err_and(|reason| reason.contains("infer_signature")));
        let out = MlModel::read("flavors:\n  onnx:\n    data: ../x\n").expect("readable");
        assert!(matches!(out.onnx_file(), Some(Err(_))));
    }

    proptest! {
        #[test]
        fn fuzz_texts_never_panic(text in "(.|\n){0,200}") {
            if let Ok(model) = MlModel::read(&text) {
                let _ = (model.onnx_file(), model.conversion(), model.signature());
            }
        }
    }
}
