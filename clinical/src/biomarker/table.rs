//! The biomarker table, one row each, in the order of the enum.
//!
//! Plausible intervals are ours: wide enough for the most extreme survivors in the literature and in the public data
//! sets the models are trained on, narrow enough to catch a wrong unit or a sign error.

use super::Biomarker;
use crate::unit::Unit;

/// Everything fixed about one biomarker.
pub(super) struct Row {
    pub(super) code: &'static str,
    pub(super) name: &'static str,
    pub(super) loinc: &'static str,
    pub(super) unit: Unit,
    pub(super) molar_mass: Option<f64>,
    pub(super) plausible: (f64, f64),
}

macro_rules! table {
    ($($variant:ident $code:literal $name:literal $loinc:literal $unit:ident $mass:expr, $low:literal..=$high:literal;)*) => {
        pub(super) const ALL: [Biomarker; [$($code),*].len()] = [$(Biomarker::$variant),*];
        pub(super) static TABLE: [Row; ALL.len()] = [$(Row {
            code: $code,
            name: $name,
            loinc: $loinc,
            unit: Unit::$unit,
            molar_mass: $mass,
            plausible: ($low, $high),
        }),*];
    };
}

table! {
    Glucose "glucose" "Glucose" "2345-7" MgPerDl Some(180.156), 1.0..=2000.0;
    FastingGlucose "fasting_glucose" "Fasting glucose" "1558-6" MgPerDl Some(180.156), 1.0..=2000.0;
    TotalCholesterol "total_cholesterol" "Total cholesterol" "2093-3" MgPerDl Some(386.65), 10.0..=2000.0;
    Hdl "hdl_cholesterol" "HDL cholesterol" "2085-9" MgPerDl Some(386.65), 1.0..=300.0;
    Ldl "ldl_cholesterol" "LDL cholesterol" "2089-1" MgPerDl Some(386.65), 1.0..=1500.0;
    Triglyceride "triglyceride" "Triglycerides" "2571-8" MgPerDl Some(885.43), 5.0..=20000.0;
    HbA1c "hba1c" "Haemoglobin A1c" "4548-4" Percent None, 2.0..=25.0;
    UricAcid "uric_acid" "Uric acid" "3084-1" MgPerDl Some(168.11), 0.1..=60.0;
    Creatinine "creatinine" "Creatinine" "2160-0" MgPerDl Some(113.12), 0.05..=80.0;
    VitaminD "vitamin_d" "25-hydroxyvitamin D" "62292-8" NgPerMl Some(400.64), 0.5..=1000.0;
    VitaminB12 "vitamin_b12" "Vitamin B12" "2132-9" PgPerMl Some(1355.37), 10.0..=50000.0;
    Ferritin "ferritin" "Ferritin" "2276-4" NgPerMl None, 0.1..=200000.0;
    Tsh "tsh" "Thyrotropin (TSH)" "3016-3" MilliIuPerL None, 0.0..=2000.0;
    Cortisol "cortisol" "Cortisol" "2143-6" UgPerDl Some(362.46), 0.01..=400.0;
    Testosterone "testosterone" "Testosterone" "2986-8" NgPerDl Some(288.42), 0.5..=20000.0;
    Estradiol "estradiol" "Estradiol (estrogen)" "2243-4" PgPerMl Some(272.38), 0.1..=50000.0;
    Crp "crp" "C-reactive protein" "1988-5" MgPerL None, 0.0..=1000.0;
    Insulin "insulin" "Insulin" "20448-7" MicroIuPerMl None, 0.0..=5000.0;
    SystolicBp "systolic_bp" "Systolic blood pressure" "8480-6" MmHg None, 30.0..=300.0;
    DiastolicBp "diastolic_bp" "Diastolic blood pressure" "8462-4" MmHg None, 10.0..=200.0;
    Bmi "bmi" "Body mass index" "39156-5" KgPerM2 None, 7.0..=120.0;
    Hemoglobin "hemoglobin" "Haemoglobin" "718-7" GPerDl Some(16114.5), 1.0..=28.0;
    Waist "waist" "Waist circumference" "8280-0" Cm None, 20.0..=300.0;
    HeartRate "heart_rate" "Heart rate" "8867-4" PerMinute None, 15.0..=350.0;
    T3 "t3" "Triiodothyronine (T3), total" "3053-6" NgPerDl Some(650.97), 1.0..=2000.0;
    TotalT4 "total_t4" "Thyroxine (T4), total" "3026-2" UgPerDl Some(776.87), 0.05..=80.0;
    T4Uptake "t4_uptake" "Thyroid hormone uptake" "74795-6" One None, 0.05..=5.0;
    FreeT4Index "free_t4_index" "Free thyroxine index" "32215-6" UgPerDl Some(776.87), 0.05..=100.0;
    Tbg "tbg" "Thyroxine binding globulin" "3021-3" MgPerL Some(54000.0), 0.05..=300.0;
    Fib4 "fib4" "Fibrosis-4 index" "98488-0" One None, 0.01..=300.0;
    Platelets "platelets" "Platelets" "777-3" ThousandPerUl None, 1.0..=3000.0;
    Ast "ast" "Aspartate aminotransferase" "1920-8" UnitPerL None, 1.0..=50000.0;
    Alt "alt" "Alanine aminotransferase" "1742-6" UnitPerL None, 1.0..=50000.0;
    KappaFlc "kappa_flc" "Free kappa light chains" "36916-5" MgPerL None, 0.01..=100000.0;
    LambdaFlc "lambda_flc" "Free lambda light chains" "33944-0" MgPerL None, 0.01..=100000.0;
}
