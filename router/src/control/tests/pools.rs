//! Addresses in pools that MetalLB's objects say.

use super::*;

fn pool(addresses: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n\
         metadata: {{name: lan, namespace: metallb-system}}\nspec: {{addresses: [{addresses}]}}\n"
    )
}

/// No pool stands in the configuration: what is assigned lies in one of the source's or in none.
async fn reading() -> Bench {
    let bench = Bench::fresh();
    let mut config = config(bench.directory.path());
    config.pools.clear();
    for source in &mut config.sources {
        source.metallb = Some("metallb-system".into());
    }
    bench.config.send_replace(Arc::new(config));
    bench.write("node.yaml", NODE);
    bench.write("web.yaml", &service(30_080));
    bench
}

#[tokio::test]
async fn a_pool_of_a_source_permits_and_is_not_taken_away_while_it_serves() {
    let mut bench = reading().await;
    bench.write("pool.yaml", &pool("192.0.2.0/28"));
    bench.assign();
    bench.settle_host();
    bench.node_port(30_080).await;
    bench.write("pool.yaml", &pool("203.0.113.0/28"));
    let told = complaint(&bench, "Refused", true).await;
    assert!(told.contains("it would take the address of local/default/web"), "{told}");
    bench.write("web.yaml", &service(30_081));
    bench.node_port(30_081).await;
    bench.write("pool.yaml", &pool("192.0.2.0/27"));
    complaint(&bench, "Refused", false).await;
}

#[tokio::test]
async fn an_address_that_no_pool_of_the_source_has_is_not_served() {
    let mut bench = reading().await;
    bench.write("pool.yaml", &pool("203.0.113.0/28"));
    bench.assign();
    bench.settle_host();
    within(bench.readiness.ready()).await;
    let maps = bench.maps.borrow_and_update().clone();
    assert!(maps.frontends.is_empty() && maps.vips.is_empty(), "{maps:?}");
}
