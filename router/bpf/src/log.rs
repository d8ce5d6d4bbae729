//! What libbpf says goes to our log.

use libbpf_rs::PrintLevel;

/// What the kernel answers to the question for our filter where an interface has no clsact qdisc,
/// as none has since Linux 6.6: an answer like any other.
const NO_QDISC: &str = "Parent Qdisc doesn't exist";

/// Takes libbpf's messages from standard error, once for the process.
pub(crate) fn take_over() {
    libbpf_rs::set_print(Some((PrintLevel::Debug, log)));
}

fn log(level: PrintLevel, message: String) {
    let message = message.trim_end();
    match level {
        PrintLevel::Debug => tracing::trace!("{message}"),
        PrintLevel::Warn if !message.contains(NO_QDISC) => tracing::warn!("{message}"),
        PrintLevel::Info | PrintLevel::Warn => tracing::debug!("{message}"),
    }
}
