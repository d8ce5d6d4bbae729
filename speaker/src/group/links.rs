//! The links to the other members: one each. Of two hosts the one whose name comes first connects.
//!
//! ```text
//!  dial (a task for each member behind us) ──┐
//!  listener ─ met ─ admit (members before us)┼── Event (bounded) ──▶ task
//!  run (a task for each link) ───────────────┘
//! ```

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use roadstead_daemon::words::chain;
use roadstead_link::{Dial, Lane, Link, Listener, listener::Met, stream::Outgoing};
use roadstead_speaker_core::group::Rank;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::sleep,
};

use super::Setup;

/// Events that may wait. A link whose events find no place reads no further.
const EVENTS: usize = 64;
/// Those who connect and wait to be admitted.
const MET: usize = 16;
/// Pause after a connection that failed or ended.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause before an address that could not be listened at is tried again.
const REBIND: Duration = Duration::from_secs(1);

/// What happens on the links.
#[derive(Debug)]
pub(super) enum Event {
    /// There is a link.
    Up(Rank),
    /// There is none, and why.
    Down(Rank, String),
    /// A member that is there and is not understood.
    Refused(Rank),
    /// Somebody who is no member, or whom we do not know by its name.
    Stranger(SocketAddr, String),
    /// A message.
    Heard(Rank, Lane, Vec<u8>),
    /// Nobody can connect to this host.
    Deaf(SocketAddr, String),
}

/// The links with their tasks; dropping it ends them all.
#[derive(Debug)]
pub(super) struct Links {
    tasks: JoinSet<()>,
    events: mpsc::Receiver<Event>,
    /// The link of each member that connected to us.
    accepted: Vec<Option<AbortHandle>>,
    met: mpsc::Receiver<Met>,
    /// What follows from somebody who was met, beside what is told of it.
    waiting: Option<Event>,
    line: Line,
}

/// What every link needs.
#[derive(Clone, Debug)]
struct Line {
    outgoing: Outgoing,
    idle: Duration,
    events: mpsc::Sender<Event>,
}

impl Links {
    /// Connects to those behind us, listens for those before us. Must be called within a runtime.
    pub(super) fn start(setup: &Setup, outgoing: Outgoing) -> Self {
        let (events, out) = mpsc::channel(EVENTS);
        let (met_in, met) = mpsc::channel(MET);
        // A silent link is given up a little after its host counts as dead, so that a new one finds it.
        let idle = setup.config.detection() * 2;
        let line = Line { outgoing, idle, events };
        let mut tasks = JoinSet::new();
        for (rank, member) in setup.config.members.iter().enumerate() {
            if setup.name() < member.name {
                tasks.spawn(keep(
                    dial(setup, member.address),
                    rank,
                    member.name.clone(),
                    line.clone(),
                ));
            }
        }
        tasks.spawn(listen(listening(setup), line.events.clone(), met_in));
        let accepted = setup.config.members.iter().map(|_| None).collect();
        Self { tasks, events: out, accepted, met, waiting: None, line }
    }

    /// The next event. Cancelling is safe.
    pub(super) async fn next(&mut self, setup: &Setup) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.take() {
                return Some(event);
            }
            tokio::select! {
                event = self.events.recv() => return event,
                Some(met) = self.met.recv() => {
                    if let Some(event) = self.admit(met, setup) {
                        return Some(event);
                    }
                }
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
            }
        }
    }

    /// A member that connected. Its last link, if any, is over: it would not connect otherwise.
    fn admit(&mut self, met: Met, setup: &Setup) -> Option<Event> {
        let from = met.from;
        let stranger = |why: String| Some(Event::Stranger(from, why));
        let link = match met.outcome {
            Ok(link) => link,
            Err(error) => {
                let refused = setup.rank_at(from.ip()).filter(|_| error.is_refusal());
                self.waiting = refused.map(Event::Refused);
                return stranger(chain(&error));
            }
        };
        let member = setup.config.rank(&link.peer).filter(|rank| *rank != setup.me);
        let Some((rank, member)) =
            member.and_then(|rank| Some((rank, setup.config.members.get(rank)?)))
        else {
            return stranger(format!("it calls itself {}, which is no other member", link.peer));
        };
        if member.address.ip() != from.ip().to_canonical() {
            let (name, address) = (&member.name, member.address.ip());
            return stranger(format!("it calls itself {name}, which has the address {address}"));
        }
        let line = self.line.clone();
        let task = self.tasks.spawn(async move {
            let why = line.run(rank, link).await;
            line.tell(Event::Down(rank, why)).await;
        });
        let before = self.accepted.get_mut(rank).and_then(|slot| slot.replace(task));
        if let Some(before) = before {
            before.abort();
        }
        None
    }
}

