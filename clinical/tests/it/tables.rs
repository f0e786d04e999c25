//! The tables against a second, independent writing-down of the same facts, so that a slip of a digit shows.

use clinical::biomarker::Biomarker as B;
use clinical::cartridge::Cartridge;
use clinical::person::{Person, Sex};
use clinical::range::classify;
use clinical::unit::{Unit, accepted, convert};

#[test]
fn loinc_codes_and_units() {
    let expected = [
        ("glucose", "2345-7", "mg/dL"),
        ("fasting_glucose", "1558-6", "mg/dL"),
        ("total_cholesterol", "2093-3", "mg/dL"),
        ("hdl_cholesterol", "2085-9", "mg/dL"),
        ("ldl_cholesterol", "2089-1", "mg/dL"),
        ("triglyceride", "2571-8", "mg/dL"),
        ("hba1c", "4548-4", "%"),
        ("uric_acid", "3084-1", "mg/dL"),
        ("creatinine", "2160-0", "mg/dL"),
        ("vitamin_d", "62292-8", "ng/mL"),
        ("vitamin_b12", "2132-9", "pg/mL"),
        ("ferritin", "2276-4", "ng/mL"),
        ("tsh", "3016-3", "m[IU]/L"),
        ("cortisol", "2143-6", "ug/dL"),
        ("testosterone", "2986-8", "ng/dL"),
        ("estradiol", "2243-4", "pg/mL"),
        ("crp", "1988-5", "mg/L"),
        ("insulin", "20448-7", "u[IU]/mL"),
        ("systolic_bp", "8480-6", "mm[Hg]"),
        ("diastolic_bp", "8462-4", "mm[Hg]"),
        ("bmi", "39156-5", "kg/m2"),
        ("hemoglobin", "718-7", "g/dL"),
        ("waist", "8280-0", "cm"),
        ("heart_rate", "8867-4", "/min"),
        ("t3", "3053-6", "ng/dL"),
        ("total_t4", "3026-2", "ug/dL"),
        ("t4_uptake", "74795-6", "1"),
        ("free_t4_index", "32215-6", "ug/dL"),
        ("tbg", "3021-3", "mg/L"),
        ("fib4", "98488-0", "1"),
        ("platelets", "777-3", "10*3/uL"),
        ("ast", "1920-8", "U/L"),
        ("alt", "1742-6", "U/L"),
        ("kappa_flc", "36916-5", "mg/L"),
        ("lambda_flc", "33944-0", "mg/L"),
    ];
    let table: Vec<_> = B::ALL.iter().map(|b| (b.code(), b.loinc(), b.unit().ucum())).collect();
    assert_eq!(table, expected);
}

/// One conventional unit in SI units, as laboratory conversion tables print it.
#[test]
fn conversion_factors() {
    let expected = [
        (B::FastingGlucose, "mmol/L", 0.0555),
        (B::Hdl, "mmol/L", 0.02586),
        (B::Ldl, "mmol/L", 0.02586),
        (B::TotalCholesterol, "mmol/L", 0.02586),
        (B::Triglyceride, "mmol/L", 0.01129),
        (B::UricAcid, "umol/L", 59.48),
        (B::Creatinine, "umol/L", 88.4),
        (B::VitaminD, "nmol/L", 2.496),
        (B::VitaminB12, "pmol/L", 0.738),
        (B::Ferritin, "ug/L", 1.0),
        (B::Cortisol, "nmol/L", 27.59),
        (B::Testosterone, "nmol/L", 0.0347),
        (B::Estradiol, "pmol/L", 3.671),
        (B::Crp, "mg/dL", 0.1),
        (B::Insulin, "pmol/L", 6.0),
        (B::Hemoglobin, "mmol/L", 0.6206),
        (B::T3, "nmol/L", 0.01536),
        (B::TotalT4, "nmol/L", 12.87),
        (B::FreeT4Index, "nmol/L", 12.87),
        (B::Tbg, "nmol/L", 18.5),
        (B::KappaFlc, "mg/dL", 0.1),
        (B::LambdaFlc, "mg/dL", 0.1),
    ];
    for (biomarker, unit, factor) in expected {
        let unit = Unit::from_ucum(unit).expect("known unit");
        let got = convert(biomarker, 1.0, biomarker.unit(), unit).expect("convertible");
        assert!((got / factor - 1.0).abs() < 0.003, "{biomarker} in {unit}: {got}, not {factor}");
    }
}

