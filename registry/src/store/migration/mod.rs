//! The tables of this crate, numbered; a landed migration is never changed, a new one is added.

mod m0001_runs;
mod m0002_models;
mod m0003_release;
mod m0004_predictions;
mod m0005_probability;
mod m0006_token_models;

use sea_orm_migration::prelude::*;

/// Brings the tables up to date.
pub(super) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_runs::M0001Runs),
            Box::new(m0002_models::M0002Models),
            Box::new(m0003_release::M0003Release),
            Box::new(m0004_predictions::M0004Predictions),
            Box::new(m0005_probability::M0005Probability),
            Box::new(m0006_token_models::M0006TokenModels),
        ]
    }
}

/// An index of `table`, made once.
fn index(name: &str, table: &str, columns: &[&str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.if_not_exists().name(name).table(table.to_owned());
    for column in columns {
        index.col((*column).to_owned());
    }
    index
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use store::{Database, Limits, Url};

    use super::*;
    use crate::{Act, Principal, Registry, artifacts::Location, runs::NewRun, versions::NewVersion};

    /// The tables as they were first released.
    struct First;

    impl MigratorTrait for First {
        fn migrations() -> Vec<Box<dyn MigrationTrait>> {
            vec![Box::new(m0001_runs::M0001Runs), Box::new(m0002_models::M0002Models)]
        }
    }

    #[tokio::test]
    async fn a_registry_of_the_first_release_is_brought_up_to_date_with_all_it_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = Url::file(&folder.path().join("registry.sqlite"));
        let artifacts = Location::Folder(folder.path().join("artifacts"));
        let database = Database::open::<First>(&url, Limits::default()).await.expect("the first tables");
        let tree = crate::artifacts::open(database.clone(), &artifacts).await.expect("a tree");
        let old = Registry::over(database, tree);
        let who = Principal::local();
        let act = Act { by: &who, at_ms: 1, why: "" };
        let run = old.runs().start(&NewRun::default()).await.expect("a run");
        old.model_create(act, "thyroid", "of old", &BTreeMap::new()).await.expect("a model");
        let body = futures::stream::iter([Ok::<_, std::io::Error>("onnx".into())]);
        old.artifacts().put("0/r/artifacts/model.onnx", body, None, 1).await.expect("a file");
        let new = NewVersion {
            model: "thyroid".into(),
            source: "runs:/r/model".into(),
            folder: "0/r/artifacts".into(),
            ..NewVersion::default()
        };
        let version = old.version_create(act, &new).await.expect("a version");
        assert!(old.predictions(None, 1).await.is_err(), "there was no such table");
        old.close().await.expect("closed");

        let now = Registry::open(&url, &artifacts).await.expect("brought up to date");
        assert_eq!(now.version("thyroid", 1).await.expect("kept"), version);
        assert_eq!(now.runs().get(&run).await.expect("kept").id, run);
        assert!(now.audit_verify().await.expect("asked").is_ok());
        assert!(now.artifacts().verify("registry").await.expect("asked").is_empty());
        assert!(now.predictions(None, 1).await.expect("a table").is_empty());
    }
}
