//! The OpenAPI description of the JSON routes, made from the `.proto` files: their messages
//! are the schemas, their comments the descriptions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use serde_json::{Map, Value, json};

use super::routes::Route;

/// Field numbers inside descriptor messages, which name places in a file's source information.
mod place {
    pub(super) const MESSAGE: i32 = 4;
    pub(super) const ENUM: i32 = 5;
    pub(super) const SERVICE: i32 = 6;
    pub(super) const FIELD: i32 = 2;
    pub(super) const METHOD: i32 = 2;
}

/// The document for `routes`; schemas are those the routes need.
pub(super) fn document(routes: &[Route]) -> Value {
    let files = FileDescriptorSet::decode(proto::DESCRIPTORS).map(|set| set.file).unwrap_or_default();
    let index = Index::new(&files);
    let mut wanted = BTreeSet::new();
    let mut paths: BTreeMap<&str, Value> = BTreeMap::new();
    for route in routes {
        if let Some(rpc) = index.rpcs.get(route.rpc) {
            let entry = paths.entry(route.path).or_insert_with(|| json!({}));
            entry[route.method] = operation(route, rpc);
            wanted.extend([rpc.input.clone(), rpc.output.clone()]);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ManPaSik AI platform",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Canonical protocol-buffer JSON of the gRPC services. Reference information, \
                            not for diagnosis.",
        },
        "paths": paths,
        "components": { "schemas": schemas(&index, wanted) },
    })
}

/// `document` with other paths and their schemas.
pub(super) fn with(mut document: Value, (paths, schemas): (Map<String, Value>, Map<String, Value>)) -> Value {
    for (place, more) in [("/paths", paths), ("/components/schemas", schemas)] {
        if let Some(Value::Object(there)) = document.pointer_mut(place) {
            there.extend(more);
        }
    }
    document
}

/// An RPC with its documentation.
struct Rpc {
    input: String,
    output: String,
    comment: String,
}

/// Everything of the files by full name.
struct Index<'a> {
    rpcs: HashMap<String, Rpc>,
    messages: HashMap<String, (&'a DescriptorProto, Comments)>,
    enums: HashMap<String, (&'a EnumDescriptorProto, String)>,
}

/// Comments of a message and its fields, by field index.
struct Comments {
    own: String,
    fields: HashMap<usize, String>,
}

impl<'a> Index<'a> {
    fn new(files: &'a [FileDescriptorProto]) -> Self {
        let mut index = Self { rpcs: HashMap::new(), messages: HashMap::new(), enums: HashMap::new() };
        for file in files.iter().filter(|file| file.package() == "manpasik.v1") {
            let comments = comments(file);
            let comment = |path: &[i32]| comments.get(path).cloned().unwrap_or_default();
            for (number, message) in (0..).zip(&file.message_type) {
                let fields = (0..).zip(&message.field).map(|(field, _): (i32, _)| {
                    (
                        usize::try_from(field).unwrap_or_default(),
                        comment(&[place::MESSAGE, number, place::FIELD, field]),
                    )
                });
                let comments = Comments { own: comment(&[place::MESSAGE, number]), fields: fields.collect() };
                index.messages.insert(full(file, message.name()), (message, comments));
            }
            for (number, item) in (0..).zip(&file.enum_type) {
                index.enums.insert(full(file, item.name()), (item, comment(&[place::ENUM, number])));
            }
            for (number, service) in (0..).zip(&file.service) {
                for (method, rpc) in (0..).zip(&service.method) {
                    let name = format!("{}.{}", full(file, service.name()), rpc.name());
                    let comment = comment(&[place::SERVICE, number, place::METHOD, method]);
                    let trim = |name: &str| name.trim_start_matches('.').to_owned();
                    index.rpcs.insert(
                        name,
                        Rpc { input: trim(rpc.input_type()), output: trim(rpc.output_type()), comment },
                    );
                }
            }
        }
        index
    }
}

fn full(file: &FileDescriptorProto, name: &str) -> String {
    format!("{}.{name}", file.package())
}

/// Leading comments by path.
fn comments(file: &FileDescriptorProto) -> HashMap<Vec<i32>, String> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    locations
        .filter(|location| !location.leading_comments().is_empty())
        .map(|location| (location.path.clone(), location.leading_comments().trim().replace('\n', "")))
        .collect()
}

