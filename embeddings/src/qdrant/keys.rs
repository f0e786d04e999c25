//! What our names are called in Qdrant, and which conditions every call carries.
//!
//! The tenant is a field of each point and part of its identifier. Identifiers are derived from
//! tenant and name, so one tenant cannot address, replace or delete the point of another even by
//! guessing; the condition on the tenant is set here and not taken from a caller.

use qdrant_client::qdrant::{Condition, Filter, PointId as RemoteId, Range};
use sha2::{Digest, Sha256};

use crate::{Collection, CollectionName, Condition as Ours, EmbeddingError, PointId, Tenant, Value};

/// In front of collection names: keeps ours apart on a shared server, and names such as `..` harmless.
const PREFIX: &str = "manpasik.";
/// Payload field of the tenant.
pub(super) const TENANT: &str = "t";
/// Payload field of the point's name.
pub(super) const ID: &str = "i";
/// Payload field of the vector's length, which Qdrant's cosine collections do not keep.
pub(super) const LENGTH: &str = "l";

/// The collection's name in Qdrant, where `:` is not allowed and `~` is never ours.
pub(super) fn remote_name(name: &CollectionName) -> String {
    format!("{PREFIX}{}", name.as_str().replace(':', "~"))
}

/// Whether a collection of the server has a name that [`remote_name`] could have made.
pub(super) fn is_ours(remote: &str) -> bool {
    remote.starts_with(PREFIX)
}

/// Payload field of the `position`th field; names of fields may hold dots, which Qdrant reads as paths.
pub(super) fn field_key(position: usize) -> String {
    format!("f{position}")
}

/// The identifier of a tenant's point: a UUID of version 8 made of a SHA-256. Version 5 would be the
/// same of a SHA-1, for which two names with one digest can be made on purpose.
pub(super) fn remote_id(tenant: &Tenant, id: &PointId) -> RemoteId {
    // Names hold no zero byte, so tenant and name cannot run into each other.
    let digest = Sha256::new().chain_update(tenant.as_str()).chain_update([0]).chain_update(id.as_str());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finalize()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    RemoteId::from(uuid)
}

/// A filter on one tenant.
pub(super) fn of_tenant(tenant: &Tenant) -> Filter {
    Filter::must([Condition::matches(TENANT, tenant.to_string())])
}

/// A filter on named points of one tenant.
pub(super) fn of_points(tenant: &Tenant, ids: &[PointId]) -> Filter {
    let ids: Vec<RemoteId> = ids.iter().map(|id| remote_id(tenant, id)).collect();
    let mut filter = of_tenant(tenant);
    filter.must.push(Condition::has_id(ids));
    filter
}

/// A filter on one tenant and what the caller asks for.
pub(super) fn of_filter(
    tenant: &Tenant,
    collection: &Collection,
    filter: &crate::Filter,
) -> Result<Filter, EmbeddingError> {
    let mut remote = of_tenant(tenant);
    for condition in &filter.0 {
        let (position, _) = collection.field(condition.field())?;
        remote.must.push(of_condition(field_key(position), condition));
    }
    Ok(remote)
}

fn of_condition(key: String, condition: &Ours) -> Condition {
    match condition {
        Ours::Equals { value: Value::Keyword(text), .. } => Condition::matches(key, text.clone()),
        Ours::Equals { value: Value::Integer(number) | Value::Time(number), .. } => {
            Condition::matches(key, *number)
        }
        // Qdrant has no equality of reals.
        Ours::Equals { value: Value::Real(number), .. } => {
            Condition::range(key, Range { gte: Some(*number), lte: Some(*number), ..Range::default() })
        }
        Ours::Range { from: None, to: None, .. } => {
            Condition::from(Filter::must_not([Condition::is_empty(key)]))
        }
        Ours::Range { from, to, .. } => {
            let bound = |value: &Option<Value>| value.as_ref().and_then(number);
            Condition::range(key, Range { gte: bound(from), lt: bound(to), ..Range::default() })
        }
    }
}

/// A bound as Qdrant takes it. Whole numbers beyond 2⁵³ are rounded to the next that it can tell
/// apart; times reach that in the year 287396.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) | Value::Time(number) => Some(*number as f64),
        Value::Real(number) => Some(*number),
        Value::Keyword(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{Field, FieldKind, Metric, Storage};

    fn tenant(name: &str) -> Tenant {
        Tenant::parse(name).expect("a name")
    }

    fn id(name: &str) -> PointId {
        PointId::parse(name).expect("a name")
    }

    #[test]
    fn points_of_two_tenants_never_share_an_identifier() {
        let pairs = [("a", "bc"), ("ab", "c"), ("a", "b"), ("b", "a"), ("abc", "abc")];
        let ids: HashSet<String> =
            pairs.iter().map(|(t, p)| format!("{:?}", remote_id(&tenant(t), &id(p)))).collect();
        assert_eq!(ids.len(), pairs.len());
        assert_eq!(remote_id(&tenant("a"), &id("b")), remote_id(&tenant("a"), &id("b")));
    }

    #[test]
    fn identifiers_are_uuids_of_version_8() {
        let RemoteId { point_id_options: Some(options) } = remote_id(&tenant("a"), &id("b")) else {
            panic!("an identifier")
        };
        let text = format!("{options:?}");
        let uuid = text.split('"').nth(1).expect("a UUID in quotes");
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(uuid.as_bytes()[14], b'8', "{uuid}");
        assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
    }

    #[test]
    fn collection_names_become_names_that_qdrant_takes() {
        let remote = |name: &str| remote_name(&CollectionName::parse(name).expect("a name"));
        assert_eq!(remote("sessions:v1"), "manpasik.sessions~v1");
        assert_eq!(remote(".."), "manpasik...");
        assert!(is_ours(&remote("x")) && !is_ours("x"));
    }

    #[test]
    fn every_filter_names_the_tenant_and_fields_by_position() {
        let fields = [("a.b", FieldKind::Keyword), ("n", FieldKind::Integer), ("r", FieldKind::Real)];
        let fields = fields.map(|(name, kind)| Field { name: name.into(), kind }).into();
        let name = CollectionName::parse("c").expect("a name");
        let collection = Collection {
            name,
            dimension: 2,
            metric: Metric::L2,
            layout: "x".into(),
            storage: Storage::F32,
            fields,
        };
        let asked = crate::Filter(vec![
            Ours::Equals { field: "a.b".into(), value: Value::Keyword("k".into()) },
            Ours::Equals { field: "r".into(), value: Value::Real(0.5) },
            Ours::Range { field: "n".into(), from: Some(Value::Integer(1)), to: Some(Value::Integer(9)) },
            Ours::Range { field: "n".into(), from: None, to: None },
        ]);
        let remote = of_filter(&tenant("me"), &collection, &asked).expect("known fields");
        let half = Range { gte: Some(0.5), lte: Some(0.5), ..Range::default() };
        let window = Range { gte: Some(1.0), lt: Some(9.0), ..Range::default() };
        let expected = [
            Condition::matches("t", "me".to_owned()),
            Condition::matches("f0", "k".to_owned()),
            Condition::range("f2", half),
            Condition::range("f1", window),
            Condition::from(Filter::must_not([Condition::is_empty("f1")])),
        ];
        assert_eq!(remote, Filter::must(expected));
        assert_eq!(of_points(&tenant("me"), &[id("p")]).must[0], Condition::matches("t", "me".to_owned()));
    }
}
