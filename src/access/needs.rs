//! What each call needs: one table for every RPC and every route. A call without an entry is for admins only, and a test
//! fails for it.

use registry::Role;

/// What a caller must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: orchestrators ask before anybody has a token.
    Nothing,
    /// A token, whatever its roles.
    Token,
    /// A token with one of these roles.
    Role(&'static [Role]),
}

const ADMINS: Need = Need::Role(&[Role::Admin]);
/// Who changes what is served, and looks at how it does.
const MAKERS: Need = Need::Role(&[Role::DataScientist, Role::Admin]);
/// Who looks at runs, models and vectors, none of which is about a person.
const READERS: Need = Need::Role(&[Role::Researcher, Role::DataScientist, Role::Admin]);
/// Who measures, and for whom.
const CARERS: Need = Need::Role(&[Role::User, Role::MedicalStaff, Role::Admin]);
/// Who reads what was measured.
const FAMILY: Need = Need::Role(&[Role::User, Role::FamilyMember, Role::MedicalStaff, Role::Admin]);

/// Service, and what its methods need.
type Service = (&'static str, &'static [(&'static str, Need)]);

const RPCS: &[Service] = &[
    ("grpc.health.v1.Health", &[("Check", Need::Nothing), ("Watch", Need::Nothing)]),
    ("grpc.reflection.v1.ServerReflection", &[("ServerReflectionInfo", Need::Token)]),
    ("grpc.reflection.v1alpha.ServerReflection", &[("ServerReflectionInfo", Need::Token)]),
    (
        "inference.GRPCInferenceService",
        &[
            ("ServerLive", Need::Token),
            ("ServerReady", Need::Token),
            ("ModelReady", Need::Token),
            ("ServerMetadata", Need::Token),
            ("ModelMetadata", Need::Token),
            ("ModelInfer", Need::Token),
            ("ModelStreamInfer", Need::Token),
            ("ModelConfig", Need::Token),
            ("ModelStatistics", Need::Token),
            ("RepositoryIndex", Need::Token),
            ("RepositoryModelLoad", MAKERS),
            ("RepositoryModelUnload", MAKERS),
            ("SystemSharedMemoryStatus", Need::Token),
            ("SystemSharedMemoryRegister", MAKERS),
            ("SystemSharedMemoryUnregister", MAKERS),
            ("CudaSharedMemoryStatus", Need::Token),
            ("CudaSharedMemoryRegister", MAKERS),
            ("CudaSharedMemoryUnregister", MAKERS),
            // Both read and change: who may change may read.
            ("TraceSetting", MAKERS),
            ("LogSettings", MAKERS),
        ],
    ),
    (
        "manpasik.v1.AiInferenceService",
        &[
            ("AnalyzeMeasurement", Need::Token),
            ("GetHealthScore", Need::Token),
            ("PredictTrend", Need::Token),
            ("GetModelInfo", Need::Token),
            ("ListModels", Need::Token),
            ("StreamAnalysis", Need::Token),
            ("StreamSeries", Need::Token),
            ("EstimateFoodCalories", Need::Token),
        ],
    ),
    (
        "manpasik.v1.MeasurementService",
        &[
            ("StartSession", CARERS),
            ("StreamMeasurement", CARERS),
            ("EndSession", CARERS),
            ("GetMeasurement", FAMILY),
            ("GetMeasurementHistory", FAMILY),
            ("FindSimilarSessions", FAMILY),
        ],
    ),
    ("manpasik.v1.KnowledgeService", &[("SearchKnowledge", Need::Token), ("MatchIngredients", Need::Token)]),
    ("manpasik.v1.FoodService", &[("EnrolFood", CARERS), ("ListFoods", FAMILY), ("DeleteFood", CARERS)]),
    (
        // Who calls it names the tenant: the services do so for people, who have no business here.
        "manpasik.v1.VectorService",
        &[
            ("CreateCollection", MAKERS),
            ("ListCollections", READERS),
            ("Upsert", MAKERS),
            ("Delete", MAKERS),
            ("Get", READERS),
            ("Search", READERS),
            ("Count", READERS),
            ("Scroll", READERS),
            ("GetStats", READERS),
        ],
    ),
];

/// Path as the router has it, what reading (GET, HEAD) needs, and what every other method does. A path that ends in `*`
/// stands for all below it. Routes of typed services are not here: they need what their RPC needs.
const ROUTES: &[(&str, Need, Need)] = &[
    // Nothing is there; the router keeps the answer that says so under this path.
    ("/", Need::Token, ADMINS),
    ("/healthz", Need::Nothing, ADMINS),
    ("/readyz", Need::Nothing, ADMINS),
    ("/metrics", READERS, ADMINS),
    ("/openapi.json", Need::Token, ADMINS),
    ("/health", Need::Token, ADMINS),
    ("/version", Need::Token, ADMINS),
    ("/v1/predictions", READERS, ADMINS),
    ("/v1/predictions/{id}", READERS, ADMINS),
    // The registry says once more who may label.
    ("/v1/predictions/{id}/outcome", ADMINS, Need::Token),
    ("/v1/models/{name}/accuracy", READERS, ADMINS),
    ("/v1/models/{name}/drift", READERS, ADMINS),
    // Who may approve, release and set policies is said once more by the registry.
    ("/v1/registry/*", READERS, MAKERS),
    // MLflow searches by POST; what is written is judged once more by the registry.
    ("/api/2.0/*", READERS, MAKERS),
    ("/v2", Need::Token, ADMINS),
    ("/v2/", Need::Token, ADMINS),
    ("/v2/health/live", Need::Token, ADMINS),
    ("/v2/health/ready", Need::Token, ADMINS),
    ("/v2/models", Need::Token, ADMINS),
    ("/v2/models/stats", Need::Token, ADMINS),
    ("/v2/models/{model}", Need::Token, ADMINS),
    ("/v2/models/{model}/ready", Need::Token, ADMINS),
    ("/v2/models/{model}/config", Need::Token, ADMINS),
    ("/v2/models/{model}/stats", Need::Token, ADMINS),
    ("/v2/models/{model}/infer", Need::Token, Need::Token),
    ("/v2/models/{model}/trace/setting", Need::Token, MAKERS),
    ("/v2/models/{model}/versions/{version}", Need::Token, ADMINS),
    ("/v2/models/{model}/versions/{version}/ready", Need::Token, ADMINS),
    ("/v2/models/{model}/versions/{version}/config", Need::Token, ADMINS),
    ("/v2/models/{model}/versions/{version}/stats", Need::Token, ADMINS),
    ("/v2/models/{model}/versions/{version}/infer", Need::Token, Need::Token),
    ("/v2/trace/setting", Need::Token, MAKERS),
    ("/v2/logging", Need::Token, MAKERS),
    ("/v2/repository/index", Need::Token, Need::Token),
    ("/v2/repository/{repository}/index", Need::Token, Need::Token),
    ("/v2/repository/*", MAKERS, MAKERS),
    ("/v2/systemsharedmemory/*", Need::Token, MAKERS),
    ("/v2/cudasharedmemory/*", Need::Token, MAKERS),
];

/// What the RPC at `path`, `/service/method`, needs.
pub(crate) fn of_rpc(path: &str) -> Option<Need> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let (_, methods) = RPCS.iter().find(|(name, _)| *name == service)?;
    methods.iter().find(|(name, _)| *name == method).map(|(_, need)| *need)
}

/// What the route at `path` needs of one who reads, or not.
pub(crate) fn of_route(path: &str, reads: bool) -> Option<Need> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == pattern,
    };
    let (_, read, write) = ROUTES.iter().find(|(pattern, _, _)| fits(pattern))?;
    Some(if reads { *read } else { *write })
}

