//! Generates the Rust code of every `.proto` file with a compiler written in Rust, so no
//! external tool is needed. The descriptor set is kept for reflection and OpenAPI.

use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 9] = [
    "inference/model_config.proto",
    "inference/grpc_service.proto",
    "manpasik/v1/common.proto",
    "manpasik/v1/ai_inference.proto",
    "manpasik/v1/food.proto",
    "manpasik/v1/knowledge.proto",
    "manpasik/v1/measurement.proto",
    "manpasik/v1/events.proto",
    "manpasik/v1/vector.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(FILES, ["proto"])?;
    let encoded = prost::Message::encode_to_vec(&descriptors);
    fs::write(out.join("descriptors.bin"), &encoded)?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::SmallBuffers")
        .compile_fds(descriptors)?;
    pbjson_build::Builder::new().register_descriptors(&encoded)?.build(&[".manpasik.v1"])?;
    Ok(())
}
