//! A stand-in for a Qdrant server: the calls the store makes, answered from memory over real gRPC.
//!
//! It is no proof of how Qdrant behaves, but it shows what the store makes of answers, and it can
//! fail on demand, which a real server will not. It is stricter than Qdrant in one point: a filter
//! on a field without an index is an error.
#![allow(
    clippy::needless_pass_by_value,
    clippy::wildcard_enum_match_arm,
    reason = "handlers of one shape, called from a table"
)]

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::future::ready;
use std::sync::{Arc, Mutex};

use ::qdrant_client::qdrant::*;
use axum::{Router, body::Body, extract::Request, routing::post};
use tonic::{Status, transport::Server as Transport};
use tonic_prost::ProstCodec;

use super::filter::{keys, matches, uuid};

#[derive(Default)]
struct Memory {
    collections: BTreeMap<String, Held>,
    faults: VecDeque<Status>,
    calls: usize,
}

struct Held {
    made: CreateCollection,
    indexed: HashSet<String>,
    points: BTreeMap<String, PointStruct>,
}

/// A running stand-in; ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Double {
    memory: Arc<Mutex<Memory>>,
    pub(crate) url: String,
}

type Answer<T> = Result<T, Status>;

impl Double {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        let double = Self { memory: Arc::default(), url };
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let routes = tonic::service::Routes::from(double.routes());
        tokio::spawn(Transport::builder().add_routes(routes).serve_with_incoming(incoming));
        double
    }

    /// The next calls fail, one with each of `faults`.
    pub(super) fn fail(&self, faults: impl IntoIterator<Item = Status>) {
        self.memory.lock().expect("no panic").faults.extend(faults);
    }

    /// Calls that have arrived.
    pub(super) fn calls(&self) -> usize {
        self.memory.lock().expect("no panic").calls
    }

    fn routes(&self) -> Router {
        Router::new()
            .route("/qdrant.Qdrant/HealthCheck", self.on(health))
            .route("/qdrant.Collections/Create", self.on(create))
            .route("/qdrant.Collections/Get", self.on(info))
            .route("/qdrant.Collections/List", self.on(list))
            .route("/qdrant.Collections/Delete", self.on(drop_collection))
            .route("/qdrant.Collections/Update", self.on(update))
            .route("/qdrant.Points/CreateFieldIndex", self.on(index))
            .route("/qdrant.Points/Upsert", self.on(upsert))
            .route("/qdrant.Points/Delete", self.on(delete))
            .route("/qdrant.Points/Query", self.on(query))
            .route("/qdrant.Points/Scroll", self.on(scroll))
            .route("/qdrant.Points/Count", self.on(count))
            .route("/qdrant.Points/Facet", self.on(facet))
    }

    fn on<Q, A>(&self, answer: fn(&mut Memory, Q) -> Answer<A>) -> axum::routing::MethodRouter
    where
        Q: prost::Message + Default + 'static,
        A: prost::Message + Default + 'static,
    {
        let memory = Arc::clone(&self.memory);
        post(move |request: Request<Body>| {
            let memory = Arc::clone(&memory);
            async move {
                let service = tower::service_fn(move |request: tonic::Request<Q>| {
                    let mut memory = memory.lock().expect("no panic");
                    memory.calls += 1;
                    let fault = memory.faults.pop_front();
                    let answer = fault.map_or_else(|| answer(&mut memory, request.into_inner()), Err);
                    ready(answer.map(tonic::Response::new))
                });
                let codec = ProstCodec::<A, Q>::default();
                tonic::server::Grpc::new(codec).unary(service, request).await
            }
        })
    }
}

impl Memory {
    fn held(&mut self, name: &str) -> Answer<&mut Held> {
        let missing = || Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"));
        self.collections.get_mut(name).ok_or_else(missing)
    }
}

impl Held {
    fn matching(&self, filter: Option<&Filter>) -> Answer<Vec<&PointStruct>> {
        for key in filter.map(keys).unwrap_or_default() {
            if !self.indexed.contains(&key) {
                return Err(Status::invalid_argument(format!("no index on '{key}'")));
            }
        }
        Ok(self.points.values().filter(|point| matches(filter, point)).collect())
    }

