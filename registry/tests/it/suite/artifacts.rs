//! The artifact tree: whole or absent, sealed once registered, swept when nobody names it.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use registry::{
    RegistryError,
    artifacts::{ORPHAN_AGE_MS, PUSHED},
    versions::NewVersion,
};

use super::{Place, act, on_every_store, scientist};

type Part = Result<Bytes, std::io::Error>;

async fn read(place: &Place, path: &str) -> Vec<u8> {
    let (_, bytes) = place.registry.artifacts().get(path).await.expect("there");
    let parts: Vec<Bytes> = bytes.try_collect().await.expect("readable");
    parts.concat()
}

async fn a_file_is_written_over_whole_or_not_at_all(place: Place) {
    let artifacts = place.registry.artifacts();
    place.put("0/r/artifacts/a/model.onnx", b"first").await;
    let parts: Vec<Part> =
        vec![Ok(Bytes::from_static(b"sec")), Err(std::io::Error::other("the line went dead"))];
    let broken = artifacts.put("0/r/artifacts/a/model.onnx", futures::stream::iter(parts), None, 2).await;
    assert!(
        matches!(&broken, Err(RegistryError::Upload(text)) if text.contains("line went dead")),
        "{broken:?}"
    );
    let short: Vec<Part> = vec![Ok(Bytes::from_static(b"second"))];
    let short = artifacts.put("0/r/artifacts/a/model.onnx", futures::stream::iter(short), Some(7), 2).await;
    assert!(
        matches!(&short, Err(RegistryError::Upload(text)) if text.contains("6 bytes came, 7")),
        "{short:?}"
    );
    let place = place.reopen().await;
    assert_eq!(read(&place, "0/r/artifacts/a/model.onnx").await, b"first");
    place.put("0/r/artifacts/a/model.onnx", b"second").await;
    assert_eq!(read(&place, "0/r/artifacts/a/model.onnx").await, b"second");
}

async fn many_parts_arrive_in_order_with_their_hash(place: Place) {
    let parts: Vec<Part> = (0..40_u8).map(|at| Ok(Bytes::from(vec![at; 1 << 20]))).collect();
    let whole = 40_u64 << 20;
    let written =
        place.registry.artifacts().put("0/r/big", futures::stream::iter(parts), Some(whole), 1).await;
    let written = written.expect("written");
    assert_eq!(written.size, whole);
    let back = read(&place, "0/r/big").await;
    assert!(
        back.len() as u64 == whole
            && back.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at >> 20)
    );
    assert_eq!(place.registry.artifacts().verify("0/r").await.expect("verified"), Vec::<String>::new());
}

async fn folders_are_listed_and_names_with_patterns_mean_themselves(place: Place) {
    for path in [
        "0/r/artifacts/a%b/x",
        "0/r/artifacts/a%b/y",
        "0/r/artifacts/aXb/z",
        "0/r/artifacts/top",
        "0/r_/q",
        "0/rX/q",
    ] {
        place.put(path, b"1").await;
    }
    let list = |folder: &'static str| {
        let artifacts = place.registry.artifacts().clone();
        async move {
            let entries = artifacts.list(folder).await.expect("listed");
            entries.into_iter().map(|entry| (entry.path, entry.size.is_none())).collect::<Vec<_>>()
        }
    };
    let file = |path: &str| (path.to_owned(), false);
    let folder = |path: &str| (path.to_owned(), true);
    assert_eq!(list("0/r/artifacts/a%b").await, [file("0/r/artifacts/a%b/x"), file("0/r/artifacts/a%b/y")]);
    assert_eq!(
        list("0/r/artifacts").await,
        [folder("0/r/artifacts/a%b"), folder("0/r/artifacts/aXb"), file("0/r/artifacts/top")]
    );
    assert_eq!(list("0").await, [folder("0/r"), folder("0/rX"), folder("0/r_")]);
    assert_eq!(list("").await, [folder("0")]);
    assert!(list("0/nothing").await.is_empty());
    assert_eq!(place.registry.artifacts().delete("0/r_").await.expect("deleted"), 1);
    assert_eq!(list("0").await, [folder("0/r"), folder("0/rX")]);
}

async fn what_is_registered_is_sealed(place: Place) {
    let ann = scientist("ann");
    let version = place.version(&ann, "m").await;
    let sealed = format!("{}/model.onnx", version.folder());
    let body = || futures::stream::iter([Part::Ok(Bytes::from_static(b"other"))]);
    let refused = place.registry.artifacts().put(&sealed, body(), None, 1).await;
    assert!(matches!(refused, Err(RegistryError::Forbidden(_))), "{refused:?}");
    assert!(matches!(place.registry.artifacts().delete("registry").await, Err(RegistryError::Forbidden(_))));
    // What the run does with its own files later is its own matter.
    place.put("0/run-m/artifacts/model.onnx", b"changed").await;
    place.registry.artifacts().delete("0/run-m").await.expect("deleted");
    assert_eq!(read(&place, &sealed).await, b"onnx");
    let none = NewVersion {
        model: "m".into(),
        source: "runs:/run-m/model".into(),
        folder: "0/run-m/artifacts".into(),
        ..NewVersion::default()
    };
    let refused = place.registry.version_create(act(&ann), &none).await;
    assert!(
        matches!(&refused, Err(RegistryError::Invalid { reason, .. }) if reason.contains("holds no files")),
        "{refused:?}"
    );
}

pub(super) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}

async fn only_old_blobs_without_a_name_are_swept(place: Place) {
    let artifacts = place.registry.artifacts();
    place.put("0/r/a", b"kept").await;
    place.put("0/r/b", b"12345").await;
    place.put("0/r/b", b"new").await;
    let now = now_ms();
    assert_eq!(artifacts.sweep(now).await.expect("swept"), (0, 0), "it could be on its way");
    assert_eq!(artifacts.sweep(now + ORPHAN_AGE_MS + 60_000).await.expect("swept"), (1, 5));
    assert_eq!(read(&place, "0/r/a").await, b"kept");
    assert_eq!(read(&place, "0/r/b").await, b"new");
}

async fn a_changed_byte_is_found(place: Place) {
    place.put("0/r/a", b"what was sent").await;
    let store = place.artifacts.open().await.expect("opens");
    let blobs: Vec<_> = store.list(None).try_collect().await.expect("lists");
    assert_eq!(blobs.len(), 1);
    store.put(&blobs[0].location, "what was Sent".into()).await.expect("written");
    assert_eq!(place.registry.artifacts().verify("0/r").await.expect("verified"), ["0/r/a"]);
}

async fn what_a_killed_push_left_is_swept(place: Place) {
    let artifacts = place.registry.artifacts();
    place.put(&format!("{PUSHED}/abc/model.toml"), b"half of it").await;
    place.put("pushed/by/hand", b"kept").await;
    let late = now_ms() + ORPHAN_AGE_MS + 60_000;
    artifacts.sweep(2).await.expect("swept");
    assert_eq!(read(&place, &format!("{PUSHED}/abc/model.toml")).await, b"half of it", "too young");
    assert_eq!(artifacts.sweep(late).await.expect("swept"), (1, 10));
    assert_eq!(read(&place, "pushed/by/hand").await, b"kept");
}

on_every_store!(
    a_file_is_written_over_whole_or_not_at_all,
    many_parts_arrive_in_order_with_their_hash,
    folders_are_listed_and_names_with_patterns_mean_themselves,
    what_is_registered_is_sealed,
    only_old_blobs_without_a_name_are_swept,
    a_changed_byte_is_found,
    what_a_killed_push_left_is_swept,
);
