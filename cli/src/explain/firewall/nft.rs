//! nftables by its own command.

use std::{io::ErrorKind, process::Command};

use super::ruleset::{Ruleset, Suspect};

/// Where administrators' programs are, whatever `PATH` the caller has.
const NFT: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "nft"];

/// The whole ruleset; else why it cannot be read.
pub(super) fn ruleset() -> Result<Ruleset, String> {
    let printed = run(&["-j", "list", "ruleset"])?;
    Ruleset::read(&printed).ok_or_else(|| "nft printed no ruleset".to_owned())
}

/// What a suspect does, as nft writes it.
pub(super) fn text(suspect: &Suspect) -> String {
    let Some(handle) = suspect.handle else { return "policy drop".to_owned() };
    let Suspect { family, table, chain, .. } = suspect;
    let printed = run(&["-a", "list", "chain", family, table, chain]).unwrap_or_default();
    let printed = String::from_utf8_lossy(&printed);
    let mark = format!("# handle {handle}");
    let line = printed.lines().map(str::trim).find(|line| line.ends_with(&mark));
    line.map_or_else(|| mark.clone(), str::to_owned)
}

fn run(arguments: &[&str]) -> Result<Vec<u8>, String> {
    for program in NFT {
        match Command::new(program).args(arguments).output() {
            Ok(output) if output.status.success() => return Ok(output.stdout),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!("nft: {}", said.lines().next().unwrap_or("it failed").trim()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{program}: {error}")),
        }
    }
    Err("nft is not installed".to_owned())
}