    fn params(&self) -> VectorParams {
        match self.made.vectors_config.clone().and_then(|config| config.config) {
            Some(vectors_config::Config::Params(params)) => params,
            other => panic!("the store makes collections of one vector: {other:?}"),
        }
    }
}

fn vector_of(point: &PointStruct) -> Vec<f32> {
    let vectors = point.vectors.clone().and_then(|vectors| vectors.vectors_options);
    let Some(vectors::VectorsOptions::Vector(vector)) = vectors else { panic!("one vector") };
    let Some(vector::Vector::Dense(DenseVector { data })) = vector.vector else { panic!("a dense one") };
    data
}

fn output(point: &PointStruct) -> VectorsOutput {
    let vector = Some(vector_output::Vector::Dense(DenseVector { data: vector_of(point) }));
    let vector = VectorOutput { vector, ..VectorOutput::default() };
    VectorsOutput { vectors_options: Some(vectors_output::VectorsOptions::Vector(vector)) }
}

fn health(_: &mut Memory, _: HealthCheckRequest) -> Answer<HealthCheckReply> {
    Ok(HealthCheckReply { version: "double".into(), ..HealthCheckReply::default() })
}

fn create(memory: &mut Memory, made: CreateCollection) -> Answer<CollectionOperationResponse> {
    let name = made.collection_name.clone();
    if name.contains([':', '/', '~']) && !name.starts_with("manpasik.") || name.contains(':') {
        return Err(Status::invalid_argument("the name is not allowed"));
    }
    if memory.collections.contains_key(&name) {
        return Err(Status::already_exists("it exists"));
    }
    memory.collections.insert(name, Held { made, indexed: HashSet::new(), points: BTreeMap::new() });
    Ok(CollectionOperationResponse { result: true, time: 0.0 })
}

fn info(memory: &mut Memory, request: GetCollectionInfoRequest) -> Answer<GetCollectionInfoResponse> {
    let held = memory.held(&request.collection_name)?;
    let config = CollectionConfig { metadata: held.made.metadata.clone(), ..CollectionConfig::default() };
    let result = CollectionInfo {
        status: CollectionStatus::Green.into(),
        config: Some(config),
        points_count: Some(held.points.len() as u64),
        indexed_vectors_count: Some(held.points.len() as u64),
        ..CollectionInfo::default()
    };
    Ok(GetCollectionInfoResponse { result: Some(result), time: 0.0 })
}

fn list(memory: &mut Memory, _: ListCollectionsRequest) -> Answer<ListCollectionsResponse> {
    let collections = memory.collections.keys().map(|name| CollectionDescription { name: name.clone() });
    Ok(ListCollectionsResponse { collections: collections.collect(), time: 0.0 })
}

fn drop_collection(memory: &mut Memory, request: DeleteCollection) -> Answer<CollectionOperationResponse> {
    let result = memory.collections.remove(&request.collection_name).is_some();
    Ok(CollectionOperationResponse { result, time: 0.0 })
}

fn update(memory: &mut Memory, request: UpdateCollection) -> Answer<CollectionOperationResponse> {
    memory.held(&request.collection_name)?;
    Ok(CollectionOperationResponse { result: true, time: 0.0 })
}

fn index(memory: &mut Memory, request: CreateFieldIndexCollection) -> Answer<PointsOperationResponse> {
    memory.held(&request.collection_name)?.indexed.insert(request.field_name);
    Ok(PointsOperationResponse::default())
}

fn upsert(memory: &mut Memory, request: UpsertPoints) -> Answer<PointsOperationResponse> {
    assert_eq!(request.wait, Some(true), "acknowledged means written");
    let held = memory.held(&request.collection_name)?;
    let params = held.params();
    for mut point in request.points {
        let mut vector = vector_of(&point);
        if vector.len() as u64 != params.size {
            return Err(Status::invalid_argument("Vector dimension error"));
        }
        if params.distance() == Distance::Cosine {
            let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            vector.iter_mut().for_each(|value| *value /= length);
            point.vectors = Some(Vectors::from(vector));
        }
        held.points.insert(uuid(point.id.as_ref()), point);
    }
    Ok(PointsOperationResponse::default())
}

