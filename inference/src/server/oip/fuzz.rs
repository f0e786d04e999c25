//! Broken and hostile requests, thousands in every test run and a million on demand
//! (`PROPTEST_CASES`): no decoder may panic, and what it lets through fits the signature.
//!
//! Each case is a handful of random bytes that steer the making of a request; a second
//! handful damages its encoding. Shrinking the bytes shrinks the request.

use std::{collections::HashMap, sync::OnceLock};

use bytes::Bytes;
use models::{DType, Signature, TensorSpec};
use proptest::prelude::*;
use prost::Message;
use proto::inference::{
    InferParameter, InferTensorContents, ModelInferRequest,
    infer_parameter::ParameterChoice,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
};
use serde_json::{Value, json};

use super::{
    body,
    decode::{self, Subject},
    infer,
    memory::{Reader, Regions, register},
    outputs,
};

const CASES_MIN: u32 = 4096;
const NAMES: [&str; 5] = ["a", "b", "c", "", "\u{0}é"];
const SIZES: [i64; 10] = [0, 1, 2, 3, -1, -2, i64::MAX, i64::MIN, 1 << 32, 1 << 62];
const SUBJECT: Subject<'_> = Subject { model: "fuzz", id: "" };

/// One region `r` of 16 bytes, the same for every case.
fn regions() -> &'static Regions {
    static REGIONS: OnceLock<(Regions, tempfile::TempDir)> = OnceLock::new();
    let (regions, _) = REGIONS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("object"), [1; 24]).expect("written");
        let regions = Regions::new(folder.path().to_path_buf(), 4);
        register(Some(&regions), "r", "/object", 8, 16).expect("registered");
        (regions, folder)
    });
    regions
}

fn reader() -> Reader<'static> {
    Reader::new(Some(regions()), 1 << 20)
}

/// Decisions drawn from random bytes; zeros when they run out.
struct Dice<'a>(std::slice::Iter<'a, u8>);

impl Dice<'_> {
    fn below(&mut self, end: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn many<T>(&mut self, end: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(end)).map(|_| make(self)).collect()
    }

    fn datatype(&mut self) -> String {
        DType::ALL.get(self.below(16)).map_or("FP7", |dtype| dtype.oip()).to_owned()
    }

    /// Mostly the shape that fits.
    fn shape(&mut self) -> Vec<i64> {
        if self.below(4) > 0 { vec![self.pick(&[1, 2]), 2] } else { self.many(4, |dice| dice.pick(&SIZES)) }
    }

    fn float(&mut self) -> f32 {
        self.pick(&[0.0, 1.5, -1.0, f32::NAN, f32::INFINITY, f32::MAX])
    }
}

const PARAMETERS: [&str; 5] =
    ["shared_memory_region", "shared_memory_byte_size", "shared_memory_offset", "classification", "other"];

/// Mostly none, sometimes a place in the region that fits, sometimes anything.
fn parameters(dice: &mut Dice<'_>) -> HashMap<String, InferParameter> {
    let parameter = |choice| InferParameter { parameter_choice: Some(choice) };
    let whole = |value| parameter(ParameterChoice::Int64Param(value));
    match dice.below(4) {
        0 => {
            let any = |dice: &mut Dice<'_>| match dice.below(5) {
                0 => whole(dice.pick(&SIZES)),
                1 => parameter(ParameterChoice::Uint64Param(u64::MAX)),
                2 => parameter(ParameterChoice::StringParam(dice.pick(&["r", "s", ""]).to_owned())),
                3 => parameter(ParameterChoice::BoolParam(true)),
                _ => InferParameter::default(),
            };
            dice.many(4, |dice| (dice.pick(&PARAMETERS).to_owned(), any(dice))).into_iter().collect()
        }
        1 => {
            let region = parameter(ParameterChoice::StringParam("r".to_owned()));
            let size = dice.pick(&[2, 4, 8, 16, 17]);
            [(PARAMETERS[0].to_owned(), region), (PARAMETERS[1].to_owned(), whole(size))].into()
        }
        _ => HashMap::new(),
    }
}

/// One input of `dtype` alone, or two of single precision.
fn signature(dice: &mut Dice<'_>) -> Signature {
    let spec = |name: &str, dtype| TensorSpec {
        name: name.to_owned(),
        dtype,
        dims: vec![-1, 2],
        unit: None,
        loinc: None,
    };
    let one = spec("a", dice.pick(&DType::ALL));
    let inputs =
        if dice.below(3) == 0 { vec![spec("a", DType::F32), spec("b", DType::F32)] } else { vec![one] };
    Signature { outputs: inputs.clone(), inputs }
}

