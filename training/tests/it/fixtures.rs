//! Stores over packages made here: the committed lock with the hashes of hand-made files, so the whole way
//! from lock to typed rows runs without a network and without anyone's data.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use training::data::{Ecosystem, Limits, Lock, Source, Store};

/// A store whose source `id` holds `members`, and the folder it lives in.
pub(crate) fn store_of(id: &str, members: &[(&str, &str)]) -> (Store, TempDir) {
    store_with_limits(id, members, Limits::default())
}

/// The same with other limits.
pub(crate) fn store_with_limits(id: &str, members: &[(&str, &str)], limits: Limits) -> (Store, TempDir) {
    let dir = tempfile::tempdir().expect("folder");
    let mut lock = Lock::embedded().expect("lock");
    for source in lock.sources.iter_mut().filter(|source| source.id == id) {
        put(source, members, dir.path());
    }
    (Store::with_lock(dir.path(), lock, limits).expect("store"), dir)
}

/// Packs `members` as the ecosystem does, pins the result, and lays it where a download would lie.
fn put(source: &mut Source, members: &[(&str, &str)], dir: &Path) {
    let bytes = match source.ecosystem {
        Ecosystem::PypiWheel => wheel(members),
        Ecosystem::PypiSdist | Ecosystem::Npm => tarball(members),
        Ecosystem::Debian => panic!("no source of that kind is made by hand"),
    };
    source.sha256 = hex::encode(Sha256::digest(&bytes));
    source.bytes = bytes.len() as u64;
    let downloads = dir.join("downloads");
    std::fs::create_dir_all(&downloads).expect("folder");
    std::fs::write(downloads.join(&source.file), bytes).expect("file");
}

fn wheel(members: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).expect("member");
        zip.write_all(text.as_bytes()).expect("member");
    }
    zip.finish().expect("zip").into_inner()
}

fn tarball(members: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, text) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).expect("member");
    }
    tar.into_inner().expect("tar").finish().expect("gzip")
}

/// One line of delimited text: the cells of `row` under `columns`, empty where it has none.
pub(crate) fn line(columns: &[&str], row: &[(&str, &str)], delimiter: &str) -> String {
    let row: BTreeMap<&str, &str> = row.iter().copied().collect();
    let cells: Vec<&str> = columns.iter().map(|column| row.get(column).copied().unwrap_or("")).collect();
    cells.join(delimiter) + "\n"
}
