//! One regression tree on binned columns, grown leaf by leaf where the loss falls most.
//!
//! The gain of a cut and the value of a leaf are those of second-order boosting (Chen and Guestrin, "XGBoost", 2016);
//! which leaf is cut next, and the histograms, follow Ke and others, "LightGBM", 2017.

/// Bins of a column, gaps apart.
const BINS_MAX: usize = 128;
/// Bin of what is absent.
const ABSENT: u8 = u8::MAX;
const LEAVES_MAX: usize = 15;
/// Rows a leaf must have.
const ROWS_MIN: usize = 20;
/// Curvature a leaf must have; with less its value would run away.
const CURVATURE_MIN: f64 = 1e-3;
const GAIN_MIN: f64 = 1e-9;

/// Columns of a table as numbers of bins.
pub(super) struct Binned {
    /// Upper ends of the bins of each column; values beyond the last belong to one bin more.
    ends: Vec<Vec<f64>>,
    /// Bins of each column, row after row.
    bins: Vec<Vec<u8>>,
    rows: usize,
}

/// A grown tree.
#[derive(Debug, Clone)]
pub(super) struct Tree(Vec<Node>);

#[derive(Debug, Clone, Copy)]
enum Node {
    Leaf(f64),
    /// Values up to `end` go left.
    Cut { column: usize, end: f64, absent_left: bool, left: usize, right: usize },
}

/// Sums over some rows.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    slope: f64,
    curvature: f64,
    rows: usize,
}

/// The best way to cut a leaf.
#[derive(Debug, Clone, Copy)]
struct Cut {
    gain: f64,
    column: usize,
    bin: u8,
    absent_left: bool,
}

/// A leaf that may be cut.
struct Leaf {
    node: usize,
    rows: Vec<u32>,
    cut: Option<Cut>,
}

impl Binned {
    pub(super) fn new(rows: &[Vec<f64>]) -> Self {
        let columns = rows.first().map_or(0, Vec::len);
        let column = |at: usize| rows.iter().map(move |row| row[at]);
        let ends: Vec<Vec<f64>> = (0..columns).map(|at| ends(column(at).collect())).collect();
        let bins = ends.iter().enumerate().map(|(at, ends)| column(at).map(|value| bin(ends, value)).collect());
        Self { bins: bins.collect(), ends, rows: rows.len() }
    }
}

/// Upper ends that part the values into equal shares, each between two values that occur.
fn ends(mut values: Vec<f64>) -> Vec<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let mut ends: Vec<f64> = Vec::new();
    for share in 1..BINS_MAX {
        let at = values.len() * share / BINS_MAX;
        let Some((below, above)) = at.checked_sub(1).and_then(|at| Some((values.get(at)?, values.get(at + 1)?)))
        else {
            continue;
        };
        // Of a value that fills several shares the end is found once, where it stops.
        let end = below.midpoint(*above);
        if ends.last().is_none_or(|last| *last < end) {
            ends.push(end);
        }
    }
    ends
}

fn bin(ends: &[f64], value: f64) -> u8 {
    if value.is_finite() { ends.partition_point(|end| *end < value) as u8 } else { ABSENT }
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.slope += other.slope;
        self.curvature += other.curvature;
        self.rows += other.rows;
    }

    fn less(self, other: Self) -> Self {
        Self {
            slope: self.slope - other.slope,
            curvature: self.curvature - other.curvature,
            rows: self.rows - other.rows,
        }
    }

    /// How far the loss falls when these rows have a value of their own, twice.
    fn gain(self) -> f64 {
        self.slope * self.slope / self.curvature.max(CURVATURE_MIN)
    }

    fn value(self) -> f64 {
        -self.slope / self.curvature.max(CURVATURE_MIN)
    }

    fn is_enough(self) -> bool {
        self.rows >= ROWS_MIN && self.curvature >= CURVATURE_MIN
    }
}

