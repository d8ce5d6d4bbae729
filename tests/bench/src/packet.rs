//! Nanoseconds per packet by `BPF_PROG_TEST_RUN`, from the example `ns` of roadstead-router-bpf.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context, Result, ensure};
use roadstead_lab::process::built_binaries;

use crate::{
    Effort,
    report::{Goal, Section, Table},
    stats::median,
};

/// An empty program on the machine that the goals were set on.
const EMPTY: f64 = 42.0;
const COLUMNS: [&str; 4] = ["v4 TCP", "v4 UDP", "v6 TCP", "v6 UDP"];
/// (as the example calls it, what it is, goal in nanoseconds where an empty program takes [`EMPTY`])
const ROWS: [(&str, &str, f64); 4] = [
    ("established", "an established flow, towards the node", 130.0),
    ("reply", "its reply", 130.0),
    ("not-ours", "a packet that is not ours", 85.0),
    ("new", "a new flow", 1_500.0),
];
/// How much dearer IPv6 may be.
const IPV6: f64 = 1.3;

/// Nanoseconds by name.
type Costs = BTreeMap<String, Vec<f64>>;

/// Runs the example a few times.
pub(crate) fn measure(effort: Effort) -> Result<Section> {
    let mut costs = Costs::new();
    for _ in 0..effort.pick(3, 1) {
        run(&mut costs)?;
    }
    let empty = nanoseconds(&costs, "empty")?;
    Ok(Section {
        title: "Nanoseconds per packet".to_owned(),
        method: format!(
            "The tc program on one buffer again and again (BPF_PROG_TEST_RUN), a new flow in a run of \
             its own, medians; what was not translated and sent on each time is no figure but an error. \
             An empty program takes {empty:.0} ns. In brackets the ratio to the empty program. Goals are \
             for an empty program of {EMPTY} ns, and are scaled where it takes a tenth more or less."
        ),
        tables: vec![table(&costs, empty)?],
        goals: goals(&costs, empty)?,
    })
}

fn run(costs: &mut Costs) -> Result<()> {
    let program = built_binaries()?.join("examples/ns");
    let output = Command::new(&program).output().with_context(|| {
        format!("cannot run {}; `cargo xtask bench` builds it", program.display())
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} ended with {}: {said}", program.display(), output.status);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let (name, cost) = line.rsplit_once(' ').with_context(|| format!("`{line}`"))?;
        costs.entry(name.to_owned()).or_default().push(cost.parse()?);
    }
    Ok(())
}

fn nanoseconds(costs: &Costs, name: &str) -> Result<f64> {
    costs.get(name).map(|all| median(all)).with_context(|| format!("no line about {name}"))
}

fn table(costs: &Costs, empty: f64) -> Result<Table> {
    let head: Vec<&str> = [""].into_iter().chain(COLUMNS).collect();
    let mut table = Table::new("", &head);
    for (name, what, _) in ROWS {
        let cell = |column| {
            let cost = nanoseconds(costs, &format!("{name} {column}"))?;
            Ok(format!("{cost:.0} ({:.1})", cost / empty))
        };
        let cells: Vec<String> = COLUMNS.into_iter().map(cell).collect::<Result<_>>()?;
        table.row([what.to_owned()].into_iter().chain(cells));
    }
    Ok(table)
}

fn goals(costs: &Costs, empty: f64) -> Result<Vec<Goal>> {
    let scale = empty / EMPTY;
    // A difference that is noise is none.
    let scale = if (scale - 1.0).abs() < 0.1 { 1.0 } else { scale };
    let mut goals = Vec::new();
    for (name, what, wanted) in ROWS {
        for protocol in ["TCP", "UDP"] {
            let of = |family| nanoseconds(costs, &format!("{name} {family} {protocol}"));
            let (v4, v6) = (of("v4")?, of("v6")?);
            let bound = (wanted * scale).round();
            goals.push(Goal::at_most(format!("{what}, IPv4 {protocol}"), bound, v4, " ns"));
            let what = format!("{what}, {protocol}: IPv6 to IPv4");
            goals.push(Goal::at_most(what, IPV6, v6 / v4, "×"));
        }
    }
    Ok(goals)
}
