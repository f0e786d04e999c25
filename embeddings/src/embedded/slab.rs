//! Vectors in bytes, side by side in memory: what the walk through an index reads.
//!
//! A walk looks at thousands of vectors to find its candidates, and what bounds it is waiting for memory. So each
//! vector is kept a second time as bytes, a quarter of its size, at a place that follows from its slot, with what
//! comparing it takes in the same cache line: one wait instead of three. Scores from bytes have a known error, see
//! [`Coarse::reach`]; whoever needs true ones takes the vector itself.
//!
//! A place is written once, before its slot is handed to anyone, and read without a lock.

#![allow(
    unsafe_code,
    reason = "places are written through a shared reference; a state for each says who may touch it, and both uses \
              are argued at their block"
)]

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

use memmap2::{MmapMut, MmapRaw};

use crate::{Metric, kernel};

/// Bound of what single precision loses in one score, with room to spare.
const ROUNDING: f32 = 1e-5;

/// A vector in bytes: component ≈ byte · step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coarse<'a> {
    bytes: &'a [i8],
    head: Head,
}

/// The same, on its own.
#[derive(Debug, Clone)]
pub(super) struct OwnedCoarse {
    bytes: Vec<i8>,
    head: Head,
}

/// What comparing a vector takes besides its bytes.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// What a product of bytes is multiplied with: the step, and for cosine over the length.
    factor: f32,
    /// Squared length.
    squared: f32,
    /// Length of the difference to the true vector; for cosine between both at length one.
    error: f32,
}

impl OwnedCoarse {
    /// The bytes of a vector whose numbers times `factor` are what is compared.
    pub(super) fn new(vector: &[f32], factor: f32, metric: Metric) -> Self {
        let (bytes, step) = kernel::quantise_i8(vector);
        let squared = kernel::dot_i8(&bytes, &bytes) as f32 * step * step;
        let length = match metric {
            Metric::Cosine if squared > 0.0 => squared.sqrt(),
            Metric::Cosine | Metric::L2 => 1.0,
        };
        let scale = step / length;
        let off = |(value, byte): (&f32, &i8)| (value * factor - f32::from(*byte) * scale).powi(2);
        let error = vector.iter().zip(&bytes).map(off).sum::<f32>().sqrt();
        Self { bytes, head: Head { factor: scale, squared, error } }
    }

    /// To compare.
    pub(super) fn view(&self) -> Coarse<'_> {
        Coarse { bytes: &self.bytes, head: self.head }
    }
}

impl Coarse<'_> {
    /// About how near two vectors are; higher is nearer.
    pub(super) fn score(&self, other: &Self, metric: Metric) -> f32 {
        let product = kernel::dot_i8(self.bytes, other.bytes) as f32 * self.head.factor * other.head.factor;
        match metric {
            Metric::Cosine => product,
            Metric::L2 => -(self.head.squared + other.head.squared - 2.0 * product).max(0.0),
        }
    }

    /// The lowest and highest that the true score can be.
    ///
    /// Products of vectors of length one differ by no more than the sum of both differences, and so do distances of
    /// any vectors (triangle inequality).
    pub(super) fn reach(&self, other: &Self, metric: Metric) -> (f32, f32) {
        let error = (self.head.error + other.head.error) * (1.0 + ROUNDING) + ROUNDING;
        let score = self.score(other, metric);
        match metric {
            Metric::Cosine => (score - error, score + error),
            Metric::L2 => {
                let rounding = ROUNDING * (self.head.squared + other.head.squared);
                let (low, high) = ((-score - rounding).max(0.0).sqrt(), (rounding - score).sqrt());
                let squared = |distance: f32, rounding: f32| -distance.powi(2) * (1.0 + rounding);
                (squared(high + error, ROUNDING), squared((low - error).max(0.0), -ROUNDING))
            }
        }
    }
}

/// A cache line.
const LINE: usize = 64;
const HEAD: usize = size_of::<Head>();
const EMPTY: u8 = 0;
const WRITING: u8 = 1;
const READY: u8 = 2;

