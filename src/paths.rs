//! Where things lie on disk when nobody says otherwise.

use std::path::{Path, PathBuf};

/// The per-user data folder: `$XDG_DATA_HOME/manpasik`, else `~/.local/share/manpasik`, else
/// `manpasik-data` in the working directory.
pub(crate) fn default_data_dir() -> PathBuf {
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share")));
    base.map_or_else(|| PathBuf::from("manpasik-data"), |base| base.join("manpasik"))
}

/// Folders searched for bundles: `bundles/` of the working directory or of the source tree the
/// program was built in (`target/release/manpasik`), whichever exists, then `bundles/` of the
/// data folder, where downloaded and newly trained models go.
pub(crate) fn default_bundle_dirs(data_dir: &Path) -> Vec<PathBuf> {
    let beside_program = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.parent()?.parent()?.join("bundles")));
    let shipped = [Some(PathBuf::from("bundles")), beside_program];
    let shipped = shipped.into_iter().flatten().find(|path| path.is_dir());
    shipped.into_iter().chain([data_dir.join("bundles")]).collect()
}
