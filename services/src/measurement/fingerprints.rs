//! The shapes of a user's sweeps in the vector service: what they are called there, how one is written and found.

use std::time::Duration;

use clinical::cartridge::Cartridge;
use clinical::fingerprint::Fingerprint;
use clinical::layout::Layout;
use clinical::{Biomarker, gate::Quality};
use proto::manpasik::v1 as wire;
use proto::manpasik::v1::payload_value::Value as Kept;
use proto::manpasik::v1::vector_service_client::VectorServiceClient;
use sha2::{Digest, Sha256};
use tonic::{Code, Request, Status};
use uuid::Uuid;

use super::session::{Measurement, Value};
use crate::kernel::{GrpcService, Limits};

/// Fields of a payload.
const CARTRIDGE: &str = "cartridge";
const ENDED: &str = "ended";
const QUALITY: &str = "quality";
/// Before the LOINC code of a value.
const VALUE: &str = "loinc:";
/// Before the digest of a user identifier that is no name of a tenant.
const DIGESTED: &str = "sha256:";
/// Longest name of a tenant.
const TENANT_BYTES_MAX: usize = 128;

/// What a session must satisfy to be found.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) from_ms: Option<i64>,
    pub(super) to_ms: Option<i64>,
    pub(super) cartridge: Option<&'static Cartridge>,
}

/// The vector service, as this module uses it.
#[derive(Debug, Clone)]
pub(super) struct Fingerprints {
    client: VectorServiceClient<GrpcService>,
    deadline: Duration,
}

/// Whether sweeps of this many channels have a fingerprint; a single sensor has too few to have a shape.
pub(super) fn has_shape(channels: usize) -> bool {
    match Layout::from_channels(channels) {
        Some(Layout::Basic | Layout::Enhanced | Layout::Full | Layout::Ultimate) => true,
        Some(Layout::Sensor) | None => false,
    }
}

impl Fingerprints {
    pub(super) fn new(vectors: GrpcService, limits: &Limits) -> Self {
        let deadline = Duration::from_millis(limits.vector_call_ms_max);
        Self { client: VectorServiceClient::new(vectors), deadline }
    }

    /// Writes the fingerprint of a session, over the one that may be there.
    pub(super) async fn keep(&self, of: &Measurement, fingerprint: Fingerprint) -> Result<(), Status> {
        let request = wire::UpsertPointsRequest {
            tenant: tenant(&of.session.new.user_id),
            collection: collection(fingerprint.as_slice().len()),
            points: vec![point(of, fingerprint)],
        };
        match self.upsert(request.clone()).await {
            Err(status) if status.code() == Code::NotFound => {
                self.create(of.ended.channels.len()).await?;
                self.upsert(request).await
            }
            answer => answer,
        }
    }

    /// Sessions of the user with the nearest fingerprints, nearest first, with their cosine similarity.
    pub(super) async fn nearest(
        &self,
        user_id: &str,
        to: Fingerprint,
        k: usize,
        wanted: Wanted,
    ) -> Result<Vec<(Uuid, f64)>, Status> {
        let request = wire::SearchPointsRequest {
            tenant: tenant(user_id),
            collection: collection(to.as_slice().len()),
            vector: to.into_vec(),
            k: u32::try_from(k).unwrap_or(u32::MAX),
            conditions: conditions(wanted),
            exact: false,
        };
        let mut client = self.client.clone();
        match self.within(request, async |request| client.search(request).await).await {
            Ok(answer) => Ok(answer.hits.iter().filter_map(found).collect()),
            // Nobody has ended such a session yet.
            Err(status) if status.code() == Code::NotFound => Ok(Vec::new()),
            Err(status) => Err(status),
        }
    }

    async fn upsert(&self, request: wire::UpsertPointsRequest) -> Result<(), Status> {
        let mut client = self.client.clone();
        self.within(request, async |request| client.upsert(request).await).await.map(|_| ())
    }

    async fn create(&self, channels: usize) -> Result<(), Status> {
        let mut client = self.client.clone();
        let request = wire::CreateCollectionRequest { collection: Some(described(channels)) };
        self.within(request, async |request| client.create_collection(request).await).await.map(|_| ())
    }

    async fn within<Q, A>(
        &self,
        request: Q,
        call: impl AsyncFnOnce(Request<Q>) -> Result<tonic::Response<A>, Status>,
    ) -> Result<A, Status> {
        let mut request = Request::new(request);
        request.set_timeout(self.deadline);
        match tokio::time::timeout(self.deadline, call(request)).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => {
                let reason = format!("no answer within {} ms", self.deadline.as_millis());
                Err(Status::deadline_exceeded(reason))
            }
        }
    }
}

fn collection(channels: usize) -> String {
    format!("sessions_{channels}")
}

/// The user's identifier, where that can be a name; else its digest. No two users share a name.
fn tenant(user_id: &str) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let is_name = (1..=TENANT_BYTES_MAX).contains(&user_id.len()) && user_id.bytes().all(allowed);
    if is_name && !user_id.starts_with(DIGESTED) {
        return user_id.to_owned();
    }
    format!("{DIGESTED}{}", hex::encode(Sha256::digest(user_id)))
}

