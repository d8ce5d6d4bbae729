//! What a key means where nothing is written. The crate's documentation lists all of them; a test
//! holds the two together.

use std::time::Duration;

use roadstead_model::config::NodeProbe;

/// Name of the source where no `[[source]]` is written.
pub(crate) const SOURCE_NAME: &str = "local";
/// Its directory.
pub(crate) const SOURCE_DIRECTORY: &str = "/etc/roadstead/manifests";

/// `paths.state`.
pub(crate) const STATE: &str = "/var/lib/roadstead";
/// `paths.runtime`.
pub(crate) const RUNTIME: &str = "/run/roadstead";
/// `paths.bpffs`.
pub(crate) const BPFFS: &str = "/run/roadstead/bpf";

/// `group.key_file`.
pub(crate) const GROUP_KEY: &str = "/etc/roadstead/group.key";
/// `group.heartbeat`.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(100);
/// `group.misses`: half a second, which a loaded host survives.
pub(crate) const MISSES: u32 = 5;

/// `speaker.metrics`.
pub(crate) const SPEAKER_METRICS: &str = "127.0.0.1:9641";
/// `speaker.l2.refresh`: neighbours keep an entry for 15 to 60 s or more before they ask again.
pub(crate) const REFRESH: Duration = Duration::from_secs(30);
/// `speaker.l2.probe_ahead`.
pub(crate) const PROBE_AHEAD: usize = 4;

/// `router.metrics`.
pub(crate) const ROUTER_METRICS: &str = "127.0.0.1:9642";
/// `router.snat_ports`: the kernel's own ephemeral range.
pub(crate) const SNAT_PORTS: (u16, u16) = (32_768, 60_999);
/// `router.drain_deadline`.
pub(crate) const DRAIN_DEADLINE: Duration = Duration::from_secs(300);

/// `router.health.interval`.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);
/// `router.health.timeout`.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);
/// `router.health.fall`: the probe that fails and two that confirm it.
pub(crate) const FALL: u32 = 3;
/// `router.health.rise`.
pub(crate) const RISE: u32 = 2;
/// `router.health.port`: kube-proxy's `--healthz-bind-address`.
pub(crate) const KUBE_PROXY_PORT: u16 = 10_256;
/// `router.health.probe`.
pub(crate) const NODE_PROBE: fn(u16) -> NodeProbe = |port| NodeProbe::Auto { port };
/// `router.health.budget`.
pub(crate) const BUDGET: u32 = 200;
/// `router.health.panic_threshold`: two dead nodes of three are no reason to use them.
pub(crate) const PANIC_THRESHOLD: u8 = 90;
/// `router.health.slow_start`.
pub(crate) const SLOW_START: Duration = Duration::from_secs(10);
