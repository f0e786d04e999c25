//! Shapley values of the inputs of one case: which copies of it to run, and what their outputs say.
//!
//! An input's value is how much it moves the output when it is hidden, averaged over the orders in which inputs can be
//! hidden (Shapley 1953; for models Lundberg and Lee 2017). In every order the moves add up to the whole way from the
//! case to the base, so the values do too. Up to [`EXACT_MAX`] inputs take all orders. More take pairs of an order and
//! its reverse, which is exact as long as no more than two inputs act together (Mitchell and others 2022). The orders
//! are fixed: the same case always gets the same explanation.

use std::collections::BTreeMap;

/// Inputs up to which every order is taken.
pub const EXACT_MAX: usize = 4;
/// Copies of the case that the pairs of orders may need, as long as there is one pair. Each copy costs as much as the
/// answer itself, and an explained answer is to take at most twice the time of a request without.
const ROWS_MAX: usize = 12;

/// What to run for the Shapley values of `inputs` inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    inputs: usize,
    /// Inputs in the order of hiding.
    orders: Vec<Vec<usize>>,
    /// Row of each set of hidden inputs; row 0 is the case itself, the last one hides all.
    rows: BTreeMap<Vec<usize>, usize>,
}

impl Plan {
    /// The plan for this many inputs.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        let orders = if inputs <= EXACT_MAX { all_orders(inputs) } else { pairs(inputs) };
        let mut rows = BTreeMap::from([(Vec::new(), 0)]);
        for order in &orders {
            for count in 1..inputs {
                let next = rows.len();
                rows.entry(set(&order[..count])).or_insert(next);
            }
        }
        let last = rows.len();
        rows.entry((0..inputs).collect()).or_insert(last);
        Self { inputs, orders, rows }
    }

    /// The inputs hidden in each row after the case itself; the last row hides all.
    #[must_use]
    pub fn hidden(&self) -> Vec<Vec<usize>> {
        let mut sets: Vec<(&Vec<usize>, &usize)> = self.rows.iter().collect();
        sets.sort_by_key(|(_, row)| **row);
        sets.into_iter().skip(1).map(|(set, _)| set.clone()).collect()
    }

    /// Shapley value of each input from the outputs of the case and of the rows of [`Self::hidden`]; an output that
    /// is not there counts as the case's own.
    #[must_use]
    pub fn values(&self, outputs: &[f64]) -> Vec<f64> {
        let own = outputs.first().copied().unwrap_or_default();
        let output = |hidden: &[usize]| {
            let row = self.rows.get(&set(hidden)).copied().unwrap_or_default();
            outputs.get(row).copied().unwrap_or(own)
        };
        let mut values = vec![0.0; self.inputs];
        for order in &self.orders {
            let mut before = own;
            for (count, input) in order.iter().enumerate() {
                let after = output(&order[..=count]);
                values[*input] += (before - after) / self.orders.len() as f64;
                before = after;
            }
        }
        values
    }

    /// The output with every input hidden, from the same outputs.
    #[must_use]
    pub fn base(&self, outputs: &[f64]) -> f64 {
        outputs.get(self.rows.len() - 1).or(outputs.first()).copied().unwrap_or_default()
    }
}

fn set(hidden: &[usize]) -> Vec<usize> {
    let mut set = hidden.to_vec();
    set.sort_unstable();
    set
}

fn all_orders(inputs: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for input in 0..inputs {
        let into = |order: &Vec<usize>| {
            let order = order.clone();
            (0..=order.len()).map(move |at| {
                let mut longer = order.clone();
                longer.insert(at, input);
                longer
            })
        };
        orders = orders.iter().flat_map(into).collect();
    }
    orders
}

