//! Collections as Qdrant describes them, and back.
//!
//! What Qdrant has no word for (our name, the layout, the fields in their order) is kept in the
//! metadata of its collection; a collection without it is not ours.

use std::collections::HashMap;

use qdrant_client::qdrant::{
    CollectionInfo, CreateCollection, CreateFieldIndexCollection, Datatype, Distance, FieldType,
    KeywordIndexParams, Memory, QuantizationType, ScalarQuantization, Value as Remote, VectorParams,
    VectorsConfig, payload_index_params::IndexParams, quantization_config::Quantization, vectors_config,
};

use super::keys::{TENANT, field_key, remote_name};
use crate::{Collection, CollectionName, EmbeddingError, Field, FieldKind, Metric, Storage};

const METRICS: [(Metric, &str); 2] = [(Metric::Cosine, "cosine"), (Metric::L2, "l2")];
const STORAGES: [(Storage, &str); 3] = [(Storage::F32, "f32"), (Storage::F16, "f16"), (Storage::I8, "i8")];
const KINDS: [(FieldKind, &str); 4] = [
    (FieldKind::Keyword, "keyword"),
    (FieldKind::Integer, "integer"),
    (FieldKind::Real, "real"),
    (FieldKind::Time, "time"),
];

/// The request that creates a collection.
pub(super) fn creation(collection: &Collection) -> CreateCollection {
    let Collection { name, dimension, metric, storage, layout: _, fields: _ } = collection;
    let distance = match metric {
        Metric::Cosine => Distance::Cosine,
        Metric::L2 => Distance::Euclid,
    };
    let datatype = match storage {
        // Bytes are a quantisation beside the vectors as given.
        Storage::F32 | Storage::I8 => Datatype::Float32,
        Storage::F16 => Datatype::Float16,
    };
    let bytes = Quantization::Scalar(ScalarQuantization {
        r#type: QuantizationType::Int8.into(),
        memory: Some(Memory::Pinned.into()),
        ..ScalarQuantization::default()
    });
    let params = VectorParams {
        size: *dimension as u64,
        distance: distance.into(),
        datatype: Some(datatype.into()),
        // With bytes in memory, the vectors as given may stay on disk.
        memory: (*storage == Storage::I8).then_some(Memory::Cold.into()),
        ..VectorParams::default()
    };
    CreateCollection {
        collection_name: remote_name(name),
        vectors_config: Some(VectorsConfig { config: Some(vectors_config::Config::Params(params)) }),
        quantization_config: (*storage == Storage::I8).then(|| bytes.into()),
        metadata: metadata(collection),
        ..CreateCollection::default()
    }
}

/// The requests that index the tenant and every field, without which a filter reads all points.
pub(super) fn indexes(collection: &Collection) -> Vec<CreateFieldIndexCollection> {
    let index = |key: String, kind: FieldType| CreateFieldIndexCollection {
        collection_name: remote_name(&collection.name),
        wait: Some(true),
        field_name: key,
        field_type: Some(kind.into()),
        ..CreateFieldIndexCollection::default()
    };
    let tenant = KeywordIndexParams { is_tenant: Some(true), ..KeywordIndexParams::default() };
    let tenant = CreateFieldIndexCollection {
        field_index_params: Some(IndexParams::KeywordIndexParams(tenant).into()),
        ..index(TENANT.to_owned(), FieldType::Keyword)
    };
    let fields = collection.fields.iter().enumerate().map(|(position, field)| {
        let kind = match field.kind {
            FieldKind::Keyword => FieldType::Keyword,
            // Milliseconds: Qdrant's own times would have to travel as text.
            FieldKind::Integer | FieldKind::Time => FieldType::Integer,
            FieldKind::Real => FieldType::Float,
        };
        index(field_key(position), kind)
    });
    [tenant].into_iter().chain(fields).collect()
}

