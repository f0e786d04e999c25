//! Messages over the limit of a gRPC service, told in our words.
//!
//! The library refuses such a message by its length prefix, before any of our code sees it, and calls that
//! `OUT_OF_RANGE`. To the caller it is one more argument that is not valid, so the answer gets that code and the
//! field that can be that large.

use hyper::http::{HeaderValue, Response};
use tonic::{Code, body::Body};

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";
/// How the library's text begins; a space is written as `%20` in the header.
const LIBRARY: &str = "Error,%20decoded%20message%20length%20too%20large:";

/// `response` with the library's refusal in our words; every other answer as it is. `field` is the one at
/// fault when the message is too large.
pub(super) fn translated(mut response: Response<Body>, field: &str) -> Response<Body> {
    if let Some(message) = refusal(&response, field) {
        response.headers_mut().insert(STATUS, HeaderValue::from(Code::InvalidArgument as i32));
        response.headers_mut().insert(MESSAGE, message);
    }
    response
}

/// The text for `response` when it is such a refusal.
fn refusal(response: &Response<Body>, field: &str) -> Option<HeaderValue> {
    let theirs = response.headers().get(MESSAGE)?.to_str().ok()?;
    let (found, limit) = lengths(theirs)?;
    let text = format!("{field}: the message has {found} bytes, at most {limit} are read; send less at once");
    HeaderValue::try_from(text.replace(' ', "%20")).ok()
}

/// The two numbers of the library's text.
fn lengths(text: &str) -> Option<(u64, u64)> {
    let rest = text.strip_prefix(LIBRARY)?;
    let mut numbers = rest.split("%20").filter_map(|word| word.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// The field of a method's request that can grow so large.
pub(super) fn field(path: &str) -> &'static str {
    match path.rsplit('/').next() {
        Some("EstimateFoodCalories") => "image",
        Some("ModelInfer" | "ModelStreamInfer") => "raw_input_contents",
        Some("AnalyzeMeasurement" | "StreamAnalysis") => "channels",
        Some("StreamSeries") => "ordinary",
        _ => "request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lengths_are_read_from_the_librarys_text() {
        let text = format!("{LIBRARY}%20found%2068157445%20bytes,%20the%20limit%20is:%204194304%20bytes");
        assert_eq!(lengths(&text), Some((68_157_445, 4_194_304)));
        assert_eq!(lengths("not%20found"), None);
    }

    #[test]
    fn the_field_is_the_one_that_grows() {
        assert_eq!(field("/manpasik.v1.AiInferenceService/EstimateFoodCalories"), "image");
        assert_eq!(field("/inference.GRPCInferenceService/ModelInfer"), "raw_input_contents");
        assert_eq!(field("/manpasik.v1.AiInferenceService/ListModels"), "request");
    }
}
