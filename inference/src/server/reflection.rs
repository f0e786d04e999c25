//! Server reflection over the descriptors of every service, so that generic clients need no
//! `.proto` file.

use tonic_reflection::server::{
    Builder, Error,
    v1::{ServerReflection, ServerReflectionServer},
    v1alpha::{
        ServerReflection as ServerReflectionAlpha, ServerReflectionServer as ServerReflectionAlphaServer,
    },
};

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Both versions of the reflection service; older clients know only `v1alpha`.
pub fn services() -> Result<
    (ServerReflectionServer<impl ServerReflection>, ServerReflectionAlphaServer<impl ServerReflectionAlpha>),
    Error,
> {
    Ok((builder().build_v1()?, builder().build_v1alpha()?))
}
