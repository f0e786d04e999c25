//! From the bytes of a photo to the pixels the network was trained on, within bounds that hold before any pixel is
//! allocated: a compressed image of a few kilobytes can claim to be gigabytes.

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage,
    imageops::{self, FilterType},
};

use crate::ModelError;

/// Height and width of the network's input, pixels.
pub const SIDE: usize = 260;
/// Bytes of an encoded photo, at most.
pub const BYTES_MAX: usize = LIMITS.bytes_max;
/// Subtracted from every 8-bit channel value, the centre the network was trained with.
const PIXEL_MEAN: f32 = 127.0;
/// Divides what is left.
const PIXEL_SCALE: f32 = 128.0;

/// Bounds of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Encoded size.
    pub bytes_max: usize,
    /// Width and height.
    pub side_pixels_max: u32,
    /// Width times height.
    pub area_pixels_max: u64,
    /// What the decoder may allocate besides.
    pub decoder_bytes_max: u64,
}

/// 10 MB, 8192 a side, 40 megapixels as the best telephones take.
const LIMITS: Limits = Limits {
    bytes_max: 10_000_000,
    side_pixels_max: 8192,
    area_pixels_max: 40_000_000,
    decoder_bytes_max: 256 << 20,
};

/// Decodes a JPEG or PNG and brings it to the network's input: upright, padded with black to a centred square, resized
/// to [`SIDE`] with a triangle filter, `(value - 127) / 128`, channel by channel (3 x 260 x 260 values).
///
/// # Errors
/// [`ModelError::Input`] naming `image` and what was expected.
pub fn preprocess(bytes: &[u8]) -> Result<Vec<f32>, ModelError> {
    let square = pad(&decode(bytes)?.into_rgb8());
    let side = SIDE as u32;
    let small = imageops::resize(&square, side, side, FilterType::Triangle);
    let plane = SIDE * SIDE;
    let mut values = vec![0.0; 3 * plane];
    for (index, pixel) in small.pixels().enumerate() {
        for (channel, value) in pixel.0.iter().enumerate() {
            values[channel * plane + index] = (f32::from(*value) - PIXEL_MEAN) / PIXEL_SCALE;
        }
    }
    Ok(values)
}

fn refused(reason: impl Into<String>) -> ModelError {
    ModelError::input("image", reason)
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, ModelError> {
    if bytes.len() > LIMITS.bytes_max {
        return Err(refused(format!("has {} bytes, at most {} are taken", bytes.len(), LIMITS.bytes_max)));
    }
    let format = image::guess_format(bytes).ok();
    let Some(format @ (ImageFormat::Jpeg | ImageFormat::Png)) = format else {
        return Err(refused("is neither JPEG nor PNG"));
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(LIMITS.decoder_bytes_max);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| broken(&error))?;
    check_size(decoder.dimensions())?;
    let orientation = decoder.orientation().map_err(|error| broken(&error))?;
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(|error| broken(&error))?;
    decoded.apply_orientation(orientation);
    Ok(decoded)
}

fn check_size((width, height): (u32, u32)) -> Result<(), ModelError> {
    let side = LIMITS.side_pixels_max;
    if width > side || height > side {
        return Err(refused(format!("is {width} x {height} pixels, at most {side} x {side} are taken")));
    }
    let area = u64::from(width) * u64::from(height);
    if area == 0 || area > LIMITS.area_pixels_max {
        return Err(refused(format!("has {area} pixels, expected 1 to {}", LIMITS.area_pixels_max)));
    }
    Ok(())
}

fn broken(error: &image::ImageError) -> ModelError {
    let side = LIMITS.side_pixels_max;
    match error {
        image::ImageError::Limits(_) => {
            refused(format!("claims more pixels than are taken, at most {side} x {side}"))
        }
        image::ImageError::Decoding(_)
        | image::ImageError::Encoding(_)
        | image::ImageError::Parameter(_)
        | image::ImageError::Unsupported(_)
        | image::ImageError::IoError(_) => refused(format!("cannot be decoded: {error}")),
    }
}

/// Centres the image on a black square.
fn pad(picture: &RgbImage) -> RgbImage {
    let side = picture.width().max(picture.height());
    let mut square = RgbImage::new(side, side);
    let (left, top) = ((side - picture.width()) / 2, (side - picture.height()) / 2);
    imageops::replace(&mut square, picture, i64::from(left), i64::from(top));
    square
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
        let picture = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 255]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).expect("encodes");
        bytes.into_inner()
    }

    fn jpeg(width: u32, height: u32) -> Vec<u8> {
        let picture = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 255]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Jpeg).expect("encodes");
        bytes.into_inner()
    }

    /// One byte changed, and the end cut off.
    fn damaged(mut bytes: Vec<u8>, at: usize, byte: u8, cut: usize) -> Vec<u8> {
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(length - cut % length);
        bytes
    }

    /// A PNG whose header claims another size; the checksum of the header is made right again.
    fn claiming(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = png(2, 2);
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn crc32(data: &[u8]) -> u32 {
        !data.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
        })
    }

    #[test]
    fn a_wide_photo_is_centred_on_black() {
        let values = preprocess(&png(520, 260)).expect("decodes");
        assert_eq!(values.len(), 3 * SIDE * SIDE);
        let blue = |row: usize| values[2 * SIDE * SIDE + row * SIDE + SIDE / 2];
        assert!((blue(0) - (0.0 - 127.0) / 128.0).abs() < 1e-6, "bars above");
        assert!((blue(SIDE / 2) - 1.0).abs() < 1e-6, "photo in the middle");
    }

    #[test]
    fn giants_are_refused_by_their_header() {
        for (width, height) in [(10_001, 10_001), (8193, 1), (u32::MAX >> 1, 1), (8000, 8000)] {
            let error = preprocess(&claiming(width, height)).expect_err("too large").to_string();
            assert!(error.starts_with("image: "), "{error}");
            assert!(error.contains("are taken") || error.contains("pixels"), "{error}");
        }
        let error = preprocess(&claiming(10_001, 10_001)).expect_err("too large").to_string();
        assert_eq!(error, "image: is 10001 x 10001 pixels, at most 8192 x 8192 are taken");
    }

    #[test]
    fn what_is_no_photo_says_so() {
        for bytes in [&b""[..], b"GIF89a", b"hello, this is text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]
        {
            let error = preprocess(bytes).expect_err("no image").to_string();
            assert!(error.starts_with("image: "), "{error}");
        }
        assert!(preprocess(&vec![0; BYTES_MAX + 1]).is_err_and(|e| e.to_string().contains("10000001 bytes")));
    }

    proptest! {
        #[test]
        fn damaged_photos_never_panic(at in 0usize..600, byte: u8, cut in 0usize..600) {
            let _ = preprocess(&damaged(png(16, 12), at, byte, cut));
        }

        /// A million on demand (`PROPTEST_CASES`), as for the decoders of the protocols.
        #[test]
        fn fuzz_decoders_of_photos_never_panic(
            at in 0usize..2000, byte: u8, cut in 0usize..2000, noise in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = decode(&damaged(jpeg(16, 12), at, byte, cut));
            let _ = decode(&damaged(png(16, 12), at, byte, 0));
            let _ = decode(&[&b"\xff\xd8\xff"[..], &noise].concat());
        }
    }
}
