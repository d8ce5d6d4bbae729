//! Asking the daemons.

use std::{future::Future, io::ErrorKind, path::Path, time::Duration};

use roadstead_daemon::local::{Client, ClientError};
use roadstead_model::{
    Problem,
    local::{Done, RouterStatus, SpeakerStatus},
    problem::Severity,
};

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
    /// Why it is not sure that these are the daemons' sockets.
    pub(crate) doubt: Option<String>,
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
        let loaded = roadstead_config::load(config).map(|loaded| loaded.config);
        let paths = match &loaded {
            Ok(config) => config.paths.clone(),
            Err(_) => roadstead_config::paths_of(config),
        };
        let doubt = match (&loaded, runtime) {
            (Err(problems), None) => Some(doubt(config, problems, &paths.runtime)),
            (Ok(_), _) | (_, Some(_)) => None,
        };
        let socket = |daemon: &str| match runtime {
            Some(runtime) => runtime.join(daemon).join("local.sock"),
            None => paths.socket_of(daemon),
        };
        Self {
            speaker: Client::new(socket("speaker")),
            router: Client::new(socket("router")),
            router_optional: loaded.is_ok_and(|config| !config.speaker.require_ready),
            doubt,
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

/// Where the daemons are looked for although the configuration cannot be used, and why that is not
/// sure.
fn doubt(config: &Path, problems: &[Problem], runtime: &Path) -> String {
    let error = problems.iter().find(|problem| problem.severity == Severity::Error);
    let why = match error {
        Some(problem) if config.exists() => problem.to_string(),
        Some(_) | None => format!("{}: not there", config.display()),
    };
    let why = why.lines().next().unwrap_or_default();
    let runtime = runtime.display();
    format!("the configuration cannot be used ({why}): the daemons are looked for in {runtime}")
}

/// Waits for an answer, and takes one that is late for none.
pub(crate) async fn patiently<T>(
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

/// What is wrong, by what the kernel says, and where to look.
pub(crate) fn in_words(error: &ClientError) -> String {
    let (socket, source) = match error {
        ClientError::Unreachable { socket, source } => (socket, source),
        ClientError::Broken { socket, .. } => {
            return format!("{error}; see journalctl -u {}", unit(socket));
        }
        ClientError::Refused(_) => return error.to_string(),
    };
    let (unit, at) = (unit(socket), socket.display());
    match source.kind() {
        ErrorKind::PermissionDenied => {
            format!("{at} is closed to this user: run roadstead as root")
        }
        ErrorKind::NotFound => {
            format!("{unit} does not run here: there is no {at}; see systemctl status {unit}")
        }
        ErrorKind::ConnectionRefused => {
            format!("{unit} has ended: nobody listens on {at}; see systemctl status {unit}")
        }
        _ => format!("{unit} does not answer on {at}: {source}"),
    }
}

/// The daemon that a socket belongs to: `…/speaker/local.sock` is `roadstead-speaker`'s.
fn unit(socket: &Path) -> String {
    let daemon = socket.parent().and_then(Path::file_name).unwrap_or_default();
    format!("roadstead-{}", daemon.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_socket_is_told_by_its_kind() {
        let told = |kind: ErrorKind| {
            let socket = "/run/roadstead/router/local.sock".into();
            in_words(&ClientError::Unreachable { socket, source: io::Error::from(kind) })
        };
        for (kind, words) in [
            (
                ErrorKind::PermissionDenied,
                "local.sock is closed to this user: run roadstead as root",
            ),
            (ErrorKind::NotFound, "roadstead-router does not run here: there is no /run/"),
            (ErrorKind::NotFound, "; see systemctl status roadstead-router"),
            (ErrorKind::ConnectionRefused, "roadstead-router has ended: nobody listens on /run/"),
            (ErrorKind::TimedOut, "roadstead-router does not answer on /run/"),
        ] {
            assert!(told(kind).contains(words), "{}", told(kind));
        }
        let socket = "/run/roadstead/speaker/local.sock".into();
        let late = in_words(&ClientError::Broken { socket, why: "it took long".into() });
        assert!(late.ends_with("it took long; see journalctl -u roadstead-speaker"), "{late}");
    }

    #[test]
    fn a_configuration_that_cannot_be_used_is_told_and_where_the_daemons_are_looked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("roadstead.toml");
        let doubt = |runtime: Option<&Path>| Daemons::of(&file, runtime).doubt;
        let missing = doubt(None).expect("told");
        assert!(missing.contains("roadstead.toml: not there)"), "{missing}");
        assert!(missing.ends_with("looked for in /run/roadstead"), "{missing}");
        assert_eq!(doubt(Some(Path::new("/r"))), None);
        std::fs::write(&file, "[paths]\nruntime = \"/r/x\"\n[speker]\n").expect("written");
        let bad = doubt(None).expect("told");
        assert!(bad.contains("roadstead.toml:3: `speker` is unknown"), "{bad}");
        assert!(bad.ends_with("looked for in /r/x"), "{bad}");
        std::fs::write(&file, "[paths]\nruntime = \"/r/x\"\n").expect("written");
        assert_eq!(doubt(None), None);
    }
}
