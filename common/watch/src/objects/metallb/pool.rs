//! `IPAddressPool`.

use std::sync::Arc;

use roadstead_model::{
    AddressRange,
    metallb::{AddressPool, ServiceAllocation},
    selector::Labels,
    special,
};

use super::values::{bounded, flag, names, number, selectors};
use crate::objects::{
    fields::{Field, Fields, Report},
    words::shown,
};

/// Reads `spec`; none where it has no address at all.
pub(super) fn read(
    name: Arc<str>,
    labels: Labels,
    spec: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> Option<AddressPool> {
    let written = bounded(spec, "addresses", report);
    if written.is_empty() {
        report.error(spec.line, "spec.addresses: the pool has no address");
        return None;
    }
    Some(AddressPool {
        name,
        labels,
        addresses: ranges(&written, report),
        auto_assign: spec.boolean("autoAssign", report).unwrap_or(true),
        avoid_buggy_ips: flag(spec, "avoidBuggyIPs", report),
        allocation: spec.map("serviceAllocation", report).map(|it| allocation(&it, report)),
    })
}

/// The ranges that are right; none overlaps another.
fn ranges(written: &[Field<'_, '_>], report: &mut Report<'_>) -> Vec<AddressRange> {
    let mut ranges: Vec<AddressRange> = Vec::new();
    for field in written {
        let Some(range) = range(field, report) else { continue };
        match ranges.iter().find(|other| other.overlaps(&range)) {
            Some(other) => field.wrong(report, &format!("{range} overlaps {other} of this pool")),
            None => ranges.push(range),
        }
    }
    ranges
}

/// A CIDR or `first-last`. A single address is neither, in MetalLB.
fn range(field: &Field<'_, '_>, report: &mut Report<'_>) -> Option<AddressRange> {
    let text = field.text(report)?;
    let wrong = match text.parse::<AddressRange>() {
        Err(error) => error.to_string(),
        Ok(range) if !text.contains(['/', '-']) => {
            let length = if range.first().is_ipv4() { 32 } else { 128 };
            format!("`{}` is a single address; `{}/{length}` would be right", shown(text), range)
        }
        Ok(range) => match special::first_overlap(&range) {
            Some(class) => format!("{range} reaches into {class}"),
            None => return Some(range),
        },
    };
    field.wrong(report, &wrong);
    None
}

fn allocation(fields: &Fields<'_, '_>, report: &mut Report<'_>) -> ServiceAllocation {
    ServiceAllocation {
        priority: number(fields, "priority", 0..=u32::MAX, report).unwrap_or(0),
        namespaces: names(fields, "namespaces", report),
        namespace_selectors: selectors(fields, "namespaceSelectors", report),
        service_selectors: selectors(fields, "serviceSelectors", report),
    }
}
