//! The registry rows, by code. A packet of an electronic-sensor cartridge has 8 channels; the 448-channel vector that
//! contains nose and tongue is the fused one of the advanced family.

use super::Category::{
    AdvancedAnalysis, CustomResearch, ElectronicSensor, Environmental, FoodSafety, HealthBiomarker,
};
use super::{Cartridge, CartridgeCode, Category};
use crate::biomarker::Biomarker::{self, *};
use crate::layout::Layout;

const fn row(
    code: [u8; 2],
    legacy: u8,
    category: Category,
    name: &'static str,
    (layout, seconds): (Layout, u16),
    analytes: &'static [Biomarker],
) -> Cartridge {
    let code = CartridgeCode { category: code[0], kind: code[1] };
    Cartridge { code, legacy, category, name, layout, seconds, analytes }
}

/// A health cartridge: code and legacy byte agree, 88 channels, 15 seconds.
const fn health(kind: u8, name: &'static str, analytes: &'static [Biomarker]) -> Cartridge {
    row([0x01, kind], kind, HealthBiomarker, name, (Layout::Basic, 15), analytes)
}

/// A cartridge whose result is not one of our biomarkers.
const fn other(
    code: [u8; 2],
    legacy: u8,
    category: Category,
    name: &'static str,
    shape: (Layout, u16),
) -> Cartridge {
    row(code, legacy, category, name, shape, &[])
}

const BASIC_15: (Layout, u16) = (Layout::Basic, 15);
const SENSOR_30: (Layout, u16) = (Layout::Sensor, 30);

pub(super) static REGISTRY: &[Cartridge] = &[
    health(0x01, "Glucose", &[Glucose]),
    health(0x02, "LipidPanel", &[TotalCholesterol, Hdl, Ldl, Triglyceride]),
    health(0x03, "HbA1c", &[HbA1c]),
    health(0x04, "UricAcid", &[UricAcid]),
    health(0x05, "Creatinine", &[Creatinine]),
    health(0x06, "VitaminD", &[VitaminD]),
    health(0x07, "VitaminB12", &[VitaminB12]),
    health(0x08, "Ferritin", &[Ferritin]),
    health(0x09, "TSH", &[Tsh]),
    health(0x0A, "Cortisol", &[Cortisol]),
    health(0x0B, "Testosterone", &[Testosterone]),
    health(0x0C, "Estrogen", &[Estradiol]),
    health(0x0D, "CRP", &[Crp]),
    health(0x0E, "Insulin", &[Insulin]),
    other([0x02, 0x01], 0x20, Environmental, "WaterQuality", BASIC_15),
    other([0x02, 0x02], 0x21, Environmental, "IndoorAirQuality", BASIC_15),
    other([0x02, 0x03], 0x22, Environmental, "Radon", BASIC_15),
    other([0x02, 0x04], 0x23, Environmental, "Radiation", BASIC_15),
    other([0x03, 0x01], 0x30, FoodSafety, "PesticideResidue", BASIC_15),
    other([0x03, 0x02], 0x31, FoodSafety, "FoodFreshness", BASIC_15),
    other([0x03, 0x03], 0x32, FoodSafety, "Allergen", BASIC_15),
    other([0x03, 0x04], 0x33, FoodSafety, "DateDrug", BASIC_15),
    other([0x04, 0x01], 0x40, ElectronicSensor, "ENose", SENSOR_30),
    other([0x04, 0x02], 0x41, ElectronicSensor, "ETongue", SENSOR_30),
    other([0x04, 0x03], 0x42, ElectronicSensor, "EhdGas", SENSOR_30),
    other([0x05, 0x01], 0x50, AdvancedAnalysis, "NonTarget448", (Layout::Enhanced, 60)),
    other([0x05, 0x02], 0x51, AdvancedAnalysis, "NonTarget896", (Layout::Full, 90)),
    other([0x05, 0x03], 0x52, AdvancedAnalysis, "NonTarget1792", (Layout::Ultimate, 180)),
    // One analyte per working electrode; which four is our choice.
    row(
        [0x05, 0x04],
        0x53,
        AdvancedAnalysis,
        "MultiBiomarker",
        (Layout::Basic, 45),
        &[Glucose, TotalCholesterol, UricAcid, Creatinine],
    ),
    other([0xFF, 0x01], 0xFF, CustomResearch, "CustomResearch", (Layout::Full, 90)),
];
