//! Weights in half precision: half the file, computed with as before.
//!
//! Every tensor of two dimensions or more is stored as FLOAT16 and widened by a Cast when the graph is loaded, which
//! runtimes do once. Biases and bounds stay: they are few, and errors in them move every pixel.

use half::f16;

use super::{Attribute, Constant, FLOAT, Graph, Node};

/// TensorProto.FLOAT16.
const FLOAT16: i32 = 10;

/// `graph` with its weights in half precision.
pub(in crate::food) fn halved(graph: Graph) -> Graph {
    let Graph { node, name, initializer, input, output } = graph;
    let (mut casts, mut constants) = (Vec::new(), Vec::with_capacity(initializer.len()));
    for constant in initializer {
        if constant.data_type != FLOAT || constant.dims.len() < 2 {
            constants.push(constant);
            continue;
        }
        let narrow = format!("{}.f16", constant.name);
        casts.push(Node {
            input: vec![narrow.clone()],
            output: vec![constant.name.clone()],
            name: format!("{}.widen", constant.name),
            op_type: "Cast".to_owned(),
            attribute: vec![Attribute::int("to", i64::from(FLOAT))],
        });
        let values = constant.raw_data.chunks_exact(4).filter_map(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let raw_data =
            values.flat_map(|bytes| f16::from_f32(f32::from_le_bytes(bytes)).to_le_bytes()).collect();
        constants.push(Constant { data_type: FLOAT16, name: narrow, raw_data, ..constant });
    }
    casts.extend(node);
    Graph { node: casts, name, initializer: constants, input, output }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_halved_and_widened_again_and_biases_stay() {
        let kernel = Constant::floats("k".to_owned(), &[1, 2], &[1.0 / 3.0, -2.5]);
        let bias = Constant::floats("b".to_owned(), &[2], &[0.1, 0.2]);
        let user = Node { input: vec!["k".to_owned()], op_type: "Gemm".to_owned(), ..Default::default() };
        let graph =
            Graph { initializer: vec![kernel, bias.clone()], node: vec![user.clone()], ..Default::default() };
        let halved = halved(graph);
        assert_eq!(halved.initializer[1], bias);
        let narrow = &halved.initializer[0];
        assert_eq!((narrow.data_type, narrow.name.as_str(), narrow.raw_data.len()), (FLOAT16, "k.f16", 4));
        let value = f16::from_le_bytes([narrow.raw_data[0], narrow.raw_data[1]]).to_f32();
        assert!((value - 1.0 / 3.0).abs() < 2e-4, "{value}");
        assert_eq!((halved.node[0].op_type.as_str(), halved.node[0].output[0].as_str()), ("Cast", "k"));
        assert_eq!(halved.node[1], user, "the graph itself is as it was, after the casts");
    }
}