fn dial(setup: &Setup, to: SocketAddr) -> Dial {
    let patience = setup.config.detection();
    Dial { key: setup.key.clone(), name: setup.name(), from: setup.address(), to, patience }
}

/// Where and as whom this host listens.
struct Listening {
    at: SocketAddr,
    key: roadstead_link::Key,
    name: Arc<str>,
    members: Arc<[IpAddr]>,
}

fn listening(setup: &Setup) -> Listening {
    let own = setup.config.members.get(setup.me).map(|member| member.address);
    let at = setup.config.listen.or(own);
    let others = setup.config.members.iter().enumerate().filter(|(rank, _)| *rank != setup.me);
    Listening {
        at: at.unwrap_or_else(|| {
            SocketAddr::from(([0, 0, 0, 0], roadstead_model::config::Group::PORT))
        }),
        key: setup.key.clone(),
        name: setup.name(),
        members: others.map(|(_, member)| member.address.ip()).collect(),
    }
}

/// Listens for ever; an address that is not here yet is waited for.
async fn listen(listening: Listening, events: mpsc::Sender<Event>, met: mpsc::Sender<Met>) {
    let Listening { at, key, name, members } = listening;
    loop {
        match Listener::bind(at, key.clone(), name.clone(), members.clone()).await {
            Ok(listener) => listener.serve(met.clone()).await,
            Err(error) => {
                // The one who listens to events may be gone: then all is over.
                let _ = events.send(Event::Deaf(at, error.to_string())).await;
            }
        }
        sleep(REBIND).await;
    }
}

/// Keeps a link to a member, for ever.
async fn keep(dial: Dial, rank: Rank, name: Arc<str>, line: Line) {
    loop {
        let why = match dial.link().await {
            Ok(link) if link.peer == name => line.run(rank, link).await,
            Ok(link) => format!("at {} is {}, not {name}", dial.to, link.peer),
            Err(error) => {
                if error.is_refusal() {
                    line.tell(Event::Refused(rank)).await;
                }
                chain(&error)
            }
        };
        line.tell(Event::Down(rank, why)).await;
        sleep(PAUSE).await;
    }
}

impl Line {
    /// Uses a link until it ends, and says why it did.
    async fn run(&self, rank: Rank, link: Link) -> String {
        self.tell(Event::Up(rank)).await;
        let events = self.events.clone();
        let (heard, mut messages) = mpsc::channel::<(Lane, Vec<u8>)>(1);
        let ended = link.run(self.outgoing.clone(), self.idle, heard);
        let pass_on = async {
            while let Some((lane, message)) = messages.recv().await {
                // Whoever listens is gone with everything else.
                let _ = events.send(Event::Heard(rank, lane, message)).await;
            }
        };
        let (ended, ()) = tokio::join!(ended, pass_on);
        chain(&ended)
    }

    async fn tell(&self, event: Event) {
        // As above.
        let _ = self.events.send(event).await;
    }
}

/// Subscribes to what goes out on every link.
pub(super) fn outgoing(
    urgent: &watch::Sender<Arc<[u8]>>,
    bulk: &watch::Sender<Arc<[u8]>>,
) -> Outgoing {
    Outgoing { urgent: urgent.subscribe(), bulk: bulk.subscribe() }
}