fn operation(route: &Route, rpc: &Rpc) -> Value {
    let kind = if route.lines { "application/x-ndjson" } else { "application/json" };
    let content = |schema: Value| {
        let mut content = json!({});
        content[kind] = json!({ "schema": schema });
        content
    };
    let failure = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
    let mut operation = json!({
        "operationId": route.rpc.rsplit('.').next(),
        "summary": rpc.comment,
        "responses": {
            "200": { "description": "The answer.", "content": content(reference(&rpc.output)) },
            "default": { "description": "What was wrong, and where.", "content": failure },
        },
    });
    let parameter = |place: &str, name: &str| json!({ "name": name, "in": place, "required": place == "path", "schema": { "type": "string" } });
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path.map(|name| parameter("path", name)).collect();
    parameters.extend(route.query.iter().map(|name| parameter("query", name)));
    if !route.path.contains('{') && route.method == "post" {
        operation["requestBody"] = json!({ "required": true, "content": content(reference(&rpc.input)) });
    }
    operation["parameters"] = parameters.into();
    operation
}

/// Schemas of `wanted` and everything they refer to.
fn schemas(index: &Index<'_>, mut wanted: BTreeSet<String>) -> Value {
    let mut done: BTreeMap<String, Value> = BTreeMap::from([("Error".to_owned(), error_schema())]);
    while let Some(name) = wanted.pop_first() {
        let short = short(&name).to_owned();
        if done.contains_key(&short) {
            continue;
        }
        if let Some((message, comments)) = index.messages.get(&name) {
            let referred = message.field.iter().filter(|field| !field.type_name().is_empty());
            wanted.extend(referred.map(|field| field.type_name().trim_start_matches('.').to_owned()));
            done.insert(short, message_schema(message, comments));
        } else if let Some((item, comment)) = index.enums.get(&name) {
            let names: Vec<&str> = item.value.iter().map(|value| value.name()).collect();
            done.insert(short, json!({ "type": "string", "enum": names, "description": comment }));
        }
    }
    json!(done)
}

fn message_schema(message: &DescriptorProto, comments: &Comments) -> Value {
    let mut properties = json!({});
    for (number, field) in message.field.iter().enumerate() {
        let mut schema = field_schema(field);
        if field.label() == Label::Repeated {
            schema = json!({ "type": "array", "items": schema });
        }
        if let Some(comment) = comments.fields.get(&number).filter(|comment| !comment.is_empty()) {
            schema["description"] = comment.as_str().into();
        }
        properties[field.json_name()] = schema;
    }
    json!({ "type": "object", "description": comments.own, "properties": properties })
}

fn field_schema(field: &FieldDescriptorProto) -> Value {
    match field.r#type() {
        Type::Double | Type::Float => json!({ "type": "number" }),
        Type::Int64 | Type::Uint64 | Type::Fixed64 | Type::Sfixed64 | Type::Sint64 => {
            json!({ "type": "string", "format": "int64" })
        }
        Type::Int32 | Type::Uint32 | Type::Fixed32 | Type::Sfixed32 | Type::Sint32 => {
            json!({ "type": "integer", "format": "int32" })
        }
        Type::Bool => json!({ "type": "boolean" }),
        Type::Bytes => json!({ "type": "string", "format": "byte" }),
        Type::String => json!({ "type": "string" }),
        Type::Message | Type::Group | Type::Enum => reference(field.type_name().trim_start_matches('.')),
    }
}

fn error_schema() -> Value {
    let text = json!({ "type": "string" });
    json!({ "type": "object", "properties": { "error": {
        "type": "object",
        "required": ["code", "message"],
        "properties": { "code": text, "message": text, "field": text },
    } } })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", short(name)) })
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::routes;

    #[test]
    fn every_rpc_of_every_typed_service_has_a_route() {
        let files = FileDescriptorSet::decode(proto::DESCRIPTORS).expect("descriptors").file;
        let routed: BTreeSet<&str> = routes::all().iter().map(|route| route.rpc).collect();
        let missing: Vec<String> =
            Index::new(&files).rpcs.into_keys().filter(|rpc| !routed.contains(rpc.as_str())).collect();
        assert!(missing.is_empty(), "no route for {missing:?}");
    }

    #[test]
    fn every_reference_leads_to_a_schema_with_its_comment() {
        let document = document(&routes::all());
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().expect("a name");
            assert!(schemas.contains_key(name), "`{name}` is not described");
        }
        assert_eq!(schemas["Quantity"]["properties"]["unit"]["description"], "UCUM code, for example mg/dL.");
        assert_eq!(schemas["Verdict"]["enum"][1], "VERDICT_NORMAL");
        let operation = &document["paths"]["/v1/ai/trend"]["post"];
        assert_eq!(operation["operationId"], "PredictTrend");
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.contains("Forecast")));
    }
}
