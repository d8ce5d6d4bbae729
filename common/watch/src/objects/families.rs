//! `spec.ipFamilyPolicy`, `spec.ipFamilies` and the cluster addresses they must agree with.

use roadstead_model::{Family, object::Families};

use super::fields::{Field, Fields, Report};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Single,
    Prefer,
    Require,
}

const POLICIES: [(&str, Policy); 3] = [
    ("SingleStack", Policy::Single),
    ("PreferDualStack", Policy::Prefer),
    ("RequireDualStack", Policy::Require),
];
const FAMILIES: [(&str, Family); 2] = [("IPv4", Family::V4), ("IPv6", Family::V6)];

/// The families, defaulted as the API does: where no policy is named, two families or two cluster
/// addresses mean RequireDualStack; where no family is named, the cluster address decides; where
/// nothing is said at all, IPv4 alone. `None` where an error was told.
pub(crate) fn read(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<Families> {
    let field = spec.field("ipFamilyPolicy");
    let policy = match &field {
        Some(field) => Some(field.choice(report, &POLICIES)?),
        None => None,
    };
    let families = named(spec, report)?;
    let cluster = of_cluster_ips(spec, report)?;
    if families.iter().zip(&cluster).any(|(family, of_address)| family != of_address) {
        let line = spec.field("ipFamilies").map_or(spec.line, |field| field.line);
        report.error(
            line,
            "spec.ipFamilies and spec.clusterIPs name the families in a different order",
        );
        return None;
    }
    let first = families.first().or(cluster.first()).copied().unwrap_or(Family::V4);
    let two = families.len() == 2 || cluster.len() == 2;
    let implied = if two { Policy::Require } else { Policy::Single };
    match policy.unwrap_or(implied) {
        Policy::Single if two => {
            let line = field.map_or(spec.line, |field| field.line);
            report.error(line, "spec.ipFamilyPolicy: SingleStack with two families; PreferDualStack or RequireDualStack would be right");
            None
        }
        Policy::Single => Some(Families::Single(first)),
        // A cluster with one family has already settled for it.
        Policy::Prefer if cluster.len() == 1 => Some(Families::Single(first)),
        Policy::Prefer => Some(Families::PreferDual { first }),
        Policy::Require => Some(Families::RequireDual { first }),
    }
}

fn named(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<Vec<Family>> {
    let mut families = Vec::new();
    for field in spec.list("ipFamilies", report) {
        let family = field.choice(report, &FAMILIES)?;
        if families.contains(&family) {
            field.wrong(report, &format!("{family} is there twice"));
            return None;
        }
        families.push(family);
    }
    Some(families)
}

/// The families of `clusterIPs`, or of `clusterIP` alone.
fn of_cluster_ips(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<Vec<Family>> {
    let listed = spec.list("clusterIPs", report);
    if let Some(third) = listed.get(2) {
        third.wrong(report, "at most two cluster addresses are right, one of each family");
        return None;
    }
    let fields = if listed.is_empty() { Vec::from_iter(spec.field("clusterIP")) } else { listed };
    let mut families = Vec::new();
    for field in fields {
        families.extend(of_cluster_ip(&field, report)?);
    }
    if let [a, b] = families.as_slice()
        && a == b
    {
        report.error(spec.line, format!("spec.clusterIPs holds two addresses of {a}"));
        return None;
    }
    Some(families)
}

/// The family of one cluster address; none for the empty text, which asks for any. The outer
/// `None` says that an error was told.
fn of_cluster_ip(field: &Field<'_, '_>, report: &mut Report<'_>) -> Option<Option<Family>> {
    match field.text(report)? {
        "" => Some(None),
        "None" => {
            field.wrong(report, "None (headless) cannot be of type LoadBalancer");
            None
        }
        _ => field.address(report).map(|address| Some(Family::of(address))),
    }
}
