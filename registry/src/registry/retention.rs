//! Files that go after their time: those of versions that answer nobody and never will. The record stays.

use super::{Act, Registry};
use crate::{error::RegistryError, principal::Role, state::State, store::artifacts, versions::Version};

impl Registry {
    /// Forgets the files of rejected and archived versions that have stood so since before `before_ms`, of at most
    /// `versions_max`; of how many. Their bytes go with the next sweep of the artifact tree.
    ///
    /// # Errors
    /// A caller who may not, or the database.
    pub async fn versions_forget(
        &self,
        act: Act<'_>,
        before_ms: i64,
        versions_max: u64,
    ) -> Result<u64, RegistryError> {
        act.needs("remove files of versions", &[Role::Admin])?;
        let mut forgotten = 0;
        for version in self.versions_in(&[State::Rejected, State::Archived]).await? {
            if version.updated_ms >= before_ms || forgotten >= versions_max {
                continue;
            }
            if self.forget_files(act, &version).await? {
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    /// Whether there was something to forget.
    async fn forget_files(&self, act: Act<'_>, version: &Version) -> Result<bool, RegistryError> {
        let folders = [version.folder(), format!("{}.bundle", version.folder())];
        let mut files = 0;
        for folder in &folders {
            files += artifacts::count(&self.database, folder).await?;
        }
        if files == 0 {
            return Ok(false);
        }
        let detail = format!("{files} files of a version that is {}", version.state.code());
        let event = act.event("retention.files", &version.subject(), &version.digest, &detail);
        self.change(event, move |open| {
            Box::pin(async move {
                for folder in &folders {
                    artifacts::delete_in(open, folder).await?;
                }
                Ok(true)
            })
        })
        .await
    }
}
