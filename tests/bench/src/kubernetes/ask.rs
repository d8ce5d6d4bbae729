//! Requests that are tried until the first is answered.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::timeout,
};

use roadstead_lab::Host;

/// How long a try may take, and so how exactly its end is known.
const TRY: Duration = Duration::from_millis(20);
/// Before the next one, where it was refused at once.
const PAUSE: Duration = Duration::from_millis(2);
/// The same where thousands are tried at once.
const TRY_OF_MANY: Duration = Duration::from_millis(500);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n";

/// When the first request from this host was answered; none when `wanted` ended before.
pub(crate) fn first_answer(
    from: &Host,
    to: SocketAddr,
    wanted: &AtomicBool,
) -> Result<Option<Instant>> {
    from.namespace().enter(|| {
        while wanted.load(Ordering::Relaxed) {
            if request(to).is_ok() {
                return Ok(Some(Instant::now()));
            }
            thread::sleep(PAUSE);
        }
        Ok(None)
    })
}

/// One request from the calling thread's namespace.
pub(crate) fn request(to: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, TRY)?;
    stream.set_read_timeout(Some(TRY))?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{to} does not answer");
    Ok(())
}

/// When the last of them had its first answer.
pub(crate) fn all_answer(from: &Host, to: Vec<SocketAddr>, within: Duration) -> Result<Instant> {
    from.namespace().enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let all = async {
            let mut asking: JoinSet<()> = to.into_iter().map(until_answered).collect();
            while let Some(ended) = asking.join_next().await {
                ended?;
            }
            Ok(Instant::now())
        };
        runtime.block_on(async { timeout(within, all).await }).context("not all answered")?
    })
}

async fn until_answered(to: SocketAddr) {
    loop {
        let began = tokio::time::Instant::now();
        if let Ok(Ok(())) = timeout(TRY_OF_MANY, one(to)).await {
            return;
        }
        tokio::time::sleep_until(began + TRY_OF_MANY).await;
    }
}

async fn one(to: SocketAddr) -> Result<()> {
    let mut stream = tokio::net::TcpStream::connect(to).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        bail!("{to} does not answer");
    }
    Ok(())
}
