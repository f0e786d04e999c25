//! Backups are whole or refused, and files of versions that nobody asks for any more go.

use std::path::Path;

use registry::{
    Principal, RegistryError, State,
    runs::{Filter, Metric, NewRun},
};

use super::{Place, act, on_every_store, scientist};

/// A registry with something of everything, its infinity included.
async fn filled(place: &Place) {
    let version = place.staged(&scientist("ann"), "thyroid").await;
    place.registry.approve(act(&scientist("bob")), "thyroid", version.number).await.expect("approved");
    let live = place.registry.step(act(&scientist("bob")), "thyroid", 1, State::Live, "go").await;
    live.expect("live");
    let id = place.registry.runs().start(&NewRun::default()).await.expect("a run");
    let metric = |key: &str, value| Metric { key: key.into(), value, step: 0, at_ms: 1 };
    let metrics = [metric("loss", 0.1), metric("worst", f64::INFINITY), metric("none", f64::NAN)];
    place.registry.runs().log_metrics(&id, &metrics).await.expect("logged");
    place.put("0/other/artifacts/big.bin", &vec![7; 3 << 20]).await;
}

/// What a caller can see of a registry.
async fn seen(place: &Place) -> String {
    let registry = &place.registry;
    let version = registry.version("thyroid", 1).await.expect("there");
    let alias = registry.alias("thyroid", "live").await.expect("live").number;
    let approvals = registry.approvals("thyroid", 1).await.expect("asked");
    let runs = registry.runs().list(&Filter::default()).await.expect("runs");
    let files = registry.artifacts().below("0").await.expect("files");
    format!("{version:?} {alias} {approvals:?} {runs:?} {files:?}")
}

async fn a_backup_restores_to_the_same_and_numbers_go_on(place: Place) {
    filled(&place).await;
    let admin = Principal::local();
    let out = place.folder.path().join("backup");
    let kept = place.registry.backup(act(&admin), &out).await.expect("kept");
    assert!(kept.files >= 3 && kept.rows > 10 && kept.bytes > 3 << 20, "{kept:?}");
    let again = place.registry.backup(act(&admin), &out).await.expect_err("there already");
    assert!(again.to_string().contains("is there already"), "{again}");
    let refused = place.registry.backup(act(&scientist("ann")), &out).await.expect_err("no admin");
    assert!(matches!(refused, RegistryError::Forbidden(_)));

    let other = Place::sqlite().await;
    let restored = other.registry.restore(act(&admin), &out, false).await.expect("restored");
    assert_eq!(restored, kept);
    let other = other.reopen().await;
    assert_eq!(seen(&other).await, seen(&place).await);
    let (position, _) = other.registry.audit_verify().await.expect("asked").expect("whole");
    assert_eq!(position, kept.audit.0 + 1, "that it was restored is the next link");
    filled_further(&other).await;

    let refused = other.registry.restore(act(&admin), &out, false).await.expect_err("not empty");
    assert!(refused.to_string().contains("--force"), "{refused}");
    other.registry.restore(act(&admin), &out, true).await.expect("forced");
    assert_eq!(other.registry.versions_of("thyroid").await.expect("listed").len(), 1);
    for server in [Place::postgres().await, Place::s3().await].into_iter().flatten() {
        server.registry.restore(act(&admin), &out, false).await.expect("into a server");
        assert_eq!(seen(&server).await, seen(&place).await);
        filled_further(&server).await;
    }
}

/// A restored registry is used on: rows that the database numbers get numbers of their own.
async fn filled_further(place: &Place) {
    let next = place.staged(&scientist("cat"), "thyroid").await;
    assert_eq!(next.number, 2);
    place.registry.approve(act(&scientist("bob")), "thyroid", 2).await.expect("approved");
}

async fn a_damaged_backup_is_refused_before_anything_changes(place: Place) {
    filled(&place).await;
    let admin = Principal::local();
    let out = place.folder.path().join("backup");
    place.registry.backup(act(&admin), &out).await.expect("kept");
    let blob = first_file(&out.join("blobs"));
    for damaged in [out.join("rows/model_version.jsonl"), blob, out.join("backup.json")] {
        let sound = std::fs::read(&damaged).expect("readable");
        let mut bytes = sound.clone();
        bytes.push(b' ');
        bytes[0] ^= 1;
        std::fs::write(&damaged, bytes).expect("damaged");
        let other = Place::sqlite().await;
        assert!(other.registry.restore(act(&admin), &out, false).await.is_err(), "{}", damaged.display());
        assert!(other.registry.version("thyroid", 1).await.is_err(), "nothing was changed");
        std::fs::write(&damaged, sound).expect("mended");
    }
    let other = Place::sqlite().await;
    let nothing =
        other.registry.restore(act(&admin), place.folder.path(), false).await.expect_err("no backup");
    assert!(nothing.to_string().contains("is no backup"), "{nothing}");
    other.registry.restore(act(&admin), &out, false).await.expect("sound again");
}

fn first_file(folder: &Path) -> std::path::PathBuf {
    let mut entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries.next().expect("a file").path()
}

async fn files_of_rejected_versions_go_after_their_time_and_their_record_stays(place: Place) {
    let registry = &place.registry;
    let (maker, admin) = (scientist("ann"), Principal::local());
    let rejected = place.version(&maker, "bad").await;
    registry.gates_begin(act(&admin), "bad", 1).await.expect("begins");
    let report = registry::gates::Report {
        digest: rejected.digest.clone(),
        at_ms: 5,
        gates: vec![registry::gates::Gate::failed("golden", "off by 3")],
    };
    registry.gates_end(act(&admin), "bad", 1, &report, None).await.expect("ends");
    place.staged(&maker, "good").await;
    let files = async |model: &str| {
        registry.artifacts().below(&format!("registry/{model}")).await.expect("asked").len()
    };
    let forget = async |before| registry.versions_forget(act(&admin), before, 10).await.expect("swept");
    assert_eq!((forget(1_000).await, files("bad").await), (0, 1), "its time has not come");
    assert_eq!((forget(1_001).await, files("bad").await), (1, 0));
    assert_eq!((forget(9_999).await, files("good").await), (0, 1), "what may serve stays");
    assert_eq!(registry.version("bad", 1).await.expect("its record").state, State::Rejected);
    let links = registry.audit(0, Some("bad"), 20).await.expect("audit");
    assert_eq!(links.iter().filter(|link| link.event.action == "retention.files").count(), 1);
    assert!(registry.versions_forget(act(&maker), 9_999, 10).await.is_err(), "no admin");
}

on_every_store!(
    a_backup_restores_to_the_same_and_numbers_go_on,
    a_damaged_backup_is_refused_before_anything_changes,
    files_of_rejected_versions_go_after_their_time_and_their_record_stays,
);
