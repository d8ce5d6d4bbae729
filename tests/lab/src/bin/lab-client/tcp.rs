//! Requests over TCP.

use std::{
    cell::Cell,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use roadstead_lab::http::{Answer, Reader};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::spawn_local,
    time::timeout,
};

use crate::{
    Common,
    record::{Outcome, Record},
};

/// A connection for each request.
pub(crate) async fn connect(common: Common, stop: &Rc<Cell<bool>>, record: Rc<Record>) {
    let mut schedule = common.schedule(stop);
    let mut pending = Vec::new();
    while let Some((n, due)) = schedule.next().await {
        record.sent();
        let (record, common) = (Rc::clone(&record), common.clone());
        pending.push(spawn_local(async move {
            let one = one_request(common.to, common.source(n), n);
            record.ended(due, within(common.timeout(), one).await);
        }));
        pending.retain(|task| !task.is_finished());
    }
    for task in pending {
        drop(task.await);
    }
}

/// Requests in turn on each of `connections` connections.
pub(crate) async fn keep_alive(
    mut common: Common,
    connections: u32,
    stop: &Rc<Cell<bool>>,
    record: Rc<Record>,
) {
    let connections = connections.max(1);
    common.rate = (common.rate / connections).max(1);
    common.count /= u64::from(connections);
    let task = |n| {
        let (common, stop, record) = (common.clone(), Rc::clone(stop), Rc::clone(&record));
        spawn_local(async move { long_connection(&common, n, &stop, &record).await })
    };
    let tasks: Vec<_> = (0..connections).map(task).collect();
    for task in tasks {
        drop(task.await);
    }
}

/// An open connection and the node at its other end.
struct Connection {
    stream: TcpStream,
    reader: Reader,
    node: Option<String>,
}

async fn long_connection(common: &Common, number: u32, stop: &Rc<Cell<bool>>, record: &Record) {
    let source = common.source(number.into());
    let mut schedule = common.schedule(stop);
    let mut connection: Option<Connection> = None;
    while let Some((n, due)) = schedule.next().await {
        record.sent();
        let step = next_request(connection.take(), common.to, source, n, record);
        let outcome = match timeout(common.timeout(), step).await {
            Err(_) => Outcome::Lost,
            Ok(Err(error)) => Outcome::Failed(error),
            Ok(Ok((kept, node))) => {
                connection = Some(kept);
                Outcome::Ok(node)
            }
        };
        record.ended(due, outcome);
    }
}

/// One more request on a connection, or the first one on a new connection.
async fn next_request(
    connection: Option<Connection>,
    to: SocketAddr,
    source: Option<IpAddr>,
    n: u64,
    record: &Record,
) -> io::Result<(Connection, String)> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => {
            Connection { stream: open(to, source).await?, reader: Reader::default(), node: None }
        }
    };
    let node = ask(&mut connection.stream, &mut connection.reader, n, false).await?;
    if connection.node.as_ref().is_some_and(|before| *before != node) {
        record.moved();
    }
    connection.node = Some(node.clone());
    Ok((connection, node))
}

async fn one_request(to: SocketAddr, source: Option<IpAddr>, n: u64) -> io::Result<String> {
    let mut stream = open(to, source).await?;
    ask(&mut stream, &mut Reader::default(), n, true).await
}

async fn open(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let any =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    socket.bind(SocketAddr::new(source.unwrap_or(any), 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends one request, checks that the answer belongs to it, returns the node's name.
async fn ask(
    stream: &mut TcpStream,
    reader: &mut Reader,
    n: u64,
    last: bool,
) -> io::Result<String> {
    let close = if last { "Connection: close\r\n" } else { "" };
    let request = format!("GET /seq/{n} HTTP/1.1\r\nHost: lab\r\n{close}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (_, body) =
        reader.message(stream).await.map_err(into_io)?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the answer")
        })?;
    let answer = Answer::parse(&String::from_utf8_lossy(&body)).map_err(into_io)?;
    if answer.path == format!("/seq/{n}") {
        Ok(answer.node)
    } else {
        Err(io::Error::other(format!("asked for {n}, got {}", answer.path)))
    }
}

/// Keeps the kind of an error of the socket.
fn into_io(error: anyhow::Error) -> io::Error {
    error.downcast::<io::Error>().unwrap_or_else(io::Error::other)
}

async fn within(limit: Duration, request: impl Future<Output = io::Result<String>>) -> Outcome {
    match timeout(limit, request).await {
        Ok(Ok(node)) => Outcome::Ok(node),
        Ok(Err(error)) => Outcome::Failed(error),
        Err(_) => Outcome::Lost,
    }
}