impl Tree {
    /// Grows a tree down the slopes (with their curvatures), adds `rate` times its values to `scores`.
    pub(super) fn grow(binned: &Binned, slopes: &[(f64, f64)], rate: f64, scores: &mut [f64]) -> Self {
        let rows: Vec<u32> = (0..binned.rows as u32).collect();
        let mut nodes = vec![Node::Leaf(0.0)];
        let mut leaves = vec![Leaf { node: 0, cut: best_cut(binned, slopes, &rows), rows }];
        while leaves.len() < LEAVES_MAX {
            let gain = |leaf: &Leaf| leaf.cut.map_or(0.0, |cut| cut.gain);
            let best = (0..leaves.len()).max_by(|a, b| gain(&leaves[*a]).total_cmp(&gain(&leaves[*b])));
            let Some((at, cut)) = best.and_then(|at| Some((at, leaves[at].cut?))) else { break };
            let leaf = leaves.swap_remove(at);
            let (left, right): (Vec<u32>, Vec<u32>) =
                leaf.rows.iter().partition(|row| cut.goes_left(binned.bins[cut.column][**row as usize]));
            let Cut { column, bin, absent_left, .. } = cut;
            let end = binned.ends[column].get(usize::from(bin)).copied().unwrap_or(f64::INFINITY);
            nodes[leaf.node] =
                Node::Cut { column, end, absent_left, left: nodes.len(), right: nodes.len() + 1 };
            for rows in [left, right] {
                leaves.push(Leaf { node: nodes.len(), cut: best_cut(binned, slopes, &rows), rows });
                nodes.push(Node::Leaf(0.0));
            }
        }
        for leaf in leaves {
            let value = rate * sums(slopes, &leaf.rows).value();
            nodes[leaf.node] = Node::Leaf(value);
            leaf.rows.iter().for_each(|row| scores[*row as usize] += value);
        }
        Self(nodes)
    }

    /// Value of one row.
    pub(super) fn value(&self, row: &[f64]) -> f64 {
        let mut at = 0;
        loop {
            match self.0[at] {
                Node::Leaf(value) => return value,
                Node::Cut { column, end, absent_left, left, right } => {
                    let value = row[column];
                    let goes_left = if value.is_finite() { value <= end } else { absent_left };
                    at = if goes_left { left } else { right };
                }
            }
        }
    }
}

impl Cut {
    fn goes_left(&self, bin: u8) -> bool {
        if bin == ABSENT { self.absent_left } else { bin <= self.bin }
    }
}

fn sums(slopes: &[(f64, f64)], rows: &[u32]) -> Sums {
    let mut sums = Sums::default();
    for row in rows {
        let (slope, curvature) = slopes[*row as usize];
        sums.add(Sums { slope, curvature, rows: 1 });
    }
    sums
}

fn best_cut(binned: &Binned, slopes: &[(f64, f64)], rows: &[u32]) -> Option<Cut> {
    let all = sums(slopes, rows);
    let cuts = (0..binned.bins.len()).filter_map(|column| best_of_column(binned, slopes, rows, column, all));
    cuts.max_by(|a, b| a.gain.total_cmp(&b.gain))
}

fn best_of_column(
    binned: &Binned,
    slopes: &[(f64, f64)],
    rows: &[u32],
    column: usize,
    all: Sums,
) -> Option<Cut> {
    let mut bins = [Sums::default(); BINS_MAX + 1];
    let mut absent = Sums::default();
    for row in rows {
        let (slope, curvature) = slopes[*row as usize];
        let bin = binned.bins[column][*row as usize];
        let place = if bin == ABSENT { &mut absent } else { &mut bins[usize::from(bin)] };
        place.add(Sums { slope, curvature, rows: 1 });
    }
    let mut best: Option<Cut> = None;
    for absent_left in [true, false] {
        let mut left = if absent_left { absent } else { Sums::default() };
        // The last bin ends nowhere, but what is there may be parted from what is absent.
        for bin in 0..=binned.ends[column].len() {
            left.add(bins[bin]);
            let right = all.less(left);
            let gain = left.gain() + right.gain() - all.gain();
            let better = gain > best.map_or(GAIN_MIN, |best| best.gain);
            if better && left.is_enough() && right.is_enough() {
                best = Some(Cut { gain, column, bin: bin as u8, absent_left });
            }
        }
    }
    best
}
