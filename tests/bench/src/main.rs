//! `cargo xtask bench`: how fast and how small, beside the peers that Debian packages.
//!
//! Never part of a test: numbers are for people, who know what else the machine was doing. Each
//! subject builds its own networks in namespaces and removes them.
//!
//! | module | measures |
//! |---|---|
//! | [`traffic`] | requests, connections, bulk, latency through the real daemons and each peer |
//! | [`packet`], [`live`] | nanoseconds per packet: the program alone, and with the stack around it |
//! | [`scale`] | a manifest changed → packets follow; cold starts; memory |
//! | [`flows`] | the flow table at a million flows |
//! | [`kubernetes`] | `--kubernetes`: outside of a real cluster |
#![forbid(unsafe_code)]

mod document;
mod flows;
mod kubernetes;
mod live;
mod machine;
mod packet;
mod report;
mod scale;
mod stats;
mod traffic;

use std::{process::ExitCode, time::Instant};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use document::Part;
use report::Section;

#[derive(Parser)]
#[command(name = "bench", about = "Speed and memory beside the peers that Debian packages")]
struct Arguments {
    /// Outside of a real cluster, and nothing else
    #[arg(long, conflicts_with = "only")]
    kubernetes: bool,
    /// Only these subjects
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Subject>,
    /// Rounds of each measurement
    #[arg(long)]
    rounds: Option<usize>,
    /// A look in six minutes instead of figures to be trusted
    #[arg(long)]
    quick: bool,
    /// Puts the results into docs/benchmarks.md
    #[arg(long, conflicts_with_all = ["only", "quick"])]
    write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// End to end, edge host between client and nodes
    Routed,
    /// End to end, edge host with one leg
    Bridged,
    /// Nanoseconds per packet, the program alone
    Packet,
    /// Nanoseconds per packet from interface to interface
    Live,
    /// Manifests change, memory
    Changes,
    /// Cold starts
    Starts,
    /// A million flows
    Flows,
}

/// How thoroughly to measure.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    quick: bool,
}

impl Effort {
    /// `full`, or `quick` where a look is enough.
    fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 3 } else { 7 }).max(1);
    let effort = Effort { rounds, quick: arguments.quick };
    let machine = machine::describe()?;
    println!("{machine}\n");
    let sections =
        if arguments.kubernetes { over_a_cluster(effort)? } else { subjects(arguments, effort)? };
    println!("{}", report::goals(&sections));
    if arguments.write { document::write(part(arguments), &machine, &sections) } else { Ok(()) }
}

fn part(arguments: &Arguments) -> Part {
    if arguments.kubernetes { Part::Kubernetes } else { Part::Peers }
}

fn over_a_cluster(effort: Effort) -> Result<Vec<Section>> {
    let sections = kubernetes::measure(effort)?;
    sections.iter().for_each(|section| println!("{section}"));
    Ok(sections)
}

fn subjects(arguments: &Arguments, effort: Effort) -> Result<Vec<Section>> {
    let mut sections = Vec::new();
    for subject in Subject::value_variants() {
        if arguments.only.is_empty() || arguments.only.contains(subject) {
            let began = Instant::now();
            let section = measure(*subject, effort).with_context(|| format!("{subject:?}"))?;
            println!("{section}");
            eprintln!("{subject:?}: {:.0} s\n", began.elapsed().as_secs_f64());
            sections.push(section);
        }
    }
    Ok(sections)
}

fn measure(subject: Subject, effort: Effort) -> Result<Section> {
    match subject {
        Subject::Routed => traffic::measure(traffic::Shape::Routed, effort),
        Subject::Bridged => traffic::measure(traffic::Shape::Bridged, effort),
        Subject::Packet => packet::measure(effort),
        Subject::Live => live::measure(effort),
        Subject::Changes => scale::changes(effort),
        Subject::Starts => scale::starts(),
        Subject::Flows => flows::measure(effort),
    }
}
