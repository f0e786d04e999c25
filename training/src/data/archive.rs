//! Single members streamed out of a wheel (zip), a source package (tar.gz) or a Debian package (an `ar` that holds a
//! tar.xz), nothing ever unpacked to disk.
//!
//! Names come from our lock or from patterns in it, and bytes go to memory, so a hostile member name has
//! nowhere to go; names with `..` are refused all the same. What a member may grow to is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
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
        Ecosystem::PypiSdist | Ecosystem::Npm | Ecosystem::Debian => {
            let mut tar = tar::Archive::new(unpacked(file, ecosystem).map_err(|e| fail(e.to_string()))?);
            for entry in tar.entries().map_err(|e| fail(e.to_string()))? {
                let mut entry = entry.map_err(|e| fail(e.to_string()))?;
                if name_of(&entry.path_bytes()) != member || !entry.header().entry_type().is_file() {
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

/// Members by name, all found in one pass: a compressed tar has no index.
///
/// # Errors
/// Those of [`with_member`], for the first member that is not there.
pub(super) fn members(
    archive: &Path,
    ecosystem: Ecosystem,
    wanted: &BTreeSet<String>,
    limit: u64,
) -> Result<BTreeMap<String, Vec<u8>>, TrainingError> {
    let mut found = BTreeMap::new();
    if ecosystem == Ecosystem::PypiWheel {
        for member in wanted {
            let bytes = with_member(archive, ecosystem, member, limit, |reader| all_of(reader, member))?;
            found.insert(member.clone(), bytes);
        }
        return Ok(found);
    }
    let fail = |member: &str, reason: String| TrainingError::Member {
        archive: archive.to_path_buf(),
        member: member.to_owned(),
        reason,
    };
    let file = BufReader::new(File::open(archive).map_err(TrainingError::io("open", archive))?);
    let broken = |e: io::Error| fail("*", e.to_string());
    let mut tar = tar::Archive::new(unpacked(file, ecosystem).map_err(broken)?);
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = name_of(&entry.path_bytes());
        if !wanted.contains(&name) || !is_safe(&name) || !entry.header().entry_type().is_file() {
            continue;
        }
        if entry.size() > limit {
            return Err(fail(&name, format!("{} bytes are more than the limit of {limit}", entry.size())));
        }
        let bytes = all_of(&mut (&mut entry).take(limit), &name)?;
        found.insert(name, bytes);
    }
    match wanted.iter().find(|name| !found.contains_key(*name)) {
        Some(missing) => Err(fail(missing, "no such member".to_owned())),
        None => Ok(found),
    }
}

fn all_of(reader: &mut dyn Read, member: &str) -> Result<Vec<u8>, TrainingError> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(TrainingError::io("read", member))?;
    Ok(bytes)
}

/// The name of a tar entry, without the `./` that Debian puts before it.
fn name_of(path: &[u8]) -> String {
    let name = String::from_utf8_lossy(path);
    name.strip_prefix("./").unwrap_or(&name).to_owned()
}

/// The tar inside a package file.
fn unpacked(mut file: BufReader<File>, ecosystem: Ecosystem) -> io::Result<Box<dyn Read>> {
    if ecosystem != Ecosystem::Debian {
        return Ok(Box::new(GzDecoder::new(file)));
    }
    let size = seek_data(&mut file)?;
    let (reader, mut writer) = io::pipe()?;
    // The decoder writes where tar reads. A tar that has read enough closes the pipe, which ends the thread.
    std::thread::spawn(move || {
        let mut data = BufReader::new(file.take(size));
        let _ = lzma_rs::xz_decompress(&mut data, &mut writer);
    });
    Ok(Box::new(BufReader::with_capacity(1 << 16, reader)))
}

/// Moves to the data of a Debian package, whose `ar` has a line of 60 bytes before each part; gives its size.
fn seek_data(file: &mut impl BufRead) -> io::Result<u64> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut magic = [0; 8];
    file.read_exact(&mut magic)?;
    if magic != *b"!<arch>\n" {
        return Err(broken("is no Debian package"));
    }
    loop {
        let mut header = [0; 60];
        file.read_exact(&mut header).map_err(|_| broken("holds no data.tar.xz"))?;
        let text = String::from_utf8_lossy(&header);
        let size: u64 = text
            .get(48..58)
            .and_then(|size| size.trim().parse().ok())
            .ok_or_else(|| broken("has a part without a size"))?;
        if text.starts_with("data.tar.xz") {
            return Ok(size);
        }
        // Parts begin at even places.
        io::copy(&mut file.by_ref().take(size + size % 2), &mut io::sink())?;
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
        Ecosystem::PypiSdist | Ecosystem::Npm | Ecosystem::Debian => {
            let mut tar = tar::Archive::new(unpacked(file, ecosystem).map_err(|e| fail(e.to_string()))?);
            for entry in tar.entries().map_err(|e| fail(e.to_string()))? {
                let entry = entry.map_err(|e| fail(e.to_string()))?;
                if entry.header().entry_type().is_file() {
                    names.push(name_of(&entry.path_bytes()));
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

    /// A Debian package: `ar` of a version, an empty control part and the data.
    fn deb_with(path: &Path, member: &str, content: &[u8]) {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("./{member}"), content).expect("append");
        let mut data = Vec::new();
        lzma_rs::xz_compress(&mut &tar.into_inner().expect("tar")[..], &mut data).expect("xz");
        let mut file = b"!<arch>\n".to_vec();
        for (name, part) in
            [("debian-binary", &b"2.0\n"[..]), ("control.tar.xz", b"odd"), ("data.tar.xz", &data)]
        {
            let size = part.len();
            file.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644).bytes());
            file.extend(part);
            file.extend(vec![b'\n'; size % 2]);
        }
        std::fs::write(path, file).expect("write");
    }

    fn text(archive: &Path, kind: Ecosystem, member: &str, limit: u64) -> Result<String, TrainingError> {
        with_member(archive, kind, member, limit, |r| {
            let mut out = String::new();
            r.read_to_string(&mut out).map_err(TrainingError::io("read", archive))?;
            Ok(out)
        })
    }

    #[test]
    fn all_containers_give_the_same_member_and_the_same_refusals() {
        let dir = tempfile::tempdir().expect("dir");
        let (zip, tar, deb) =
            (dir.path().join("a.whl"), dir.path().join("a.tar.gz"), dir.path().join("a.deb"));
        zip_with(&zip, "pkg/data/a.csv", b"x,y\n1,2\n");
        tar_with(&tar, "pkg/data/a.csv", b"x,y\n1,2\n");
        deb_with(&deb, "pkg/data/a.csv", b"x,y\n1,2\n");
        let all = [(zip, Ecosystem::PypiWheel), (tar, Ecosystem::PypiSdist), (deb, Ecosystem::Debian)];
        for (path, kind) in all {
            let wanted = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let found = members(&path, kind, &wanted(&["pkg/data/a.csv"]), 100).expect("there");
            assert_eq!(found["pkg/data/a.csv"], b"x,y\n1,2\n");
            let none = members(&path, kind, &wanted(&["pkg/data/a.csv", "pkg/b"]), 100).expect_err("missing");
            assert!(none.to_string().contains("pkg/b"), "{none}");
            assert!(members(&path, kind, &wanted(&["pkg/data/a.csv"]), 3).is_err());
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
        for kind in [Ecosystem::PypiWheel, Ecosystem::Npm, Ecosystem::Debian] {
            assert!(text(&path, kind, "a", 100).is_err());
            assert!(members_like(&path, kind, "*").is_err());
        }
    }
}
