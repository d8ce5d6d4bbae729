//! The documents of one file → its objects and problems. Pure: no I/O, no state, no clock.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use roadstead_model::{Location, Problem, SourceName, problem::Severity};

use super::parsed::{Foreign, Parsed, Reading};
use crate::objects::{
    Content, Item, Object, ObjectId,
    fields::{Fields, Report},
    kind::{KINDS, Kind},
    known_fields, metadata,
    metallb::MetalLbKind,
    origin::Origin,
    tree::{Node, Value},
    words::{hint, nearest, shown},
};

/// Most objects in one file, and in all files of a directory; a cluster of 5,000 Services has about
/// 15,000.
pub const MAX_OBJECTS: usize = 20_000;
/// Most problems told of one file; the worst are kept.
pub const MAX_PROBLEMS: usize = 100;
/// Most foreign kinds of one file that are told apart.
const MAX_FOREIGN: usize = 100;
/// Deepest `List` within a `List`.
const MAX_LISTS: usize = 4;

/// A file of which nothing can be used.
pub(super) fn broken(file: &Arc<PathBuf>, line: usize, why: &str) -> Parsed {
    let location = Location { file: Arc::clone(file), line };
    Parsed {
        reading: Reading::Broken,
        problems: vec![Problem::error(location, format!("the file is not used: {why}"))],
        ..Parsed::default()
    }
}

/// `apiVersion` and `kind`.
#[derive(Clone, Copy)]
struct TypeMeta<'n> {
    version: &'n str,
    kind: &'n str,
}

/// What some documents of a file say, with lines that count from the first of them.
#[derive(Debug)]
pub(super) struct Part {
    reading: Reading,
    items: Vec<Item>,
    foreign: Vec<Foreign>,
    problems: Vec<Problem>,
    objects: usize,
    untold: usize,
}

impl Part {
    /// Whether it has at most so many problems and foreign kinds.
    pub(super) fn is_small(&self, most: usize) -> bool {
        self.problems.len() <= most && self.foreign.len() <= most
    }
}

