//! Servers as child processes: started, asked for their address, and stopped when dropped.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::time::sleep;

/// Part of one core that a server at rest may take, how long that is looked at, and how long it is waited for.
const IDLE_SHARE: f64 = 0.1;
const SETTLE_STEP: Duration = Duration::from_secs(1);
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// Ticks of a processor's clock in a second, as Linux counts them for programs.
const TICKS_PER_S: f64 = 100.0;

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

    /// Waits until it does nothing any more.
    pub async fn settle(&self) {
        settled(|| cpu_s(self.child.id()).unwrap_or_default()).await;
    }
}

/// Waits until what has spent so many seconds on the processor does nothing any more: what is still done after a start is
/// not part of an answer.
pub(crate) async fn settled(cpu_s: impl Fn() -> f64) {
    let (began, mut busy) = (Instant::now(), f64::INFINITY);
    while busy > IDLE_SHARE && began.elapsed() < SETTLE_MAX {
        let (before, since) = (cpu_s(), Instant::now());
        sleep(SETTLE_STEP).await;
        busy = (cpu_s() - before) / since.elapsed().as_secs_f64();
    }
}

/// Time that a process has spent on the processor, seconds; `None` where the system does not say.
pub(crate) fn cpu_s(process: u32) -> Option<f64> {
    let fields = stat(process)?;
    // User and system time: fields 14 and 15 of the line, counted from its first.
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / TICKS_PER_S)
}

/// What the system says of a process behind its name, which is in brackets and may hold anything.
pub(crate) fn stat(process: u32) -> Option<Vec<String>> {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(line.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
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
