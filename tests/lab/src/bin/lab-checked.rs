//! What stands behind the health checks of a Service: HTTPS with a certificate for nobody, and
//! `grpc.health.v1.Health` over HTTP/2. SIGUSR1 makes both say that they do not serve, SIGUSR2 that
//! they do; ends by signal.
#![forbid(unsafe_code)]

use std::{cell::Cell, net::Ipv6Addr, rc::Rc, sync::Arc};

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Parser;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use roadstead_lab::http::Reader;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    task::{LocalSet, spawn_local},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

#[derive(Parser)]
#[command(about = "Answers health checks over HTTPS and gRPC, until it gets a signal")]
struct Arguments {
    /// The port of HTTPS
    #[arg(long)]
    https: u16,
    /// The port of gRPC
    #[arg(long)]
    grpc: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    LocalSet::new().run_until(run(arguments)).await
}

async fn run(arguments: Arguments) -> Result<()> {
    let serving = Rc::new(Cell::new(true));
    let acceptor = acceptor()?;
    let https = {
        let serving = Rc::clone(&serving);
        move |stream| https(acceptor.clone(), stream, serving.get())
    };
    spawn_local(serve(bind(arguments.https).await?, https));
    let grpc = {
        let serving = Rc::clone(&serving);
        move |stream| grpc(stream, serving.get())
    };
    spawn_local(serve(bind(arguments.grpc).await?, grpc));
    println!("ready");
    run_until_told(&serving).await
}

async fn run_until_told(serving: &Cell<bool>) -> Result<()> {
    let mut sick = signal(SignalKind::user_defined1())?;
    let mut well = signal(SignalKind::user_defined2())?;
    let mut term = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            _ = sick.recv() => serving.set(false),
            _ = well.recv() => serving.set(true),
            _ = term.recv() => return Ok(()),
        }
    }
}

async fn bind(port: u16) -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await;
    listener.with_context(|| format!("cannot listen on TCP port {port}"))
}

async fn serve<F: Future<Output = Result<()>> + 'static>(
    listener: TcpListener,
    answer: impl Fn(TcpStream) -> F + 'static,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let answer = answer(stream);
        // What a client breaks off is its own business.
        spawn_local(async move { drop(answer.await) });
    }
}

/// A certificate that nobody has signed, for a name that nobody asks for.
fn acceptor() -> Result<TlsAcceptor> {
    let own = rcgen::generate_simple_self_signed(["nobody.example".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn https(acceptor: TlsAcceptor, stream: TcpStream, serving: bool) -> Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    Reader::default().message(&mut stream).await?;
    let status = if serving { "200 OK" } else { "500 Internal Server Error" };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}

async fn grpc(stream: TcpStream, serving: bool) -> Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        answer_call(request.uri().path(), respond, serving)?;
    }
    Ok(())
}

/// `HealthCheckResponse`: field 1 is SERVING (1) or NOT_SERVING (2).
fn answer_call(path: &str, mut respond: SendResponse<Bytes>, serving: bool) -> Result<()> {
    let head = Response::builder().header("content-type", "application/grpc").body(())?;
    let mut body = respond.send_response(head, false)?;
    let known = path == "/grpc.health.v1.Health/Check";
    if known {
        let status = if serving { 1 } else { 2 };
        body.send_data(vec![0, 0, 0, 0, 2, 8, status].into(), false)?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(if known { "0" } else { "12" }));
    body.send_trailers(trailers)?;
    Ok(())
}