/// Reads documents into a [`Part`], or puts parts together.
pub(super) struct Reader<'a> {
    source: &'a SourceName,
    file: &'a Arc<PathBuf>,
    /// The namespace whose MetalLB objects are read, if any.
    metallb: Option<&'a str>,
    parsed: Parsed,
    foreign: BTreeMap<String, Foreign>,
    objects: usize,
    untold: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a SourceName, file: &'a Arc<PathBuf>) -> Self {
        Self {
            source,
            file,
            metallb: None,
            parsed: Parsed::default(),
            foreign: BTreeMap::new(),
            objects: 0,
            untold: 0,
        }
    }

    /// One that reads MetalLB's objects of a namespace too.
    pub(super) fn with_metallb(self, namespace: Option<&'a str>) -> Self {
        Self { metallb: namespace, ..self }
    }

    /// What these documents say.
    pub(super) fn part(mut self, documents: &[Node<'_>]) -> Part {
        for document in documents {
            self.document(document, None, 0);
        }
        self.bound_problems();
        let Parsed { reading, items, problems, .. } = self.parsed;
        let foreign = self.foreign.into_values().collect();
        let (objects, untold) = (self.objects, self.untold);
        Part { reading, items, foreign, problems, objects, untold }
    }

    /// Adds a part that begins after so many lines of the file.
    pub(super) fn add(&mut self, part: &Part, lines: usize) {
        self.objects = self.objects.saturating_add(part.objects);
        self.untold = self.untold.saturating_add(part.untold);
        if self.objects > MAX_OBJECTS {
            return;
        }
        if part.reading == Reading::Nameless {
            self.parsed.reading = Reading::Nameless;
        }
        for item in &part.items {
            let location = moved(&item.location, lines);
            self.parsed.items.push(Item { location, ..item.clone() });
        }
        for foreign in &part.foreign {
            self.count(&foreign.kind, moved(&foreign.location, lines), foreign.count);
        }
        let problems = part.problems.iter();
        self.tell(problems.map(|problem| Problem {
            location: moved(&problem.location, lines),
            ..problem.clone()
        }));
    }

    /// What the whole file says.
    pub(super) fn finish(mut self) -> Parsed {
        if self.objects > MAX_OBJECTS {
            let why = format!("it holds {} objects; at most {MAX_OBJECTS} are", self.objects);
            return broken(self.file, 0, &why);
        }
        self.parsed.foreign = std::mem::take(&mut self.foreign).into_values().collect();
        self.bound_problems();
        if self.untold > 0 {
            let location = Location { file: Arc::clone(self.file), line: 0 };
            let what = format!("{} more problems are not shown", self.untold);
            self.parsed.problems.push(Problem::notice(location, what));
        }
        self.parsed.problems.sort();
        self.parsed
    }

    fn tell(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.parsed.problems.extend(problems);
        if self.parsed.problems.len() > MAX_PROBLEMS.saturating_mul(2) {
            self.bound_problems();
        }
    }

    /// Keeps the worst [`MAX_PROBLEMS`], the first of them where they are alike.
    fn bound_problems(&mut self) {
        let problems = &mut self.parsed.problems;
        self.untold = self.untold.saturating_add(problems.len().saturating_sub(MAX_PROBLEMS));
        problems
            .sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.location.cmp(&b.location)));
        problems.truncate(MAX_PROBLEMS);
    }

    /// A document, or an item of a list, whose type may be inherited from a typed list.
    fn document(&mut self, node: &Node<'_>, inherited: Option<TypeMeta<'_>>, depth: usize) {
        self.objects = self.objects.saturating_add(1);
        if self.objects > MAX_OBJECTS || node.value == Value::Null {
            return;
        }
        let Value::Map(entries) = &node.value else {
            let is = node.value.described();
            return self.nameless(node.line, &format!("{is} where a Kubernetes object is wanted"));
        };
        let fields = Fields::new(entries, node.line);
        match self.type_meta(&fields, inherited) {
            Some(meta) if is_list(&fields, meta) => self.list(&fields, meta, depth),
            Some(meta) => self.object(&fields, meta),
            None => {}
        }
    }

    fn type_meta<'n>(
        &mut self,
        fields: &Fields<'n, '_>,
        inherited: Option<TypeMeta<'n>>,
    ) -> Option<TypeMeta<'n>> {
        let mut report = Report::new(self.file, "object".to_owned(), Origin::File);
        let kind = fields.text("kind", &mut report).or(inherited.map(|meta| meta.kind));
        let version = fields.text("apiVersion", &mut report).or(inherited.map(|meta| meta.version));
        self.tell(report.into_problems());
        match (version, kind) {
            (Some(version), Some(kind)) => return Some(TypeMeta { version, kind }),
            (None, Some(kind)) => {
                let right = KINDS.iter().find(|(name, ..)| *name == kind);
                let right =
                    right.map_or(String::new(), |(_, api, _)| format!("; `{api}` is right"));
                self.nameless(
                    fields.line,
                    &format!("{}: apiVersion is missing{right}", shown(kind)),
                );
            }
            (_, None) => {
                self.nameless(fields.line, "not a Kubernetes object: kind is missing");
            }
        }
        None
    }

    fn list(&mut self, fields: &Fields<'_, '_>, meta: TypeMeta<'_>, depth: usize) {
        let of = meta.kind.strip_suffix("List").unwrap_or_default();
        if !of.is_empty() && self.kind_of(TypeMeta { kind: of, ..meta }, fields.line).is_none() {
            return;
        }
        let mut report = Report::new(self.file, shown(meta.kind), Origin::File);
        known_fields::check(fields.entries(), known_fields::LIST, &mut report);
        if depth >= MAX_LISTS {
            report.error(fields.line, format!("a list more than {MAX_LISTS} lists deep"));
        }
        let refused = report.is_refused();
        self.tell(report.into_problems());
        let items = fields.entries().iter().find(|entry| entry.key == "items");
        let Some(Value::List(items)) = items.map(|entry| &entry.node.value).filter(|_| !refused)
        else {
            return;
        };
        let inherited = (!of.is_empty()).then_some(TypeMeta { kind: of, ..meta });
        for item in items {
            self.document(item, inherited, depth.saturating_add(1));
        }
    }

    /// The kind, where it concerns us and stands in its own API group. Else it is told.
    fn kind_of(&mut self, meta: TypeMeta<'_>, line: usize) -> Option<Kind> {
        let TypeMeta { version, kind } = meta;
        if self.metallb.is_some() && is_metallb(version) {
            return self.metallb_kind_of(meta, line);
        }
        match KINDS.iter().find(|(name, ..)| *name == kind) {
            Some((_, right, found)) if *right == version => return Some(*found),
            Some((_, right, _)) if !is_other_group(version, right) => {
                let version = shown(version);
                let what = format!("{kind}: no apiVersion `{version}` is read; `{right}` is right");
                self.nameless(line, &what);
            }
            None if belongs_here(version)
                && nearest(kind, KINDS.map(|(name, ..)| name)).is_some() =>
            {
                let hint = hint(kind, KINDS.map(|(name, ..)| name));
                self.nameless(line, &format!("{}: no such kind{hint}", shown(kind)));
            }
            Some(_) | None => self.passed_over(meta, line),
        }
        None
    }

    /// A kind of MetalLB's, in a version that is read. Its older kinds (`AddressPool`) are gone from
    /// MetalLB itself, and told.
    fn metallb_kind_of(&mut self, meta: TypeMeta<'_>, line: usize) -> Option<Kind> {
        let TypeMeta { version, kind } = meta;
        let found = MetalLbKind::ALL.into_iter().find(|known| known.as_str() == kind);
        match found {
            Some(found) if found.versions().contains(&version) => Some(Kind::MetalLb(found)),
            Some(found) => {
                let right = found.versions().join("` or `");
                let version = shown(version);
                let what = format!("{kind}: no apiVersion `{version}` is read; `{right}` is right");
                self.nameless(line, &what);
                None
            }
            None => {
                self.passed_over(meta, line);
                None
            }
        }
    }

    fn passed_over(&mut self, meta: TypeMeta<'_>, line: usize) {
        let named = format!("{} ({})", shown(meta.kind), shown(meta.version));
        self.count(&named, Location { file: Arc::clone(self.file), line }, 1);
    }

    fn count(&mut self, named: &str, location: Location, count: usize) {
        let room = self.foreign.len() < MAX_FOREIGN || self.foreign.contains_key(named);
        let kind = if room { named } else { "other kinds" };
        let first = || Foreign { kind: kind.to_owned(), location, count: 0 };
        let entry = self.foreign.entry(kind.to_owned()).or_insert_with(first);
        entry.count = entry.count.saturating_add(count);
    }

    fn object(&mut self, fields: &Fields<'_, '_>, meta: TypeMeta<'_>) {
        let Some(kind) = self.kind_of(meta, fields.line) else {
            return;
        };
        let named = metadata::name_of(fields, meta.kind);
        let mut report = Report::new(self.file, named, Origin::File);
        if matches!(kind, Kind::MetalLb(_)) && !self.is_in_namespace(fields, &mut report) {
            return self.tell(report.into_problems());
        }
        let (id, object) = kind.read(self.source, fields, &mut report);
        let refused = report.is_refused();
        let problems = report.into_problems();
        self.keep(fields.line, id, object, refused.then(|| first_error(&problems)));
        self.tell(problems);
    }

    /// Whether an object stands in the namespace whose MetalLB objects are read; MetalLB itself looks
    /// at no other.
    fn is_in_namespace(&self, fields: &Fields<'_, '_>, report: &mut Report<'_>) -> bool {
        let mut aside = report.aside();
        let metadata = fields.map("metadata", &mut aside);
        let written = metadata.as_ref().and_then(|it| it.text("namespace", &mut aside));
        let (written, wanted) = (written.unwrap_or("default"), self.metallb.unwrap_or_default());
        if written != wanted {
            let written = shown(written);
            let what =
                format!("not read: it is in the namespace `{written}`, MetalLB's is `{wanted}`");
            report.warning(fields.line, what);
        }
        written == wanted
    }

    /// Files what became of an object. One that is being deleted has neither object nor error.
    fn keep(
        &mut self,
        line: usize,
        id: Option<ObjectId>,
        object: Option<Object>,
        refused: Option<Arc<str>>,
    ) {
        let content = match (refused, object) {
            (Some(reason), _) => Content::Refused { reason },
            (None, Some(object)) => Content::Good(object),
            (None, None) => return,
        };
        let location = Location { file: Arc::clone(self.file), line };
        match id {
            Some(id) => self.parsed.items.push(Item { id, location, content }),
            None => self.parsed.reading = Reading::Nameless,
        }
    }

    /// An object that cannot be named, so that it may be any that was here before.
    fn nameless(&mut self, line: usize, what: &str) {
        self.parsed.reading = Reading::Nameless;
        let location = Location { file: Arc::clone(self.file), line };
        self.tell([Problem::error(location, what)]);
    }
}

