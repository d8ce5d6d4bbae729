//! A small API server on loopback that does what a test wants: lists, pages, streaming lists,
//! watches with bookmarks and history, and everything that can go wrong.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, header::AUTHORIZATION};
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::write::Written;

pub(super) const SERVICES: &str = "/api/v1/services";
pub(super) const NODES: &str = "/api/v1/nodes";
pub(super) const NAMESPACES: &str = "/api/v1/namespaces";
pub(super) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

pub(super) const POOLS: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools";
pub(super) const L2: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/l2advertisements";
/// MetalLB's kinds.
const METALLB: [&str; 6] = [
    POOLS,
    L2,
    "/apis/metallb.io/v1beta1/namespaces/metallb-system/bgpadvertisements",
    "/apis/metallb.io/v1beta2/namespaces/metallb-system/bgppeers",
    "/apis/metallb.io/v1beta1/namespaces/metallb-system/bfdprofiles",
    "/apis/metallb.io/v1beta1/namespaces/metallb-system/communities",
];

/// How the server answers everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// This status, with `Retry-After` in seconds.
    Refuses(u16, Option<u64>),
    /// Connections are taken and nothing is ever said.
    Silent,
    /// Answers begin, and end in the middle.
    Truncates,
    /// Answers are no JSON.
    Babbles,
}

/// What the server has, and how it is.
pub(super) struct World {
    pub(super) mood: Mood,
    /// Whether lists are streamed.
    pub(super) streams: bool,
    /// Whether Services can be selected by their type.
    pub(super) selects: bool,
    /// The token that the next TokenRequest is granted, which is the one that is asked for then.
    pub(super) grant: Option<String>,
    /// How MetalLB's kinds are refused; none where they are served.
    pub(super) metallb: Option<u16>,
    /// Most objects in one page.
    pub(super) page: usize,
    /// The token that is asked for.
    pub(super) token: Option<String>,
    /// The version that the history begins at.
    pub(super) oldest: u64,
    pub(super) version: u64,
    pub(super) objects: HashMap<&'static str, BTreeMap<String, Value>>,
    history: Vec<(u64, &'static str, Value)>,
    /// Watches of earlier generations are ended.
    generation: u64,
    /// Watches of earlier generations than this say nothing more, and do not end.
    deaf: u64,
    /// What was asked for.
    pub(super) asked: Vec<String>,
    /// What was written.
    pub(super) written: Written,
}

impl World {
    /// Adds or replaces an object.
    pub(super) fn apply(&mut self, path: &'static str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let key = key_of(&object);
        let known = self.objects.entry(path).or_default().insert(key, object.clone()).is_some();
        let kind = if known { "MODIFIED" } else { "ADDED" };
        self.history.push((self.version, path, json!({"type": kind, "object": object})));
    }

    /// Deletes an object.
    pub(super) fn delete(&mut self, path: &'static str, key: &str) {
        self.version += 1;
        let mut object = self.objects.entry(path).or_default().remove(key).expect("it is there");
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.history.push((self.version, path, json!({"type": "DELETED", "object": object})));
    }

    /// Empties a kind without a word, as no cluster does.
    pub(super) fn forget(&mut self, path: &'static str) {
        self.version += 1;
        self.objects.remove(path);
    }

