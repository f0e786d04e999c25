//! Settings as they meet the program: which source wins, what is refused, and that all faults come at once.

use tempfile::{NamedTempFile, TempDir};

use crate::support::{Ran, program, run, run_with};

/// A configuration file of that text.
fn file(text: &str) -> NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a temporary file");
    std::fs::write(file.path(), text).expect("written");
    file
}

/// The configuration in force with that file, environment and further arguments.
fn dump(text: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let file = file(text);
    run_with(
        &[arguments, &["--config", &file.path().to_string_lossy(), "--dump-config"]].concat(),
        environment,
    )
}

fn grpc_of(ran: Ran) -> String {
    let table: toml::Table = ran.ok().out.parse().expect("TOML");
    table["server"]["grpc"].as_str().expect("an address").to_owned()
}

const FILE: &str = "[server]\ngrpc = \"127.0.0.1:2\"\n";
const ENVIRONMENT: (&str, &str) = ("MANPASIK__SERVER__GRPC", "127.0.0.1:3");

#[test]
fn the_file_beats_the_default_the_environment_the_file_and_the_command_line_all() {
    assert_eq!(grpc_of(dump("", &[], &[])), "127.0.0.1:50051");
    assert_eq!(grpc_of(dump(FILE, &[], &[])), "127.0.0.1:2");
    assert_eq!(grpc_of(dump(FILE, &[ENVIRONMENT], &[])), "127.0.0.1:3");
    assert_eq!(grpc_of(dump(FILE, &[ENVIRONMENT], &["serve", "--grpc", "127.0.0.1:4"])), "127.0.0.1:4");
}

#[test]
fn a_dump_is_a_file_that_gives_the_same_dump() {
    let first = dump("[log]\njson = true\n[services]\nenabled = []\n", &[], &[]).ok().out;
    let data =
        |text: &str| text.lines().filter(|line| !line.starts_with("data_dir")).collect::<Vec<_>>().join("\n");
    let again = dump(&first, &[], &[]).ok().out;
    assert_eq!(data(&again), data(&first));
}

#[test]
fn every_fault_of_every_source_is_told_in_one_answer() {
    let text = "colour = 1\n[server]\nport = 2\nshutdown_grace_ms = 0\n[services]\nenabled = [\"billing\"]\n";
    let ran = dump(text, &[("MANPASIK__MODELS__ONNX_THREADS", "0"), ("MANPASIK__LOG__COLOUR", "red")], &[]);
    ran.refused(&["colour: unknown key", "server.port: unknown key", "log.colour: unknown key"]);
    let values = "[server]\nshutdown_grace_ms = 0\n[auth]\ntoken_cache_ms = 600000\n[services]\nenabled = [\"billing\"]\n";
    dump(values, &[("MANPASIK__MODELS__ONNX_THREADS", "0")], &[]).refused(&[
        "4 fault(s)",
        "server.shutdown_grace_ms",
        "token_cache_ms: must be at most 60000",
        "`billing`; there are measurement",
        "models.onnx_threads",
    ]);
}

#[test]
fn an_unknown_key_is_told_with_the_known_ones() {
    dump("[models]\nbundels = []\n", &[], &[]).refused(&["models.bundels", "bundles", "onnxruntime"]);
    dump("", &[("MANPASIK__SERVER__GPRC", "127.0.0.1:1")], &[]).refused(&["server.gprc", "grpc"]);
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_its_key() {
    dump("[server]\ngrpc = \"nowhere\"\n", &[], &[]).refused(&["grpc"]);
    dump("[log]\njson = \"perhaps\"\n", &[], &[]).refused(&["json"]);
    dump("server = 7\n", &[], &[]).refused(&["server"]);
}

#[test]
fn a_file_that_is_not_there_or_no_toml_is_named() {
    run(&["--config", "/nonexistent/m.toml", "--dump-config"]).refused(&["/nonexistent/m.toml"]);
    let broken = file("[server\n");
    run(&["--config", &broken.path().to_string_lossy(), "--dump-config"]).refused(&["configuration"]);
}

#[test]
fn a_filter_that_is_none_is_refused_before_anything_starts() {
    run(&["--log", "inference=loudly", "models", "list"]).refused(&["log.filter", "inference=loudly"]);
}

#[test]
fn an_address_in_use_is_named_with_the_option_that_changes_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    for option in ["--grpc", "--http"] {
        let other = if option == "--grpc" { "--http" } else { "--grpc" };
        let ran = run(&["serve", option, &address, other, "127.0.0.1:0"]);
        ran.refused(&[&address, option]);
    }
}

#[test]
fn a_file_in_the_place_of_the_data_folder_is_named() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("data");
    std::fs::write(&path, "in the way").expect("written");
    let output = program(&path).args(["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]).output();
    let output = output.expect("the program runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&*path.to_string_lossy()), "{error}");
}
