//! Requests over UDP: datagrams with a sequence number that come back with the node's name.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
};

use anyhow::Result;
use tokio::{
    net::UdpSocket,
    task::spawn_local,
    time::{Instant, timeout},
};

use crate::{
    Common,
    record::{Outcome, Record},
};

/// Datagrams from `sockets` sockets in turn; 0 = a socket for each.
pub(crate) async fn run(
    common: Common,
    sockets: u32,
    stop: &Rc<Cell<bool>>,
    record: Rc<Record>,
) -> Result<()> {
    if sockets == 0 {
        from_fresh_sockets(common, stop, record).await;
        return Ok(());
    }
    let mut lanes = Vec::new();
    for n in 0..sockets {
        lanes.push(Lane::open(common.to, common.source(n.into()), &record).await?);
    }
    let mut schedule = common.schedule(stop);
    let mut expiry = Vec::new();
    while let Some((n, due)) = schedule.next().await {
        let turn = usize::try_from(n % u64::from(sockets))?;
        let Some(lane) = lanes.get(turn) else { continue };
        record.sent();
        lane.send(n, due);
        let (lane, limit) = (lane.clone(), common.timeout());
        expiry.retain(|task: &tokio::task::JoinHandle<()>| !task.is_finished());
        expiry.push(spawn_local(async move { lane.expire(n, due + limit).await }));
    }
    for task in expiry {
        task.await?;
    }
    Ok(())
}

async fn from_fresh_sockets(common: Common, stop: &Rc<Cell<bool>>, record: Rc<Record>) {
    let mut schedule = common.schedule(stop);
    let mut pending = Vec::new();
    while let Some((n, due)) = schedule.next().await {
        record.sent();
        let (record, common) = (Rc::clone(&record), common.clone());
        pending.push(spawn_local(async move {
            let outcome = match timeout(common.timeout(), one(common.to, common.source(n), n)).await
            {
                Ok(Ok(node)) => Outcome::Ok(node),
                Ok(Err(error)) => Outcome::Failed(error),
                Err(_) => Outcome::Lost,
            };
            record.ended(due, outcome);
        }));
        pending.retain(|task| !task.is_finished());
    }
    for task in pending {
        drop(task.await);
    }
}

async fn one(to: SocketAddr, source: Option<IpAddr>, n: u64) -> io::Result<String> {
    let socket = open(to, source).await?;
    socket.send(n.to_string().as_bytes()).await?;
    let mut buffer = [0; 256];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match parse(buffer.get(..length).unwrap_or_default()) {
            Some((node, answered)) if answered == n => return Ok(node),
            _ => {}
        }
    }
}

/// One socket and the datagrams that are on their way.
#[derive(Clone)]
struct Lane {
    socket: Rc<UdpSocket>,
    pending: Rc<RefCell<BTreeMap<u64, Instant>>>,
    record: Rc<Record>,
}

impl Lane {
    async fn open(to: SocketAddr, source: Option<IpAddr>, record: &Rc<Record>) -> io::Result<Self> {
        let lane = Self {
            socket: Rc::new(open(to, source).await?),
            pending: Rc::default(),
            record: Rc::clone(record),
        };
        spawn_local(lane.clone().receive());
        Ok(lane)
    }

    fn send(&self, n: u64, due: Instant) {
        self.pending.borrow_mut().insert(n, due);
        if let Err(error) = self.socket.try_send(n.to_string().as_bytes()) {
            self.fail_oldest(error);
        }
    }

    async fn receive(self) {
        let mut buffer = [0; 256];
        loop {
            match self.socket.recv(&mut buffer).await {
                Ok(length) => self.answer(buffer.get(..length).unwrap_or_default()),
                Err(error) => self.fail_oldest(error),
            }
        }
    }

    fn answer(&self, datagram: &[u8]) {
        let Some((node, n)) = parse(datagram) else { return };
        if let Some(due) = self.pending.borrow_mut().remove(&n) {
            self.record.ended(due, Outcome::Ok(node));
        }
    }

    /// An ICMP error does not say for which datagram it came: the oldest one.
    fn fail_oldest(&self, error: io::Error) {
        if let Some((_, due)) = self.pending.borrow_mut().pop_first() {
            self.record.ended(due, Outcome::Failed(error));
        }
    }

    async fn expire(&self, n: u64, deadline: Instant) {
        loop {
            if !self.pending.borrow().contains_key(&n) {
                return;
            }
            if Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        if let Some(due) = self.pending.borrow_mut().remove(&n) {
            self.record.ended(due, Outcome::Lost);
        }
    }
}

async fn open(to: SocketAddr, source: Option<IpAddr>) -> io::Result<UdpSocket> {
    let any =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(source.unwrap_or(any), 0)).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// `NODE NUMBER`
fn parse(datagram: &[u8]) -> Option<(String, u64)> {
    let text = std::str::from_utf8(datagram).ok()?;
    let (node, number) = text.split_once(' ')?;
    Some((node.to_owned(), number.parse().ok()?))
}
