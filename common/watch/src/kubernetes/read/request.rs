//! What is asked of the API server.

use std::time::Duration;

use http::Request;
use kube::{
    client::Body,
    core::{
        Request as Builder,
        params::{ListParams, WatchParams},
    },
};

use super::{resource::Resource, version::Version};
use crate::kubernetes::api::failure::Failure;

/// A page of a list; `next` as the page before has it, empty for the first.
///
/// # Errors
/// When what the server said cannot be a part of a request.
pub(super) fn page(resource: &Resource, limit: u32, next: &str) -> Result<Request<Body>, Failure> {
    let params = ListParams {
        label_selector: resource.labels.map(str::to_owned),
        field_selector: resource.fields.map(str::to_owned),
        limit: Some(limit),
        continue_token: (!next.is_empty()).then(|| next.to_owned()),
        ..ListParams::default()
    };
    built(Builder::new(&*resource.path).list(&params))
}

/// A watch from a version, or from the start: a streaming list (KEP-3157).
///
/// # Errors
/// When the version cannot be a part of a request.
pub(super) fn watch(
    resource: &Resource,
    from: Option<&Version>,
    lasts: Duration,
) -> Result<Request<Body>, Failure> {
    let params = WatchParams {
        label_selector: resource.labels.map(str::to_owned),
        field_selector: resource.fields.map(str::to_owned),
        timeout: Some(u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX)),
        bookmarks: true,
        send_initial_events: from.is_none(),
    };
    built(Builder::new(&*resource.path).watch(&params, from.map_or("", Version::as_str)))
}

fn built(
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Request<Body>, Failure> {
    let request = request.map_err(|error| Failure::Broken(error.to_string()))?;
    Ok(request.map(Body::from))
}