/// The collection of sweeps with this many channels. Collections are not changed once they exist: a new field needs
/// a new name.
fn described(channels: usize) -> wire::VectorCollection {
    let field = |name: String, kind: wire::PayloadKind| wire::PayloadFieldSchema { name, kind: kind.into() };
    let fixed = [
        (CARTRIDGE, wire::PayloadKind::Keyword),
        (ENDED, wire::PayloadKind::Time),
        (QUALITY, wire::PayloadKind::Keyword),
    ];
    let values =
        measured().into_iter().map(|biomarker| field(value_field(biomarker), wire::PayloadKind::Real));
    wire::VectorCollection {
        name: collection(channels),
        dimension: u32::try_from(channels).unwrap_or(u32::MAX),
        metric: wire::VectorMetric::Cosine.into(),
        layout: format!("clinical/{channels}"),
        storage: wire::VectorStorage::F32.into(),
        fields: fixed.map(|(name, kind)| field(name.to_owned(), kind)).into_iter().chain(values).collect(),
    }
}

/// What any cartridge measures, once each.
fn measured() -> Vec<Biomarker> {
    let mut all: Vec<Biomarker> = Vec::new();
    for &biomarker in Cartridge::all().iter().flat_map(|cartridge| cartridge.analytes) {
        if !all.contains(&biomarker) {
            all.push(biomarker);
        }
    }
    all
}

fn value_field(biomarker: Biomarker) -> String {
    format!("{VALUE}{}", biomarker.loinc())
}

fn point(of: &Measurement, fingerprint: Fingerprint) -> wire::VectorPoint {
    let entry = |name: &str, value: Kept| wire::PayloadEntry {
        name: name.to_owned(),
        value: Some(wire::PayloadValue { value: Some(value) }),
    };
    let mut payload = vec![
        entry(CARTRIDGE, Kept::Keyword(of.session.new.cartridge.code.to_string())),
        entry(ENDED, Kept::TimeUnixMs(of.ended.ended_ms)),
        entry(QUALITY, Kept::Keyword(Quality::code(of.ended.quality).to_owned())),
    ];
    let values = of.ended.values.iter().filter_map(comparable);
    payload.extend(values.map(|(biomarker, value)| entry(&value_field(biomarker), Kept::Real(value))));
    wire::VectorPoint { id: of.session.id.to_string(), vector: fingerprint.into_vec(), payload }
}

/// A value that can stand beside others of its kind: known, and in the unit that all of them have.
fn comparable(value: &Value) -> Option<(Biomarker, f64)> {
    let biomarker = Biomarker::from_code(&value.code)?;
    let same = measured().contains(&biomarker) && biomarker.unit().ucum() == value.unit;
    same.then_some((biomarker, value.value))
}

fn conditions(wanted: Wanted) -> Vec<wire::VectorCondition> {
    use wire::vector_condition::Condition;
    let Wanted { from_ms, to_ms, cartridge } = wanted;
    let kept = |value| Some(wire::PayloadValue { value: Some(value) });
    let time = |ms: Option<i64>| ms.and_then(|ms| kept(Kept::TimeUnixMs(ms)));
    let window = (from_ms.is_some() || to_ms.is_some()).then(|| {
        Condition::Range(wire::RangeCondition {
            field: ENDED.to_owned(),
            from: time(from_ms),
            to: time(to_ms),
        })
    });
    let cartridge = cartridge.map(|cartridge| {
        let value = kept(Kept::Keyword(cartridge.code.to_string()));
        Condition::Equals(wire::EqualsCondition { field: CARTRIDGE.to_owned(), value })
    });
    let conditions = window.into_iter().chain(cartridge);
    conditions.map(|condition| wire::VectorCondition { condition: Some(condition) }).collect()
}

fn found(hit: &wire::VectorHit) -> Option<(Uuid, f64)> {
    Some((Uuid::try_parse(&hit.id).ok()?, f64::from(hit.score).clamp(-1.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fields_of_a_collection_are_those_it_was_created_with() {
        let fields = described(88).fields;
        let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
        // A change here is refused by collections that exist: give them another name as well.
        assert_eq!(names[..3], ["cartridge", "ended", "quality"]);
        assert_eq!(names.len(), 3 + measured().len());
        assert!(names.len() <= 32 && names.contains(&"loinc:2345-7"), "{names:?}");
    }

    #[test]
    fn a_single_sensor_has_no_shape() {
        let shapes: Vec<_> = (0..2_000).filter(|&channels| has_shape(channels)).collect();
        assert_eq!(shapes, [88, 448, 896, 1792]);
    }

    #[test]
    fn users_who_are_no_names_get_a_name_that_nobody_else_can_have() {
        assert_eq!(tenant("user-1"), "user-1");
        let odd = tenant("김 민수@example.org");
        assert!(odd.starts_with("sha256:") && odd.len() <= TENANT_BYTES_MAX, "{odd}");
        assert_ne!(tenant(&odd), odd, "a user called like a digest");
    }

    proptest! {
        #[test]
        fn two_users_never_share_a_tenant(left in ".{1,140}", right in ".{1,140}") {
            prop_assert_eq!(tenant(&left) == tenant(&right), left == right);
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
            prop_assert!(tenant(&left).len() <= TENANT_BYTES_MAX && tenant(&left).chars().all(allowed));
        }
    }
}