/// A place further down in the file; 0 stays 0, the whole file.
fn moved(location: &Location, lines: usize) -> Location {
    let line = if location.line == 0 { 0 } else { location.line.saturating_add(lines) };
    Location { file: Arc::clone(&location.file), line }
}

fn first_error(problems: &[Problem]) -> Arc<str> {
    let error = problems.iter().find(|problem| problem.severity == Severity::Error);
    error.map_or("", |problem| problem.message.as_str()).into()
}

/// `List` of v1, or a typed list such as `ServiceList`, which has items.
fn is_list(fields: &Fields<'_, '_>, meta: TypeMeta<'_>) -> bool {
    meta.kind.ends_with("List")
        && (meta.kind == "List" || fields.entries().iter().any(|entry| entry.key == "items"))
}

/// Whether a version names the group of somebody else, who may have a kind of the same name
/// (`serving.knative.dev/v1` has a Service).
fn is_other_group(version: &str, right: &str) -> bool {
    let group = |version: &str| version.rsplit_once('/').map(|(group, _)| group.to_owned());
    let group_is_theirs = |group: &str| group.contains('.') && !group.ends_with(".k8s.io");
    group(version) != group(right) && group(version).is_some_and(|g| group_is_theirs(&g))
}

/// Whether a version is one of MetalLB's.
fn is_metallb(version: &str) -> bool {
    version.split_once('/').is_some_and(|(group, _)| group == roadstead_model::metallb::GROUP)
}

/// Whether a version is one of those that our kinds stand in.
fn belongs_here(version: &str) -> bool {
    KINDS.iter().any(|(_, right, _)| *right == version)
}

#[cfg(test)]
mod tests;
