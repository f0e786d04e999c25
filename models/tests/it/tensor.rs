//! Tensors over arbitrary bytes: never a panic, and cutting apart undoes putting together.

use bytes::Bytes;
use models::{DType, Signature, Tensor, TensorSpec};
use proptest::prelude::*;

fn any_dtype() -> impl Strategy<Value = DType> {
    prop::sample::select(DType::ALL.to_vec())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        dtype in any_dtype(),
        shape in prop::collection::vec(prop_oneof![0usize..5, any::<usize>()], 0..4),
        data in prop::collection::vec(any::<u8>(), 0..200),
        start: usize,
        rows: usize,
    ) {
        if let Ok(tensor) = Tensor::new(dtype, shape, Bytes::from(data)) {
            let _ = (tensor.rows(), tensor.as_f32().is_ok(), tensor.first_non_finite());
            let count = tensor.shape().iter().product::<usize>();
            prop_assert_eq!(tensor.to_f64().map(|values| values.len()), dtype.size().map(|_| count));
            let _ = tensor.slice_rows(start, rows);
            let _ = tensor.slice_rows(start % 8, rows % 8);
            let _ = Tensor::concat_rows(&[&tensor, &tensor]);
        }
    }

    #[test]
    fn cutting_undoes_putting_together(
        dtype in any_dtype(), sizes in prop::collection::vec(0usize..5, 1..6), width in 1usize..4, seed: u8,
    ) {
        prop_assume!(dtype.size().is_some());
        let bytes = |rows: usize| {
            (0..rows * width * dtype.size().unwrap_or(0)).map(|at| at as u8 ^ seed).collect::<Vec<u8>>()
        };
        let parts: Vec<Tensor> = sizes
            .iter()
            .map(|rows| Tensor::new(dtype, vec![*rows, width], bytes(*rows).into()).expect("fits"))
            .collect();
        let whole = Tensor::concat_rows(&parts.iter().collect::<Vec<_>>()).expect("alike");
        prop_assert_eq!(whole.rows(), sizes.iter().sum::<usize>());
        let mut start = 0;
        for part in &parts {
            prop_assert_eq!(&whole.slice_rows(start, part.rows()).expect("within"), part);
            start += part.rows();
        }
        prop_assert!(whole.slice_rows(start, 1).is_err());
        prop_assert!(whole.slice_rows(usize::MAX, 2).is_err());
    }

    #[test]
    fn strings_are_cut_and_put_together_like_numbers(
        rows in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 3), 1..6),
        at in 0usize..6,
    ) {
        let tensor = |rows: &[Vec<Vec<u8>>]| Tensor::from_strings(vec![rows.len(), 3], &rows.concat()).expect("fits");
        let (at, whole) = (at.min(rows.len()), tensor(&rows));
        prop_assert_eq!(whole.strings().map(<[u8]>::to_vec).collect::<Vec<_>>(), rows.concat());
        let (head, tail) = (tensor(&rows[..at]), tensor(&rows[at..]));
        prop_assert_eq!(&whole.slice_rows(0, at).expect("within"), &head);
        prop_assert_eq!(&whole.slice_rows(at, rows.len() - at).expect("within"), &tail);
        prop_assert_eq!(Tensor::concat_rows(&[&head, &tail]).expect("alike"), whole);
    }

    #[test]
    fn the_first_that_is_not_finite_is_found(count in 1usize..400, at in 0usize..400, bad in 0usize..3) {
        let at = at % count;
        let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][bad];
        let mut values = vec![1.5f64; count];
        for spoilt in [false, true] {
            if spoilt {
                values[at] = bad;
            }
            let bytes: [(DType, Vec<u8>); 4] = [
                (DType::F64, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
                (DType::F32, values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect()),
                (DType::F16, values.iter().flat_map(|v| half::f16::from_f64(*v).to_le_bytes()).collect()),
                (DType::Bf16, values.iter().flat_map(|v| half::bf16::from_f64(*v).to_le_bytes()).collect()),
            ];
            for (dtype, data) in bytes {
                let tensor = Tensor::new(dtype, vec![count], data.into()).expect("fits");
                prop_assert_eq!(tensor.first_non_finite(), spoilt.then_some(at));
            }
        }
    }
}