    /// Has again what was there, without a word.
    pub(super) fn recover(
        &mut self,
        (_, objects): (u64, HashMap<&'static str, BTreeMap<String, Value>>),
    ) {
        self.version += 1;
        self.objects = objects;
    }

    /// Tells all watches of the version that was reached.
    pub(super) fn bookmark(&mut self) {
        for path in [SERVICES, NODES, NAMESPACES, SLICES] {
            self.history.push((self.version, path, bookmark(self.version, false)));
        }
    }

    /// Ends all watches.
    pub(super) fn end_watches(&mut self) {
        self.generation += 1;
    }

    /// Loses all connections without a word to either side.
    pub(super) fn deafen_watches(&mut self) {
        self.generation += 1;
        self.deaf = self.generation;
    }

    /// Drops the history, so that watches from before it must list.
    pub(super) fn compact(&mut self) {
        self.history.clear();
        self.version += 1;
        self.oldest = self.version;
    }

    /// What is there now, to be restored later.
    pub(super) fn backup(&self) -> (u64, HashMap<&'static str, BTreeMap<String, Value>>) {
        (self.version, self.objects.clone())
    }

    /// Goes back to a backup; the history begins there.
    pub(super) fn restore(
        &mut self,
        (version, objects): (u64, HashMap<&'static str, BTreeMap<String, Value>>),
    ) {
        (self.version, self.objects) = (version, objects);
        self.history.clear();
        self.generation += 1;
    }

    /// How many requests were lists of a whole kind.
    pub(super) fn lists(&self) -> usize {
        let whole = |asked: &&String| {
            asked.contains("sendInitialEvents")
                || !asked.contains("watch=true")
                    && !asked.contains("limit=1&")
                    && !asked.ends_with("limit=1")
        };
        self.asked.iter().filter(whole).count()
    }
}

fn key_of(object: &Value) -> String {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}

fn bookmark(version: u64, is_listed: bool) -> Value {
    let annotations =
        if is_listed { json!({"k8s.io/initial-events-end": "true"}) } else { json!({}) };
    json!({"type": "BOOKMARK", "object": {"kind": "Any", "metadata":
        {"resourceVersion": version.to_string(), "annotations": annotations}}})
}

/// A running server. Dropping it ends it.
pub(super) struct Api {
    pub(super) address: SocketAddr,
    world: Arc<Mutex<World>>,
    changed: watch::Sender<()>,
    _tasks: JoinSet<()>,
}

impl Api {
    pub(super) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// With TLS where there is an acceptor.
    pub(super) async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let world = World {
            mood: Mood::Well,
            streams: true,
            selects: true,
            grant: None,
            metallb: Some(404),
            page: usize::MAX,
            token: None,
            oldest: 0,
            version: 100,
            objects: HashMap::new(),
            history: Vec::new(),
            generation: 0,
            deaf: 0,
            asked: Vec::new(),
            written: Written::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (changed, changes) = watch::channel(());
        let world = Arc::new(Mutex::new(world));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(
            listener,
            tls,
            Server { world: Arc::clone(&world), changes, changed: changed.clone() },
        ));
        let api = Self { address, world, changed, _tasks: tasks };
        api.change(|world| {
            world.apply(NAMESPACES, json!({"metadata": {"name": "default"}}));
            world.apply(NODES, super::node("n1", "192.0.2.5"));
        });
        api
    }

    /// Changes what the server has or is, at once for all who ask.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut lock(&self.world));
        self.changed.send_replace(());
        result
    }
}

pub(super) fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().expect("no test panicked with it")
}

