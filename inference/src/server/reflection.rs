//! Server reflection over the descriptors of every service, so that generic clients need no
//! `.proto` file.

use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Adds both versions of the reflection service; older clients know only `v1alpha`.
pub fn add(routes: Routes) -> Result<Routes, Error> {
    Ok(routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}
