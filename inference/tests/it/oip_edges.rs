//! The edges of the Open Inference Protocol over REST: the last number that a datatype holds and the first
//! that it does not, what JSON may look like, where bytes begin and end, and what parameters mean.

use std::io::Write;

use axum::http::{Method, StatusCode};
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use inference::Limits;
use models::DType;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::oip_rest::{Answer, LENGTH, Rest, bytes, double};

/// Asks the model that gives its inputs back for `name`, whose two elements are `data`; the others are 0 and 1.
async fn echo(rest: &Rest, name: &str, data: Value) -> Answer {
    let input = |dtype: DType| {
        let kind = dtype.oip();
        let mut input = json!({ "name": kind, "datatype": kind, "shape": [1, 2] });
        if matches!(dtype, DType::F16 | DType::Bf16) {
            input["parameters"] = json!({ "binary_data_size": 4 });
        } else if kind == name {
            input["data"] = data.clone();
        } else if dtype == DType::Bytes {
            input["data"] = json!(["a", "b"]);
        } else {
            input["data"] = json!([0, 1]);
        }
        input
    };
    let inputs: Vec<Value> = DType::ALL.map(input).into();
    let head = json!({ "inputs": inputs, "outputs": [{ "name": name }] }).to_string();
    let body = [head.as_bytes(), &[0; 8]].concat();
    rest.send(Method::POST, "/v2/models/echo/infer", &[(LENGTH, &head.len().to_string())], body).await
}

/// Fails unless the answer is a refusal that says every part.
fn refused(answer: &Answer, parts: &[&str]) {
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{:?}", answer.body);
    for part in parts {
        assert!(answer.error().contains(part), "`{}` lacks `{part}`", answer.error());
    }
}

