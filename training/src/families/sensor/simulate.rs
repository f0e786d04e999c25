//! Simulated rows, and the provenance that says so.

use anyhow::{Context as _, Result};
use clinical::Biomarker;
use clinical::cartridge::Cartridge;
use clinical::simulator::{Fault, Simulator, SimulatorConfig};
use sha2::{Digest, Sha256};

use crate::data::Provenance;
use crate::families::matrix::Matrix;

/// Channels of the base layout.
pub(super) const CHANNELS: usize = 88;

/// A simulator whose seed tells the parts of a data set and the recipes apart.
pub(super) fn simulator(config: SimulatorConfig, seed: u64, recipe: u64) -> Result<Simulator> {
    Simulator::new(config, seed.wrapping_mul(1_000_003).wrapping_add(recipe)).context("the simulator refused")
}

/// Cartridges of the base layout.
pub(super) fn basic() -> Vec<&'static Cartridge> {
    Cartridge::all().iter().filter(|cartridge| cartridge.channels() == CHANNELS).collect()
}

/// One corrected vector cut or filled up with zeros to the base layout, added to `rows`.
pub(super) fn push_sweep(
    simulator: &mut Simulator,
    cartridge: &Cartridge,
    concentrations: &[(Biomarker, f64)],
    fault: Option<Fault>,
    rows: &mut Matrix,
) -> Result<()> {
    let mut row = simulator.sweep(cartridge, concentrations, fault)?.corrected;
    row.resize(CHANNELS, 0.0);
    rows.push(&row);
    Ok(())
}

/// Where simulated rows come from: the crate, and a hash of the rows themselves.
pub(super) fn provenance(rows: &Matrix) -> Vec<Provenance> {
    let mut hasher = Sha256::new();
    rows.data.iter().for_each(|value| hasher.update(value.to_le_bytes()));
    vec![Provenance {
        source: "simulator".into(),
        package: "clinical::simulator".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        sha256: hex::encode(hasher.finalize()),
        license_package: "Apache-2.0".into(),
        license_data: "Apache-2.0 (synthetic)".into(),
        citation: "Electrochemical-impedance simulator of this project; synthetic".into(),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_base_width_and_repeat() {
        let make = || {
            let mut simulator = simulator(SimulatorConfig::default(), 1, 2).expect("valid");
            let mut rows = Matrix::new(CHANNELS);
            for cartridge in Cartridge::all() {
                push_sweep(&mut simulator, cartridge, &[], None, &mut rows).expect("simulated");
            }
            rows
        };
        let rows = make();
        assert_eq!(rows.rows(), 30);
        assert!(rows.data.iter().all(|value| value.is_finite()));
        assert_eq!(provenance(&rows), provenance(&make()));
        assert_eq!(basic().len(), 23);
    }
}
