//! The classification extension: instead of numbers the most probable classes, as text.

use std::cmp::Ordering;

use models::{DType, Tensor};

use crate::InferError;

/// The `count` largest elements of each row of the output `name`, as `value:index` or `value:index:label`.
///
/// A row is everything below the first dimension. Equal values come in the order of their index. `labels` are
/// used when there is one for each element of a row.
pub(super) fn top(
    name: &str,
    tensor: &Tensor,
    count: usize,
    labels: &[String],
) -> Result<Tensor, InferError> {
    let fault = |reason: &str| InferError::input(name, reason);
    if matches!(tensor.dtype(), DType::Bool | DType::Bytes) {
        return Err(fault(&format!("has datatype {}, which has no largest values", tensor.dtype().oip())));
    }
    let values = tensor.to_f64().ok_or_else(|| fault("has no numbers"))?;
    let width = values.len().checked_div(tensor.rows()).unwrap_or(0);
    if width == 0 {
        return Err(fault("has no classes"));
    }
    let count = count.min(width);
    let labels = if labels.len() == width { labels } else { &[] };
    let is_float = matches!(tensor.dtype(), DType::F16 | DType::Bf16 | DType::F32 | DType::F64);
    let mut texts = Vec::with_capacity(tensor.rows() * count);
    for row in values.chunks_exact(width) {
        let mut order: Vec<usize> = (0..width).collect();
        // Not a number stands last.
        order.sort_by(|a, b| descending(row[*a], row[*b]).then(a.cmp(b)));
        for index in order.into_iter().take(count) {
            let value = if is_float { format!("{:.6}", row[index]) } else { format!("{:.0}", row[index]) };
            let label = labels.get(index).map(|label| format!(":{label}")).unwrap_or_default();
            texts.push(format!("{value}:{index}{label}"));
        }
    }
    Tensor::from_strings(vec![tensor.rows(), count], &texts).map_err(|error| fault(&error.to_string()))
}

fn descending(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(tensor: &Tensor) -> Vec<String> {
        tensor.strings().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    #[test]
    fn the_largest_come_first_with_their_labels() {
        let tensor = Tensor::from_f32(vec![2, 3], &[0.25, 0.5, 0.25, 1.0, 0.0, 3.0]).expect("shape");
        let labels = ["a", "b", "c"].map(str::to_owned);
        let top_two = top("y", &tensor, 2, &labels).expect("classes");
        assert_eq!(top_two.shape(), [2, 2]);
        assert_eq!(texts(&top_two), ["0.500000:1:b", "0.250000:0:a", "3.000000:2:c", "1.000000:0:a"]);
        let all = top("y", &tensor, 9, &labels[..2]).expect("classes");
        assert_eq!(texts(&all)[..3], ["0.500000:1", "0.250000:0", "0.250000:2"]);
    }

    #[test]
    fn whole_numbers_stay_whole_and_text_has_no_order() {
        let tensor = Tensor::new(DType::U8, vec![1, 3], vec![7, 9, 8].into()).expect("shape");
        assert_eq!(texts(&top("y", &tensor, 1, &[]).expect("classes")), ["9:1"]);
        let tensor = Tensor::from_strings(vec![1, 1], &["a"]).expect("shape");
        assert!(top("y", &tensor, 1, &[]).is_err());
        let tensor = Tensor::from_f32(vec![1, 0], &[]).expect("shape");
        assert!(top("y", &tensor, 1, &[]).is_err());
    }

    proptest! {
        #[test]
        fn every_row_has_the_largest_of_it(
            width in 1usize..9,
            values in prop::collection::vec(prop_oneof![any::<f32>(), Just(f32::NAN), Just(0.0)], 0..60),
            count in 1usize..12,
        ) {
            let rows = values.len() / width;
            prop_assume!(rows > 0);
            let tensor = Tensor::from_f32(vec![rows, width], &values[..rows * width]).expect("shape");
            let classes = top("y", &tensor, count, &[]).expect("classes");
            prop_assert_eq!(classes.shape(), &[rows, count.min(width)]);
            for (row, first) in texts(&classes).iter().step_by(count.min(width)).enumerate() {
                let index: usize = first.rsplit(':').next().expect("an index").parse().expect("a number");
                let row = &values[row * width..][..width];
                let largest = row.iter().copied().fold(f32::NAN, f32::max);
                prop_assert!(row[index] == largest || largest.is_nan());
            }
        }
    }
}