#[derive(Clone)]
pub(super) struct Server {
    pub(super) world: Arc<Mutex<World>>,
    changes: watch::Receiver<()>,
    pub(super) changed: watch::Sender<()>,
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, server: Server) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (server, tls) = (server.clone(), tls.clone());
        connections.spawn(async move {
            match tls {
                None => serve(stream, server).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, server).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, server: Server) {
    let service = service_fn(move |request| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    // A client that goes away is no error.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A body that is sent piece by piece; an error breaks the connection.
pub(super) struct Pieces(mpsc::UnboundedReceiver<io::Result<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

type Sender = mpsc::UnboundedSender<io::Result<Bytes>>;

pub(super) fn answer(status: u16, text: impl Into<Bytes>) -> Response<Pieces> {
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(Ok(text.into())).expect("the receiver is here");
    Response::builder().status(status).body(Pieces(receiver)).expect("an answer")
}

pub(super) fn failure(code: u16, message: &str) -> Response<Pieces> {
    answer(code, json!({"kind": "Status", "code": code, "message": message}).to_string())
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Response<Pieces> {
        let asked = request.uri().to_string();
        let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (mood, wanted, metallb) = {
            let mut world = lock(&self.world);
            world.asked.push(asked.clone());
            (world.mood.clone(), world.token.clone(), world.metallb)
        };
        match mood {
            Mood::Well => {}
            Mood::Refuses(code, after) => {
                let mut refusal = failure(code, "not now");
                if let Some(after) = after {
                    refusal.headers_mut().insert("retry-after", after.into());
                }
                return refusal;
            }
            Mood::Silent => std::future::pending().await,
            Mood::Truncates => {
                return answer(200, r#"{"kind":"ServiceList","items":[{"metadata":{"na"#);
            }
            Mood::Babbles => return answer(200, "<html>a login page</html>\n"),
        }
        if wanted.is_some_and(|wanted| token != Some(&format!("Bearer {wanted}"))) {
            return failure(401, "Unauthorized");
        }
        if request.uri().path().ends_with("/token") {
            return self.grant();
        }
        if matches!(*request.method(), Method::PATCH | Method::POST) {
            return self.write(request).await;
        }
        if let (true, Some(code)) = (METALLB.contains(&request.uri().path()), metallb) {
            return failure(code, "no metallb.io");
        }
        let mut paths = [SERVICES, NODES, NAMESPACES, SLICES].into_iter().chain(METALLB);
        let Some(path) = paths.find(|path| *path == request.uri().path()) else {
            return failure(404, "no such thing");
        };
        let query = request.uri().query().unwrap_or_default();
        let query: HashMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if query.contains_key("fieldSelector") && !lock(&self.world).selects {
            return failure(400, "field label not supported: spec.type");
        }
        if query.contains_key("watch") { self.watch(path, &query) } else { self.list(path, &query) }
    }

    fn grant(&self) -> Response<Pieces> {
        let mut world = lock(&self.world);
        match world.grant.take() {
            Some(token) => {
                world.token = Some(token.clone());
                answer(201, json!({"status": {"token": token}}).to_string())
            }
            None => failure(403, "serviceaccounts \"me\" is forbidden"),
        }
    }

    fn list(&self, path: &'static str, query: &HashMap<String, String>) -> Response<Pieces> {
        let world = lock(&self.world);
        let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
        let first = number("continue").unwrap_or(0);
        let limit = number("limit").unwrap_or(usize::MAX).min(world.page);
        let all: Vec<&Value> =
            world.objects.get(path).map(|of| of.values().collect()).unwrap_or_default();
        let end = first.saturating_add(limit).min(all.len());
        let next = if end < all.len() { end.to_string() } else { String::new() };
        let list = json!({"kind": "List", "items": all[first..end],
            "metadata": {"resourceVersion": world.version.to_string(), "continue": next}});
        answer(200, list.to_string())
    }

    fn watch(&self, path: &'static str, query: &HashMap<String, String>) -> Response<Pieces> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let world = lock(&self.world);
        let mut reached =
            query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
        if query.contains_key("sendInitialEvents") {
            if !world.streams {
                return failure(422, "sendInitialEvents is forbidden for watch");
            }
            for object in world.objects.get(path).into_iter().flat_map(BTreeMap::values) {
                tell(&sender, &json!({"type": "ADDED", "object": object}));
            }
            tell(&sender, &bookmark(world.version, true));
            reached = world.version;
        } else if reached < world.oldest {
            return failure(410, "too old resource version");
        }
        let generation = world.generation;
        drop(world);
        tokio::spawn(self.clone().follow(path, reached, generation, sender));
        Response::new(Pieces(receiver))
    }

    /// Sends what happens after a version, until the watch is to end.
    async fn follow(
        mut self,
        path: &'static str,
        mut reached: u64,
        generation: u64,
        sender: Sender,
    ) {
        let mut told = 0;
        loop {
            self.changes.borrow_and_update();
            match self.say(path, &mut reached, &mut told, generation, &sender) {
                Spoken::All => {}
                Spoken::Last => return,
                Spoken::NoMore => return sender.closed().await,
            }
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    }

    /// Sends what has happened since the last time.
    fn say(
        &self,
        path: &'static str,
        reached: &mut u64,
        told: &mut usize,
        generation: u64,
        sender: &Sender,
    ) -> Spoken {
        let world = lock(&self.world);
        if generation < world.deaf {
            return Spoken::NoMore;
        }
        if generation < world.generation {
            return Spoken::Last;
        }
        if *reached < world.oldest {
            let status = json!({"kind": "Status", "code": 410, "message": "expired"});
            tell(sender, &json!({"type": "ERROR", "object": status}));
            return Spoken::Last;
        }
        for (version, of, event) in world.history.get(*told..).unwrap_or_default() {
            let is_bookmark = event["type"] == "BOOKMARK";
            if *of == path && (*version > *reached || is_bookmark && *version == *reached) {
                tell(sender, event);
            }
        }
        *told = world.history.len();
        *reached = world.version;
        Spoken::All
    }
}

/// What a watch is to do next.
enum Spoken {
    All,
    Last,
    NoMore,
}

fn tell(sender: &Sender, event: &Value) {
    // A client that went away is no error.
    let _ = sender.send(Ok(format!("{event}\n").into()));
}
