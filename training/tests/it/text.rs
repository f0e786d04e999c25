//! The text encoder against the real download: the bundle, the tokens and the vectors.

use models::{
    Batch, Bundle,
    engine::CandleEngine,
    family::encoder::{Encoder, Tokens, VOCABULARY_FILE},
};
use training::text::{NAME, PUBLISHED, references, write_bundle};

use crate::real_data::installed;

/// Texts and their ids by the Python package `tokenizers`, escaped as JSON.
const TOKENS: &str = include_str!("../../assets/text_tokens.tsv");

#[allow(clippy::print_stderr)]
fn bundle() -> Option<Bundle> {
    let bundles = installed().join("bundles");
    if !bundles.join(NAME).is_dir() {
        eprintln!("skipped: the text encoder is not installed: run `manpasik models fetch text`");
        return None;
    }
    // It is there, so nothing is fetched.
    let folder = write_bundle(&installed(), &bundles).expect("a bundle");
    Some(Bundle::open(folder).expect("a whole bundle"))
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn embed(bundle: &Bundle, texts: &[String]) -> Vec<Vec<f32>> {
    let encoder = Encoder::new(bundle).expect("fits");
    let mut model = bundle.load(&CandleEngine::new()).expect("golden outputs come back");
    let encoded = encoder.encode(texts).expect("encodes");
    let outputs = model.run(Batch { tensors: encoded.tensors.clone() }).expect("runs").tensors;
    encoder.decode(&encoded, &outputs).expect("decodes")
}

#[test]
fn vectors_are_those_of_the_reference_and_do_not_depend_on_the_batch() {
    let Some(bundle) = bundle() else { return };
    let references = references().expect("readable");
    let texts: Vec<String> = references.iter().map(|reference| reference.text.clone()).collect();
    let together = embed(&bundle, &texts);
    for (got, want) in together.iter().zip(&references) {
        let cosine = cosine(got, &want.vector);
        assert!(cosine > 0.9999, "{}: {cosine}", want.text);
    }
    for ((a, b), want) in [(0, 1), (0, 2), (1, 2)].into_iter().zip(PUBLISHED) {
        assert!((cosine(&together[a], &together[b]) - want).abs() < 1e-4);
    }
    let alone = embed(&bundle, &texts[3..4]);
    assert_eq!(alone[0], together[3], "bit for bit");
}

#[test]
fn tokens_are_those_of_the_published_tokenizer() {
    let Some(bundle) = bundle() else { return };
    let tokens = Tokens::parse(&bundle.file(VOCABULARY_FILE).expect("there")).expect("a vocabulary");
    let lines = TOKENS.lines().filter(|line| !line.starts_with('#'));
    let golden = lines.map(|line| line.split_once('\t').expect("two cells"));
    let golden =
        golden.map(|(text, ids)| (serde_json::from_str::<String>(text).expect("JSON"), ids.to_owned()));
    let reference = references().expect("readable").into_iter();
    let reference = reference.map(|one| {
        let ids: Vec<String> = one.ids.iter().map(i64::to_string).collect();
        (one.text, ids.join(" "))
    });
    for (text, want) in golden.chain(reference) {
        let (row, truncated) = tokens.encode(&text, 256).expect("encodes");
        let got: Vec<String> = row.iter().take_while(|id| **id != 0).map(i64::to_string).collect();
        assert_eq!(got.join(" "), want, "{text:?}");
        assert!(!truncated);
    }
    let (row, truncated) = tokens.encode(&"word ".repeat(300), 256).expect("encodes");
    assert!(truncated && row.len() == 256 && row[255] == 102);
    assert!(
        !tokens.encode("[SEP] a", 256).expect("encodes").0[1..5].contains(&102),
        "special words are text"
    );
}

#[test]
fn what_cannot_be_encoded_is_refused_by_name() {
    let Some(bundle) = bundle() else { return };
    let encoder = Encoder::new(&bundle).expect("fits");
    let cases: [(Vec<String>, &str); 4] = [
        (vec![], "texts: "),
        (vec!["a".into(); 65], "texts: "),
        (vec!["a".into(), " \n".into()], "texts[1]: is blank"),
        (vec!["a".repeat(9000)], "texts[0]: "),
    ];
    for (texts, want) in cases {
        let error = encoder.encode(&texts).expect_err(want).to_string();
        assert!(error.starts_with(want), "{error}");
    }
}
