//! What the small API server does with writes: server-side apply to the status of Services, Events.

use http::Request;
use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};
use roadstead_model::report::FINALIZER;
use serde_json::{Value, json};

use super::{
    api::{Pieces, SERVICES, Server, World, answer, failure, lock},
    ssa,
};

/// What was written, and what is to become of it.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Applies to Services, whatever became of them.
    pub(super) applies: usize,
    /// Events, as they were created.
    pub(super) events: Vec<Value>,
    /// The apply, counted from 1, that nobody hears the answer of, nor of any after it; and whether
    /// it is carried out.
    pub(super) cut_at: Option<(usize, bool)>,
    /// Whether the right to write is missing.
    pub(super) refuses: bool,
    /// Whether it has come.
    pub(super) is_cut: bool,
    /// Whether a finalizer may be taken off: not while something is announced.
    pub(super) may_release: bool,
}

impl World {
    /// A user deletes a Service.
    pub(super) fn let_go(&mut self, key: &str) {
        let mut object = self.objects[SERVICES][key].clone();
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        self.replace(key, object);
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.objects.get(SERVICES).is_some_and(|of| of.contains_key(key))
    }

    fn replace(&mut self, key: &str, object: Value) {
        let is_gone = ssa::is_gone(&object);
        self.apply(SERVICES, object);
        if is_gone {
            self.delete(SERVICES, key);
        }
    }

    fn patch(&mut self, key: &str, body: &Value, force: bool) -> Response<Pieces> {
        if self.written.refuses {
            let what = "services \"web\" is forbidden: User \"speaker\" cannot patch resource \"services/status\"";
            return failure(403, what);
        }
        let Some(before) = self.objects.get(SERVICES).and_then(|of| of.get(key)).cloned() else {
            return failure(409, "uid mismatch: no existing object was found");
        };
        let mut object = before.clone();
        if let Err((code, message)) = ssa::apply(&mut object, "roadstead", body, force) {
            return failure(code, &message);
        }
        let guarded = |it: &Value| it["metadata"]["finalizers"].to_string().contains(FINALIZER);
        let is_released = guarded(&before) && !guarded(&object);
        assert!(!is_released || self.written.may_release, "released while it is announced");
        if object != before {
            self.replace(key, object.clone());
        }
        let now = self.objects[SERVICES].get(key).unwrap_or(&object);
        answer(200, now.to_string())
    }
}

impl Server {
    pub(super) async fn write(&self, request: Request<Incoming>) -> Response<Pieces> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let body: Value = serde_json::from_slice(&bytes).expect("JSON");
        let path: Vec<&str> = parts.uri.path().split('/').collect();
        let force = parts.uri.query().is_some_and(|query| query.contains("force=true"));
        match path.as_slice() {
            ["", "api", "v1", "namespaces", namespace, "services", name, "status"] => {
                self.applied(&format!("{namespace}/{name}"), &body, force).await
            }
            ["", "apis", "events.k8s.io", "v1", "namespaces", _, "events"] => {
                lock(&self.world).written.events.push(body);
                answer(201, bytes)
            }
            _ => answer(200, bytes),
        }
    }

    async fn applied(&self, key: &str, body: &Value, force: bool) -> Response<Pieces> {
        let (response, is_heard) = {
            let mut world = lock(&self.world);
            world.written.applies += 1;
            let number = world.written.applies;
            match world.written.cut_at {
                Some((at, is_done)) if number >= at => {
                    world.written.is_cut = true;
                    let response = (number == at && is_done).then(|| world.patch(key, body, force));
                    (response, false)
                }
                _ => (Some(world.patch(key, body, force)), true),
            }
        };
        self.changed.send_replace(());
        match response {
            Some(response) if is_heard => response,
            _ => std::future::pending().await,
        }
    }
}
