//! Writes the ONNX graph of a perceptron with softmax, field by field, so that the tests need
//! neither a file nor another program.

use models::DType;

/// Protobuf bytes of one message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }
}

/// Single precision in ONNX.
const FLOAT: u64 = 1;

fn node(operation: &str, inputs: &[&str], output: &str) -> Message {
    let node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
    node.text(2, output).text(4, operation)
}

fn initializer(name: &str, dims: &[usize], values: &[f32]) -> Message {
    let tensor = dims.iter().fold(Message::default(), |tensor, dim| tensor.number(1, *dim as u64));
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor.number(2, FLOAT).text(8, name).bytes(9, &raw)
}

fn value(name: &str, element: u64, width: usize) -> Message {
    let rows = Message::default().text(2, "rows");
    let columns = Message::default().number(1, width as u64);
    let shape = Message::default().message(1, &rows).message(1, &columns);
    let tensor = Message::default().number(1, element).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}

/// One input and one output of each datatype, two columns wide: `OUTPUT_FP32` is `INPUT_FP32`, and so on.
pub(crate) fn identity(dtypes: &[DType]) -> Vec<u8> {
    let graph = dtypes.iter().fold(Message::default(), |graph, dtype| {
        let [input, output] = ["INPUT", "OUTPUT"].map(|side| format!("{side}_{}", dtype.oip()));
        graph
            .message(1, &node("Identity", &[&input], &output))
            .message(11, &value(&input, element(*dtype), 2))
            .message(12, &value(&output, element(*dtype), 2))
    });
    let graph = graph.text(2, "identity");
    Message::default().number(1, 8).message(8, &Message::default().number(2, 17)).message(7, &graph).0
}

/// Number of a datatype in ONNX.
fn element(dtype: DType) -> u64 {
    match dtype {
        DType::F32 => FLOAT,
        DType::U8 => 2,
        DType::I8 => 3,
        DType::U16 => 4,
        DType::I16 => 5,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::Bytes => 8,
        DType::Bool => 9,
        DType::F16 => 10,
        DType::F64 => 11,
        DType::U32 => 12,
        DType::U64 => 13,
        DType::Bf16 => 16,
    }
}

/// `softmax(relu(features · w0 + b0) · w1 + b1)`; weights are `[in, out]`.
pub(crate) struct Perceptron {
    pub(crate) widths: [usize; 3],
    pub(crate) w0: Vec<f32>,
    pub(crate) b0: Vec<f32>,
    pub(crate) w1: Vec<f32>,
    pub(crate) b1: Vec<f32>,
}

impl Perceptron {
    /// Content of `model.onnx` with input `features` and output `output0`.
    pub(crate) fn graph(&self) -> Vec<u8> {
        let [inputs, hidden, outputs] = self.widths;
        let nodes = [
            node("MatMul", &["features", "w0"], "a"),
            node("Add", &["a", "b0"], "b"),
            node("Relu", &["b"], "c"),
            node("MatMul", &["c", "w1"], "d"),
            node("Add", &["d", "b1"], "e"),
            node("Softmax", &["e"], "output0"),
        ];
        let constants = [
            initializer("w0", &[inputs, hidden], &self.w0),
            initializer("b0", &[hidden], &self.b0),
            initializer("w1", &[hidden, outputs], &self.w1),
            initializer("b1", &[outputs], &self.b1),
        ];
        let graph =
            nodes.iter().fold(Message::default(), |graph, node| graph.message(1, node)).text(2, "perceptron");
        let graph = constants.iter().fold(graph, |graph, constant| graph.message(5, constant));
        let graph = graph
            .message(11, &value("features", FLOAT, inputs))
            .message(12, &value("output0", FLOAT, outputs));
        Message::default().number(1, 8).message(8, &Message::default().number(2, 17)).message(7, &graph).0
    }
}