#[tokio::test]
async fn the_ends_of_every_integer_go_through_and_the_next_number_does_not() {
    let rest = Rest::start(Limits::default());
    let ends: [(&str, i128, i128); 8] = [
        ("INT8", i8::MIN.into(), i8::MAX.into()),
        ("INT16", i16::MIN.into(), i16::MAX.into()),
        ("INT32", i32::MIN.into(), i32::MAX.into()),
        ("INT64", i64::MIN.into(), i64::MAX.into()),
        ("UINT8", 0, u8::MAX.into()),
        ("UINT16", 0, u16::MAX.into()),
        ("UINT32", 0, u32::MAX.into()),
        ("UINT64", 0, u64::MAX.into()),
    ];
    for (name, low, high) in ends {
        let parse = |low: i128, high: i128| serde_json::from_str(&format!("[{low},{high}]")).expect("JSON");
        let inside: Value = parse(low, high);
        let answer = echo(&rest, name, inside.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {:?}", answer.body);
        assert_eq!(answer.json()["outputs"][0]["data"], inside, "{name}");
        for (beyond, index) in [(parse(low - 1, high), 0), (parse(low, high + 1), 1)] {
            let answer = echo(&rest, name, beyond.clone()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name} {beyond}");
            // Beyond 64 bits the reader itself refuses, since no list holds both signs there.
            let said = answer.error();
            let place = format!("{name}: element {index} does not fit");
            let words = [&*place, "data must be integers", "signed range", "outside every integer type"];
            assert!(words.iter().any(|word| said.contains(word)), "{name} {beyond}: {said}");
        }
    }
}

#[tokio::test]
async fn elements_of_another_kind_are_refused_with_both_kinds() {
    let rest = Rest::start(Limits::default());
    let cases = [
        ("INT32", json!([1.5, 2]), "integers"),
        ("INT32", json!(["1", "2"]), "strings"),
        ("INT32", json!([true, false]), "booleans"),
        ("FP64", json!([true, false]), "booleans"),
        ("BOOL", json!([0, 2]), "booleans"),
        ("BOOL", json!(["true", "false"]), "strings"),
        ("BYTES", json!([1, 2]), "strings"),
    ];
    for (name, data, kind) in cases {
        refused(&echo(&rest, name, data).await, &[&format!("{name}: data must be"), kind]);
    }
}

#[tokio::test]
async fn data_that_mixes_kinds_or_is_no_data_is_refused_where_it_stands() {
    let rest = Rest::start(Limits::default());
    for data in
        [json!([1, true]), json!([1, "a"]), json!([null, 1]), json!([{}, 1]), json!({}), json!("1, 2")]
    {
        let answer = rest.infer(&[], double(&data).to_string()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{data}: {:?}", answer.body);
    }
    for (data, part) in [(json!([]), "Shape does not match"), (json!([1]), "Shape does not match")] {
        refused(&rest.infer(&[], double(&data).to_string()).await, &["x: ", part]);
    }
}

#[tokio::test]
async fn nesting_says_nothing_of_the_shape_and_too_much_of_it_is_no_crash() {
    let rest = Rest::start(Limits::default());
    for data in [json!([[[1]], [2]]), json!([[], [1, 2]]), json!([[1, [2]]])] {
        let answer = rest.infer(&[], double(&data).to_string()).await;
        assert_eq!(answer.json()["outputs"][0]["data"], json!([2.0, 4.0]), "{data}");
    }
    let deep = format!("{}1,2{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = double(&json!("HERE")).to_string().replace("\"HERE\"", &deep);
    refused(&rest.infer(&[], body).await, &["failed to parse the request JSON buffer"]);
}

#[tokio::test]
async fn text_keeps_every_letter_and_the_empty_one() {
    let rest = Rest::start(Limits::default());
    for data in [json!(["", ""]), json!(["日本語", "a\u{0}b"]), json!(["\"", "\\\n"]), json!(["😀", "é"])]
    {
        let answer = echo(&rest, "BYTES", data.clone()).await;
        assert_eq!(answer.json()["outputs"][0]["data"], data, "{data}");
    }
}

#[tokio::test]
async fn outputs_come_in_the_order_asked_for_and_each_once() {
    let rest = Rest::start(Limits::default());
    let mut request = double(&json!([1, 2]));
    request["outputs"] = json!([{ "name": "y" }, { "name": "y" }]);
    refused(&rest.infer(&[], request.to_string()).await, &["unexpected inference output 'y'"]);
    request["outputs"] = json!([]);
    assert_eq!(rest.infer(&[], request.to_string()).await.json()["outputs"][0]["name"], "y");
    request["inputs"] = json!([request["inputs"][0], request["inputs"][0]]);
    refused(&rest.infer(&[], request.to_string()).await, &["expected 1 inputs but got 2", "'x','x'"]);
}

/// One input in bytes: `size` as said in the JSON, `sent` bytes behind it.
async fn binary(rest: &Rest, size: Value, sent: usize) -> Answer {
    let input = json!({ "name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": { "binary_data_size": size } });
    let head = json!({ "inputs": [input] }).to_string();
    let body = [head.as_bytes(), &vec![0; sent]].concat();
    rest.infer(&[(LENGTH, &head.len().to_string())], body).await
}

#[tokio::test]
async fn bytes_are_exactly_as_many_as_was_said() {
    let rest = Rest::start(Limits::default());
    assert_eq!(binary(&rest, json!(8), 8).await.status, StatusCode::OK);
    refused(&binary(&rest, json!(8), 7).await, &["x: binary_data_size", "7 bytes left"]);
    refused(&binary(&rest, json!(8), 9).await, &["1 bytes that belong to no input"]);
    refused(&binary(&rest, json!(4), 4).await, &["byte size mismatch for input 'x'", "Expected 8, got 4"]);
    for size in [json!(-8), json!("8"), json!(8.5), json!(null), json!(u64::MAX)] {
        refused(&binary(&rest, size, 8).await, &["x: binary_data_size must be a number"]);
    }
    let neither = json!({ "inputs": [{ "name": "x", "shape": [1, 2], "datatype": "FP32" }] });
    refused(&rest.infer(&[], neither.to_string()).await, &["x: has neither data nor binary_data_size"]);
}

#[tokio::test]
async fn a_raw_body_is_as_many_rows_as_it_holds() {
    let rest = Rest::start(Limits::default());
    for rows in [1, 8] {
        let answer = rest.infer(&[(LENGTH, "0")], bytes(&vec![1.5; rows * 2])).await;
        assert_eq!(answer.status, StatusCode::OK, "{rows}");
        assert!(answer.body.ends_with(&bytes(&vec![3.0; rows * 2])));
    }
    refused(&rest.infer(&[(LENGTH, "0")], bytes(&[1.0; 18])).await, &["at most 8 rows"]);
    refused(&rest.infer(&[(LENGTH, "0")], vec![0; 9]).await, &["byte size mismatch for input 'x'"]);
    assert_eq!(rest.infer(&[(LENGTH, "0")], vec![]).await.status, StatusCode::BAD_REQUEST);
    let many = rest.send(Method::POST, "/v2/models/echo/infer", &[(LENGTH, "0")], vec![0; 8]).await;
    refused(&many, &["a model with one input, not 14"]);
}

#[tokio::test]
async fn parameters_are_whole_numbers_and_unknown_ones_say_nothing() {
    let rest = Rest::start(Limits::default());
    for parameters in [
        json!({ "priority": 0, "timeout": 0 }),
        json!({ "priority": 1, "timeout": 30_000_000 }),
        json!({ "priority": u64::MAX, "timeout": u64::MAX }),
        json!({ "sequence_id": "a", "colour": { "red": 1 } }),
    ] {
        let mut request = double(&json!([1, 2]));
        request["parameters"] = parameters.clone();
        assert_eq!(rest.infer(&[], request.to_string()).await.status, StatusCode::OK, "{parameters}");
    }
    for (name, value) in [("priority", json!("high")), ("priority", json!(-1)), ("timeout", json!(1.5))] {
        let mut request = double(&json!([1, 2]));
        request["parameters"] = json!({ name: value });
        refused(
            &rest.infer(&[], request.to_string()).await,
            &[&format!("{name}: parameter must be a whole")],
        );
    }
}

#[tokio::test]
async fn what_would_change_the_meaning_of_a_tensor_is_not_implemented_rather_than_ignored() {
    let rest = Rest::start(Limits::default());
    for place in ["inputs", "outputs"] {
        let mut request = double(&json!([1, 2]));
        request["outputs"] = json!([{ "name": "y" }]);
        if place == "inputs" {
            request["inputs"][0].as_object_mut().expect("an object").remove("data");
        }
        request[place][0]["parameters"] =
            json!({ "shared_memory_region": "r", "shared_memory_byte_size": 8 });
        let answer = rest.infer(&[], request.to_string()).await;
        assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED, "{place}: {:?}", answer.body);
        for half in [json!({ "shared_memory_region": "r" }), json!({ "shared_memory_byte_size": 8 })] {
            request[place][0]["parameters"] = half;
            refused(&rest.infer(&[], request.to_string()).await, &["must be given together"]);
        }
    }
}

#[tokio::test]
async fn classes_are_asked_of_an_output_and_come_as_text_or_as_bytes() {
    let rest = Rest::start(Limits::default());
    let mut request = double(&json!([1, 2.5]));
    request["outputs"] = json!([{ "name": "y", "parameters": { "classification": 2 } }]);
    let output = rest.infer(&[], request.to_string()).await.json()["outputs"][0].clone();
    let want =
        json!({ "name": "y", "datatype": "BYTES", "shape": [1, 2], "data": ["5.000000:1", "2.000000:0"] });
    assert_eq!(output, want);
    request["outputs"][0]["parameters"]["binary_data"] = json!(true);
    let answer = rest.infer(&[], request.to_string()).await;
    assert!(answer.body.ends_with(b"\n\0\0\x005.000000:1\n\0\0\x002.000000:0"), "{:?}", answer.body);
    for bad in [json!(0), json!("2"), json!(-1)] {
        request["outputs"][0]["parameters"] = json!({ "classification": bad });
        refused(&rest.infer(&[], request.to_string()).await, &["y: classification must be"]);
    }
    request.as_object_mut().expect("an object").remove("outputs");
    request["inputs"][0]["parameters"] = json!({ "classification": 1 });
    refused(&rest.infer(&[], request.to_string()).await, &["classification is asked of an output"]);
}

#[tokio::test]
async fn compression_is_undone_up_to_the_limit_and_not_beyond() {
    let rest = Rest::start(Limits { request_bytes_max: 10_000, ..Limits::default() });
    let padded = |length: usize| {
        let body = double(&json!([1, 2])).to_string();
        let rest = length - body.len();
        body + &" ".repeat(rest)
    };
    for (length, status) in [(10_000, StatusCode::OK), (10_001, StatusCode::BAD_REQUEST)] {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(padded(length).as_bytes()).expect("memory");
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::best());
        deflate.write_all(padded(length).as_bytes()).expect("memory");
        let bodies =
            [("gzip", gzip.finish().expect("memory")), ("deflate", deflate.finish().expect("memory"))];
        for (encoding, body) in bodies {
            assert!(body.len() < 1000, "small on the way, large when read");
            let answer = rest.infer(&[("content-encoding", encoding)], body).await;
            assert_eq!(answer.status, status, "{encoding} {length}: {:?}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_caller_without_an_identifier_gets_none_and_one_with_it_gets_it_back() {
    let rest = Rest::start(Limits::default());
    let mut request = double(&json!([1, 2]));
    request["id"] = json!("日 7/\"");
    assert_eq!(rest.infer(&[], request.to_string()).await.json()["id"], "日 7/\"");
    request.as_object_mut().expect("an object").remove("id");
    assert!(rest.infer(&[], request.to_string()).await.json().get("id").is_none());
    request["inputs"] = json!([]);
    refused(&rest.infer(&[], request.to_string()).await, &["[request id: <id_unknown>]"]);
}

/// JSON and bytes are two spellings of one request: the same numbers go in and come out, bit for bit.
#[test]
fn json_and_bytes_carry_the_same_numbers() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let rest = runtime.block_on(async { Rest::start(Limits::default()) });
    let mut runner = TestRunner::new(Config::with_cases(48));
    let values = prop::collection::vec((-1e30f32..1e30, 0i32..60), 1..8);
    let checked = runner.run(&values, |values| {
        let values: Vec<f32> = values.iter().flat_map(|(v, e)| [v / 2f32.powi(*e), -v]).collect();
        let shape = json!([values.len() / 2, 2]);
        let mut request = double(&json!(values));
        request["inputs"][0]["shape"] = shape;
        let json = runtime.block_on(rest.infer(&[], request.to_string())).json();
        let raw = runtime.block_on(rest.infer(&[(LENGTH, "0")], bytes(&values)));
        let from_json: Vec<f32> =
            serde_json::from_value(json["outputs"][0]["data"].clone()).expect("numbers");
        let doubled: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
        prop_assert!(raw.body.ends_with(&bytes(&doubled)));
        prop_assert_eq!(bytes(&from_json), bytes(&doubled));
        Ok(())
    });
    checked.expect("every value");
}