#[test]
fn a_unit_is_accepted_only_where_it_makes_sense() {
    for &biomarker in B::ALL {
        assert!(accepted(biomarker).any(|unit| unit == biomarker.unit()), "{biomarker}");
        let molar = accepted(biomarker).any(|unit| unit == Unit::NmolPerL);
        assert_eq!(molar, biomarker.molar_mass().is_some() || biomarker == B::Insulin, "{biomarker}");
        assert!(!accepted(biomarker).any(|unit| unit == Unit::Ohm || unit == Unit::KiloCalorie));
    }
    let codes = |b| accepted(b).map(Unit::ucum).collect::<Vec<_>>();
    assert_eq!(codes(B::HbA1c), ["%", "mmol/mol"]);
    assert_eq!(codes(B::SystolicBp), ["mm[Hg]", "kPa"]);
    assert_eq!(codes(B::Waist), ["cm", "m", "[in_i]"]);
    assert_eq!(codes(B::Bmi), ["kg/m2"]);
    assert_eq!(codes(B::Tsh), ["m[IU]/L", "u[IU]/mL"]);
}

#[test]
fn the_cartridge_registry() {
    let expected = "\
01:01 Glucose 88 15 0.95|01:02 LipidPanel 88 15 0.95|01:03 HbA1c 88 15 0.95|01:04 UricAcid 88 15 0.95|\
01:05 Creatinine 88 15 0.95|01:06 VitaminD 88 15 0.95|01:07 VitaminB12 88 15 0.95|01:08 Ferritin 88 15 0.95|\
01:09 TSH 88 15 0.95|01:0A Cortisol 88 15 0.95|01:0B Testosterone 88 15 0.95|01:0C Estrogen 88 15 0.95|\
01:0D CRP 88 15 0.95|01:0E Insulin 88 15 0.95|02:01 WaterQuality 88 15 0.95|02:02 IndoorAirQuality 88 15 0.95|\
02:03 Radon 88 15 0.95|02:04 Radiation 88 15 0.95|03:01 PesticideResidue 88 15 0.95|\
03:02 FoodFreshness 88 15 0.95|03:03 Allergen 88 15 0.95|03:04 DateDrug 88 15 0.95|04:01 ENose 8 30 0.92|\
04:02 ETongue 8 30 0.92|04:03 EhdGas 8 30 0.92|05:01 NonTarget448 448 60 0.97|05:02 NonTarget896 896 90 0.97|\
05:03 NonTarget1792 1792 180 0.97|05:04 MultiBiomarker 88 45 0.97|FF:01 CustomResearch 896 90 0.95";
    let row = |c: &Cartridge| format!("{} {} {} {} {}", c.code, c.name, c.channels(), c.seconds, c.alpha());
    let table: Vec<_> = Cartridge::all().iter().map(row).collect();
    assert_eq!(table.join("|"), expected);
}

/// A biomarker, a sex, and what values mean: class, risk and HL7 code.
type Meanings = (B, Option<Sex>, &'static [(f64, &'static str)]);

const ANYONE: Option<Sex> = None;
const WOMAN: Option<Sex> = Some(Sex::Female);
const MAN: Option<Sex> = Some(Sex::Male);

