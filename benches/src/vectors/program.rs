//! Another index library as a program of its own, given the same vectors, questions and answers in files.
//!
//! It is called with a folder and the dimension; the folder holds `vectors.f32`, `queries.f32` and `truth.u64`,
//! little-endian, row after row. Its one line of output is shown beside the store's figures.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::data::{DIMENSION, Set};

/// Vectors written at a time.
const PIECE: u64 = 1_000;

/// What `program` says of itself on `points` vectors of `set`.
pub(super) fn measure(
    program: &Path,
    set: &Set,
    points: u64,
    queries: &[Vec<f32>],
    truth: &[HashSet<u64>],
) -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let mut vectors = file(folder.path(), "vectors.f32")?;
    for first in (0..points).step_by(PIECE as usize) {
        write(&mut vectors, &set.vectors(first..points.min(first + PIECE)), f32::to_le_bytes)?;
    }
    vectors.flush()?;
    let (mut questions, mut answers) =
        (file(folder.path(), "queries.f32")?, file(folder.path(), "truth.u64")?);
    for (query, truth) in queries.iter().zip(truth) {
        write(&mut questions, query, f32::to_le_bytes)?;
        write(&mut answers, &truth.iter().copied().collect::<Vec<_>>(), u64::to_le_bytes)?;
    }
    questions.flush()?;
    answers.flush()?;
    let name = || program.display().to_string();
    let output = Command::new(program).arg(folder.path()).arg(DIMENSION.to_string()).output();
    let output = output.with_context(|| format!("cannot start `{}`", name()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` failed: {}", name(), errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn file(folder: &Path, name: &str) -> anyhow::Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(folder.join(name))?))
}

fn write<T: Copy, const N: usize>(
    to: &mut impl Write,
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> std::io::Result<()> {
    values.iter().try_for_each(|value| to.write_all(&bytes(*value)))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::data::Kind;
    use super::*;

    fn script(text: &str) -> tempfile::TempPath {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        writeln!(file, "#!/bin/sh\n{text}").expect("writes");
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o700)).expect("sets");
        file.into_temp_path()
    }

    #[test]
    fn the_program_finds_its_files_and_its_line_is_kept() {
        let set = Set::new(Kind::Isotropic);
        let ask =
            |script: &Path| measure(script, &set, 1_200, &set.queries(2), &vec![HashSet::from([1, 2, 3]); 2]);
        let sizes =
            script("cd $1; echo $(wc -c < vectors.f32) $(wc -c < queries.f32) $(wc -c < truth.u64) $2");
        let wanted = format!("{} {} {} {DIMENSION}", 1_200 * DIMENSION * 4, 2 * DIMENSION * 4, 2 * 3 * 8);
        assert_eq!(ask(&sizes).expect("a line"), wanted);
        let error = ask(&script("echo no such index >&2; exit 3")).expect_err("fails").to_string();
        assert!(error.ends_with("failed: no such index"), "{error}");
    }
}
