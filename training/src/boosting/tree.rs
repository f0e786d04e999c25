//! One regression tree on binned columns, grown leaf by leaf where the loss falls most.
//!
//! The gain of a cut and the value of a leaf are those of second-order boosting (Chen and Guestrin, "XGBoost", 2016);
//! which leaf is cut next, and the histograms, follow Ke and others, "LightGBM", 2017.

/// Bins of a column, gaps apart.
const BINS_MAX: usize = 254;
/// Bin of what is absent.
const ABSENT: u8 = u8::MAX;
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

/// How one tree is grown.
pub(super) struct Growth<'a> {
    pub(super) binned: &'a Binned,
    /// Slope and curvature of the loss at each row.
    pub(super) slopes: &'a [(f64, f64)],
    /// Columns that it may cut.
    pub(super) columns: Vec<usize>,
    pub(super) leaves_max: usize,
    pub(super) rows_min: usize,
    pub(super) ridge: f64,
}

/// A grown tree; the first node is its root.
#[derive(Debug, Clone)]
pub struct Tree(Vec<Node>);

/// A place of a tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Node {
    /// What the tree adds.
    Leaf(f64),
    /// A question about one column.
    Cut {
        /// Which column.
        column: usize,
        /// Values up to it go left.
        end: f64,
        /// Whether a gap goes left.
        absent_left: bool,
        /// Place of the left child; the right one follows it.
        left: usize,
    },
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
        let bins =
            ends.iter().enumerate().map(|(at, ends)| column(at).map(|value| bin(ends, value)).collect());
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
        let Some((below, above)) =
            at.checked_sub(1).and_then(|at| Some((values.get(at)?, values.get(at + 1)?)))
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
    fn gain(self, ridge: f64) -> f64 {
        self.slope * self.slope / (self.curvature + ridge).max(CURVATURE_MIN)
    }

    fn value(self, ridge: f64) -> f64 {
        -self.slope / (self.curvature + ridge).max(CURVATURE_MIN)
    }

    fn is_enough(self, rows_min: usize) -> bool {
        self.rows >= rows_min && self.curvature >= CURVATURE_MIN
    }
}

impl Growth<'_> {
    /// Grows a tree, adds `rate` times its values to `scores`.
    pub(super) fn grow(&self, rate: f64, scores: &mut [f64]) -> Tree {
        let rows: Vec<u32> = (0..self.binned.rows as u32).collect();
        let mut nodes = vec![Node::Leaf(0.0)];
        let mut leaves = vec![Leaf { node: 0, cut: self.best_cut(&rows), rows }];
        while leaves.len() < self.leaves_max {
            let gain = |leaf: &Leaf| leaf.cut.map_or(0.0, |cut| cut.gain);
            let best = (0..leaves.len()).max_by(|a, b| gain(&leaves[*a]).total_cmp(&gain(&leaves[*b])));
            let Some((at, cut)) = best.and_then(|at| Some((at, leaves[at].cut?))) else { break };
            let leaf = leaves.swap_remove(at);
            let Cut { column, bin, absent_left, .. } = cut;
            let bins = &self.binned.bins[column];
            let (left, right): (Vec<u32>, Vec<u32>) =
                leaf.rows.iter().partition(|row| cut.goes_left(bins[**row as usize]));
            let end = self.binned.ends[column].get(usize::from(bin)).copied().unwrap_or(f64::MAX);
            nodes[leaf.node] = Node::Cut { column, end, absent_left, left: nodes.len() };
            for rows in [left, right] {
                leaves.push(Leaf { node: nodes.len(), cut: self.best_cut(&rows), rows });
                nodes.push(Node::Leaf(0.0));
            }
        }
        for leaf in leaves {
            let value = rate * self.sums(&leaf.rows).value(self.ridge);
            nodes[leaf.node] = Node::Leaf(value);
            leaf.rows.iter().for_each(|row| scores[*row as usize] += value);
        }
        Tree(nodes)
    }

    fn sums(&self, rows: &[u32]) -> Sums {
        let mut sums = Sums::default();
        for row in rows {
            let (slope, curvature) = self.slopes[*row as usize];
            sums.add(Sums { slope, curvature, rows: 1 });
        }
        sums
    }

    fn best_cut(&self, rows: &[u32]) -> Option<Cut> {
        let all = self.sums(rows);
        let cuts = self.columns.iter().filter_map(|column| self.best_of_column(rows, *column, all));
        cuts.max_by(|a, b| a.gain.total_cmp(&b.gain))
    }

    fn best_of_column(&self, rows: &[u32], column: usize, all: Sums) -> Option<Cut> {
        let mut bins = [Sums::default(); BINS_MAX + 1];
        let mut absent = Sums::default();
        for row in rows {
            let (slope, curvature) = self.slopes[*row as usize];
            let bin = self.binned.bins[column][*row as usize];
            let place = if bin == ABSENT { &mut absent } else { &mut bins[usize::from(bin)] };
            place.add(Sums { slope, curvature, rows: 1 });
        }
        let mut best: Option<Cut> = None;
        for absent_left in [true, false] {
            let mut left = if absent_left { absent } else { Sums::default() };
            // The last bin ends nowhere, but what is there may be parted from what is absent.
            for (bin, sums) in bins.iter().enumerate().take(self.binned.ends[column].len() + 1) {
                left.add(*sums);
                let right = all.less(left);
                let gain = left.gain(self.ridge) + right.gain(self.ridge) - all.gain(self.ridge);
                let better = gain > best.map_or(GAIN_MIN, |best| best.gain);
                if better && left.is_enough(self.rows_min) && right.is_enough(self.rows_min) {
                    best = Some(Cut { gain, column, bin: bin as u8, absent_left });
                }
            }
        }
        best
    }
}

impl Tree {
    /// Places, the root first.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.0
    }

    /// Value of one row.
    pub(super) fn value(&self, row: &[f64]) -> f64 {
        let mut at = 0;
        loop {
            match self.0[at] {
                Node::Leaf(value) => return value,
                Node::Cut { column, end, absent_left, left } => {
                    let value = row[column];
                    let goes_left = if value.is_finite() { value <= end } else { absent_left };
                    at = left + usize::from(!goes_left);
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
