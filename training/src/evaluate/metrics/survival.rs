//! Harrell's concordance for censored follow-up.
//!
//! A pair counts when the person with the shorter time died; it is won when that person had the higher
//! risk, half won when the risks are equal. Pairs with equal times are left out. Counting runs over a
//! Fenwick tree of risk ranks, so that a bootstrap over thousands of people stays cheap.

/// Harrell's C; `None` without a comparable pair. `times` in any unit, `died` false when censored.
#[must_use]
pub fn harrell_c(risk: &[f64], times: &[f64], died: &[bool]) -> Option<f64> {
    let ranks = ranks_of(risk);
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|a, b| times[*b].total_cmp(&times[*a]));
    let mut later = Counts::new(risk.len());
    let (mut won, mut pairs, mut start) = (0.0, 0.0, 0);
    while start < order.len() {
        let time = times[order[start]];
        let end = start + order[start..].iter().take_while(|i| times[**i] == time).count();
        for &person in order[start..end].iter().filter(|i| died[**i]) {
            let (below, up_to) = (later.below(ranks[person]), later.below(ranks[person] + 1));
            won += below as f64 + (up_to - below) as f64 / 2.0;
            pairs += later.total as f64;
        }
        order[start..end].iter().for_each(|person| later.add(ranks[*person]));
        start = end;
    }
    (pairs > 0.0).then(|| won / pairs)
}

/// Dense ranks: equal values share a rank.
fn ranks_of(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0; values.len()];
    for pair in 1..order.len() {
        let step = usize::from(values[order[pair]] != values[order[pair - 1]]);
        ranks[order[pair]] = ranks[order[pair - 1]] + step;
    }
    ranks
}

/// How many people of each rank have been seen (Fenwick tree).
struct Counts {
    tree: Vec<usize>,
    total: usize,
}

impl Counts {
    fn new(ranks: usize) -> Self {
        Self { tree: vec![0; ranks + 1], total: 0 }
    }

    fn add(&mut self, rank: usize) {
        self.total += 1;
        let mut node = rank + 1;
        while node < self.tree.len() {
            self.tree[node] += 1;
            node += node & node.wrapping_neg();
        }
    }

    fn below(&self, rank: usize) -> usize {
        let (mut node, mut sum) = (rank, 0);
        while node > 0 {
            sum += self.tree[node];
            node &= node - 1;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn concordance_matches_the_hand_count() {
        // Deaths at 1 and 2, censored at 3 and 1.5. Pairs: (1 v 2), (1 v 3), (1 v 1.5), (2 v 3).
        let c = harrell_c(&[0.9, 0.2, 0.4, 0.9], &[1.0, 2.0, 3.0, 1.5], &[true, true, false, false]);
        // Won: 1 + 1 + half for the equal risks + 0.
        assert_eq!(c, Some(2.5 / 4.0));
        assert_eq!(harrell_c(&[1.0, 2.0], &[1.0, 2.0], &[false, false]), None);
        assert_eq!(harrell_c(&[], &[], &[]), None);
    }

    proptest! {
        #[test]
        fn the_tree_counts_what_the_double_loop_counts(
            rows in prop::collection::vec((0u8..5, 0u8..8, any::<bool>()), 0..40),
        ) {
            let risk: Vec<f64> = rows.iter().map(|r| f64::from(r.0)).collect();
            let times: Vec<f64> = rows.iter().map(|r| f64::from(r.1)).collect();
            let died: Vec<bool> = rows.iter().map(|r| r.2).collect();
            let (mut won, mut pairs) = (0.0, 0.0);
            for i in 0..rows.len() {
                for j in 0..rows.len() {
                    if died[i] && times[i] < times[j] {
                        pairs += 1.0;
                        won += if risk[i] > risk[j] { 1.0 } else if risk[i] == risk[j] { 0.5 } else { 0.0 };
                    }
                }
            }
            match harrell_c(&risk, &times, &died) {
                Some(c) => prop_assert!((c - won / pairs).abs() < 1e-9),
                None => prop_assert_eq!(pairs, 0.0),
            }
        }
    }
}
