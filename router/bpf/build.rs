//! Compiles the programs and generates the list of drop reasons.
//!
//! Only the object file is used, not the skeleton that libbpf-cargo could write from it: the typed
//! view of the maps is `src/layout.rs`, kept honest by a test against the object's BTF.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use libbpf_cargo::SkeletonBuilder;

/// Each becomes `OUT_DIR/NAME.bpf.o`.
const PROGRAMS: &[&str] = &["nat", "host", "empty", "generate"];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    println!("cargo::rerun-if-changed=c");
    for program in PROGRAMS {
        SkeletonBuilder::new()
            .source(format!("c/{program}.bpf.c"))
            .clang_args(clang_arguments()?)
            .obj(out.join(format!("{program}.bpf.o")))
            .build()?;
    }
    let reasons = reasons(&fs::read_to_string("c/reasons.h")?)?;
    fs::write(out.join("reasons.rs"), reasons)?;
    Ok(())
}

fn clang_arguments() -> Result<Vec<String>, Box<dyn Error>> {
    let mut arguments: Vec<String> =
        ["-O2", "-g", "-mcpu=v3", "-Wall", "-Wextra", "-Werror"].map(String::from).into();
    // Debian keeps <asm/types.h> in a folder by architecture, which the bpf target does not search.
    let headers = format!("/usr/include/{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH")?);
    if Path::new(&headers).is_dir() {
        arguments.push(format!("-I{headers}"));
    }
    Ok(arguments)
}

/// The `REASON(NAME, "label", "text")` lines as a Rust table, in order.
fn reasons(header: &str) -> Result<String, Box<dyn Error>> {
    let mut table = String::from("&[\n");
    for line in header.lines().filter(|line| line.trim_start().starts_with("REASON(")) {
        let mut quoted = line.split('"').skip(1).step_by(2);
        let (Some(label), Some(text)) = (quoted.next(), quoted.next()) else {
            return Err(
                format!("c/reasons.h: not REASON(NAME, \"label\", \"text\"): {line}").into()
            );
        };
        writeln!(table, "    Reason {{ label: {label:?}, text: {text:?} }},")?;
    }
    table.push_str("]\n");
    Ok(table)
}
