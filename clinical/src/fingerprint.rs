//! Fingerprints: a corrected vector scaled to length one, so that similarity compares shape and not strength.

/// Why a vector is no fingerprint.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FingerprintError {
    /// A zero or empty vector has no direction.
    #[error("a vector of {channels} channels with zero norm has no direction: measure again")]
    ZeroNorm {
        /// Its length.
        channels: usize,
    },
    /// A number is NaN or infinite.
    #[error("channel {channel} is not a finite number")]
    NotFinite {
        /// First such channel.
        channel: usize,
    },
    /// Two fingerprints of different layouts were compared.
    #[error("fingerprints of {left} and {right} channels cannot be compared: use one layout")]
    Length {
        /// Length of the first.
        left: usize,
        /// Length of the second.
        right: usize,
    },
}

/// A vector of Euclidean length one.
#[derive(Debug, Clone, PartialEq)]
pub struct Fingerprint(Vec<f32>);

impl Fingerprint {
    /// Normalises `vector`; sums run in `f64` so that 1792 channels of any size neither overflow nor drown.
    ///
    /// # Errors
    /// [`FingerprintError::ZeroNorm`] or [`FingerprintError::NotFinite`].
    pub fn new(vector: &[f32]) -> Result<Self, FingerprintError> {
        if let Some(channel) = vector.iter().position(|value| !value.is_finite()) {
            return Err(FingerprintError::NotFinite { channel });
        }
        let norm = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Err(FingerprintError::ZeroNorm { channels: vector.len() });
        }
        Ok(Self(vector.iter().map(|&value| (f64::from(value) / norm) as f32).collect()))
    }

    /// The unit vector.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The unit vector, by value.
    #[must_use]
    pub fn into_vec(self) -> Vec<f32> {
        self.0
    }

    /// Cosine similarity, -1 to 1.
    ///
    /// # Errors
    /// [`FingerprintError::Length`] when the layouts differ.
    pub fn cosine(&self, other: &Self) -> Result<f64, FingerprintError> {
        if self.0.len() != other.0.len() {
            return Err(FingerprintError::Length { left: self.0.len(), right: other.0.len() });
        }
        let dot: f64 = self.0.iter().zip(&other.0).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        Ok(dot.clamp(-1.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_vector_without_direction_is_refused() {
        assert_eq!(Fingerprint::new(&[0.0; 88]), Err(FingerprintError::ZeroNorm { channels: 88 }));
        assert_eq!(Fingerprint::new(&[]), Err(FingerprintError::ZeroNorm { channels: 0 }));
        assert_eq!(Fingerprint::new(&[1.0, f32::NAN]), Err(FingerprintError::NotFinite { channel: 1 }));
    }

    #[test]
    fn layouts_are_not_mixed() {
        let (a, b) = (Fingerprint::new(&[1.0; 88]), Fingerprint::new(&[1.0; 448]));
        assert!(a.expect("valid").cosine(&b.expect("valid")).is_err());
    }

    proptest! {
        #[test]
        fn length_is_one_and_strength_does_not_matter(
            vector in prop::collection::vec(-1e6f32..1e6, 1..200), scale in 0.001f32..1000.0,
        ) {
            prop_assume!(vector.iter().any(|&value| value.abs() > 1.0));
            let one = Fingerprint::new(&vector).expect("has direction");
            let norm: f64 = one.as_slice().iter().map(|&v| f64::from(v).powi(2)).sum();
            prop_assert!((norm - 1.0).abs() < 1e-5);
            let scaled: Vec<f32> = vector.iter().map(|value| value * scale).collect();
            let other = Fingerprint::new(&scaled).expect("has direction");
            prop_assert!(one.cosine(&other).expect("same layout") > 0.99999);
            let opposite: Vec<f32> = vector.iter().map(|value| -value).collect();
            let opposite = Fingerprint::new(&opposite).expect("has direction");
            prop_assert!(one.cosine(&opposite).expect("same layout") < -0.99999);
        }
    }
}
