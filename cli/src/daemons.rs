//! Asking the daemons.

use std::{future::Future, io::ErrorKind, path::Path, time::Duration};

use roadstead_daemon::local::{Client, ClientError};
use roadstead_model::local::{Done, RouterStatus, SpeakerStatus};

/// How long a person waits for a status: a daemon that takes longer is as good as silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the daemons listen.
#[derive(Debug)]
pub(crate) struct Daemons {
    /// `roadstead-speaker`.
    pub(crate) speaker: Client,
    /// `roadstead-router`.
    pub(crate) router: Client,
    /// The configuration says that the speaker works without a router.
    router_optional: bool,
}

/// What one daemon answered.
#[derive(Debug)]
pub(crate) enum Heard<T> {
    /// Its status.
    Status(T),
    /// It is not there, and need not be.
    NotNeeded,
    /// It did not answer.
    Silent(String),
}

impl<T> Heard<T> {
    /// The status, if there is one.
    pub(crate) fn status(&self) -> Option<&T> {
        match self {
            Self::Status(status) => Some(status),
            Self::NotNeeded | Self::Silent(_) => None,
        }
    }

    /// Why there is none although there should be one.
    pub(crate) fn silence(&self) -> Option<&str> {
        match self {
            Self::Silent(why) => Some(why),
            Self::Status(_) | Self::NotNeeded => None,
        }
    }
}

/// What both daemons answered.
#[derive(Debug)]
pub(crate) struct Answers {
    /// The speaker.
    pub(crate) speaker: Heard<SpeakerStatus>,
    /// The router.
    pub(crate) router: Heard<RouterStatus>,
}

impl Answers {
    /// Why daemons are silent that should not be.
    pub(crate) fn silences(&self) -> Vec<&str> {
        self.speaker.silence().into_iter().chain(self.router.silence()).collect()
    }
}

impl Daemons {
    /// The daemons of a configuration, or of a runtime directory. Where the configuration cannot be
    /// used the daemons run with the last good one, whose paths are most likely the same.
    pub(crate) fn of(config: &Path, runtime: Option<&Path>) -> Self {
        let loaded = roadstead_config::load(config).ok().map(|loaded| loaded.config);
        let paths = match &loaded {
            Some(config) => config.paths.clone(),
            None => roadstead_config::paths_of(config),
        };
        let socket = |daemon: &str| match runtime {
            Some(runtime) => runtime.join(daemon).join("local.sock"),
            None => paths.socket_of(daemon),
        };
        Self {
            speaker: Client::new(socket("speaker")),
            router: Client::new(socket("router")),
            router_optional: loaded.is_some_and(|config| !config.speaker.require_ready),
        }
    }

    /// The status of both, asked at the same time.
    pub(crate) async fn statuses(&self) -> Answers {
        let (speaker, router) = tokio::join!(
            patiently(&self.speaker, self.speaker.get("/v1/status")),
            patiently(&self.router, self.router.get("/v1/status")),
        );
        let router = match router {
            Err(ClientError::Unreachable { .. }) if self.router_optional => Heard::NotNeeded,
            other => heard(other),
        };
        Answers { speaker: heard(speaker), router }
    }

    /// Has both believe their sources, the speaker first: announcements are withdrawn before what
    /// they lead to. A router that need not be there and is not is passed over.
    pub(crate) async fn confirm(&self) -> Vec<(&'static str, Result<Done, ClientError>)> {
        let speaker = patiently(&self.speaker, self.speaker.post("/v1/confirm", &())).await;
        let router = patiently(&self.router, self.router.post("/v1/confirm", &())).await;
        let absent = matches!(router, Err(ClientError::Unreachable { .. }) if self.router_optional);
        let mut answers = vec![("speaker", speaker)];
        if !absent {
            answers.push(("router", router));
        }
        answers
    }
}

async fn patiently<T>(
    client: &Client,
    asking: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| {
        let why = format!("it took longer than {} s", PATIENCE.as_secs());
        Err(ClientError::Broken { socket: client.socket().to_owned(), why })
    })
}

fn heard<T>(answer: Result<T, ClientError>) -> Heard<T> {
    match answer {
        Ok(status) => Heard::Status(status),
        Err(error) => Heard::Silent(in_words(&error)),
    }
}

/// An error with the cause that the kernel gave.
pub(crate) fn in_words(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { socket, source } => match source.kind() {
            ErrorKind::PermissionDenied => {
                format!("{} is closed to this user: try sudo", socket.display())
            }
            _ => format!("{error} ({source})"),
        },
        ClientError::Broken { .. } | ClientError::Refused(_) => error.to_string(),
    }
}
