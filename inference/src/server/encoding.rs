//! Request bodies: bounded in size before and after decompression, and in the time they take.

use std::io::{self, Read};

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::{InferError, Limits};

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

/// Reads and decompresses `body`.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Bytes, InferError> {
    let encoding = encoding(headers)?;
    let bytes_max = limits.request_bytes_max;
    let collected = tokio::time::timeout(limits.deadline_max(), Limited::new(body, bytes_max).collect());
    let bytes = match collected.await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            return Err(too_large(bytes_max));
        }
        Ok(Err(_)) => return Err(InferError::Malformed("the request body ended too early".into())),
        Err(_) => return Err(InferError::Malformed("the request body came too slowly".into())),
    };
    if encoding == Encoding::Identity {
        return Ok(bytes);
    }
    let decompress = move || decompress(encoding, &bytes, bytes_max);
    let joined = tokio::task::spawn_blocking(decompress).await;
    joined.unwrap_or_else(|_| Err(InferError::Malformed("the request body cannot be decompressed".into())))
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, InferError> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Encoding::Identity) };
    match value.as_bytes() {
        b"" | b"identity" => Ok(Encoding::Identity),
        b"gzip" => Ok(Encoding::Gzip),
        b"deflate" => Ok(Encoding::Deflate),
        _ => Err(InferError::input("Content-Encoding", "must be gzip, deflate or identity")),
    }
}

fn decompress(encoding: Encoding, bytes: &[u8], bytes_max: usize) -> Result<Bytes, InferError> {
    let read = |reader: &mut dyn Read| -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        // One byte more than allowed tells too much from just enough.
        reader.take(bytes_max as u64 + 1).read_to_end(&mut out)?;
        Ok(out)
    };
    let out = match encoding {
        Encoding::Identity => Ok(bytes.to_vec()),
        Encoding::Gzip => read(&mut MultiGzDecoder::new(bytes)),
        Encoding::Deflate => read(&mut ZlibDecoder::new(bytes)),
    };
    match out {
        Ok(out) if out.len() > bytes_max => Err(too_large(bytes_max)),
        Ok(out) => Ok(out.into()),
        Err(error) => Err(InferError::Malformed(format!("the request body cannot be decompressed: {error}"))),
    }
}

fn too_large(limit_bytes: usize) -> InferError {
    InferError::TooLarge { what: "request body".into(), limit_bytes }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn both_encodings_are_read() {
        assert_eq!(decompress(Encoding::Gzip, &gzip(b"abc"), 3).expect("fits").as_ref(), b"abc");
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"abc").expect("memory");
        let zlib = encoder.finish().expect("memory");
        assert_eq!(decompress(Encoding::Deflate, &zlib, 3).expect("fits").as_ref(), b"abc");
    }

    #[test]
    fn a_small_body_that_grows_large_is_refused() {
        let bomb = gzip(&vec![0; 1 << 20]);
        assert!(bomb.len() < 1 << 16, "the body itself is within the limit");
        assert_eq!(decompress(Encoding::Gzip, &bomb, 1 << 16), Err(too_large(1 << 16)));
    }

    #[test]
    fn garbage_is_the_callers_mistake() {
        let error = decompress(Encoding::Gzip, b"garbage", 100).expect_err("garbage");
        assert_eq!(error.code(), crate::ErrorCode::InvalidArgument);
    }
}
