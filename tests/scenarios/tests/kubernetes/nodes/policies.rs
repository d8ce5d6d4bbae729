//! `internalTrafficPolicy` is about traffic that begins in the cluster: what comes by a VIP does not
//! change by it.

use anyhow::Result;
use serde_json::json;

use super::{on_nodes, service};

#[test]
fn an_internal_policy_changes_nothing_for_what_comes_from_outside() -> Result<()> {
    on_nodes(|nodes| {
        let mut service = service("internal");
        service["spec"]["internalTrafficPolicy"] = json!("Local");
        let app = nodes.serve_as(&service, &[2])?;
        app.first_hops(&[1, 2])?;
        app.answered_by(&["internal-1"])?;
        app.end()
    })
}
