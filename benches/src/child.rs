//! Servers as child processes: started, asked for their address, and stopped when dropped.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// A server process; killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens for gRPC.
    pub address: SocketAddr,
    /// From start to the line that names the address.
    pub startup: Duration,
}

impl Server {
    /// Runs this very program with `arguments` and waits for a line `listening grpc=ADDR …`.
    pub fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let start = Instant::now();
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `manpasik {}`", arguments.join(" ")))?;
        let Some(output) = child.stdout.take() else { bail!("the child has no standard output") };
        for line in BufReader::new(output).lines() {
            if let Some(address) = address_in(&line?) {
                return Ok(Self { child, address, startup: start.elapsed() });
            }
        }
        let status = child.wait()?;
        bail!("`manpasik {}` ended before it listened: {status}", arguments.join(" "))
    }

    /// Resident memory now, bytes; `None` where the system does not say.
    pub fn resident_bytes(&self) -> Option<u64> {
        resident_bytes(self.child.id())
    }
}

/// Resident memory of a process, bytes; `None` where the system does not say.
pub fn resident_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a line such as `listening grpc=127.0.0.1:50051 http=127.0.0.1:8080`.
fn address_in(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("listening ")?.split(' ').find_map(|part| part.strip_prefix("grpc="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::address_in;

    #[test]
    fn the_address_is_found_only_in_the_right_line() {
        let line = "listening grpc=127.0.0.1:50051 http=127.0.0.1:8080";
        assert_eq!(address_in(line), "127.0.0.1:50051".parse().ok());
        assert_eq!(address_in("grpc=127.0.0.1:50051"), None);
        assert_eq!(address_in("listening grpc=nowhere"), None);
    }
}
