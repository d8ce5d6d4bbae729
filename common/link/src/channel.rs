//! The handshake and what follows it: bytes in, bytes out, no clock and no socket.
//!
//! ```text
//! initiator                       responder        Noise NNpsk0, the names as payloads
//!   psk, e, "edge1"      ──▶
//!                        ◀──      e, ee, "edge2"
//!   sealed, empty        ──▶                       now the responder knows that this is no replay
//! ```
//!
//! A sealed frame holds one part of one message: a byte that names the lane and says whether the
//! message ends here, then up to [`PART`] bytes of it. Parts of the two lanes may alternate.

use std::sync::Arc;

use snow::{Builder, HandshakeState, StatelessTransportState, params::NoiseParams};

use crate::{
    Key,
    frame::{FRAME_MAX, preamble},
};

/// The pattern and its ciphers.
pub const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
/// Bytes of a message in one frame.
pub const PART: usize = 32 * 1024;
/// Largest message on [`Lane::Urgent`] in bytes (S7).
pub const URGENT_MAX: usize = 4 * 1024;
/// Largest message on [`Lane::Bulk`] in bytes (S7): 5,000 Services are some 2 MB.
pub const BULK_MAX: usize = 64 << 20;
/// Longest name of a host.
pub const NAME_MAX: usize = 63;
/// What ChaChaPoly adds to a text.
const TAG: usize = 16;

const LAST: u8 = 0b01;
const BULK: u8 = 0b10;

/// Which queue a message waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Small, and never behind the other.
    Urgent,
    /// Large.
    Bulk,
}

/// Why a channel ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The handshake's message was not made with this key.
    #[error("it has another group key: copy one key file to every host")]
    Key,
    /// It has the key, and calls itself by no name.
    #[error(
        "it has the group's key but no usable name (1 to {NAME_MAX} printable ASCII characters)"
    )]
    Name,
    /// A frame that was changed, left out, repeated, or is no frame of this channel.
    #[error("a frame was damaged or is not of this connection")]
    Forged,
    /// A message beyond its lane's bound.
    #[error("a message exceeds {0} bytes")]
    TooLong(usize),
    /// Noise refuses: the counter of frames is used up, or a defect of ours.
    #[error("the channel cannot be used any further")]
    Spent,
}

/// A handshake that this side began.
pub struct Initiator(HandshakeState);

/// What a handshake leads to.
pub struct Channel {
    /// What the other side calls itself.
    pub peer: Arc<str>,
    /// For what goes out.
    pub sealer: Sealer,
    /// For what comes in.
    pub opener: Opener,
}

/// Seals what goes out.
pub struct Sealer {
    noise: Arc<StatelessTransportState>,
    next: u64,
}

/// Opens what comes in, and puts messages together.
pub struct Opener {
    noise: Arc<StatelessTransportState>,
    next: u64,
    urgent: Vec<u8>,
    bulk: Vec<u8>,
}

impl Initiator {
    /// Begins as the host `name`; returns the message for the other side.
    ///
    /// # Errors
    /// When Noise refuses, which is a defect.
    pub fn begin(key: &Key, name: &str) -> Result<(Self, Vec<u8>), ChannelError> {
        let mut noise = builder(key)?.build_initiator().map_err(|_| ChannelError::Spent)?;
        let message = write(&mut noise, name)?;
        Ok((Self(noise), message))
    }

    /// Takes the answer.
    ///
    /// # Errors
    /// When it was made with another key, or by another handshake.
    pub fn finish(mut self, answer: &[u8]) -> Result<Channel, ChannelError> {
        let peer = read(&mut self.0, answer)?;
        Channel::new(self.0, peer)
    }
}

/// Answers the first message of a handshake as the host `name`: the channel, and the answer.
///
/// # Errors
/// When the message was made with another key.
pub fn respond(key: &Key, name: &str, first: &[u8]) -> Result<(Channel, Vec<u8>), ChannelError> {
    let mut noise = builder(key)?.build_responder().map_err(|_| ChannelError::Spent)?;
    let peer = read(&mut noise, first)?;
    let answer = write(&mut noise, name)?;
    Ok((Channel::new(noise, peer)?, answer))
}

