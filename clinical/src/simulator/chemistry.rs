//! How concentration becomes resistance. A bound analyte hinders charge transfer, so that on a working electrode
//!
//! ```text
//! Rct = Rct_blank * (1 + gain * share * g(c))
//! Langmuir     g(c) = c / (c + half)          saturates; small molecules in their clinical range
//! logarithmic  g(c) = log10(1 + c / half)     hormones and proteins over decades
//! ```
//!
//! `half` and `gain` below are ours: chosen so that the clinical range falls on the steep part of the curve. They
//! describe no real sensor.

use crate::biomarker::Biomarker;

/// Form of the response curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// Receptor occupancy, saturating.
    Langmuir,
    /// One step per decade.
    Logarithmic,
}

/// Response of a working electrode to one analyte.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Response {
    /// The analyte.
    pub biomarker: Biomarker,
    /// Form of the curve.
    pub law: Law,
    /// Concentration of half occupancy, or where the logarithm sets in; canonical unit.
    pub half: f64,
    /// Relative rise of the resistance at g = 1.
    pub gain: f64,
    /// Lowest concentration the cartridge is meant for, canonical unit.
    pub low: f64,
    /// Highest concentration the cartridge is meant for, canonical unit.
    pub high: f64,
}

impl Response {
    /// Relative rise of the charge-transfer resistance at concentration `c` (canonical unit, not negative).
    #[must_use]
    pub fn rise(&self, c: f64) -> f64 {
        self.gain
            * match self.law {
                Law::Langmuir => c / (c + self.half),
                Law::Logarithmic => (1.0 + c / self.half).log10(),
            }
    }
}

/// The response to `biomarker`; `None` when no cartridge measures it.
#[must_use]
pub fn response(biomarker: Biomarker) -> Option<&'static Response> {
    RESPONSES.iter().find(|response| response.biomarker == biomarker)
}

const fn langmuir(biomarker: Biomarker, half: f64, low: f64, high: f64) -> Response {
    Response { biomarker, law: Law::Langmuir, half, gain: 2.0, low, high }
}

const fn logarithmic(biomarker: Biomarker, half: f64, low: f64, high: f64) -> Response {
    Response { biomarker, law: Law::Logarithmic, half, gain: 0.8, low, high }
}

static RESPONSES: &[Response] = {
    use Biomarker as B;
    &[
        langmuir(B::Glucose, 180.0, 20.0, 600.0),
        langmuir(B::TotalCholesterol, 200.0, 50.0, 500.0),
        langmuir(B::Hdl, 50.0, 10.0, 120.0),
        langmuir(B::Ldl, 120.0, 20.0, 350.0),
        langmuir(B::Triglyceride, 200.0, 30.0, 1000.0),
        langmuir(B::HbA1c, 7.0, 3.5, 16.0),
        langmuir(B::UricAcid, 6.0, 1.0, 20.0),
        logarithmic(B::Creatinine, 0.4, 0.2, 15.0),
        langmuir(B::VitaminD, 40.0, 4.0, 160.0),
        logarithmic(B::VitaminB12, 150.0, 50.0, 2500.0),
        logarithmic(B::Ferritin, 20.0, 3.0, 2000.0),
        logarithmic(B::Tsh, 0.3, 0.02, 100.0),
        langmuir(B::Cortisol, 15.0, 1.0, 60.0),
        logarithmic(B::Testosterone, 60.0, 5.0, 1500.0),
        logarithmic(B::Estradiol, 30.0, 5.0, 1000.0),
        logarithmic(B::Crp, 1.0, 0.1, 300.0),
        logarithmic(B::Insulin, 4.0, 0.5, 300.0),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cartridge::Cartridge;

    #[test]
    fn every_analyte_of_every_cartridge_has_a_response() {
        for analyte in Cartridge::all().iter().flat_map(|c| c.analytes) {
            let response = response(*analyte).expect("measured analytes respond");
            let (low, high) = analyte.plausible();
            assert!(
                response.low >= low && response.high <= high && response.low < response.high,
                "{analyte}"
            );
        }
    }

    #[test]
    fn more_analyte_is_always_more_resistance() {
        for response in RESPONSES {
            assert!(response.rise(0.0).abs() < 1e-12);
            let steps: Vec<f64> =
                (0..50).map(|i| response.rise(response.high * f64::from(i) / 49.0)).collect();
            assert!(steps.is_sorted_by(|a, b| a < b), "{}", response.biomarker);
            assert!(steps[49] > 0.5 && steps[49] < 4.0, "{} {}", response.biomarker, steps[49]);
        }
    }

    #[test]
    fn half_occupancy_is_half_the_gain() {
        let glucose = response(Biomarker::Glucose).expect("known");
        assert!((glucose.rise(glucose.half) - glucose.gain / 2.0).abs() < 1e-12);
        assert_eq!(response(Biomarker::Bmi), None);
    }
}