/// Rotations of the given order, each with its reverse.
fn pairs(inputs: usize) -> Vec<Vec<usize>> {
    let pairs = (ROWS_MAX / (2 * (inputs - 1))).clamp(1, inputs);
    let pair = |number: usize| {
        let mut order: Vec<usize> = (0..inputs).collect();
        order.rotate_left(number * inputs / pairs);
        let reverse = order.iter().rev().copied().collect();
        [order, reverse]
    };
    (0..pairs).flat_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Outputs of `of`, which sees which inputs are there.
    fn outputs(plan: &Plan, inputs: usize, of: impl Fn(&[bool]) -> f64) -> Vec<f64> {
        let there = |hidden: &Vec<usize>| (0..inputs).map(|i| !hidden.contains(&i)).collect::<Vec<_>>();
        std::iter::once(Vec::new()).chain(plan.hidden()).map(|hidden| of(&there(&hidden))).collect()
    }

    #[test]
    fn two_that_only_act_together_share_alike() {
        let plan = Plan::new(3);
        let values = plan.values(&outputs(&plan, 3, |x| f64::from(u8::from(x[0] && x[1]))));
        assert_eq!(values, [0.5, 0.5, 0.0]);
    }

    #[test]
    fn three_that_only_act_together_share_alike_among_four() {
        let plan = Plan::new(4);
        let values = plan.values(&outputs(&plan, 4, |x| f64::from(u8::from(x[0] && x[1] && x[3]))));
        for (value, want) in values.iter().zip([1.0 / 3.0, 1.0 / 3.0, 0.0, 1.0 / 3.0]) {
            assert!((value - want).abs() < 1e-12, "{values:?}");
        }
    }

    #[test]
    fn nothing_and_one_input_need_no_orders() {
        assert!(Plan::new(0).values(&[0.3]).is_empty());
        assert_eq!((Plan::new(0).hidden().len(), Plan::new(0).base(&[0.3])), (0, 0.3));
        assert_eq!((Plan::new(1).values(&[0.9, 0.2]), Plan::new(1).base(&[0.9, 0.2])), (vec![0.7], 0.2));
    }

    #[test]
    fn few_rows_are_needed() {
        let rows = |inputs| Plan::new(inputs).hidden().len() + 1;
        assert_eq!([rows(1), rows(2), rows(3), rows(4)], [2, 4, 8, 16]);
        assert_eq!([rows(5), rows(6), rows(7)], [10, 12, 14]);
        assert_eq!(rows(22), 44);
    }

    proptest! {
        #[test]
        fn the_values_add_up_to_the_way_from_the_base(
            inputs in 1_usize..24,
            weights in prop::collection::vec(-3.0_f64..3.0, 24),
        ) {
            let plan = Plan::new(inputs);
            let all = outputs(&plan, inputs, |there| {
                let sum: f64 = there.iter().zip(&weights).filter(|(t, _)| **t).map(|(_, w)| w).sum();
                1.0 / (1.0 + (-sum).exp())
            });
            let sum: f64 = plan.values(&all).iter().sum();
            prop_assert!((sum - (all[0] - plan.base(&all))).abs() < 1e-12);
        }

        #[test]
        fn pairs_are_exact_where_only_two_act_together(
            inputs in 5_usize..20,
            alone in prop::collection::vec(-1.0_f64..1.0, 20),
            (a, b, together) in (0_usize..5, 0_usize..5, -1.0_f64..1.0),
        ) {
            let plan = Plan::new(inputs);
            let values = plan.values(&outputs(&plan, inputs, |there| {
                let sum: f64 = there.iter().zip(&alone).filter(|(t, _)| **t).map(|(_, w)| w).sum();
                sum + if there[a] && there[b] { together } else { 0.0 }
            }));
            for (input, value) in values.iter().enumerate() {
                let share = match (input == a, input == b) {
                    (true, true) => together,
                    (true, false) | (false, true) => together / 2.0,
                    (false, false) => 0.0,
                };
                prop_assert!((value - alone[input] - share).abs() < 1e-9);
            }
        }
    }
}