fn builder(key: &Key) -> Result<Builder<'_>, ChannelError> {
    let pattern: NoiseParams = PATTERN.parse().map_err(|_| ChannelError::Spent)?;
    let builder = Builder::new(pattern).psk(0, key.bytes());
    builder.and_then(|builder| builder.prologue(PROLOGUE)).map_err(|_| ChannelError::Spent)
}

/// The preamble of both sides: a version that somebody else wrote into one ends the handshake.
const PROLOGUE: &[u8] = b"RSLK\x00\x01";

fn write(noise: &mut HandshakeState, name: &str) -> Result<Vec<u8>, ChannelError> {
    debug_assert_eq!(PROLOGUE, preamble());
    let mut message = vec![0; FRAME_MAX];
    let length =
        noise.write_message(name.as_bytes(), &mut message).map_err(|_| ChannelError::Spent)?;
    message.truncate(length);
    Ok(message)
}

fn read(noise: &mut HandshakeState, message: &[u8]) -> Result<Arc<str>, ChannelError> {
    let mut payload = vec![0; FRAME_MAX];
    let length = noise.read_message(message, &mut payload).map_err(|_| ChannelError::Key)?;
    let name = payload.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let usable = |name: &&str| {
        (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    name.filter(usable).map(Arc::from).ok_or(ChannelError::Name)
}

impl Channel {
    fn new(noise: HandshakeState, peer: Arc<str>) -> Result<Self, ChannelError> {
        let noise = noise.into_stateless_transport_mode().map_err(|_| ChannelError::Spent)?;
        let noise = Arc::new(noise);
        Ok(Self {
            peer,
            sealer: Sealer { noise: noise.clone(), next: 0 },
            opener: Opener { noise, next: 0, urgent: Vec::new(), bulk: Vec::new() },
        })
    }
}

impl Lane {
    /// The largest message in bytes.
    pub fn limit(self) -> usize {
        match self {
            Self::Urgent => URGENT_MAX,
            Self::Bulk => BULK_MAX,
        }
    }
}

impl Sealer {
    /// One part of a message, at most [`PART`] bytes of it, as a message of Noise; `last` where the
    /// message ends with it.
    ///
    /// # Errors
    /// When the part is too long, or the counter of frames is used up.
    pub fn seal(&mut self, lane: Lane, part: &[u8], last: bool) -> Result<Vec<u8>, ChannelError> {
        if part.len() > PART {
            return Err(ChannelError::TooLong(PART));
        }
        let mark = if last { LAST } else { 0 } | if lane == Lane::Bulk { BULK } else { 0 };
        let mut text = Vec::with_capacity(part.len().saturating_add(1));
        text.push(mark);
        text.extend_from_slice(part);
        let mut sealed = vec![0; text.len().saturating_add(TAG)];
        let counter = self.next;
        self.next = counter.checked_add(1).ok_or(ChannelError::Spent)?;
        let length = self.noise.write_message(counter, &text, &mut sealed);
        sealed.truncate(length.map_err(|_| ChannelError::Spent)?);
        Ok(sealed)
    }
}

impl Opener {
    /// Takes the next message of Noise; returns the message that it completes.
    ///
    /// # Errors
    /// When it is not the next of this channel, or a message grows beyond its lane's bound.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Option<(Lane, Vec<u8>)>, ChannelError> {
        let mut text = vec![0; sealed.len()];
        let length = self.noise.read_message(self.next, sealed, &mut text);
        text.truncate(length.map_err(|_| ChannelError::Forged)?);
        self.next = self.next.checked_add(1).ok_or(ChannelError::Spent)?;
        let (mark, part) = text.split_first().ok_or(ChannelError::Forged)?;
        let (lane, gathered) = match mark & BULK {
            0 => (Lane::Urgent, &mut self.urgent),
            _ => (Lane::Bulk, &mut self.bulk),
        };
        if gathered.len().saturating_add(part.len()) > lane.limit() {
            return Err(ChannelError::TooLong(lane.limit()));
        }
        gathered.extend_from_slice(part);
        Ok((mark & LAST != 0).then(|| (lane, std::mem::take(gathered))))
    }
}

#[cfg(test)]
mod tests;
