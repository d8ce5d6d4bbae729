//! Single questions to a VIP, asked from inside a host.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use roadstead_lab::{Host, eventually, http::Answer, pattern, uninterrupted};

/// How long a single question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A try while waiting for the first answer: shorter than any retransmission.
const SHORT: Duration = Duration::from_millis(40);

/// One request on a connection of its own.
pub fn tcp(host: &Host, to: SocketAddr) -> Result<Answer> {
    host.namespace().enter(|| request(to, "/", PATIENCE))
}

/// The body of `GET path`.
pub fn get(host: &Host, to: SocketAddr, path: &str) -> Result<Vec<u8>> {
    host.namespace().enter(|| body(to, path, PATIENCE))
}

/// A request with a body of so many bytes.
pub fn post(host: &Host, to: SocketAddr, bytes: usize) -> Result<Answer> {
    host.namespace().enter(|| {
        let body = send(to, "/", &vec![b'x'; bytes], PATIENCE)?;
        Answer::parse(&String::from_utf8_lossy(&body))
    })
}

/// A few MiB that tell a lost, swapped or doubled segment, down and up.
pub fn bulk(host: &Host, to: SocketAddr, bytes: usize) -> Result<()> {
    let pattern = pattern::bytes(bytes);
    let down = get(host, to, &format!("/pattern/{bytes}"))?;
    let (length, sum) = (down.len(), pattern::sum(&down));
    ensure!(down == pattern, "{length} of {bytes} bytes came down from {to}, sum {sum:x}");
    let answer = host.namespace().enter(|| {
        let body = send(to, "/", &pattern, PATIENCE)?;
        Answer::parse(&String::from_utf8_lossy(&body))
    })?;
    ensure!(
        (answer.received, answer.sum) == (bytes, pattern::sum(&pattern)),
        "{bytes} bytes went up to {to}, it has {answer:?}"
    );
    Ok(())
}

/// One datagram and its answer: the node's name.
pub fn udp(host: &Host, to: SocketAddr) -> Result<String> {
    udp_echo(host, to, b"hello")
}

/// One datagram of any length, which must come back whole behind the node's name.
pub fn udp_echo(host: &Host, to: SocketAddr, payload: &[u8]) -> Result<String> {
    host.namespace().enter(|| {
        let socket = udp_socket(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(payload)?;
        let mut buffer = vec![0; 65_535];
        let length = uninterrupted(|| socket.recv(&mut buffer))
            .with_context(|| format!("no answer from {to}"))?;
        buffer.truncate(length);
        let node = buffer.strip_suffix(payload).and_then(|rest| rest.strip_suffix(b" "));
        let node = node.ok_or_else(|| anyhow!("{to} answered {length} other bytes"))?;
        Ok(String::from_utf8_lossy(node).into_owned())
    })
}

/// How long until a connection is answered, counted from `since`.
pub fn time_until_answered(
    host: &Host,
    to: SocketAddr,
    since: Instant,
    within: Duration,
) -> Result<Duration> {
    host.namespace().enter(|| {
        eventually(&format!("an answer from {to}"), within, || request(to, "/", SHORT))?;
        Ok(since.elapsed())
    })
}

/// How long until no connection is answered any more, counted from `since`: the last answer is
/// followed by ten tries in vain.
pub fn time_until_silent(
    host: &Host,
    to: SocketAddr,
    since: Instant,
    within: Duration,
) -> Result<Duration> {
    host.namespace().enter(|| {
        let mut last_answer = since;
        let mut in_vain = 0;
        while in_vain < 10 {
            match request(to, "/", SHORT) {
                Ok(_) => (last_answer, in_vain) = (Instant::now(), 0),
                Err(_) => in_vain += 1,
            }
            ensure!(since.elapsed() < within, "{to} still answers after {within:?}");
        }
        Ok(last_answer - since)
    })
}

/// A connection that must be refused by a reset, at once.
pub fn refused(host: &Host, to: SocketAddr) -> Result<()> {
    host.namespace().enter(|| match TcpStream::connect_timeout(&to, PATIENCE) {
        Ok(_) => bail!("{to} accepts connections"),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => bail!("{to} does not refuse but: {error}"),
    })
}

/// A connection that must not be answered at all, for half a second.
pub fn unanswered(host: &Host, to: SocketAddr) -> Result<()> {
    let limit = Duration::from_millis(500);
    host.namespace().enter(|| match TcpStream::connect_timeout(&to, limit) {
        Ok(_) => bail!("{to} accepts connections"),
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
        Err(error) => bail!("{to} is not silent but: {error}"),
    })
}

/// A datagram that must come back as port unreachable.
pub fn udp_refused(host: &Host, to: SocketAddr) -> Result<()> {
    host.namespace().enter(|| {
        let socket = udp_socket(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"anybody?")?;
        match uninterrupted(|| socket.recv(&mut [0; 64])) {
            Ok(_) => bail!("{to} answers"),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => bail!("{to} does not refuse but: {error}"),
        }
    })
}

/// One ping.
pub fn ping(host: &Host, to: IpAddr) -> Result<()> {
    host.run(&["ping", "-n", "-c", "1", "-W", "2", &to.to_string()]).map(drop)
}

/// The MAC address that answers for an address on the host's first leg; none where nobody does.
/// Nothing that the host knew before counts.
pub fn who_has(host: &Host, address: IpAddr) -> Result<Option<String>> {
    let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    host.sysctl(&format!("net/{family}/neigh/eth0/retrans_time_ms"), "100")?;
    drop(host.ip(&format!("neigh del {address} dev eth0")));
    host.namespace().enter(|| {
        let socket = udp_socket(SocketAddr::new(address, 9))?;
        socket.send(b"?").map(drop).or_else(|error| match error.kind() {
            ErrorKind::ConnectionRefused => Ok(()),
            _ => Err(anyhow!(error)),
        })
    })?;
    eventually(&format!("the outcome of asking for {address}"), PATIENCE, || {
        let text = host.ip(&format!("neigh show {address} dev eth0"))?;
        let mut words = text.split_whitespace();
        match words.find(|word| *word == "lladdr").and_then(|_| words.next()) {
            Some(mac) => Ok(Some(mac.to_owned())),
            None if text.contains("FAILED") || text.trim().is_empty() => Ok(None),
            None => bail!("{}", text.trim()),
        }
    })
}

fn udp_socket(to: SocketAddr) -> Result<UdpSocket> {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    Ok(socket)
}

fn request(to: SocketAddr, path: &str, patience: Duration) -> Result<Answer> {
    Answer::parse(&String::from_utf8_lossy(&body(to, path, patience)?))
}

fn body(to: SocketAddr, path: &str, patience: Duration) -> Result<Vec<u8>> {
    send(to, path, &[], patience)
}

/// One request on a connection of its own; returns the body of the answer.
fn send(to: SocketAddr, path: &str, body: &[u8], patience: Duration) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&to, patience)
        .with_context(|| format!("cannot connect to {to}"))?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let length = body.len();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: vip\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body).with_context(|| format!("cannot send {length} bytes to {to}"))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("no answer from {to}"))?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let start = end.ok_or_else(|| anyhow!("{to} closed without an answer"))? + 4;
    Ok(answer.split_off(start))
}
