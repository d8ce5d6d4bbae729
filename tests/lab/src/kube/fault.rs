//! An API server at its worst: something that stands before the real one, on the same host, and does
//! to requests and answers what a test wants.
//!
//! ```text
//! daemons ──TLS──▶ Faults (port 7443) ──TLS──▶ kube-apiserver (port 6443)
//! ```
//!
//! It ends TLS with a certificate of the lab's authority, so that it can answer by itself, cut bodies,
//! or keep silent. One thread in the host's namespace owns it all; dropping [`Faults`] ends it.

mod answer;
mod body;

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::{Context, Result, anyhow};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use crate::{
    host::Host,
    kube::{authority::Signed, plane::Plane},
};
use answer::Upstream;

/// Where it listens, on the host of the control plane.
const PORT: u16 = 7443;

/// What is wrong with the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every answer, and every piece of one, comes so much later.
    Late(Duration),
    /// Everything is answered with this status, and `Retry-After` in seconds.
    Refuses(u16, Option<u64>),
    /// Every answer ends in the middle, with its connection.
    Truncates,
    /// Connections that are there stay and say nothing more, for ever; new ones are taken and get no
    /// answer: packets are lost on the way, and no end of either side is told.
    HalfOpen,
    /// The history of Services is lost (410), lists of them are empty, and nothing is said of any.
    EmptyServices,
}

/// The thing in between.
#[derive(Debug)]
pub struct Faults {
    fault: watch::Sender<Fault>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Faults {
    /// Starts it before a control plane, with nothing wrong.
    pub fn start(plane: &Plane) -> Result<Self> {
        let (host, address) = (plane.host().clone(), SocketAddr::new(plane.address()?.ip(), PORT));
        let upstream = Upstream::new(plane.address()?, plane.authority().der());
        let names: Vec<_> = host.addresses().collect();
        let acceptor = acceptor(&plane.authority().server(&[], &names)?)?;
        let (fault, faults) = watch::channel(Fault::None);
        let (stop, stopped) = oneshot::channel::<()>();
        let (listening, listens) = std::sync::mpsc::channel();
        let work = move |host: Host| {
            host.namespace().enter(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let listener = TcpListener::bind(address).await?;
                    listening.send(())?;
                    tokio::select! {
                        () = serve(listener, acceptor, upstream, faults) => {}
                        _ = stopped => {}
                    }
                    anyhow::Ok(())
                })
            })
        };
        let thread = std::thread::Builder::new().spawn(move || work(host))?;
        let mut between = Self { fault, address, stop: Some(stop), thread: Some(thread) };
        if listens.recv().is_err() {
            between.end().context("nobody listens in the API server's place")?;
        }
        Ok(between)
    }

    /// What clients are told: `https://ADDRESS:PORT`.
    pub fn server(&self) -> String {
        format!("https://{}", self.address)
    }

    /// From now on this is wrong. Answers that are under way are cut, but where connections only
    /// fall silent or slow.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    fn end(&mut self) -> Result<()> {
        drop(self.stop.take());
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow!("it panicked"))?
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        drop(self.end());
    }
}

fn acceptor(signed: &Signed) -> Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_slice(signed.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    upstream: Upstream,
    faults: watch::Receiver<Fault>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, upstream, faults) = (tls.clone(), upstream.clone(), faults.clone());
        connections.spawn(async move {
            // A client that goes away is no error.
            let _ = connection(stream, tls, upstream, faults).await;
        });
    }
}

async fn connection(
    stream: TcpStream,
    tls: TlsAcceptor,
    upstream: Upstream,
    faults: watch::Receiver<Fault>,
) -> Result<()> {
    if *faults.borrow() == Fault::HalfOpen {
        return std::future::pending().await;
    }
    let stream = tls.accept(stream).await?;
    let service = service_fn(|request| upstream.answer(request, faults.clone()));
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?;
    Ok(())
}
