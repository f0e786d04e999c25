//! What was measured of each system, and the table of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{OURS, Peer, Protocol};
use crate::{
    report::{Row, Target},
    stats::{Phase, median},
};

/// One phase.
#[derive(Debug, Clone, Serialize)]
pub struct Level {
    /// `mlp` or `image`.
    pub model: String,
    /// How it was asked.
    pub protocol: &'static str,
    /// Requests outstanding.
    pub in_flight: usize,
    /// Answers a second.
    pub per_s: f64,
    /// Latencies, µs.
    pub p50_us: f64,
    /// See above.
    pub p99_us: f64,
    /// Time on the processor for each answer, µs, of all processes of the system.
    pub cpu_us: f64,
    /// Requests that were not answered, or with an error.
    pub errors: u64,
}

impl Level {
    pub(super) fn of(model: &str, protocol: Protocol, in_flight: usize, phase: &Phase, cpu_s: f64) -> Self {
        let answers = phase.latency_us.len().max(1) as f64;
        Self {
            model: model.to_owned(),
            protocol: protocol.name(),
            in_flight,
            per_s: phase.rate(),
            p50_us: phase.quantile_us(0.5),
            p99_us: phase.quantile_us(0.99),
            cpu_us: cpu_s * 1e6 / answers,
            errors: phase.errors,
        }
    }
}

/// One round of one system.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Measured {
    /// Seconds from start to ready.
    pub startup_s: f64,
    /// MiB when ready.
    pub idle_mib: f64,
    /// MiB after the load.
    pub loaded_mib: f64,
    /// Every phase.
    pub levels: Vec<Level>,
}

/// Every round of one system.
#[derive(Debug, Clone, Serialize)]
struct Rounds {
    name: String,
    server: String,
    rounds: Vec<Measured>,
}

/// The whole run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Table {
    /// Processor model and core count.
    pub machine: String,
    /// Rounds asked for.
    pub rounds: usize,
    systems: Vec<Rounds>,
    /// What could not be measured, and why.
    pub skipped: BTreeMap<String, String>,
}

/// A phase of every round, told apart from the others of its system.
type Key = (String, &'static str, usize);

impl Table {
    /// Of a run of so many rounds, still empty.
    pub(super) fn of(machine: String, rounds: usize) -> Self {
        Self { machine, rounds, ..Self::default() }
    }

    pub(super) fn add(&mut self, peer: &Peer, measured: Measured) {
        match self.systems.iter_mut().find(|rounds| rounds.name == peer.name) {
            Some(rounds) => rounds.rounds.push(measured),
            None => self.systems.push(Rounds {
                name: peer.name.clone(),
                server: peer.server.clone(),
                rounds: vec![measured],
            }),
        }
    }

    /// Medians over the rounds as Markdown tables: a table of each model and way to ask, and one of memory and start.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for model in ["mlp", "image"] {
            text += &self.of_model(model);
        }
        text += "\n| server | ready after, s | memory when ready, MiB | after the load, MiB |\n|---|---|---|---|\n";
        for system in &self.systems {
            let of = |figure: &dyn Fn(&Measured) -> f64| {
                median(&system.rounds.iter().map(figure).collect::<Vec<_>>())
            };
            text += &format!(
                "| {} | {:.2} | {:.0} | {:.0} |\n",
                system.server,
                of(&|round| round.startup_s),
                of(&|round| round.idle_mib),
                of(&|round| round.loaded_mib)
            );
        }
        text += &self.targets();
        for (name, reason) in &self.skipped {
            text += &format!("\nNot measured: {name}: {reason}\n");
        }
        text + &format!("\nMedians of {} rounds. Machine: {}\n", self.rounds, self.machine)
    }

    /// What the small network with 64 in flight is meant to reach.
    fn targets(&self) -> String {
        let at = |protocol: Protocol| ("mlp".to_owned(), protocol.name(), 64);
        let mut rows: Vec<Row> = Vec::new();
        let mut best_json = None;
        for system in self.systems.iter().filter(|system| system.name != OURS) {
            let ours = |key: &Key, theirs: &Key, figure: &dyn Fn(&Level) -> f64| {
                self.within(key, system, theirs, figure)
            };
            let Some(natural) = system.keys().into_iter().find(|key| key.0 == "mlp" && key.2 == 64) else {
                continue;
            };
            let (grpc, is_triton) = (at(Protocol::OipGrpc), system.name == "triton");
            let mut row = |what: &str, figure: &dyn Fn(&Level) -> f64, target| {
                let Some(ratio) = ours(&grpc, &natural, figure) else { return };
                let measure =
                    format!("mlp, 64 in flight, each its natural way: {what}, ours over {}'s", system.server);
                rows.push(Row::new(&measure, format!("{ratio:.2} times"), String::new(), ratio, target));
            };
            row("answers/s", &|level| level.per_s, Target::AtLeast(if is_triton { 3.0 } else { 20.0 }));
            if is_triton {
                row("p99", &|level| level.p99_us, Target::AtMost(0.5));
                row("CPU a request", &|level| level.cpu_us, Target::AtMost(0.5));
            }
            for json in [at(Protocol::OipHttp), at(Protocol::Json)] {
                let ratio = ours(&at(Protocol::OipHttp), &json, &|level| level.per_s);
                best_json = [best_json, ratio].into_iter().flatten().reduce(f64::min);
            }
        }
        if let Some(ratio) = best_json {
            let measure = "mlp, 64 in flight, HTTP JSON: answers/s, ours over the best peer's";
            let value = format!("{ratio:.2} times");
            rows.push(Row::new(measure, value, String::new(), ratio, Target::AtLeast(3.0)));
        }
        let told = rows.iter().map(|row| {
            let met = if row.met { "yes" } else { "no" };
            format!("| {} | {} | {} | {met} |\n", row.measure, row.value, row.target)
        });
        format!("\n| measure | value | target | met |\n|---|---|---|---|\n{}", told.collect::<String>())
    }

    /// Our figure over that of `system`, as the median over rounds.
    fn within(&self, own: &Key, system: &Rounds, key: &Key, figure: &dyn Fn(&Level) -> f64) -> Option<f64> {
        let ours = self.systems.iter().find(|system| system.name == OURS)?;
        let (own, theirs) = (ours.each(own).map(figure), system.each(key).map(figure));
        let ratios: Vec<f64> = own.zip(theirs).map(|(own, theirs)| own / theirs).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    fn of_model(&self, model: &str) -> String {
        let mut text = format!(
            "\n`{model}`:\n\n| server | asked by | in flight | answers/s | ours, times as many | p50, ms | p99, ms | ours, \
             times as long | CPU a request, µs | ours, part of it | errors |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
        );
        for system in &self.systems {
            for key in system.keys().into_iter().filter(|key| key.0 == model) {
                let of = |figure: &dyn Fn(&Level) -> f64| {
                    median(&system.each(&key).map(figure).collect::<Vec<_>>())
                };
                let ratio = |figure: &dyn Fn(&Level) -> f64| self.ratio(system, &key, figure);
                let errors: u64 = system.each(&key).map(|level| level.errors).sum();
                let told = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
                text += &format!(
                    "| {} | {} | {} | {:.0} | {} | {:.2} | {:.2} | {} | {:.0} | {} | {errors} |\n",
                    system.server,
                    key.1,
                    key.2,
                    of(&|level| level.per_s),
                    told(ratio(&|level| level.per_s)),
                    of(&|level| level.p50_us) / 1e3,
                    of(&|level| level.p99_us) / 1e3,
                    told(ratio(&|level| level.p99_us)),
                    of(&|level| level.cpu_us),
                    told(ratio(&|level| level.cpu_us)),
                );
            }
        }
        text
    }

    /// Our figure over that of `system`, as the median over rounds: by the same protocol where we speak it; what has no
    /// protocol in common is compared with our JSON over HTTP, or our gRPC for pictures.
    fn ratio(&self, system: &Rounds, key: &Key, figure: &dyn Fn(&Level) -> f64) -> Option<f64> {
        let ours =
            self.systems.iter().find(|system| system.name == OURS).filter(|ours| ours.name != system.name)?;
        let known = |protocol| ours.each(&(key.0.clone(), protocol, key.2)).next().is_some();
        let ways = [key.1, Protocol::OipHttp.name(), Protocol::OipGrpc.name()];
        let protocol = ways.into_iter().find(|protocol| known(*protocol))?;
        self.within(&(key.0.clone(), protocol, key.2), system, key, figure)
    }
}

