//! A photo may come as it is, without JSON around it: `content-type: image/jpeg` or `image/png`.

use std::collections::HashMap;

use axum::{
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use proto::manpasik::v1::{
    EstimateFoodCaloriesRequest, ai_inference_service_client::AiInferenceServiceClient,
};
use services::kernel::GrpcService;
use tonic::Status;

use super::answer::{Body, Failure, json, read};

/// `POST` of a photo, raw or inside JSON; `?portion_grams=`, `?user_id=` and
/// `?explain=true` go with a raw one.
pub(super) async fn estimate(
    State(mut client): State<AiInferenceServiceClient<GrpcService>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    Body(body): Body,
) -> Response {
    match request(&query, &headers, body) {
        Ok(request) => json(client.estimate_food_calories(request).await),
        Err(failure) => failure.into_response(),
    }
}

fn request(
    query: &HashMap<String, String>,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<EstimateFoodCaloriesRequest, Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("image/") {
        return read(&body);
    }
    let portion_grams = match query.get("portion_grams") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            Failure(Status::invalid_argument(format!("portion_grams: `{text}` is not a number")))
        })?),
    };
    let explain = query.get("explain").is_some_and(|text| text == "true");
    let user_id = query.get("user_id").cloned().unwrap_or_default();
    Ok(EstimateFoodCaloriesRequest { image: body, portion_grams, explain, user_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_photo_becomes_a_request_with_its_portion() {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, "image/jpeg".parse().expect("valid"))]);
        let query = HashMap::from([("portion_grams".to_owned(), "30".to_owned())]);
        let Ok(found) = request(&query, &headers, Bytes::from_static(b"bytes")) else { panic!("valid") };
        assert_eq!((found.portion_grams, found.image.as_ref()), (Some(30.0), &b"bytes"[..]));
        let query = HashMap::from([("portion_grams".to_owned(), "many".to_owned())]);
        assert!(request(&query, &headers, Bytes::new()).is_err());
    }
}
