//! A food bundle whose network is made up: class 2 whatever it is shown, and its contrast as features.

use std::path::Path;

use inference::Candidate;
use models::{
    Batch, Calibration, Model, ModelError, Tensor,
    bundle::{BundleConfig, BundleWriter, EngineKind, Family, Golden, config::TensorConfig},
    calibration::{COVERAGE, Food, Part},
};

use crate::{ai, bundles};

const TABLE: &str = "class_index\tlabel\tfdc_type\tfdc_description\tkcal_per_100g\tprotein_g_per_100g\t\
                     fat_g_per_100g\tcarbohydrate_g_per_100g\tportion_g\n\
                     0\tPizza\tfndds\tPizza, cheese\t266\t11\t10\t33\t107\n\
                     2\tEspresso\tfndds\tCoffee, espresso\t9\t0.1\t0.2\t1.7\t30\n";

struct AlwaysEspresso;

impl Model for AlwaysEspresso {
    fn run(&mut self, batch: Batch) -> Result<Batch, ModelError> {
        let rows = batch.rows();
        let logits = Tensor::from_f32(vec![rows, 3], &[0.0, 0.0, 9.0].repeat(rows))?;
        let pixels = batch.tensors[0].as_f32()?;
        let contrast = |pixels: &[f32]| {
            let mean = pixels.iter().sum::<f32>() / pixels.len() as f32;
            [10.0 * pixels.iter().map(|pixel| (pixel - mean).abs()).sum::<f32>() / pixels.len() as f32, 1.0]
        };
        let features: Vec<f32> = pixels.chunks_exact(3 * 260 * 260).flat_map(contrast).collect();
        Ok(Batch { tensors: vec![logits, Tensor::from_f32(vec![rows, 2], &features)?] })
    }
}

/// The model, ready to be served.
pub(crate) fn candidate(dir: &Path) -> Candidate {
    let template = bundles::quality(&dir.join("template"));
    let config = BundleConfig {
        name: "food".into(),
        family: Family::Food,
        task: "food".into(),
        engine: EngineKind::Onnx,
        synthetic: false,
        labels: Vec::new(),
        network: None,
        inputs: vec![TensorConfig::rows("image", &[3, 260, 260])],
        outputs: vec![TensorConfig::rows("logits", &[3]), TensorConfig::rows("features", &[2])],
        ..template.config().clone()
    };
    let signature = config.signature().expect("signature");
    let image = Tensor::from_f32(vec![1, 3, 260, 260], &vec![0.0; 3 * 260 * 260]).expect("fits");
    let golden = Golden::record(&mut AlwaysEspresso, &signature, vec![image]).expect("runs");
    let food = Food { unsure_below: 0.5, bins: Vec::new(), portion_uncertainty: 0.4 };
    let calibration = Calibration::new(COVERAGE, 50, Part::Food(food)).expect("valid");
    let bundle = BundleWriter::new(config)
        .weights(b"made up".to_vec())
        .golden(&golden)
        .expect("golden")
        .calibration(String::from_utf8(calibration.to_json().expect("writes")).expect("text"))
        .card("# A food model for tests\n")
        .file("nutrition.tsv", TABLE)
        .write(dir.join("food").join("1"))
        .expect("writes");
    ai::candidate(&bundle, Box::new(|| Ok(Box::new(AlwaysEspresso) as Box<dyn Model>)))
}

/// A photo of nothing, 1 x 1 pixel.
pub(crate) fn photo() -> Vec<u8> {
    const PNG: &str = "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de\
                       0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082";
    (0..PNG.len()).step_by(2).filter_map(|at| u8::from_str_radix(&PNG[at..at + 2], 16).ok()).collect()
}
