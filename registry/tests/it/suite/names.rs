//! Registered models: names, descriptions, tags, and who may change them.

use std::collections::BTreeMap;

use registry::{RegistryError, Role};

use super::{Place, act, on_every_database, person, scientist};

async fn a_name_is_given_once_and_told_with_its_tags(place: Place) {
    let ann = scientist("ann");
    let tags = BTreeMap::from([("team".to_owned(), "labs".to_owned())]);
    let made = place
        .registry
        .model_create(act(&ann), "thyroid state é", "three classes", &tags)
        .await
        .expect("made");
    let place = place.reopen().await;
    assert_eq!(place.registry.model("thyroid state é").await.expect("there"), made);
    let again = place.registry.model_create(act(&ann), "thyroid state é", "", &tags).await;
    assert!(matches!(again, Err(RegistryError::Exists(_))), "{again:?}");
    let bad = place.registry.model_create(act(&ann), "a/b", "", &tags).await;
    assert!(matches!(bad, Err(RegistryError::Invalid { .. })), "{bad:?}");
}

async fn only_data_scientists_and_admins_change_models(place: Place) {
    let (ann, eve) = (scientist("ann"), person("eve", &[Role::User, Role::MedicalStaff, Role::Researcher]));
    let refused = place.registry.model_create(act(&eve), "m", "", &BTreeMap::new()).await;
    assert!(
        matches!(&refused, Err(RegistryError::Forbidden(text)) if text.contains("data_scientist")),
        "{refused:?}"
    );
    place.version(&ann, "m").await;
    let all = [
        place.registry.model_describe(act(&eve), "m", "x").await.err(),
        place.registry.model_rename(act(&eve), "m", "n").await.err(),
        place.registry.model_delete(act(&eve), "m").await.err(),
        place.registry.model_tag(act(&eve), "m", "k", Some("v")).await.err(),
        place.registry.version_delete(act(&eve), "m", 1).await.err(),
        place.registry.version_tag(act(&eve), "m", 1, "k", None).await.err(),
        place.registry.alias_set(act(&eve), "m", "a", 1).await.err(),
        place.registry.approve(act(&eve), "m", 1).await.err(),
        place.registry.rollback(act(&eve), "m").await.err(),
    ];
    for refused in all {
        assert!(matches!(refused, Some(RegistryError::Forbidden(_))), "{refused:?}");
    }
    assert_eq!(place.registry.audit(0, None, 100).await.expect("audit").len(), 2, "refusals change nothing");
}

async fn a_model_is_renamed_and_removed_only_while_nothing_depends_on_it(place: Place) {
    let ann = scientist("ann");
    let registry = &place.registry;
    registry.model_create(act(&ann), "old", "", &BTreeMap::new()).await.expect("made");
    registry.model_tag(act(&ann), "old", "k", Some("v")).await.expect("tagged");
    let renamed = registry.model_rename(act(&ann), "old", "new").await.expect("renamed");
    assert_eq!(renamed.tags["k"], "v");
    assert!(matches!(registry.model("old").await, Err(RegistryError::NotFound(_))));
    place.version(&ann, "new").await;
    for refused in [
        registry.model_rename(act(&ann), "new", "x").await.err(),
        registry.model_delete(act(&ann), "new").await.err(),
    ] {
        assert!(matches!(refused, Some(RegistryError::Conflict(_))), "{refused:?}");
    }
    registry.version_delete(act(&ann), "new", 1).await.expect("deleted");
    assert!(matches!(registry.version("new", 1).await, Err(RegistryError::NotFound(_))));
    assert_eq!(place.version(&ann, "new").await.number, 2, "a number is not given twice");
    registry.version_delete(act(&ann), "new", 2).await.expect("deleted");
    registry.model_delete(act(&ann), "new").await.expect("removed");
    assert!(registry.model("new").await.is_err());
}

on_every_database!(
    a_name_is_given_once_and_told_with_its_tags,
    only_data_scientists_and_admins_change_models,
    a_model_is_renamed_and_removed_only_while_nothing_depends_on_it,
);
