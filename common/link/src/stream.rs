//! A channel over TCP: handshakes within a time limit, then both directions at once.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::timeout,
};

use crate::{
    Key,
    channel::{Channel, ChannelError, Initiator, Lane, Opener, PART, Sealer, respond},
    frame::{self, PREAMBLE, PreambleError, check_preamble, preamble},
};

/// How long a handshake may take, from the connection to its last message.
pub const HANDSHAKE: Duration = Duration::from_secs(2);
/// Bytes that are asked of the kernel at once.
const READ: usize = 64 * 1024;

/// A connection on which both sides have proved that they have the group's key.
pub struct Link {
    /// What the other side calls itself. Every member has the same key: a member that lies about its
    /// name is not found out.
    pub peer: Arc<str>,
    /// Where it is.
    pub address: SocketAddr,
    reader: Reader,
    writer: Writer,
}

/// Why there is no link, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The other side closed it.
    #[error("it closed the connection")]
    Closed,
    /// It closed the connection instead of answering the handshake.
    #[error(
        "it closed the connection without an answer: its log says why; most often its key or its list of members is another"
    )]
    Rejected,
    /// It is too slow, or silent.
    #[error("nothing was heard for {} ms", .0.as_millis())]
    Silent(Duration),
    /// It is no host of this release.
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    /// It has another key, or a frame was changed.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// It comes from an address that no member has.
    #[error("no member of the group has this address")]
    NotAMember,
}

impl LinkError {
    /// Whether somebody is there who is, most likely, a member that is set up otherwise.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Rejected
            | Self::Preamble(PreambleError::Version(_))
            | Self::Channel(ChannelError::Key) => true,
            Self::Preamble(PreambleError::Stranger)
            | Self::Channel(_)
            | Self::Connect(_)
            | Self::Broken(_)
            | Self::Closed
            | Self::Silent(_)
            | Self::NotAMember => false,
        }
    }
}

/// How to reach a member.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The group's key.
    pub key: Key,
    /// What this host calls itself.
    pub name: Arc<str>,
    /// The address that the connection comes from, by which the other side knows it.
    pub from: Option<IpAddr>,
    /// The member.
    pub to: SocketAddr,
    /// How long the connection may take. Shorter than the kernel's first retransmission, so that a
    /// member that comes back is found at once.
    pub patience: Duration,
}

impl Dial {
    /// Connects, and proves the key.
    ///
    /// # Errors
    /// When nobody is there, or somebody else is.
    pub async fn link(&self) -> Result<Link, LinkError> {
        let stream = timeout(self.patience, self.connect())
            .await
            .map_err(|_| LinkError::Silent(self.patience))?
            .map_err(LinkError::Connect)?;
        within(HANDSHAKE, self.handshake(stream)).await
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = match self.to {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(from) = self.from.filter(|from| from.is_ipv4() == self.to.is_ipv4()) {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        socket.connect(self.to).await
    }

    async fn handshake(&self, mut stream: TcpStream) -> Result<Link, LinkError> {
        greet(&mut stream).await.map_err(rejected)?;
        let (initiator, first) = Initiator::begin(&self.key, &self.name)?;
        write_frame(&mut stream, &first).await?;
        let answer = read_frame(&mut stream).await.map_err(rejected)?;
        let Channel { peer, mut sealer, opener } = initiator.finish(&answer)?;
        let confirmation = sealer.seal(Lane::Urgent, b"", true)?;
        write_frame(&mut stream, &confirmation).await?;
        Ok(Link::new(stream, self.to, peer, sealer, opener))
    }
}

/// Answers a handshake on a connection that was accepted.
///
/// # Errors
/// When it is no member, or too slow.
pub async fn answer(
    mut stream: TcpStream,
    from: SocketAddr,
    key: &Key,
    name: &str,
) -> Result<Link, LinkError> {
    let handshake = async {
        greet(&mut stream).await?;
        let first = read_frame(&mut stream).await?;
        let (channel, answer) = respond(key, name, &first)?;
        write_frame(&mut stream, &answer).await?;
        let Channel { peer, sealer, mut opener } = channel;
        // Only whoever made this handshake can seal a frame of it: the first message alone may be a
        // recording.
        let confirmation = read_frame(&mut stream).await?;
        opener.open(&confirmation)?;
        Ok((peer, sealer, opener))
    };
    let (peer, sealer, opener) = within(HANDSHAKE, handshake).await?;
    Ok(Link::new(stream, from, peer, sealer, opener))
}

async fn within<T>(
    limit: Duration,
    doing: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    timeout(limit, doing).await.map_err(|_| LinkError::Silent(limit))?
}

/// Both sides speak at once, so that each learns of the other's version.
async fn greet(stream: &mut TcpStream) -> Result<(), LinkError> {
    stream.set_nodelay(true).map_err(LinkError::Broken)?;
    stream.write_all(&preamble()).await.map_err(LinkError::Broken)?;
    let mut theirs = [0; PREAMBLE];
    stream.read_exact(&mut theirs).await.map_err(broken)?;
    Ok(check_preamble(theirs)?)
}

async fn write_frame(stream: &mut TcpStream, message: &[u8]) -> Result<(), LinkError> {
    let mut out = Vec::new();
    frame::put(message, &mut out);
    stream.write_all(&out).await.map_err(LinkError::Broken)
}

/// One frame of the handshake, byte for byte: what follows belongs to the channel.
async fn read_frame(stream: &mut TcpStream) -> Result<Vec<u8>, LinkError> {
    let length = stream.read_u16().await.map_err(broken)?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.map_err(broken)?;
    Ok(message)
}

fn broken(error: io::Error) -> LinkError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => LinkError::Closed,
        _ => LinkError::Broken(error),
    }
}