fn delete(memory: &mut Memory, request: DeletePoints) -> Answer<PointsOperationResponse> {
    let held = memory.held(&request.collection_name)?;
    let Some(points_selector::PointsSelectorOneOf::Filter(filter)) =
        request.points.and_then(|selector| selector.points_selector_one_of)
    else {
        panic!("the store deletes by filters, which name the tenant")
    };
    let dead: Vec<String> =
        held.matching(Some(&filter))?.iter().map(|point| uuid(point.id.as_ref())).collect();
    for id in dead {
        held.points.remove(&id);
    }
    Ok(PointsOperationResponse::default())
}

fn query(memory: &mut Memory, request: QueryPoints) -> Answer<QueryResponse> {
    let held = memory.held(&request.collection_name)?;
    let Some(query::Variant::Nearest(input)) = request.query.and_then(|query| query.variant) else {
        panic!("the store asks for the nearest")
    };
    let Some(vector_input::Variant::Dense(DenseVector { data: asked })) = input.variant else {
        panic!("a dense vector")
    };
    let distance = held.params().distance();
    let mut result: Vec<ScoredPoint> = held
        .matching(request.filter.as_ref())?
        .into_iter()
        .map(|point| ScoredPoint {
            id: point.id.clone(),
            payload: point.payload.clone(),
            score: score(distance, &asked, &vector_of(point)),
            ..ScoredPoint::default()
        })
        .collect();
    match distance {
        Distance::Euclid => result.sort_by(|a, b| a.score.total_cmp(&b.score)),
        Distance::UnknownDistance | Distance::Cosine | Distance::Dot | Distance::Manhattan => {
            result.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
    }
    result.truncate(request.limit.expect("a limit") as usize);
    Ok(QueryResponse { result, ..QueryResponse::default() })
}

fn score(distance: Distance, a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    match distance {
        Distance::Cosine => dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
        Distance::Euclid => a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt(),
        other => panic!("not used by the store: {other:?}"),
    }
}

fn scroll(memory: &mut Memory, request: ScrollPoints) -> Answer<ScrollResponse> {
    let held = memory.held(&request.collection_name)?;
    let from = request.offset.as_ref().map(|id| uuid(Some(id))).unwrap_or_default();
    let limit = request.limit.expect("a limit") as usize;
    let mut found = held.matching(request.filter.as_ref())?;
    found.retain(|point| uuid(point.id.as_ref()) >= from);
    let next_page_offset = found.get(limit).and_then(|point| point.id.clone());
    let result = found.into_iter().take(limit).map(|point| RetrievedPoint {
        id: point.id.clone(),
        payload: point.payload.clone(),
        vectors: Some(output(point)),
        ..RetrievedPoint::default()
    });
    Ok(ScrollResponse { next_page_offset, result: result.collect(), ..ScrollResponse::default() })
}

fn count(memory: &mut Memory, request: CountPoints) -> Answer<CountResponse> {
    let count = memory.held(&request.collection_name)?.matching(request.filter.as_ref())?.len() as u64;
    Ok(CountResponse { result: Some(CountResult { count }), ..CountResponse::default() })
}

fn facet(memory: &mut Memory, request: FacetCounts) -> Answer<FacetResponse> {
    let held = memory.held(&request.collection_name)?;
    let mut counts: HashMap<String, u64> = HashMap::new();
    for text in held.points.values().filter_map(|point| point.payload.get(&request.key)?.as_str()) {
        *counts.entry(text.clone()).or_default() += 1;
    }
    let hit = |(text, count)| FacetHit {
        value: Some(FacetValue { variant: Some(facet_value::Variant::StringValue(text)) }),
        count,
    };
    Ok(FacetResponse { hits: counts.into_iter().map(hit).collect(), ..FacetResponse::default() })
}
