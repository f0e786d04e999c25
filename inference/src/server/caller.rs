//! Who asks, as the headers of a request say it.

use axum::http::HeaderMap;
use tonic::metadata::MetadataMap;

use crate::Caller;

/// The person or session, for callers of protocols without a place for it.
const USER: &str = "x-user-id";
/// Category and type of the cartridge, such as `01:01`.
const CARTRIDGE: &str = "x-cartridge-type";

/// The caller that headers name.
pub(super) fn of_headers(headers: &HeaderMap) -> Caller {
    read(|name| headers.get(name)?.to_str().ok())
}

/// The caller that metadata names.
pub(super) fn of_metadata(metadata: &MetadataMap) -> Caller {
    read(|name| metadata.get(name)?.to_str().ok())
}

fn read<'a>(header: impl Fn(&'static str) -> Option<&'a str>) -> Caller {
    let text = |name| header(name).unwrap_or_default().to_owned();
    Caller { user: text(USER), cartridge: text(CARTRIDGE) }
}
