//! Reads circuits at the frequencies of a layout, and the electronic nose and tongue beside them.

use super::circuit::{Frequency, Randles};
use crate::biomarker::Biomarker;
use crate::layout::{
    BASE_CHANNELS, BASE_FREQUENCIES_HZ, ELECTRODES, EXTRA_START, Layout, NOSE_SENSORS, TONGUE_SENSORS,
    extra_frequencies_hz, pair_frequencies_hz, pairs,
};

/// Relative resistance change of the gas sensors over a still specimen.
const NOSE_REST: [f64; NOSE_SENSORS] = [0.051, 0.043, 0.062, 0.038, 0.047, 0.055, 0.041, 0.058];
/// Potential of the ion sensors over a still specimen in mV: pH, Na, K, Ca, Cl, glucose, lactate, uric acid.
const TONGUE_REST_MV: [f64; TONGUE_SENSORS] = [310.0, 180.0, 95.0, 120.0, 150.0, 205.0, 88.0, 132.0];
/// Nernst slope at 25 °C in mV per decade.
const NERNST_MV: f64 = 59.16;
/// Tongue sensors that feel a biomarker, with the concentration at which they rest.
const TONGUE_ANALYTES: [(usize, Biomarker, f64); 2] =
    [(5, Biomarker::Glucose, 90.0), (7, Biomarker::UricAcid, 5.0)];

/// What a vector is read from: one cell and what is in it.
pub(super) struct Scene<'a> {
    pub(super) electrodes: &'a [Randles; ELECTRODES],
    pub(super) concentrations: &'a [(Biomarker, f64)],
    pub(super) matrix: f64,
}

/// The frequencies of all layouts, worked out once.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    base: Vec<Frequency>,
    extra: Vec<Frequency>,
    pair: Vec<Frequency>,
}

impl Sweep {
    pub(super) fn new() -> Self {
        let frequencies = |hz: &[f64]| hz.iter().copied().map(Frequency::from_hz).collect();
        Self {
            base: frequencies(&BASE_FREQUENCIES_HZ),
            extra: frequencies(&extra_frequencies_hz()),
            pair: frequencies(&pair_frequencies_hz()),
        }
    }

    /// The noiseless vector of one cell; for the layout of two times, the vector of one time.
    pub(super) fn vector(&self, layout: Layout, scene: &Scene<'_>) -> Vec<f64> {
        let mut out = Vec::with_capacity(layout.channels());
        match layout {
            Layout::Sensor => nose(scene, &mut out),
            Layout::Basic => electrodes(scene, &self.base, &mut out),
            Layout::Enhanced => self.enhanced(scene, &mut out),
            Layout::Full | Layout::Ultimate => {
                self.enhanced(scene, &mut out);
                self.pairs(scene, &mut out);
            }
        }
        out
    }

    /// Whether a channel is an impedance and so picks up interference in ohm.
    pub(super) const fn is_impedance(layout: Layout, index: usize) -> bool {
        match layout {
            Layout::Sensor => false,
            Layout::Basic => true,
            Layout::Enhanced | Layout::Full | Layout::Ultimate => {
                index < BASE_CHANNELS || index >= EXTRA_START
            }
        }
    }

    fn enhanced(&self, scene: &Scene<'_>, out: &mut Vec<f64>) {
        electrodes(scene, &self.base, out);
        nose(scene, out);
        tongue(scene, out);
        electrodes(scene, &self.extra, out);
    }

    /// Two electrodes in series share one solution path.
    fn pairs(&self, scene: &Scene<'_>, out: &mut Vec<f64>) {
        for (a, b) in pairs() {
            let (a, b) = (scene.electrodes[a], scene.electrodes[b]);
            out.extend(self.pair.iter().map(|&at| {
                let ((a_re, a_im), (b_re, b_im)) = (a.impedance(at), b.impedance(at));
                (a_re + b_re - a.rs.min(b.rs)).hypot(a_im + b_im)
            }));
        }
    }
}

fn electrodes(scene: &Scene<'_>, frequencies: &[Frequency], out: &mut Vec<f64>) {
    for electrode in scene.electrodes {
        out.extend(frequencies.iter().map(|&at| electrode.magnitude(at)));
    }
}

/// The gas above a liquid specimen depends on its matrix alone.
fn nose(scene: &Scene<'_>, out: &mut Vec<f64>) {
    out.extend(NOSE_REST.iter().map(|rest| rest * scene.matrix));
}

fn tongue(scene: &Scene<'_>, out: &mut Vec<f64>) {
    let mut potentials = TONGUE_REST_MV;
    for (sensor, analyte, rest) in TONGUE_ANALYTES {
        if let Some(&(_, value)) = scene.concentrations.iter().find(|(b, v)| *b == analyte && *v > 0.0) {
            potentials[sensor] += NERNST_MV * (value / rest).log10();
        }
    }
    out.extend(potentials);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELECTRODE: Randles = Randles { rs: 100.0, rct: 2000.0, q: 1e-7, n: 0.9, warburg: 500.0 };

    fn scene(concentrations: &[(Biomarker, f64)]) -> Scene<'_> {
        Scene { electrodes: &[ELECTRODE; ELECTRODES], concentrations, matrix: 1.0 }
    }

    #[test]
    fn every_layout_gets_its_length() {
        let sweep = Sweep::new();
        for layout in [Layout::Sensor, Layout::Basic, Layout::Enhanced, Layout::Full] {
            assert_eq!(sweep.vector(layout, &scene(&[])).len(), layout.channels());
        }
        assert_eq!(sweep.vector(Layout::Ultimate, &scene(&[])).len(), 896, "one of the two times");
    }

    #[test]
    fn longer_layouts_begin_with_the_shorter() {
        let sweep = Sweep::new();
        let [basic, enhanced, full] =
            [Layout::Basic, Layout::Enhanced, Layout::Full].map(|layout| sweep.vector(layout, &scene(&[])));
        assert_eq!(basic[..], enhanced[..88]);
        assert_eq!(enhanced[..], full[..448]);
    }

    #[test]
    fn the_tongue_follows_nernst() {
        let read = |c| Sweep::new().vector(Layout::Enhanced, &scene(&[(Biomarker::Glucose, c)]))[96 + 5];
        assert!((read(900.0) - read(90.0) - 59.16).abs() < 1e-9);
    }
}