fn grpc_request(dice: &mut Dice<'_>, signature: &Signature) -> ModelInferRequest {
    let dtype = signature.inputs[0].dtype.oip();
    let input = |dice: &mut Dice<'_>| InferInputTensor {
        name: dice.pick(&NAMES[..3]).to_owned(),
        datatype: if dice.below(4) > 0 { dtype.to_owned() } else { dice.datatype() },
        shape: dice.shape(),
        contents: (dice.below(2) > 0).then(|| InferTensorContents {
            bool_contents: dice.many(5, |dice| dice.below(2) > 0),
            int_contents: dice.many(5, |dice| dice.pick(&[0, -1, 128, i32::MAX, i32::MIN])),
            int64_contents: dice.many(5, |dice| dice.pick(&SIZES)),
            uint_contents: dice.many(5, |dice| dice.pick(&[0, 256, 65_536, u32::MAX])),
            uint64_contents: dice.many(5, |dice| dice.pick(&[0, u64::MAX])),
            fp32_contents: dice.many(5, Dice::float),
            fp64_contents: dice.many(5, |dice| f64::from(dice.float())),
            bytes_contents: dice.many(5, |dice| Bytes::from(vec![7; dice.below(9)])),
        }),
        parameters: parameters(dice),
    };
    let output = |dice: &mut Dice<'_>| InferRequestedOutputTensor {
        name: dice.pick(&NAMES).to_owned(),
        parameters: parameters(dice),
    };
    let inputs: Vec<_> = (0..dice.pick(&[1, 1, 2, 0, 3])).map(|_| input(dice)).collect();
    let raw = |dice: &mut Dice<'_>| {
        Bytes::from(vec![dice.pick(&[0, 1, 2, 255]); dice.pick(&[8, 16, 2, 0, 7, 32, 12])])
    };
    let raw = if dice.below(2) > 0 { inputs.iter().map(|_| raw(dice)).collect() } else { dice.many(3, raw) };
    ModelInferRequest { inputs, outputs: dice.many(3, output), raw_input_contents: raw, ..Default::default() }
}

/// Flips, cuts and doubles bytes.
fn damage(bytes: &mut Vec<u8>, dice: &mut Dice<'_>) {
    for _ in 0..dice.below(4) {
        let at = dice.below(256) % bytes.len().max(1);
        match dice.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_within(at.min(bytes.len())..),
            _ if bytes.is_empty() => {}
            _ => bytes[at] = dice.pick(&[0, 1, 127, 128, 255, b'"', b'[', b'9', b'-', b'e']),
        }
    }
}

fn check_grpc(request: ModelInferRequest, signature: &Signature) {
    let ModelInferRequest { inputs, outputs: asked, raw_input_contents, .. } = request;
    if let Ok(asked) = infer::asked(&asked) {
        let wanted = outputs::wanted(SUBJECT, signature, Some(regions()), asked.into_iter());
        assert!(wanted.is_err() || wanted.is_ok_and(|wanted| wanted.len() <= signature.outputs.len()));
    }
    let wires = infer::wire_tensors(SUBJECT, inputs, raw_input_contents, 1 << 20, &mut reader());
    let Ok(wires) = wires else { return };
    check_tensors(decode::tensors(SUBJECT, signature, wires), signature);
}

fn check_tensors(tensors: Result<Vec<models::Tensor>, crate::InferError>, signature: &Signature) {
    let Ok(tensors) = tensors else { return };
    assert_eq!(tensors.len(), signature.inputs.len());
    for (tensor, spec) in tensors.iter().zip(&signature.inputs) {
        spec.check(tensor).expect("what is let through fits");
        if let Ok(values) = tensor.as_f32() {
            assert!(values.iter().all(|value| value.is_finite()));
        }
    }
}

