//! What a label of a Node means, and what does not matter.
//!
//! Input: the label `node.kubernetes.io/exclude-from-external-load-balancers` with several values (K5),
//! and `kubectl cordon`. Output: an excluded node gets no new connections and keeps those that it has;
//! a cordoned one goes on as before.

use anyhow::Result;

use super::{EXCLUDE, with_nodes};

#[test]
fn an_excluded_node_gets_nothing_new_and_a_cordoned_one_goes_on() -> Result<()> {
    with_nodes(|nodes| {
        let app = nodes.serve("excluded", &[1, 2])?;
        app.first_hops(&[1, 2])?;
        let running = app.keep_asking()?;
        let kubectl = nodes.kubectl()?;
        for (value, hops) in [("true", &[1][..]), ("false", &[1, 2]), ("garbage", &[1])] {
            let label = format!("{EXCLUDE}={value}");
            kubectl.run(&["label", "--overwrite", "node", "node2", &label])?;
            app.first_hops(hops)?;
        }
        kubectl.run(&["label", "node", "node2", &format!("{EXCLUDE}-")])?;
        app.first_hops(&[1, 2])?;
        kubectl.run(&["cordon", "node2"])?;
        // The cordon has been heard of when what was said after it is served.
        let after = nodes.serve("cordoned-after", &[1])?;
        after.first_hops(&[1, 2])?;
        app.first_hops(&[1, 2])?;
        after.end()?;
        running.all_answered()?;
        app.end()
    })
}