impl Rounds {
    /// Every phase of the first round, in its order.
    fn keys(&self) -> Vec<Key> {
        let levels = self.rounds.first().map(|round| &round.levels[..]).unwrap_or_default();
        levels.iter().map(|level| (level.model.clone(), level.protocol, level.in_flight)).collect()
    }

    /// One phase in every round.
    fn each<'a>(&'a self, (model, protocol, in_flight): &'a Key) -> impl Iterator<Item = &'a Level> {
        self.rounds.iter().flat_map(|round| &round.levels).filter(move |level| {
            level.model == *model && level.protocol == *protocol && level.in_flight == *in_flight
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(protocol: Protocol, per_s: f64) -> Measured {
        let level = Level {
            model: "mlp".into(),
            protocol: protocol.name(),
            in_flight: 64,
            per_s,
            p50_us: 1e6 / per_s,
            p99_us: 2e6 / per_s,
            cpu_us: 10.0,
            errors: 0,
        };
        Measured { startup_s: 1.0, idle_mib: 50.0, loaded_mib: 60.0, levels: vec![level] }
    }

    fn peer(name: &str) -> Peer {
        Peer {
            name: name.into(),
            server: format!("Server {name}"),
            ready: "/".into(),
            models: BTreeMap::new(),
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_by_the_nearest_protocol() {
        let mut table = Table { rounds: 3, ..Table::default() };
        for (ours, theirs) in [(100.0, 10.0), (300.0, 10.0), (200.0, 40.0)] {
            table.add(&peer(OURS), measured(Protocol::OipHttp, ours));
            table.add(&peer("other"), measured(Protocol::Json, theirs));
        }
        table.skipped.insert("third".into(), "is not installed".into());
        let text = table.markdown();
        assert!(text.contains("| Server other | HTTP JSON | 64 | 10 | 10.00 |"), "{text}");
        assert!(text.contains("| Server manpasik | OIP HTTP JSON | 64 | 200 |  |"), "{text}");
        let json = "HTTP JSON: answers/s, ours over the best peer's | 10.00 times | ≥ 3 | yes |";
        assert!(text.contains(json), "{text}");
        assert!(
            text.contains("Not measured: third: is not installed") && text.contains("Medians of 3 rounds")
        );
    }
}