impl Need {
    /// What a call without an entry needs.
    pub(crate) const UNLISTED: Self = ADMINS;

    /// Whether it is about the server, its models and its registry rather than about an answer or a person: such calls
    /// can be kept to a port of their own.
    pub(crate) fn is_admins(self) -> bool {
        match self {
            Self::Nothing | Self::Token => false,
            Self::Role(roles) => !roles.contains(&Role::User),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn every_rpc_has_an_entry_and_every_entry_an_rpc() {
        let set = FileDescriptorSet::decode(proto::DESCRIPTORS).expect("descriptors");
        let mut paths = Vec::new();
        for file in &set.file {
            for service in &file.service {
                let methods = service.method.iter();
                paths.extend(
                    methods.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())),
                );
            }
        }
        assert!(paths.len() > 40, "{paths:?}");
        let without: Vec<&String> = paths.iter().filter(|path| of_rpc(path).is_none()).collect();
        assert!(without.is_empty(), "say in RPCS what these need: {without:?}");
        let ours = RPCS.iter().filter(|(service, _)| !service.starts_with("grpc."));
        assert_eq!(ours.map(|(_, methods)| methods.len()).sum::<usize>(), paths.len(), "an entry has no RPC");
    }

    #[test]
    fn the_first_fitting_pattern_decides() {
        assert_eq!(of_route("/v2/repository/index", false), Some(Need::Token));
        assert_eq!(of_route("/v2/repository/models/{model}/load", false), Some(MAKERS));
        assert_eq!(of_route("/v2/anything", true), None);
        assert_eq!(of_rpc("/inference.GRPCInferenceService/NoSuchMethod"), None);
    }
}