/// Values on both sides of every limit.
const MEANINGS: &[Meanings] = &[
    (
        B::Glucose,
        ANYONE,
        &[
            (39.0, "abnormal critical LL"),
            (53.9, "abnormal high L"),
            (69.0, "abnormal moderate L"),
            (85.0, "normal low N"),
            (110.0, "borderline moderate H"),
            (150.0, "abnormal moderate H"),
            (250.0, "abnormal high H"),
            (400.0, "abnormal critical HH"),
        ],
    ),
    (
        B::FastingGlucose,
        ANYONE,
        &[(99.0, "normal low N"), (125.0, "borderline moderate H"), (130.0, "abnormal high H")],
    ),
    (
        B::TotalCholesterol,
        ANYONE,
        &[(199.0, "normal low N"), (200.0, "borderline moderate H"), (240.0, "abnormal high H")],
    ),
    (B::Hdl, ANYONE, &[(39.0, "abnormal moderate L"), (40.0, "normal low N"), (90.0, "normal low N")]),
    (
        B::Ldl,
        ANYONE,
        &[
            (99.0, "normal low N"),
            (115.0, "borderline low H"),
            (145.0, "borderline moderate H"),
            (170.0, "abnormal high H"),
            (200.0, "abnormal high H"),
        ],
    ),
    (
        B::Triglyceride,
        ANYONE,
        &[
            (149.0, "normal low N"),
            (150.0, "borderline moderate H"),
            (300.0, "abnormal high H"),
            (1000.0, "abnormal critical HH"),
        ],
    ),
    (
        B::HbA1c,
        ANYONE,
        &[
            (3.5, "borderline moderate L"),
            (5.6, "normal low N"),
            (6.4, "borderline moderate H"),
            (6.5, "abnormal high H"),
            (15.0, "abnormal critical HH"),
        ],
    ),
    (
        B::UricAcid,
        WOMAN,
        &[(2.3, "borderline moderate L"), (6.5, "borderline moderate H"), (8.0, "abnormal high H")],
    ),
    (B::UricAcid, MAN, &[(6.5, "normal low N"), (15.0, "abnormal critical HH")]),
    (
        B::Creatinine,
        WOMAN,
        &[(0.55, "borderline moderate L"), (1.0, "normal low N"), (1.3, "abnormal high H")],
    ),
    (B::Creatinine, MAN, &[(1.3, "normal low N"), (10.0, "abnormal critical HH")]),
    (
        B::VitaminD,
        ANYONE,
        &[
            (4.0, "abnormal critical LL"),
            (15.0, "abnormal high L"),
            (25.0, "borderline moderate L"),
            (50.0, "normal low N"),
            (120.0, "borderline moderate H"),
            (150.0, "abnormal critical HH"),
        ],
    ),
    (
        B::VitaminB12,
        ANYONE,
        &[(150.0, "abnormal high L"), (190.0, "borderline moderate L"), (500.0, "normal low N")],
    ),
    (
        B::Ferritin,
        MAN,
        &[(15.0, "abnormal high L"), (22.0, "borderline moderate L"), (336.0, "normal low N")],
    ),
    (B::Ferritin, WOMAN, &[(15.0, "normal low N"), (400.0, "abnormal high H")]),
    (
        B::Tsh,
        ANYONE,
        &[
            (0.005, "abnormal critical LL"),
            (0.05, "abnormal high L"),
            (0.2, "borderline moderate L"),
            (2.0, "normal low N"),
            (6.0, "borderline moderate H"),
            (10.0, "abnormal high H"),
            (100.0, "abnormal critical HH"),
        ],
    ),
    (
        B::Cortisol,
        ANYONE,
        &[
            (0.9, "abnormal critical LL"),
            (3.0, "abnormal high L"),
            (12.0, "normal low N"),
            (60.0, "abnormal critical HH"),
        ],
    ),
    (
        B::Testosterone,
        MAN,
        &[(200.0, "abnormal high L"), (290.0, "borderline moderate L"), (600.0, "normal low N")],
    ),
    (B::Testosterone, WOMAN, &[(30.0, "normal low N"), (200.0, "abnormal high H")]),
    (B::Estradiol, WOMAN, &[(10.0, "abnormal high L"), (100.0, "normal low N")]),
    (B::Estradiol, MAN, &[(25.0, "normal low N"), (100.0, "abnormal high H")]),
    (
        B::Crp,
        ANYONE,
        &[
            (0.0, "normal low N"),
            (3.0, "normal low N"),
            (5.0, "borderline moderate H"),
            (10.0, "abnormal high H"),
            (200.0, "abnormal critical HH"),
        ],
    ),
    (B::Insulin, ANYONE, &[(1.0, "abnormal high L"), (10.0, "normal low N"), (50.0, "abnormal high H")]),
    (
        B::SystolicBp,
        ANYONE,
        &[
            (65.0, "abnormal critical LL"),
            (85.0, "abnormal high L"),
            (115.0, "normal low N"),
            (125.0, "borderline moderate H"),
            (135.0, "abnormal moderate H"),
            (150.0, "abnormal high H"),
            (180.0, "abnormal critical HH"),
        ],
    ),
    (
        B::DiastolicBp,
        ANYONE,
        &[
            (35.0, "abnormal critical LL"),
            (55.0, "borderline moderate L"),
            (75.0, "normal low N"),
            (85.0, "abnormal moderate H"),
            (95.0, "abnormal high H"),
            (120.0, "abnormal critical HH"),
        ],
    ),
    (
        B::Bmi,
        ANYONE,
        &[
            (15.0, "abnormal high L"),
            (16.5, "abnormal moderate L"),
            (18.0, "borderline moderate L"),
            (22.0, "normal low N"),
            (27.0, "borderline moderate H"),
            (32.0, "abnormal moderate H"),
            (41.0, "abnormal high H"),
        ],
    ),
    (
        B::Hemoglobin,
        MAN,
        &[
            (6.9, "abnormal critical LL"),
            (7.5, "abnormal high L"),
            (12.5, "abnormal moderate L"),
            (13.5, "borderline low L"),
            (15.0, "normal low N"),
            (19.0, "abnormal moderate H"),
            (20.0, "abnormal critical HH"),
        ],
    ),
    (
        B::Hemoglobin,
        WOMAN,
        &[(11.5, "abnormal moderate L"), (12.0, "normal low N"), (17.0, "borderline moderate H")],
    ),
    (B::Hemoglobin, ANYONE, &[(11.0, "borderline moderate L"), (15.0, "normal low N")]),
    (B::Waist, MAN, &[(90.0, "normal low N"), (98.0, "borderline moderate H"), (102.0, "abnormal high H")]),
    (B::Waist, WOMAN, &[(79.0, "normal low N"), (85.0, "borderline moderate H"), (88.0, "abnormal high H")]),
    (
        B::HeartRate,
        ANYONE,
        &[
            (40.0, "abnormal critical LL"),
            (45.0, "abnormal moderate L"),
            (55.0, "borderline low L"),
            (75.0, "normal low N"),
            (105.0, "borderline moderate H"),
            (120.0, "abnormal high H"),
            (131.0, "abnormal critical HH"),
        ],
    ),
    (B::T3, ANYONE, &[(50.0, "abnormal high L"), (120.0, "normal low N"), (220.0, "borderline moderate H")]),
    (B::TotalT4, ANYONE, &[(2.0, "abnormal high L"), (8.0, "normal low N"), (20.0, "abnormal high H")]),
    (
        B::T4Uptake,
        ANYONE,
        &[(0.75, "borderline moderate L"), (1.0, "normal low N"), (1.8, "abnormal high H")],
    ),
    (
        B::FreeT4Index,
        ANYONE,
        &[(2.0, "abnormal high L"), (8.0, "normal low N"), (13.5, "borderline moderate H")],
    ),
    (B::Tbg, ANYONE, &[(5.0, "abnormal high L"), (20.0, "normal low N"), (40.0, "abnormal high H")]),
    (B::Fib4, ANYONE, &[(1.0, "normal low N"), (2.0, "borderline moderate H"), (3.0, "abnormal high H")]),
    (
        B::Platelets,
        ANYONE,
        &[
            (15.0, "abnormal critical LL"),
            (100.0, "abnormal high L"),
            (250.0, "normal low N"),
            (1000.0, "abnormal critical HH"),
        ],
    ),
    (
        B::Ast,
        MAN,
        &[(30.0, "normal low N"), (50.0, "borderline moderate H"), (1000.0, "abnormal critical HH")],
    ),
    (B::Alt, WOMAN, &[(30.0, "normal low N"), (50.0, "borderline moderate H"), (90.0, "abnormal high H")]),
    (B::KappaFlc, ANYONE, &[(10.0, "normal low N"), (50.0, "abnormal high H")]),
    (B::LambdaFlc, ANYONE, &[(15.0, "normal low N"), (28.0, "borderline moderate H")]),
];

#[test]
fn what_a_value_means() {
    for &(biomarker, sex, cases) in MEANINGS {
        let person = Person::new(Some(40.0), sex).expect("valid person");
        for &(value, meaning) in cases {
            let got = classify(biomarker, value, &person).expect("rule");
            let got = format!("{} {} {}", got.class.code(), got.risk.code(), got.interpretation.code());
            assert_eq!(got, meaning, "{biomarker} {value} {sex:?}");
        }
    }
    assert!(B::ALL.iter().all(|b| MEANINGS.iter().any(|(e, _, _)| e == b)), "every biomarker stands here");
}
