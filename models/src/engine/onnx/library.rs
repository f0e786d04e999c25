//! Finding and loading the ONNX Runtime library, once per process.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use ort::environment::Environment;

use crate::ModelError;

/// Environment variables that name the library; the first that is set decides.
pub const VARIABLES: [&str; 2] = ["MANPASIK_ONNXRUNTIME", "ORT_DYLIB_PATH"];
/// Name of the engine.
pub(super) const ENGINE: &str = "onnx";
/// What brings the library.
const FIX: &str = "`make setup` installs it";

/// The library's environment lives as long as the process: the library allows only one, ever.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
/// Two threads must not load the library at the same time.
static LOADING: Mutex<()> = Mutex::new(());

/// Where the library is: `configured`, else what the environment names, else a file in one of
/// `folders`. A place that was named and is empty is an error, never passed over in silence.
pub(super) fn find(configured: Option<&Path>, folders: &[PathBuf]) -> Result<PathBuf, ModelError> {
    let from_environment = || VARIABLES.iter().find_map(std::env::var_os).map(PathBuf::from);
    if let Some(path) = configured.map(Path::to_path_buf).or_else(from_environment) {
        return if path.is_file() { Ok(path) } else { Err(missing(&[path])) };
    }
    folders.iter().find_map(|folder| library_in(folder)).ok_or_else(|| missing(folders))
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libonnxruntime.") && path.is_file()
        })
        .collect();
    found.sort();
    found.pop()
}

fn missing(places: &[PathBuf]) -> ModelError {
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    unavailable(format!("the ONNX Runtime library is not in {}; {FIX}", places.join(" or ")))
}

/// Loads the library at `path`; later calls give the same environment whatever their path.
pub(super) fn load(path: &Path) -> Result<&'static Environment, ModelError> {
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    let builder = ort::init_from(path)
        .map_err(|error| unavailable(format!("cannot load `{}`: {error}; {FIX}", path.display())))?;
    let environment = builder
        .with_telemetry(false)
        .build()
        .map_err(|error| unavailable(format!("cannot start: {error}")))?;
    Ok(ENVIRONMENT.get_or_init(|| environment))
}

fn unavailable(reason: String) -> ModelError {
    ModelError::EngineUnavailable { engine: ENGINE, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_place_that_is_empty_is_named_with_the_fix() {
        let path = Path::new("/nonexistent/libonnxruntime.so");
        let message = find(Some(path), &[]).expect_err("no such file").to_string();
        assert!(
            message.contains("/nonexistent/libonnxruntime.so") && message.contains("make setup"),
            "{message}"
        );
    }

    #[test]
    fn the_newest_library_of_a_folder_is_taken_and_other_files_are_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(library_in(folder.path()), None);
        for name in ["libother.so", "libonnxruntime.so.1.30.0", "libonnxruntime.so.1.31.1"] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        assert_eq!(library_in(folder.path()), Some(folder.path().join("libonnxruntime.so.1.31.1")));
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("libonnxruntime.so");
        std::fs::write(&path, "not a library").expect("written");
        if ENVIRONMENT.get().is_none() {
            let error = load(&path).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("libonnxruntime.so"), "{error}");
        }
    }
}
