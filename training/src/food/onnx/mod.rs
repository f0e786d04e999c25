//! As much of the ONNX file format as one feed-forward network needs, written deterministically.
//!
//! Field numbers are those of onnx.proto (IR version 7). Repeated numbers are not packed, as that file
//! (proto2) has it.

mod half;

use prost::Message;

pub(super) use half::halved;

/// A whole model file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(int64, tag = "1")]
    pub(super) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(super) producer_name: String,
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(super) opset_import: Vec<Opset>,
    #[prost(message, repeated, tag = "14")]
    pub(super) metadata_props: Vec<Property>,
}

/// Which operator definitions apply; the empty domain is ONNX's own.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Opset {
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
}

/// One line of metadata.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Property {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// Operators in execution order, constants, inputs and outputs.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<Node>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<Constant>,
    #[prost(message, repeated, tag = "11")]
    pub(super) input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    pub(super) output: Vec<Value>,
}

/// One operator.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<Attribute>,
}

/// An integer or a list of integers; which one, `kind` says.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int64, optional, tag = "3")]
    pub(super) i: Option<i64>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub(super) ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub(super) kind: i32,
}

/// A named constant tensor, little endian.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Constant {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub(super) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) raw_data: Vec<u8>,
}

/// Name and type of an input or output.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) kind: Option<Type>,
}

/// A type; only tensors here.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Type {
    #[prost(message, optional, tag = "1")]
    pub(super) tensor: Option<TensorType>,
}

/// Element type and shape.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorType {
    #[prost(int32, tag = "1")]
    pub(super) element: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<Shape>,
}

/// A shape.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(super) dim: Vec<Dim>,
}

/// A fixed dimension or a named free one.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Dim {
    #[prost(int64, optional, tag = "1")]
    pub(super) value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub(super) param: Option<String>,
}

/// TensorProto.FLOAT.
pub(super) const FLOAT: i32 = 1;
const KIND_INT: i32 = 2;
const KIND_INTS: i32 = 7;

impl Attribute {
    /// An integer attribute.
    pub(super) fn int(name: &str, value: i64) -> Self {
        Self { name: name.to_owned(), i: Some(value), ints: Vec::new(), kind: KIND_INT }
    }

    /// A list attribute.
    pub(super) fn ints(name: &str, values: &[i64]) -> Self {
        Self { name: name.to_owned(), i: None, ints: values.to_vec(), kind: KIND_INTS }
    }
}

impl Constant {
    /// A float tensor.
    pub(super) fn floats(name: String, dims: &[usize], values: &[f32]) -> Self {
        let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { dims: dims.iter().map(|d| *d as i64).collect(), data_type: FLOAT, name, raw_data }
    }
}

impl Value {
    /// A float tensor of shape `[batch, dims..]` with a free batch.
    pub(super) fn batch_of(name: &str, dims: &[usize]) -> Self {
        let batch = Dim { value: None, param: Some("batch".to_owned()) };
        let fixed = dims.iter().map(|d| Dim { value: Some(*d as i64), param: None });
        let shape = Shape { dim: std::iter::once(batch).chain(fixed).collect() };
        let tensor = TensorType { element: FLOAT, shape: Some(shape) };
        Self { name: name.to_owned(), kind: Some(Type { tensor: Some(tensor) }) }
    }
}

/// The file of a graph: IR version 7, opset 13.
pub(super) fn file_of(graph: Graph, metadata: &[(&str, String)]) -> Vec<u8> {
    let property = |(key, value): &(&str, String)| Property { key: (*key).to_owned(), value: value.clone() };
    Model {
        ir_version: 7,
        producer_name: "manpasik".to_owned(),
        graph: Some(graph),
        opset_import: vec![Opset { domain: String::new(), version: 13 }],
        metadata_props: metadata.iter().map(property).collect(),
    }
    .encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_starts_as_the_format_says_and_reads_back() {
        let graph = Graph {
            node: vec![Node {
                input: vec!["x".to_owned()],
                output: vec!["y".to_owned()],
                name: "n".to_owned(),
                op_type: "Flatten".to_owned(),
                attribute: vec![Attribute::int("axis", 1), Attribute::ints("pads", &[0, 1])],
            }],
            name: "g".to_owned(),
            initializer: vec![Constant::floats("c".to_owned(), &[2], &[1.0, -2.0])],
            input: vec![Value::batch_of("x", &[3])],
            output: vec![Value::batch_of("y", &[3])],
        };
        let bytes = file_of(graph.clone(), &[("license", "Apache-2.0".to_owned())]);
        // Field 1, varint 7: the IR version.
        assert_eq!(&bytes[..2], [0x08, 7]);
        let model = Model::decode(&bytes[..]).expect("decodes");
        assert_eq!(model.graph, Some(graph));
        assert_eq!(model.metadata_props[0].value, "Apache-2.0");
        assert_eq!(model.opset_import[0].version, 13);
    }

    #[test]
    fn lists_are_written_one_by_one() {
        let bytes = Attribute::ints("p", &[1, 2]).encode_to_vec();
        // name, then field 8 twice as a varint (0x40), then the kind (field 20).
        assert_eq!(bytes, [0x0a, 1, b'p', 0x40, 1, 0x40, 2, 0xa0, 0x01, 7]);
    }
}
