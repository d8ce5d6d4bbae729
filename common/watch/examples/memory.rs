//! The most memory that reading one hostile file takes.
//!
//! `cargo run --release -p roadstead-watch --example memory KIND [MIB]` writes a file of that
//! size, reads it as `roadstead check` does, and prints the peak resident size. The kinds are
//! those that cost most per byte: `list`, `maps` and `documents` hold as many values as fit,
//! `services` and `list-of-services` as many objects, `endpoints` as many endpoints; `text` is one
//! long scalar.

use std::{fs, path::Path};

use roadstead_model::SourceName;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_else(|| "list".to_owned());
    let mib: usize = arguments.next().map_or(Ok(8), |text| text.parse())?;
    let file = std::env::temp_dir().join(format!("roadstead-memory-{}.yaml", std::process::id()));
    write(&file, &kind, mib << 20)?;
    let before = peak()?;
    let view = roadstead_watch::manifests::check(&SourceName::new("local"), &file, None);
    let after = peak()?;
    fs::remove_file(&file)?;
    let view = view?;
    let told = view.problems.first().map(ToString::to_string).unwrap_or_default();
    println!(
        "{kind}, {mib} MiB: peak {after}, before {before}; {} Services; {told:.120}",
        view.services.len()
    );
    Ok(())
}

fn write(file: &Path, kind: &str, bytes: usize) -> Result<(), Failed> {
    let (head, unit, foot) = match kind {
        "list" => ("apiVersion: v1\nkind: Node\nx: [", "a,".to_owned(), "a]\n"),
        "maps" => ("apiVersion: v1\nkind: Node\nx:\n", "- a: b\n".to_owned(), ""),
        "documents" => ("", "---\na: b\n".to_owned(), ""),
        "text" => ("apiVersion: v1\nkind: Node\nx: \"", "abcdefgh".to_owned(), "\"\n"),
        "endpoints" => return Ok(fs::write(file, endpoints(bytes))?),
        "services" | "list-of-services" => return write_services(file, kind, bytes),
        other => return Err(format!("no kind `{other}`").into()),
    };
    let count = bytes.saturating_sub(head.len() + foot.len()) / unit.len();
    Ok(fs::write(file, format!("{head}{}{foot}", unit.repeat(count)))?)
}

fn write_services(file: &Path, kind: &str, bytes: usize) -> Result<(), Failed> {
    let listed = kind != "services";
    let mut text = String::new();
    if listed {
        text.push_str("apiVersion: v1\nkind: List\nitems:\n");
    }
    let mut number = 0;
    while text.len() < bytes {
        number += 1;
        let start = if listed { "- " } else { "---\n" };
        text.push_str(&format!(
            "{start}{{apiVersion: v1, kind: Service, metadata: {{name: s{number}}}, spec: {{type: LoadBalancer, ports: [{{port: 80, nodePort: 1}}]}}}}\n"
        ));
    }
    Ok(fs::write(file, text)?)
}

/// Endpoints are what costs most per byte of what is kept.
fn endpoints(bytes: usize) -> String {
    let mut text = String::new();
    for slice in 0.. {
        if text.len() >= bytes {
            break;
        }
        text.push_str(&format!(
            "---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: s{slice}, labels: {{kubernetes.io/service-name: web}}}}, endpoints: ["
        ));
        for endpoint in 0..1_000 {
            text.push_str(&format!(
                "{{addresses: [10.{}.{}.{}]}},",
                slice % 256,
                endpoint / 256,
                endpoint % 256
            ));
        }
        text.push_str("]}\n");
    }
    text
}

/// `VmHWM` of this process, as the kernel writes it.
fn peak() -> Result<String, Failed> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.ok_or("no VmHWM")?.trim().to_owned())
}
