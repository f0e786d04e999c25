//! One file per command. A command prints its answer here and nowhere else.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod eval;
pub(crate) mod foods;
pub(crate) mod gate;
pub(crate) mod models;
pub(crate) mod predict;
pub(crate) mod predictions;
pub(crate) mod registered;
mod release;
pub(crate) mod replay;
pub(crate) mod runs;
pub(crate) mod search;
pub(crate) mod serve;
mod show;
pub(crate) mod tokens;
pub(crate) mod train;
pub(crate) mod vectors;
mod versions;

use std::io::Write;

use anyhow::Context;
use serde::Serialize;
use services::kernel::GrpcService;

/// Writes `text` and a line end to standard output; a closed pipe is not an error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes `value` as indented JSON to standard output.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value).context("cannot write the answer as JSON")?)
}

/// `server` as the holder of `token` calls it; as it is without one.
pub(crate) fn bearing(server: GrpcService, token: Option<&str>) -> anyhow::Result<GrpcService> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(server) };
    let header = format!("Bearer {token}").parse().context("the token holds what no header can")?;
    Ok(services::kernel::bearing(server, header))
}

/// A runtime with as many workers as cores.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the async runtime")
}

/// A bordered table.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table.to_string()
}