fn rest_body(dice: &mut Dice<'_>, signature: &Signature) -> (Vec<u8>, Option<usize>) {
    let dtype = signature.inputs[0].dtype.oip();
    let mut tail = Vec::new();
    let element = |dice: &mut Dice<'_>| -> Value {
        let odd =
            [json!(true), json!("text"), json!(null), json!(1e308), json!(-1.5), json!(u64::MAX), json!({})];
        let nested = json!([1, [2, [3]]]);
        match dice.below(12) {
            kind @ 0..7 => odd[kind].clone(),
            7 => nested,
            number => number.into(),
        }
    };
    let mut input = |dice: &mut Dice<'_>| {
        let datatype = if dice.below(4) > 0 { dtype.to_owned() } else { dice.datatype() };
        let mut input =
            json!({ "name": dice.pick(&NAMES[..3]), "datatype": datatype, "shape": dice.shape() });
        if dice.below(3) > 0 {
            let one = element(dice);
            input["data"] = Value::Array(vec![one; dice.pick(&[2, 4, 1, 0])]);
        }
        if dice.below(3) == 0 {
            let size = dice.pick(&[8, 4, 2, 16, 0, 9]);
            input["parameters"] = json!({ "binary_data_size": size });
            tail.extend(std::iter::repeat_n(1, size));
        } else if dice.below(3) == 0 {
            let (region, size) = (dice.pick(&["r", "s"]), dice.pick(&[8, 16, 17, -1]));
            input["parameters"] = json!({ "shared_memory_region": region, "shared_memory_byte_size": size });
        }
        input
    };
    let inputs: Vec<Value> = (0..dice.pick(&[1, 1, 2, 0])).map(|_| input(dice)).collect();
    let output =
        |dice: &mut Dice<'_>| json!({ "name": dice.pick(&NAMES), "parameters": { "binary_data": true } });
    let asked = json!({ "id": "7", "inputs": inputs, "outputs": dice.many(3, output) });
    let mut bytes = asked.to_string().into_bytes();
    let length = bytes.len();
    bytes.append(&mut tail);
    let length = match dice.below(6) {
        0 => None,
        1 => Some(dice.pick(&[0, 1, usize::MAX, 5])),
        _ => Some(length),
    };
    (bytes, length)
}

fn check_rest(bytes: &Bytes, length: Option<usize>, signature: &Signature) {
    if let Ok(asked) = body::read(bytes, length, signature, &mut reader()) {
        check_tensors(decode::tensors(SUBJECT, signature, asked.inputs), signature);
    }
}

fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    ProptestConfig { cases: config.cases.max(CASES_MIN), ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_grpc_request_breaks_the_decoder(
        steer in prop::collection::vec(any::<u8>(), 0..96),
        harm in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let dice = &mut Dice(steer.iter());
        let signature = signature(dice);
        let request = grpc_request(dice, &signature);
        let mut bytes = request.encode_to_vec();
        check_grpc(request, &signature);
        damage(&mut bytes, &mut Dice(harm.iter()));
        if let Ok(request) = ModelInferRequest::decode(Bytes::from(bytes)) {
            check_grpc(request, &signature);
        }
    }

    #[test]
    fn no_rest_body_breaks_the_decoder(
        steer in prop::collection::vec(any::<u8>(), 0..64),
        harm in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let dice = &mut Dice(steer.iter());
        let signature = signature(dice);
        let (mut bytes, length) = rest_body(dice, &signature);
        check_rest(&Bytes::from(bytes.clone()), length, &signature);
        damage(&mut bytes, &mut Dice(harm.iter()));
        check_rest(&Bytes::from(bytes), length, &signature);
    }

    #[test]
    fn no_bytes_at_all_break_the_decoders(bytes in prop::collection::vec(any::<u8>(), 0..64), length in any::<u8>()) {
        let signature = signature(&mut Dice(bytes.iter()));
        if let Ok(request) = ModelInferRequest::decode(&*bytes) {
            check_grpc(request, &signature);
        }
        check_rest(&Bytes::from(bytes), Some(length.into()), &signature);
    }
}

/// The harness would prove nothing if it never made a request that is let through.
#[test]
fn some_requests_are_let_through() {
    let found = (1..2000u32).any(|seed| {
        // A multiplicative generator is plenty to steer by.
        let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let states = std::iter::successors(Some(seed), next);
        let bytes: Vec<u8> = states.skip(1).take(96).map(|state| state.to_be_bytes()[0]).collect();
        let dice = &mut Dice(bytes.iter());
        let signature = signature(dice);
        let request = grpc_request(dice, &signature);
        let wires =
            infer::wire_tensors(SUBJECT, request.inputs, request.raw_input_contents, 1 << 20, &mut reader());
        wires.and_then(|wires| decode::tensors(SUBJECT, &signature, wires)).is_ok()
    });
    assert!(found);
}
