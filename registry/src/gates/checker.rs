//! What an ONNX graph asks for, read before any engine sees it: operators that need a library of their own, and weights
//! that lie in other files. Field numbers are those of onnx.proto3; what is not declared here is skipped unread, the
//! weights above all.

use std::collections::BTreeSet;

use prost::Message;

use super::Gate;

/// Domains whose operators ONNX Runtime carries itself.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];
/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opsets: Vec<OpSet>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Message)]
struct OpSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "7")]
    nodes: Vec<Node>,
    #[prost(string, tag = "10")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<Weights>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializers: Vec<Sparse>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op: String,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
    #[prost(string, tag = "7")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(message, optional, tag = "5")]
    tensor: Option<Weights>,
    #[prost(message, optional, tag = "6")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<Weights>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
    #[prost(message, optional, tag = "22")]
    sparse: Option<Sparse>,
    #[prost(message, repeated, tag = "23")]
    sparses: Vec<Sparse>,
}

#[derive(Clone, PartialEq, Message)]
struct Weights {
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external: Vec<Entry>,
    #[prost(int32, tag = "14")]
    location: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Sparse {
    #[prost(message, optional, tag = "1")]
    values: Option<Weights>,
    #[prost(message, optional, tag = "2")]
    indices: Option<Weights>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// Reads a graph and says what it asks for, or why it may not.
pub(super) fn gate(graph: &[u8]) -> Result<Gate, Gate> {
    let failed = |reason: String| Gate::failed("operators", reason);
    let model = Model::decode(graph).map_err(|error| {
        let reason = error.to_string();
        failed(format!("the file is no ONNX graph, or only a part of one: {reason}"))
    })?;
    let Some(own) = &model.graph else {
        return Err(failed("the file is no ONNX graph: it has no nodes".to_owned()));
    };
    let functions = model.functions.iter().map(|function| (function.domain.as_str(), function.name.as_str()));
    let mut seen = Seen { functions: functions.collect(), operators: BTreeSet::new() };
    seen.graph(own).map_err(failed)?;
    for function in &model.functions {
        seen.nodes(&function.nodes).map_err(failed)?;
    }
    let opsets = model.opsets.iter().map(|set| {
        let domain = if set.domain.is_empty() { "ai.onnx" } else { &set.domain };
        format!("{domain} {}", set.version)
    });
    let opsets = opsets.collect::<Vec<_>>().join(", ");
    let count = seen.operators.len();
    Ok(Gate::passed("operators", format!("{count} kinds of operators of {opsets}; all weights are inside")))
}

/// What was met on the way.
struct Seen<'a> {
    functions: BTreeSet<(&'a str, &'a str)>,
    operators: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Seen<'a> {
    fn graph(&mut self, graph: &'a Graph) -> Result<(), String> {
        graph.initializers.iter().try_for_each(inside)?;
        graph.sparse_initializers.iter().try_for_each(sparse_inside)?;
        self.nodes(&graph.nodes)
    }

    fn nodes(&mut self, nodes: &'a [Node]) -> Result<(), String> {
        nodes.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &'a Node) -> Result<(), String> {
        let operator = (node.domain.as_str(), node.op.as_str());
        if !DOMAINS.contains(&operator.0) && !self.functions.contains(&operator) {
            let Node { name, op, domain, .. } = node;
            let known = DOMAINS.map(|domain| if domain.is_empty() { "(none)" } else { domain }).join(", ");
            return Err(format!(
                "node `{name}` is a `{op}` of `{domain}`, which needs a library of its own; served are operators of {known}"
            ));
        }
        self.operators.insert(operator);
        for attribute in &node.attributes {
            attribute.tensor.iter().chain(&attribute.tensors).try_for_each(inside)?;
            attribute.sparse.iter().chain(&attribute.sparses).try_for_each(sparse_inside)?;
            attribute.graph.iter().chain(&attribute.graphs).try_for_each(|graph| self.graph(graph))?;
        }
        Ok(())
    }
}

/// Weights that lie elsewhere would be read from wherever the uploader says.
fn inside(weights: &Weights) -> Result<(), String> {
    if weights.location != EXTERNAL && weights.external.is_empty() {
        return Ok(());
    }
    let place = weights.external.iter().find(|entry| entry.key == "location");
    let place = place.map_or("another file", |entry| &entry.value);
    Err(format!(
        "weights `{}` lie in `{place}`, outside of the graph; save it whole: onnx.save_model(model, path, \
         save_as_external_data=False)",
        weights.name
    ))
}

fn sparse_inside(sparse: &Sparse) -> Result<(), String> {
    sparse.values.iter().chain(&sparse.indices).try_for_each(inside)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(op: &str, domain: &str) -> Node {
        Node { name: "n".into(), op: op.into(), domain: domain.into(), ..Node::default() }
    }

    fn model(nodes: Vec<Node>, initializers: Vec<Weights>) -> Model {
        let graph = Graph { nodes, initializers, ..Graph::default() };
        let opsets = vec![OpSet { domain: String::new(), version: 17 }];
        Model { graph: Some(graph), opsets, functions: Vec::new() }
    }

    fn refusal(model: &Model) -> String {
        gate(&model.encode_to_vec()).expect_err("refused").detail
    }

    fn elsewhere(place: &str) -> Weights {
        let entry = Entry { key: "location".into(), value: place.into() };
        Weights { name: "w".into(), external: vec![entry], location: EXTERNAL }
    }

    #[test]
    fn a_usual_graph_passes_and_is_described() {
        let graph = model(vec![node("Gemm", ""), node("Relu", ""), node("Scaler", "ai.onnx.ml")], Vec::new());
        let passed = gate(&graph.encode_to_vec()).expect("passes");
        assert_eq!(passed.detail, "3 kinds of operators of ai.onnx 17; all weights are inside");
    }

    #[test]
    fn an_operator_of_a_foreign_library_is_refused_by_name_wherever_it_hides() {
        let bad = node("Run", "evil.ops");
        assert!(refusal(&model(vec![bad.clone()], Vec::new())).contains("`Run` of `evil.ops`"));
        let body = Graph { nodes: vec![bad.clone()], ..Graph::default() };
        let attributes = vec![Attribute { graph: Some(body), ..Attribute::default() }];
        let loops = Node { attributes, ..node("Loop", "") };
        assert!(refusal(&model(vec![loops], Vec::new())).contains("evil.ops"));
        let function = |nodes| Function { name: "Run".into(), nodes, domain: "evil.ops".into() };
        let own = Model { functions: vec![function(vec![node("Relu", "")])], ..model(vec![bad], Vec::new()) };
        assert!(gate(&own.encode_to_vec()).is_ok(), "a function of the model itself needs no library");
        let other = Model { functions: vec![function(vec![node("Get", "net")])], ..own };
        assert!(refusal(&other).contains("`Get` of `net`"));
    }

    #[test]
    fn weights_in_other_files_are_refused_wherever_they_are_named() {
        for place in ["weights.bin", "../../secret", "/etc/passwd"] {
            assert!(refusal(&model(Vec::new(), vec![elsewhere(place)])).contains(place));
        }
        let attributes = vec![Attribute { tensor: Some(elsewhere("w.bin")), ..Attribute::default() }];
        let constant = Node { attributes, ..node("Constant", "") };
        assert!(refusal(&model(vec![constant], Vec::new())).contains("save_as_external_data=False"));
        let unsaid = Weights { name: "w".into(), external: Vec::new(), location: EXTERNAL };
        assert!(refusal(&model(Vec::new(), vec![unsaid])).contains("another file"));
    }

    proptest! {
        #[test]
        fn fuzz_bytes_that_are_no_graph_are_refused_or_read_and_never_more(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = gate(&bytes);
        }

        #[test]
        fn a_graph_that_was_cut_off_is_refused(part in 1_usize..60) {
            let whole = model((0..8).map(|_| node("Relu", "")).collect(), Vec::new()).encode_to_vec();
            let graph = Model { opsets: Vec::new(), ..Model::decode(&whole[..]).expect("whole") }.encode_to_vec();
            let cut = &graph[..graph.len().saturating_sub(part)];
            prop_assert!(gate(cut).is_err());
        }
    }
}
