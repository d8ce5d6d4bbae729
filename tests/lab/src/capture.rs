//! What was on the wire: tcpdump into a file, read back frame by frame.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;

use crate::{
    host::Host,
    process::{Process, Program},
};

const READY: Duration = Duration::from_secs(10);

/// A running or finished capture of one interface.
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
    process: Process,
}

/// One frame, as tcpdump tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Seconds since the epoch.
    pub at: f64,
    /// Source MAC address.
    pub from: String,
    /// Destination MAC address.
    pub to: String,
    /// The rest of tcpdump's line.
    pub text: String,
}

impl Capture {
    /// Starts to capture; when this returns every later frame is seen.
    pub fn start(host: &Host, interface: &str, filter: &str, logs: &Path) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("capture-{}-{interface}-{number}", host.name());
        let file = logs.join(format!("{name}.pcap"));
        let program = Program::new(&name, "tcpdump", logs)
            .args(["-i", interface, "-n", "-U", "--immediate-mode", "-s", "0", "-Z", "root", "-w"])
            .arg(file.display().to_string())
            .arg(filter);
        let mut process = program.start(host.namespace())?;
        process.wait_for_text("listening on", READY)?;
        Ok(Self { file, process })
    }

    /// The frames so far that match a filter of pcap's language (empty: all).
    pub fn frames(&self, filter: &str) -> Result<Vec<Frame>> {
        let file = self.file.display().to_string();
        let output = Command::new("tcpdump")
            .args(["-r", &file, "-nn", "-e", "-tt", "-v", "-l", filter])
            .output()
            .context("cannot run tcpdump")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() || said.contains("truncated"), "tcpdump -r {file}: {said}");
        frames(&String::from_utf8_lossy(&output.stdout))
    }

    /// Ends the capture.
    pub fn stop(&mut self) -> Result<()> {
        self.process.signal(Signal::SIGINT)?;
        self.process.wait(READY).map(drop)
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// A frame starts at a line's beginning; lines that are indented belong to the one before.
fn frames(text: &str) -> Result<Vec<Frame>> {
    let mut frames: Vec<Frame> = Vec::new();
    for line in text.lines() {
        match frames.last_mut() {
            Some(frame) if line.starts_with([' ', '\t']) => {
                frame.text.push(' ');
                frame.text.push_str(line.trim());
            }
            _ => frames.push(frame(line)?),
        }
    }
    Ok(frames)
}

/// `SECONDS SOURCE > DESTINATION, ethertype …: …`
fn frame(line: &str) -> Result<Frame> {
    let odd = || anyhow!("tcpdump said `{line}`");
    let (at, rest) = line.split_once(' ').ok_or_else(odd)?;
    let (from, rest) = rest.split_once(" > ").ok_or_else(odd)?;
    let (to, text) = rest.split_once(", ").ok_or_else(odd)?;
    Ok(Frame { at: at.parse()?, from: from.into(), to: to.into(), text: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_two_lines_is_one() -> Result<()> {
        let text = "1.5 02:52:53:00:02:00 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: \
                    Request who-has 192.0.2.10\n    more of it\n\
                    1.6 02:52:53:00:03:00 > 02:52:53:00:02:00, ethertype ARP (0x0806), length 42: Reply\n";
        let frames = frames(text)?;
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].to, "ff:ff:ff:ff:ff:ff");
        assert!(frames[0].text.ends_with("192.0.2.10 more of it"));
        assert!((frames[1].at - 1.6).abs() < 1e-9);
        Ok(())
    }
}
