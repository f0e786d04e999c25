//! A system under measurement: a process and all that it starts, their memory and their time on the processor.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::time::sleep;

use crate::{
    child::{cpu_s, settled, stat},
    http::is_ready,
};

/// Longest wait until a system is ready.
const START_MAX: Duration = Duration::from_secs(120);
/// Longest wait until it has ended.
const STOP_MAX: Duration = Duration::from_secs(12);
/// How often either is looked for.
const STEP: Duration = Duration::from_millis(10);

/// See the module; everything is killed when it is dropped.
pub(super) struct System {
    child: Child,
    pub(super) http: SocketAddr,
    pub(super) grpc: SocketAddr,
    /// From start to ready.
    pub(super) startup: Duration,
}

impl System {
    /// Starts `program` with the arguments for two free ports, and waits until `ready` answers on the first.
    pub(super) async fn start(
        program: &Path,
        ready: &str,
        arguments: impl FnOnce(u16, u16) -> Vec<String>,
    ) -> anyhow::Result<Self> {
        let (http, grpc) = (free_port()?, free_port()?);
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let began = Instant::now();
        let child = Command::new(program)
            .args(arguments(http, grpc))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start `{}`", program.display()))?;
        let mut system = Self { child, http: local(http), grpc: local(grpc), startup: Duration::ZERO };
        while !is_ready(system.http, ready).await {
            if let Some(status) = system.child.try_wait()? {
                bail!("it ended before it was ready: {status}");
            }
            if began.elapsed() > START_MAX {
                system.stop().await;
                bail!("it was not ready within {} s", START_MAX.as_secs());
            }
            sleep(STEP).await;
        }
        system.startup = began.elapsed();
        Ok(system)
    }

    /// Waits until it does nothing any more.
    pub(super) async fn settle(&self) {
        settled(|| self.cpu_s()).await;
    }

    /// Memory that it holds, MiB; what processes share is counted once.
    pub(super) fn memory_mib(&self) -> f64 {
        let kib = |process: &u32| -> Option<f64> {
            let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
            let line = text.lines().find(|line| line.starts_with("Pss:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        self.processes().iter().filter_map(kib).sum::<f64>() / 1024.0
    }

    /// Time that its processes have spent on the processor, seconds.
    pub(super) fn cpu_s(&self) -> f64 {
        self.processes().iter().filter_map(|process| cpu_s(*process)).sum()
    }

    /// The process and all below it.
    fn processes(&self) -> BTreeSet<u32> {
        let mut parents = BTreeMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let process = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            let parent = |process| stat(process)?.get(1)?.parse::<u32>().ok();
            parents.extend(process.and_then(|process| Some((process, parent(process)?))));
        }
        let mut below = BTreeSet::from([self.child.id()]);
        loop {
            let more =
                parents.iter().filter(|(_, parent)| below.contains(parent)).map(|(process, _)| *process);
            let more: Vec<u32> = more.filter(|process| !below.contains(process)).collect();
            if more.is_empty() {
                return below;
            }
            below.extend(more);
        }
    }

    /// Asks it to end and waits until it has.
    pub(super) async fn stop(mut self) {
        self.signal("-TERM");
        let began = Instant::now();
        while began.elapsed() < STOP_MAX && matches!(self.child.try_wait(), Ok(None)) {
            sleep(STEP).await;
        }
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.child.id());
        let sent = Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
        // One that has gone needs no signal.
        drop(sent);
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.signal("-KILL");
        let _ = self.child.wait();
    }
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no loopback port is free")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_never_gets_ready_is_told_with_its_end() {
        let ended = System::start(Path::new("/bin/false"), "/ready", |_, _| Vec::new()).await;
        assert!(ended.err().expect("it ends").to_string().contains("ended before it was ready"));
        let absent = System::start(Path::new("/no/such/program"), "/ready", |_, _| Vec::new()).await;
        assert!(absent.err().expect("not there").to_string().contains("/no/such/program"));
    }

    #[test]
    fn the_processes_below_one_are_counted_with_it() {
        let child = Command::new("sh").args(["-c", "sleep 30 & wait"]).process_group(0).spawn().expect("sh");
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let system = System { child, http: nowhere, grpc: nowhere, startup: Duration::ZERO };
        let until = Instant::now() + Duration::from_secs(10);
        while system.processes().len() < 2 {
            assert!(Instant::now() < until, "the sleep is below the shell");
        }
        assert!(system.memory_mib() > 0.0 && system.cpu_s() >= 0.0);
    }
}