fn metadata(collection: &Collection) -> HashMap<String, Remote> {
    let Collection { name, dimension, metric, layout, storage, fields } = collection;
    let field = |field: &Field| Remote::from(format!("{} {}", word(&KINDS, field.kind), field.name));
    let fields: Vec<Remote> = fields.iter().map(field).collect();
    let entries = [
        ("name", Remote::from(name.to_string())),
        ("dimension", Remote::from(*dimension as i64)),
        ("metric", Remote::from(word(&METRICS, *metric))),
        ("layout", Remote::from(layout.clone())),
        ("storage", Remote::from(word(&STORAGES, *storage))),
        ("fields", Remote::from(fields)),
    ];
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The collection that `info` describes; `None` when it was not made by [`creation`].
pub(super) fn described(info: &CollectionInfo) -> Option<Collection> {
    let metadata = &info.config.as_ref()?.metadata;
    let text = |key: &str| metadata.get(key)?.as_str();
    let fields = metadata.get("fields")?.as_list()?.iter().map(|field| {
        let (kind, name) = field.as_str()?.split_once(' ')?;
        Some(Field { name: name.to_owned(), kind: meaning(&KINDS, kind)? })
    });
    Some(Collection {
        name: CollectionName::parse(text("name")?.as_str()).ok()?,
        dimension: usize::try_from(metadata.get("dimension")?.as_integer()?).ok()?,
        metric: meaning(&METRICS, text("metric")?)?,
        layout: text("layout")?.clone(),
        storage: meaning(&STORAGES, text("storage")?)?,
        fields: fields.collect::<Option<_>>()?,
    })
}

/// What to say of a collection that bears our name and not our description.
pub(super) fn foreign(name: &CollectionName) -> EmbeddingError {
    EmbeddingError::Corrupt {
        what: format!("collection '{name}' in Qdrant"),
        reason: "its description is missing, so it was not created by this program".into(),
    }
}

fn word<T: PartialEq + Copy>(words: &[(T, &'static str)], wanted: T) -> &'static str {
    words.iter().find(|(value, _)| *value == wanted).map_or("", |(_, word)| word)
}

fn meaning<T: Copy>(words: &[(T, &str)], wanted: &str) -> Option<T> {
    words.iter().find(|(_, word)| *word == wanted).map(|(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use qdrant_client::qdrant::CollectionConfig;

    use super::*;

    fn collection(metric: Metric, storage: Storage) -> Collection {
        let field = |(kind, name): &(FieldKind, &str)| Field { name: format!("{name}:1.x"), kind: *kind };
        Collection {
            name: CollectionName::parse("sessions:v1").expect("a name"),
            dimension: 88,
            metric,
            layout: "clinical/88".into(),
            storage,
            fields: KINDS.iter().map(field).collect(),
        }
    }

    #[test]
    fn every_description_comes_back_as_it_went() {
        for (metric, _) in METRICS {
            for (storage, _) in STORAGES {
                let sent = collection(metric, storage);
                let config =
                    CollectionConfig { metadata: creation(&sent).metadata, ..CollectionConfig::default() };
                let info = CollectionInfo { config: Some(config), ..CollectionInfo::default() };
                assert_eq!(described(&info), Some(sent));
            }
        }
    }

    #[test]
    fn a_collection_of_someone_else_is_not_described() {
        assert_eq!(described(&CollectionInfo::default()), None);
        let sent = collection(Metric::L2, Storage::F32);
        for key in ["name", "dimension", "metric", "layout", "storage", "fields"] {
            let mut metadata = creation(&sent).metadata;
            metadata.remove(key);
            let config = CollectionConfig { metadata, ..CollectionConfig::default() };
            let info = CollectionInfo { config: Some(config), ..CollectionInfo::default() };
            assert_eq!(described(&info), None, "without {key}");
        }
    }

    #[test]
    fn the_tenant_and_every_field_are_indexed() {
        let indexes = indexes(&collection(Metric::Cosine, Storage::F32));
        let keys: Vec<&str> = indexes.iter().map(|index| index.field_name.as_str()).collect();
        assert_eq!(keys, ["t", "f0", "f1", "f2", "f3"]);
        assert!(indexes.iter().all(|index| index.wait == Some(true)));
    }

    #[test]
    fn only_bytes_are_quantised() {
        let made = |storage| creation(&collection(Metric::Cosine, storage)).quantization_config.is_some();
        assert_eq!([made(Storage::F32), made(Storage::F16), made(Storage::I8)], [false, false, true]);
    }
}