#[test]
fn names_of_datatypes_read_back() {
    for dtype in DType::ALL {
        assert_eq!(DType::from_oip(dtype.oip()), Some(dtype));
    }
    assert_eq!(DType::from_oip("fp32"), None);
}

#[test]
fn byte_strings_must_fill_the_bytes() {
    let tensor =
        |count: usize, data: &'static [u8]| Tensor::new(DType::Bytes, vec![count], Bytes::from_static(data));
    assert!(tensor(2, b"\x01\0\0\0a\0\0\0\0").is_ok());
    for (count, data) in
        [(1, &b"\x02\0\0\0a"[..]), (1, b"\x01\0\0"), (1, b"\0\0\0\0x"), (1, b"\xff\xff\xff\xff")]
    {
        assert!(tensor(count, data).is_err(), "{data:?}");
    }
}

#[test]
fn a_signature_says_what_it_expected_and_what_it_got() {
    let spec = |name: &str, dims: &[i64]| TensorSpec {
        name: name.into(),
        dtype: DType::F32,
        dims: dims.to_vec(),
        unit: None,
        loinc: None,
    };
    let signature =
        Signature { inputs: vec![spec("a", &[-1, 2]), spec("b", &[-1])], outputs: vec![spec("c", &[-1])] };
    let tensor =
        |shape: &[usize]| Tensor::from_f32(shape.to_vec(), &vec![0.0; shape.iter().product()]).expect("fits");
    assert_eq!(signature.check_inputs(&[tensor(&[3, 2]), tensor(&[3])]).expect("fits"), 3);
    assert!(signature.check_outputs(&[tensor(&[3])], 3).is_ok());
    let refused = |tensors: &[Tensor]| signature.check_inputs(tensors).expect_err("unfit").to_string();
    for (part, message) in [
        ("expected 2 inputs, got 1", refused(&[tensor(&[3, 2])])),
        ("a: shape is [3, 3], expected [-1, 2]", refused(&[tensor(&[3, 3]), tensor(&[3])])),
        ("b: has 2 rows, but the first has 3", refused(&[tensor(&[3, 2]), tensor(&[2])])),
        ("no rows", refused(&[tensor(&[0, 2]), tensor(&[0])])),
        (
            "c: has 3 rows, expected 4",
            signature.check_outputs(&[tensor(&[3])], 4).expect_err("unfit").to_string(),
        ),
        ("expected 1 outputs, got 0", signature.check_outputs(&[], 4).expect_err("unfit").to_string()),
    ] {
        assert!(message.contains(part), "`{message}` should say `{part}`");
    }
    let wrong = Tensor::new(DType::I32, vec![3, 2], vec![0; 24].into()).expect("fits");
    assert!(refused(&[wrong, tensor(&[3])]).contains("datatype is INT32, expected FP32"));
}

#[test]
fn bytes_that_begin_anywhere_are_moved_once() {
    let whole = Bytes::from(vec![1; 17]);
    let tensor = |from: usize| {
        Tensor::new(DType::F32, vec![4], whole.slice(from..from + 16)).expect("four numbers").aligned()
    };
    let tensors = [tensor(0), tensor(1)];
    assert!(tensors.iter().all(|tensor| tensor.data().as_ptr().addr().is_multiple_of(4)));
    assert_eq!(tensors[0], tensors[1]);
    let stayed = |tensor: &&Tensor| whole.as_ptr_range().contains(&tensor.data().as_ptr());
    assert_eq!(tensors.iter().filter(stayed).count(), 1);
}