fn rejected(error: LinkError) -> LinkError {
    match error {
        LinkError::Closed | LinkError::Broken(_) => LinkError::Rejected,
        other => other,
    }
}

/// What goes out: the newest of each lane. A value that is replaced before it was sent is never sent;
/// an empty one is nothing.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Sent with every change, also to an equal value.
    pub urgent: watch::Receiver<Arc<[u8]>>,
    /// Sent in parts, each of which lets what is urgent pass.
    pub bulk: watch::Receiver<Arc<[u8]>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("peer", &self.peer)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Link {
    fn new(
        stream: TcpStream,
        address: SocketAddr,
        peer: Arc<str>,
        sealer: Sealer,
        opener: Opener,
    ) -> Self {
        let (input, output) = stream.into_split();
        Self {
            peer,
            address,
            reader: Reader { input, opener, received: BytesMut::new() },
            writer: Writer { output, sealer },
        }
    }

    /// Sends what is outgoing, and tells `hear` every message, until the link ends: nothing is read
    /// while it is full. `idle` is how long the other side may be silent. Dropping the future closes
    /// the connection.
    pub async fn run(
        self,
        outgoing: Outgoing,
        idle: Duration,
        hear: mpsc::Sender<(Lane, Vec<u8>)>,
    ) -> LinkError {
        let Self { mut reader, mut writer, .. } = self;
        let read = async {
            loop {
                match timeout(idle, reader.next()).await {
                    Ok(Ok(message)) => {
                        if hear.send(message).await.is_err() {
                            return LinkError::Closed;
                        }
                    }
                    Ok(Err(error)) => return error,
                    Err(_) => return LinkError::Silent(idle),
                }
            }
        };
        tokio::select! {
            error = read => error,
            result = writer.run(outgoing) => result.err().unwrap_or(LinkError::Closed),
        }
    }
}

struct Reader {
    input: OwnedReadHalf,
    opener: Opener,
    received: BytesMut,
}

impl Reader {
    /// The next whole message. Cancelling is safe: what was received stays.
    async fn next(&mut self) -> Result<(Lane, Vec<u8>), LinkError> {
        loop {
            while let Some(sealed) = frame::take(&mut self.received) {
                if let Some(message) = self.opener.open(&sealed)? {
                    return Ok(message);
                }
            }
            self.received.reserve(READ);
            match self.input.read_buf(&mut self.received).await {
                Ok(0) => return Err(LinkError::Closed),
                Ok(_) => {}
                Err(error) => return Err(LinkError::Broken(error)),
            }
        }
    }
}

struct Writer {
    output: OwnedWriteHalf,
    sealer: Sealer,
}

impl Writer {
    /// Ends with an error, or when whoever speaks is gone.
    async fn run(&mut self, mut outgoing: Outgoing) -> Result<(), LinkError> {
        outgoing.urgent.mark_changed();
        outgoing.bulk.mark_changed();
        loop {
            tokio::select! {
                biased;
                changed = outgoing.urgent.changed() => match changed {
                    Ok(()) => self.urgent(&mut outgoing.urgent).await?,
                    Err(_) => return Ok(()),
                },
                changed = outgoing.bulk.changed() => match changed {
                    Ok(()) => self.bulk(&mut outgoing).await?,
                    Err(_) => return Ok(()),
                },
            }
        }
    }

    async fn urgent(&mut self, urgent: &mut watch::Receiver<Arc<[u8]>>) -> Result<(), LinkError> {
        let message = urgent.borrow_and_update().clone();
        if message.is_empty() {
            return Ok(());
        }
        self.send(Lane::Urgent, &message, true).await
    }

    async fn bulk(&mut self, outgoing: &mut Outgoing) -> Result<(), LinkError> {
        let message = outgoing.bulk.borrow_and_update().clone();
        let mut parts = message.chunks(PART).peekable();
        while let Some(part) = parts.next() {
            self.send(Lane::Bulk, part, parts.peek().is_none()).await?;
            if outgoing.urgent.has_changed().unwrap_or(false) {
                self.urgent(&mut outgoing.urgent).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, lane: Lane, part: &[u8], last: bool) -> Result<(), LinkError> {
        let mut out = Vec::new();
        frame::put(&self.sealer.seal(lane, part, last)?, &mut out);
        self.output.write_all(&out).await.map_err(LinkError::Broken)
    }
}

#[cfg(test)]
mod tests;
