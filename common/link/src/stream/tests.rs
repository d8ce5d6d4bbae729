//! Two hosts over loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::{net::TcpListener, sync::mpsc};

use super::*;
use crate::{Listener, listener::Met};

fn key(byte: u8) -> Key {
    Key::parse(&format!("{byte:02x}").repeat(32)).unwrap()
}

fn dial(to: SocketAddr, byte: u8) -> Dial {
    let patience = Duration::from_secs(5);
    Dial { key: key(byte), name: "edge1".into(), from: None, to, patience }
}

/// A listener as `edge2`, and whom it meets.
async fn listen(on: IpAddr, members: &[IpAddr]) -> (SocketAddr, mpsc::Receiver<Met>) {
    let listener =
        Listener::bind(SocketAddr::new(on, 0), key(7), "edge2".into(), members.into()).await;
    let listener = listener.unwrap();
    let address = listener.address().unwrap();
    let (sender, met) = mpsc::channel(4);
    tokio::spawn(listener.serve(sender));
    (address, met)
}

async fn linked(on: IpAddr) -> (Link, Link) {
    let (address, mut met) = listen(on, &[on]).await;
    let here = dial(address, 7).link().await.unwrap();
    let there = met.recv().await.unwrap().outcome.unwrap();
    (here, there)
}

/// What a side sends, and what it hears.
struct Side {
    urgent: watch::Sender<Arc<[u8]>>,
    bulk: watch::Sender<Arc<[u8]>>,
    heard: mpsc::Receiver<(Lane, Vec<u8>)>,
    ended: tokio::task::JoinHandle<LinkError>,
}

fn run(link: Link, idle: Duration) -> Side {
    let (urgent, urgent_out) = watch::channel(Arc::from(&b""[..]));
    let (bulk, bulk_out) = watch::channel(Arc::from(&b""[..]));
    let (hear, heard) = mpsc::channel(4);
    let outgoing = Outgoing { urgent: urgent_out, bulk: bulk_out };
    let ended = tokio::spawn(link.run(outgoing, idle, hear));
    Side { urgent, bulk, heard, ended }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn messages_go_both_ways_over_both_families() {
    for on in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let (here, there) = linked(on).await;
        assert_eq!((&*here.peer, &*there.peer), ("edge2", "edge1"));
        let (mut here, mut there) = (run(here, LONG), run(there, LONG));
        let much: Arc<[u8]> = (0..3 * PART + 5).map(|n| n.to_le_bytes()[0]).collect();
        here.bulk.send_replace(much.clone());
        there.urgent.send_replace(Arc::from(&b"alive"[..]));
        assert_eq!(there.heard.recv().await.unwrap(), (Lane::Bulk, much.to_vec()));
        assert_eq!(here.heard.recv().await.unwrap(), (Lane::Urgent, b"alive".to_vec()));
    }
}

#[tokio::test]
async fn another_key_is_told_at_both_ends() {
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let (address, mut met) = listen(here, &[here]).await;
    let error = dial(address, 8).link().await.err().unwrap();
    assert!(matches!(error, LinkError::Rejected), "{error}");
    let error = met.recv().await.unwrap().outcome.err().unwrap();
    assert!(matches!(error, LinkError::Channel(ChannelError::Key)), "{error}");
}

#[tokio::test]
async fn whoever_has_no_members_address_is_not_answered() {
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let (address, mut met) = listen(here, &[[192, 0, 2, 1].into()]).await;
    assert!(dial(address, 7).link().await.is_err());
    let error = met.recv().await.unwrap().outcome.err().unwrap();
    assert!(matches!(error, LinkError::NotAMember), "{error}");
}

/// Something else on the port, and another release: each is told as what it is.
#[tokio::test]
async fn strangers_and_other_releases_are_told() {
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let (address, mut met) = listen(here, &[here]).await;
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"RSLK\x00\x63"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let error = met.recv().await.unwrap().outcome.err().unwrap();
        let told = error.to_string();
        let wanted = if said.starts_with(b"RSLK") { "version 99" } else { "another service" };
        assert!(told.contains(wanted), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_not_carried_on_ends_by_itself() {
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let listener = TcpListener::bind(SocketAddr::new(here, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let silent = async { listener.accept().await.unwrap() };
    let dial = dial(address, 7);
    let (error, _held) = tokio::join!(dial.link(), silent);
    let error = error.err().unwrap();
    assert!(matches!(error, LinkError::Silent(_)), "{error}");
}

#[tokio::test]
async fn a_link_whose_other_end_falls_silent_ends() {
    let (here, there) = linked(Ipv4Addr::LOCALHOST.into()).await;
    let here = run(here, Duration::from_millis(50));
    let error = here.ended.await.unwrap();
    assert!(matches!(error, LinkError::Silent(_)), "{error}");
    let error = run(there, LONG).ended.await.unwrap();
    assert!(matches!(error, LinkError::Closed | LinkError::Broken(_)), "{error}");
}
