//! `v1` Service: the API's defaults and validation, where no API server applies them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use roadstead_model::{
    Family, Protocol, ServiceKey, SourceName,
    object::{Families, Service, ServicePort, SourceRanges, TrafficPolicy},
};

use super::{
    annotations, families,
    fields::{Fields, Report},
    health_check, known_fields,
    metadata::{self, Metadata, NameForm},
    object::{Object, ObjectId},
    ports,
};

/// `sessionAffinityConfig.clientIP.timeoutSeconds` where nothing is said (API default).
const AFFINITY: Duration = Duration::from_secs(10_800);
/// The longest that the API takes.
const LONGEST_AFFINITY: u64 = 86_400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    ClusterIp,
    NodePort,
    LoadBalancer,
    ExternalName,
}

const TYPES: [(&str, Type); 4] = [
    ("LoadBalancer", Type::LoadBalancer),
    ("ClusterIP", Type::ClusterIp),
    ("NodePort", Type::NodePort),
    ("ExternalName", Type::ExternalName),
];
const POLICIES: [(&str, TrafficPolicy); 2] =
    [("Cluster", TrafficPolicy::Cluster), ("Local", TrafficPolicy::Local)];

/// Reads a Service. Of one that is not of `type: LoadBalancer` only the node ports are kept.
pub(crate) fn read(
    source: &SourceName,
    fields: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> (Option<ObjectId>, Option<Object>) {
    known_fields::check(fields.entries(), known_fields::SERVICE, report);
    let Some(metadata) = metadata::read(fields, NameForm::Label1035, report) else {
        return (None, None);
    };
    let namespace = Arc::clone(&metadata.namespace);
    let id = Some(ObjectId::Service(namespace, Arc::clone(&metadata.name)));
    if metadata.is_going(fields.line, report) {
        return (id, None);
    }
    let Some(spec) = fields.map("spec", report) else {
        if !report.is_refused() {
            report.error(fields.line, "spec is missing");
        }
        return (id, None);
    };
    let kind = spec.field("type").map_or(Some(Type::ClusterIp), |f| f.choice(report, &TYPES));
    let object = match kind {
        Some(Type::LoadBalancer) => {
            Object::Service(Arc::new(load_balancer(source, fields, &spec, metadata, report)))
        }
        Some(Type::NodePort) => {
            let ports = ports::read(&spec, report);
            Object::OtherService(ports::held(ports.iter().map(|(_, port)| port)))
        }
        Some(Type::ClusterIp | Type::ExternalName) | None => Object::OtherService(Vec::new()),
    };
    (id, Some(object))
}

/// Every part is read, so that everything wrong is told at once; the caller drops the result when
/// the report says that it is refused.
fn load_balancer(
    source: &SourceName,
    fields: &Fields<'_, '_>,
    spec: &Fields<'_, '_>,
    metadata: Metadata<'_, '_>,
    report: &mut Report<'_>,
) -> Service {
    let annotations = metadata.annotations.as_ref();
    let ports = ports::of_load_balancer(spec, report);
    let traffic_policy = policy(spec, "externalTrafficPolicy", report);
    policy(spec, "internalTrafficPolicy", report);
    spec.boolean("allocateLoadBalancerNodePorts", report);
    external_ips(spec, report);
    if let Some(annotations) = annotations {
        annotations::check_known(annotations, report);
    }
    let families = families(spec, report);
    let source_ranges = annotations::source_ranges(annotations, spec, report);
    shut_out(&source_ranges, families, spec, report);
    Service {
        key: ServiceKey::new(source, metadata.namespace, metadata.name),
        uid: metadata.uid,
        labels: metadata.labels,
        class: class(spec, report),
        request: annotations::request(annotations, spec, report),
        families,
        source_ranges,
        health_check_node_port: health_check_port(spec, traffic_policy, &ports, report),
        traffic_policy,
        affinity: affinity(spec, report),
        health_check: health_check::read(annotations, &ports, report),
        status_addresses: annotations::status_addresses(fields, report),
        ports,
        guarded: true,
        warnings: report.warnings(),
    }
}

/// Tells of a family whose clients no range lets in: ranges are those of the address's own family.
fn shut_out(
    ranges: &SourceRanges,
    families: Families,
    spec: &Fields<'_, '_>,
    report: &mut Report<'_>,
) {
    let SourceRanges::Only(nets) = ranges else { return };
    if report.is_refused() {
        return;
    }
    for family in families.wanted() {
        if !nets.iter().any(|net| Family::of(net.addr()) == family) {
            let what = format!("no source range is of {family}: no client may come over {family}");
            report.warning(line_of(spec, "loadBalancerSourceRanges"), what);
        }
    }
}

fn families(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Families {
    families::read(spec, report).unwrap_or(Families::Single(Family::V4))
}

fn policy(spec: &Fields<'_, '_>, name: &str, report: &mut Report<'_>) -> TrafficPolicy {
    let field = spec.field(name);
    field.and_then(|field| field.choice(report, &POLICIES)).unwrap_or(TrafficPolicy::Cluster)
}

/// `loadBalancerClass` has the form of a label's key. That it never changes is the API's matter.
fn class(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<Arc<str>> {
    let field = spec.field("loadBalancerClass")?;
    let class = field.text(report)?;
    let good = !class.is_empty()
        && class.len() <= 317
        && class.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_./".contains(&c));
    if !good {
        field.wrong(report, "not a class; `roadstead.io/load-balancer` would be");
    }
    good.then(|| class.into())
}

/// `spec.externalIPs` lets a tenant claim any address (CVE-2020-8554); deprecated by KEP-5707.
fn external_ips(spec: &Fields<'_, '_>, report: &mut Report<'_>) {
    if let Some(field) = spec.field("externalIPs")
        && !field.list(report).is_empty()
    {
        report.notice(
            field.line,
            "spec.externalIPs is never read; ask for an address by the annotation roadstead.io/addresses",
        );
    }
}

fn health_check_port(
    spec: &Fields<'_, '_>,
    policy: TrafficPolicy,
    ports: &[ServicePort],
    report: &mut Report<'_>,
) -> Option<u16> {
    let field = spec.field("healthCheckNodePort");
    let port = field.as_ref().and_then(|field| field.port_or_zero(report));
    match (policy, field.as_ref(), port) {
        (TrafficPolicy::Cluster, Some(field), Some(_)) => {
            field.wrong(report, "has a meaning only with externalTrafficPolicy: Local");
        }
        (TrafficPolicy::Local, Some(field), Some(port))
            if ports::held(ports).contains(&(Protocol::Tcp, port)) =>
        {
            field.wrong(report, &format!("{port} is the nodePort of one of spec.ports too"));
        }
        (TrafficPolicy::Local, _, None) => report.notice(
            line_of(spec, "externalTrafficPolicy"),
            "spec.healthCheckNodePort is not set: nodes with local endpoints are known from EndpointSlices only",
        ),
        (TrafficPolicy::Cluster | TrafficPolicy::Local, _, _) => {}
    }
    port
}

fn line_of(spec: &Fields<'_, '_>, name: &str) -> usize {
    spec.field(name).map_or(spec.line, |field| field.line)
}

fn affinity(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<Duration> {
    let choices = [("None", false), ("ClientIP", true)];
    let field = spec.field("sessionAffinity");
    let wanted = field.and_then(|field| field.choice(report, &choices)).unwrap_or(false);
    let config = spec.map("sessionAffinityConfig", report);
    match (wanted, config) {
        (true, Some(config)) => Some(affinity_timeout(&config, report)),
        (true, None) => Some(AFFINITY),
        (false, Some(config)) => {
            report.error(
                config.line,
                "spec.sessionAffinityConfig has a meaning only with sessionAffinity: ClientIP",
            );
            None
        }
        (false, None) => None,
    }
}

fn affinity_timeout(config: &Fields<'_, '_>, report: &mut Report<'_>) -> Duration {
    let client_ip = config.map("clientIP", report);
    let Some(field) = client_ip.and_then(|client_ip| client_ip.field("timeoutSeconds")) else {
        return AFFINITY;
    };
    let Some(seconds) = field.integer(report) else {
        return AFFINITY;
    };
    match u64::try_from(seconds) {
        Ok(seconds @ 1..=LONGEST_AFFINITY) => Duration::from_secs(seconds),
        _ => {
            field.wrong(
                report,
                &format!("{seconds} s is out of range; 1 to {LONGEST_AFFINITY} is right"),
            );
            AFFINITY
        }
    }
}

/// The node ports that a Service takes on every node of its source, the health check's among them.
pub(crate) fn claims(service: &Service) -> BTreeSet<(Protocol, u16)> {
    let health = service.health_check_node_port.map(|port| (Protocol::Tcp, port));
    ports::held(&service.ports).into_iter().chain(health).collect()
}