/// Room for vectors of one dimension.
pub(super) struct Slab {
    dimension: usize,
    /// Bytes of one vector, whole cache lines.
    stride: usize,
    states: Box<[AtomicU8]>,
    /// In large pages where the system has them: places are visited in no order, and looking up where a page is can
    /// take as long as reading from it.
    memory: MmapRaw,
}

impl Slab {
    /// Room for `places` vectors.
    pub(super) fn new(dimension: usize, places: usize) -> io::Result<Self> {
        let stride = (HEAD + dimension).next_multiple_of(LINE);
        let states = std::iter::repeat_with(|| AtomicU8::new(EMPTY)).take(places).collect();
        let memory = MmapMut::map_anon(places * stride)?;
        #[cfg(target_os = "linux")]
        if let Err(error) = memory.advise(memmap2::Advice::HugePage) {
            tracing::debug!(%error, "no large pages for vectors");
        }
        Ok(Self { dimension, stride, states, memory: memory.into() })
    }

    /// Memory of one place, in bytes.
    pub(super) fn place_bytes(&self) -> usize {
        self.stride + size_of::<AtomicU8>()
    }

    /// Fills a place that was never filled; a second attempt changes nothing.
    pub(super) fn put(&self, at: usize, coarse: Coarse<'_>) {
        assert_eq!(coarse.bytes.len(), self.dimension, "a vector of the collection's dimension");
        let state = &self.states[at];
        if state.compare_exchange(EMPTY, WRITING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return;
        }
        // SAFETY: there are as many places of `stride` bytes as states, and this one is in state WRITING, which only
        // this call put it in, so nobody else touches it.
        let place = unsafe { std::slice::from_raw_parts_mut(self.place(at), self.stride) };
        let Head { factor, squared, error } = coarse.head;
        let (head, bytes) = place.split_at_mut(HEAD);
        let numbers = [factor, squared, error].map(|number| number.to_le_bytes().map(u8::cast_signed));
        head.copy_from_slice(numbers.as_flattened());
        bytes[..self.dimension].copy_from_slice(coarse.bytes);
        state.store(READY, Ordering::Release);
    }

    /// What a place was filled with.
    pub(super) fn get(&self, at: usize) -> Option<Coarse<'_>> {
        if self.states[at].load(Ordering::Acquire) != READY {
            return None;
        }
        // SAFETY: there are as many places of `stride` bytes as states, and this one is READY, so nobody writes it.
        let bytes = unsafe { std::slice::from_raw_parts(self.place(at).cast_const(), self.stride) };
        let (head, bytes) = bytes.split_first_chunk::<HEAD>()?;
        let [factor, squared, error] = *head.as_chunks::<4>().0 else { return None };
        let number = |bytes: [i8; 4]| f32::from_bits(u32::from_le_bytes(bytes.map(i8::cast_unsigned)));
        let head = Head { factor: number(factor), squared: number(squared), error: number(error) };
        Some(Coarse { bytes: &bytes[..self.dimension], head })
    }

    fn place(&self, at: usize) -> *mut i8 {
        self.memory.as_mut_ptr().cast::<i8>().wrapping_add(at * self.stride)
    }
}

impl std::fmt::Debug for Slab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slab").field("dimension", &self.dimension).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_gives_back_what_was_put_first() {
        for dimension in [1, 52, 53, 896] {
            let slab = Slab::new(dimension, 3).expect("memory");
            let vector: Vec<f32> = (0..dimension).map(|at| (at as f32).sin() + 0.1).collect();
            let (first, second) = (
                OwnedCoarse::new(&vector, 1.0, Metric::L2),
                OwnedCoarse::new(&vec![1.0; dimension], 1.0, Metric::L2),
            );
            slab.put(1, first.view());
            slab.put(1, second.view());
            let found = slab.get(1).expect("was put");
            assert_eq!(found.bytes, first.bytes);
            assert_eq!(found.head.squared.to_bits(), first.head.squared.to_bits());
            assert_eq!(found.head.error.to_bits(), first.head.error.to_bits());
            assert!(slab.get(0).is_none() && slab.get(2).is_none());
        }
    }
}
