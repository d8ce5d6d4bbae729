//! What waits for a leg to take it.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use roadstead_wire::{Advertisement, Arp, Frame, Nonce, Solicitation, arp::Operation, mld, ndp};

use super::Leg;

/// Answers waiting on one leg; more would only reach askers that have asked again meanwhile.
const ANSWERS: usize = 1024;
/// Probes and announcements waiting on one leg: the bursts of 10,000 addresses. A leg that takes
/// nothing for longer gets the rest with the next refresh.
const OWN: usize = 65_536;
/// Answers per second on one leg, and how many at once: a rack's routers may ask for every address
/// after a reboot.
const ANSWERS_PER_SECOND: u64 = 2000;

/// One frame to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) address: IpAddr,
    /// The entry's epoch when this was queued: with another one now, it is void.
    pub(super) epoch: u64,
    pub(super) message: Message,
}

/// What to send; the frame is built when it is taken, with the MAC of that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// RFC 5227 probe.
    ArpProbe(Ipv4Addr),
    /// RFC 5227 announcement, in either form.
    ArpAnnouncement(Ipv4Addr, Operation),
    /// Join of the solicited-node group.
    Join(Ipv6Addr),
    /// Duplicate address detection.
    NdpProbe(Ipv6Addr, Nonce),
    /// Unsolicited advertisement.
    NdpAnnouncement(Ipv6Addr),
    /// Answer to a solicitation.
    Answer(Frame),
}

/// The queue of one leg.
#[derive(Debug, Default)]
pub(super) struct Queue {
    answers: VecDeque<Item>,
    own: VecDeque<Item>,
    bucket: Bucket,
}

/// An item that was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The limit of answers is reached.
    Limited,
    /// The leg has taken nothing for long.
    Full,
}

impl Queue {
    /// Takes in a probe or an announcement.
    pub(super) fn push<const N: usize>(
        &mut self,
        address: IpAddr,
        epoch: u64,
        messages: [Message; N],
    ) -> Result<(), Refused> {
        if self.own.len() >= OWN {
            return Err(Refused::Full);
        }
        self.own.extend(messages.map(|message| Item { address, epoch, message }));
        Ok(())
    }

    /// Takes in an answer, within the leg's limit.
    pub(super) fn push_answer(
        &mut self,
        address: IpAddr,
        epoch: u64,
        answer: Frame,
        now: Instant,
    ) -> Result<(), Refused> {
        if self.answers.len() >= ANSWERS || !self.bucket.take(now) {
            return Err(Refused::Limited);
        }
        self.answers.push_back(Item { address, epoch, message: Message::Answer(answer) });
        Ok(())
    }

    /// The next item; answers first: somebody waits for them.
    pub(super) fn pop(&mut self) -> Option<Item> {
        self.answers.pop_front().or_else(|| self.own.pop_front())
    }
}

impl Message {
    /// Whether it may go out for an address that is not announced.
    pub(super) fn is_probe(&self) -> bool {
        match self {
            Self::ArpProbe(_) | Self::NdpProbe(..) | Self::Join(_) => true,
            Self::ArpAnnouncement(..) | Self::NdpAnnouncement(_) | Self::Answer(_) => false,
        }
    }

    /// The frame that leaves the leg.
    pub(super) fn emit(&self, leg: &Leg) -> Vec<u8> {
        match self {
            Self::ArpProbe(address) => Arp::probe(leg.mac, *address).emit().to_vec(),
            Self::ArpAnnouncement(address, form) => {
                Arp::announcement(*form, leg.mac, *address).emit().to_vec()
            }
            Self::Join(address) => join(leg, *address).emit(),
            Self::NdpProbe(address, nonce) => Solicitation::probe(leg.mac, *address, *nonce).emit(),
            Self::NdpAnnouncement(address) => Advertisement::announcement(leg.mac, *address).emit(),
            Self::Answer(frame) => frame.emit(),
        }
    }
}

fn join(leg: &Leg, address: Ipv6Addr) -> mld::Join {
    mld::Join {
        ethernet_source: leg.mac,
        source: leg.link_local.unwrap_or(Ipv6Addr::UNSPECIFIED),
        group: ndp::solicited_node(address),
    }
}

/// A token bucket.
#[derive(Debug, Default)]
struct Bucket {
    /// When it was, or will be, empty: each token moves it on by the time one takes to come back.
    empty_at: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let cost = Duration::from_secs(1) / u32::try_from(ANSWERS_PER_SECOND).unwrap_or(1);
        let floor = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        let empty_at = self.empty_at.map_or(floor, |at| at.max(floor));
        if empty_at + cost > now {
            return false;
        }
        self.empty_at = Some(empty_at + cost);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_gives_a_second_at_once_and_then_its_rate() {
        let start = Instant::now() + Duration::from_secs(3600);
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, now| (0..10_000).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, start), 2000);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(100)), 200);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(60)), 2000);
    }
}
