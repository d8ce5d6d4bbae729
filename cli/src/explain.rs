//! `roadstead explain`: one Service from object to wire, and the step that holds it back.

mod address;
mod advice;
mod firewall;
mod here;
mod steps;
mod target;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, path::Path};

use roadstead_model::{ServiceKey, config::Config};
use serde::Serialize;

pub(crate) use target::Target;

use crate::{
    daemons::{Answers, Daemons, Heard},
    exit::Exit,
    local_files::{self, Object},
    output::{Format, Output},
    render::{Colour, painted, printable},
    status::{ServiceView, Status},
};
use here::Here;
use steps::{Case, Step, Verdict};

/// What a Service goes through, and what stops it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    /// `source/namespace/name`.
    service: ServiceKey,
    /// In the order from object to wire.
    steps: Vec<Step>,
    /// The step that holds it back; none where nothing does.
    held_by: Option<&'static str>,
    /// What is not well with the daemons, whatever the Service.
    remarks: Vec<String>,
}

/// Everything that an explanation is made of.
struct Facts<'f> {
    status: &'f Status,
    /// The configuration on disk, where it can be used.
    config: Option<&'f Config>,
    /// Whether the speaker answered.
    speaker: Hearing,
    /// Whether the router answered.
    router: Hearing,
    /// The client that is asked about.
    from: Option<IpAddr>,
}

/// Whether a daemon answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hearing {
    Answered,
    NotNeeded,
    Silent(String),
}

impl<T> From<&Heard<T>> for Hearing {
    fn from(heard: &Heard<T>) -> Self {
        match heard {
            Heard::Status(_) => Self::Answered,
            Heard::NotNeeded => Self::NotNeeded,
            Heard::Silent(why) => Self::Silent(why.clone()),
        }
    }
}

/// Asks the daemons, looks at the files, and explains.
pub(crate) async fn run(
    daemons: &Daemons,
    config: &Path,
    target: &Target,
    from: Option<IpAddr>,
    format: Format,
    out: &mut Output,
) -> Exit {
    let answers = daemons.statuses().await;
    let status = Status::of(&answers);
    let config =
        roadstead_config::load(config).ok().map(|loaded| local_files::as_used(loaded.config));
    let facts = Facts::new(&status, config.as_ref(), &answers, from);
    for why in &status.silent {
        out.complain(why);
    }
    let keys = match facts.keys(target) {
        Ok(keys) => keys,
        Err(why) => {
            match out.value(format, &[(); 0]) {
                Some(_) => out.complain(&printable(&why)),
                None => out.print(&printable(&why)),
            }
            return facts.silence().max(Exit::Problem);
        }
    };
    let mut explanations = Vec::new();
    for key in &keys {
        let object = local_files::object(facts.config, key);
        let here = match facts.view(key) {
            Some(view) => Here::look(&facts, view, &object).await,
            None => Here::unseen(),
        };
        explanations.push(facts.explain(key, &object, &here));
    }
    let printed = out.value(format, &explanations).unwrap_or_else(|| {
        let texts = explanations.iter().map(|explanation| shown(explanation, out.terminal));
        let text = texts.collect::<Vec<_>>().join("\n");
        out.print(&text);
        Exit::Fine
    });
    let held = explanations.iter().any(|explanation| explanation.held_by.is_some());
    let verdict = if held { Exit::Problem } else { Exit::Fine };
    printed.max(verdict).max(facts.silence())
}

impl<'f> Facts<'f> {
    fn new(
        status: &'f Status,
        config: Option<&'f Config>,
        answers: &Answers,
        from: Option<IpAddr>,
    ) -> Self {
        Self {
            status,
            config,
            speaker: (&answers.speaker).into(),
            router: (&answers.router).into(),
            from,
        }
    }

    fn silence(&self) -> Exit {
        if self.status.silent.is_empty() { Exit::Fine } else { Exit::Silent }
    }

    /// The Services that a target means.
    fn keys(&self, target: &Target) -> Result<Vec<ServiceKey>, String> {
        match target {
            Target::Service { source, namespace, name } => {
                Ok(self.named(source.as_deref(), namespace, name))
            }
            Target::Address(address, port) => address::holders(self, *address, *port),
        }
    }

    /// Without a source, every source that has such a Service; the first source where none has.
    fn named(&self, source: Option<&str>, namespace: &str, name: &str) -> Vec<ServiceKey> {
        if let Some(source) = source {
            let source = roadstead_model::SourceName::new(source);
            return vec![ServiceKey::new(&source, namespace, name)];
        }
        let known = self.status.services.iter().map(ServiceView::key);
        let known: Vec<ServiceKey> =
            known.filter(|key| *key.namespace == *namespace && *key.name == *name).collect();
        if !known.is_empty() {
            return known;
        }
        let configured = self.config.and_then(|config| config.sources.first());
        let first = self.status.sources.keys().next().or(configured.map(|source| &source.name));
        let source = first.cloned().unwrap_or_else(|| roadstead_model::SourceName::new("local"));
        vec![ServiceKey::new(&source, namespace, name)]
    }

    fn view(&self, key: &ServiceKey) -> Option<&ServiceView> {
        self.status.services.iter().find(|view| view.key() == *key)
    }

    fn explain(&self, key: &ServiceKey, object: &Object, here: &Here) -> Explanation {
        let steps = Case { key, view: self.view(key), object, here, facts: self }.steps();
        let held_by = steps.iter().find(|step| step.verdict == Verdict::Held).map(|step| step.name);
        Explanation { service: key.clone(), steps, held_by, remarks: self.remarks() }
    }

    fn remarks(&self) -> Vec<String> {
        let of_daemon = |daemon: &roadstead_model::local::DaemonStatus| {
            let name = daemon.name.clone();
            let said = daemon.conditions.clone().into_iter();
            said.map(move |c| format!("{name}: {}: {}", c.reason, c.message)).collect::<Vec<_>>()
        };
        self.status.daemons.iter().flat_map(of_daemon).collect()
    }
}

fn shown(explanation: &Explanation, terminal: bool) -> String {
    let mut text = format!("{}\n", explanation.service);
    for step in &explanation.steps {
        let (colour, mark) = match step.verdict {
            Verdict::Passed => (Colour::Green, "ok  "),
            Verdict::Held => (Colour::Red, "HELD"),
            Verdict::Unknown => (Colour::Yellow, "?   "),
        };
        let mark = painted(mark, colour, terminal);
        text.push_str(&format!("  {mark}  {:<13}  {}\n", step.name, printable(&step.message)));
    }
    let held = explanation.steps.iter().find(|step| step.verdict == Verdict::Held);
    match held {
        Some(step) => {
            text.push_str(&format!("Held back by: {}\n", step.name));
            if !step.advice.is_empty() {
                text.push_str(&format!("What to do: {}\n", printable(&step.advice)));
            }
        }
        None if explanation.steps.iter().all(|step| step.verdict == Verdict::Passed) => {
            text.push_str("Nothing holds it back.\n");
        }
        None => text.push_str("Nothing that is known holds it back; not all is known.\n"),
    }
    for remark in &explanation.remarks {
        text.push_str(&format!("Note: {}\n", printable(remark)));
    }
    text
}
