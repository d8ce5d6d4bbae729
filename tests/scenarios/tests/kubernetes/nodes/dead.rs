//! What a Node object says of its node, and what its node does: probes decide (K6).
//!
//! Input: a node that is NotReady and serves; a node that is Ready and answers nothing. Output: the
//! first stays, the second leaves, and comes back when it answers.

use anyhow::Result;
use roadstead_lab::Host;

use super::with_nodes;

/// Every packet that comes to a host is dropped while it lives: it has lost its mind, not its link.
struct Deaf<'h>(&'h Host);

impl<'h> Deaf<'h> {
    fn make(host: &'h Host) -> Result<Self> {
        let table = "add table inet deaf\n\
            add chain inet deaf everything { type filter hook prerouting priority -500; }\n\
            add rule inet deaf everything iifname eth0 drop\n";
        host.feed(&["nft", "-f", "-"], table)?;
        Ok(Self(host))
    }
}

impl Drop for Deaf<'_> {
    fn drop(&mut self) {
        drop(self.0.run(&["nft", "delete", "table", "inet", "deaf"]));
    }
}

#[test]
fn a_node_that_is_not_ready_serves_on() -> Result<()> {
    with_nodes(|nodes| {
        let app = nodes.serve("unready", &[1, 2])?;
        app.first_hops(&[1, 2])?;
        let running = app.keep_asking()?;
        nodes.say_ready("node2", false)?;
        // What is told of the node has been heard when what was said after it is served.
        let after = nodes.serve("unready-after", &[1])?;
        after.first_hops(&[1, 2])?;
        app.first_hops(&[1, 2])?;
        running.all_answered()?;
        after.end()?;
        app.end()
    })
}

#[test]
fn a_node_that_is_ready_and_dead_leaves_until_it_answers() -> Result<()> {
    with_nodes(|nodes| {
        let app = nodes.serve("deaf", &[1])?;
        app.first_hops(&[1, 2])?;
        let deaf = Deaf::make(nodes.cluster.node(2)?.host())?;
        app.first_hops(&[1])?;
        drop(deaf);
        app.first_hops(&[1, 2])?;
        app.end()
    })
}
