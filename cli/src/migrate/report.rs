//! The answer: a value for programs, and the same in words.

use roadstead_model::{metallb::effective, problem::Severity};
use serde::Serialize;

use super::{
    Facts, objects, services, told,
    verdict::{Object, Service, Verdict},
};
use crate::render::{painted, printable};

/// What would be different, whatever the objects say.
const ALWAYS: [&str; 3] = [
    "one host outside of the cluster announces every address, where MetalLB chooses a node for each; \
     no memberlist, and nothing of FRR's own configuration, is needed or read",
    "a pool that is still used is not taken away: its change is refused, with the Services named, \
     where MetalLB gives them another address",
    "BGP is not served yet: its objects are checked and kept",
];

/// What would change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Whether an address would change or be lost, or the configuration is at fault.
    pub(super) changes: bool,
    /// MetalLB's objects.
    pub(super) objects: Vec<Object>,
    /// Services of type LoadBalancer.
    pub(super) services: Vec<Service>,
    /// What is wrong with the configuration.
    pub(super) problems: Vec<String>,
    /// What is different in any case.
    pub(super) notes: Vec<String>,
}

impl Report {
    /// Compares what is there with what would be.
    pub(super) fn of(facts: &Facts) -> Self {
        let mut problems = told(&facts.snapshot.problems, Severity::Error);
        let Some(metallb) = facts.snapshot.metallb.get(&facts.source) else {
            let none =
                "MetalLB's configuration is not known, or not to be used as it is".to_owned();
            problems.push(none);
            return Self {
                changes: true,
                objects: Vec::new(),
                services: Vec::new(),
                problems,
                notes: Vec::new(),
            };
        };
        let own = facts.config.iter().flat_map(|config| config.pools.iter().cloned());
        let own: Vec<_> = own.collect();
        let pools = effective(&own, [(&facts.source, &**metallb)]).unwrap_or_else(|overlap| {
            problems.push(format!("{overlap}; take it out of the [[pool]] of the configuration"));
            metallb.pools_of(&facts.source)
        });
        let services = services::all(facts, &pools);
        let changes =
            !problems.is_empty() || services.iter().any(|it| it.verdict == Verdict::Changes);
        let objects = objects::all(facts, metallb);
        let mut notes = ALWAYS.map(str::to_owned).to_vec();
        if facts.config.as_ref().is_some_and(|config| config.speaker.class_only) {
            let what = "`speaker.class_only` is set: until it is taken out, Services without a class \
                        are left alone";
            notes.push(what.to_owned());
        }
        Self { changes, objects, services, problems, notes }
    }

    /// The same for people.
    pub(super) fn text(&self, terminal: bool) -> String {
        let mut text = String::new();
        for object in &self.objects {
            let subject = format!("{} {}", object.kind, object.name);
            line(&mut text, object.verdict, &subject, &object.notes, terminal);
        }
        for service in &self.services {
            let subject = service.in_words();
            line(&mut text, service.verdict, &subject, &service.notes, terminal);
        }
        for problem in &self.problems {
            text.push_str(&format!("wrong: {}\n", printable(problem)));
        }
        text.push('\n');
        for note in &self.notes {
            text.push_str(&format!("In any case: {note}.\n"));
        }
        text.push_str(&self.summary());
        text
    }

    fn summary(&self) -> String {
        let changed = self.services.iter().filter(|it| it.verdict == Verdict::Changes).count();
        let wrong = if self.problems.is_empty() {
            ""
        } else {
            " The configuration is at fault, see above."
        };
        match changed {
            0 => format!("No address would change.{wrong}\n"),
            1 => format!("1 Service would not keep its address.{wrong}\n"),
            more => format!("{more} Services would not keep their addresses.{wrong}\n"),
        }
    }
}

fn line(text: &mut String, verdict: Verdict, subject: &str, notes: &[String], terminal: bool) {
    let word = painted(&format!("{:<8}", verdict.in_words()), verdict.colour(), terminal);
    text.push_str(&format!("{word} {}\n", printable(subject)));
    for note in notes {
        text.push_str(&format!("         {}\n", printable(note)));
    }
}
