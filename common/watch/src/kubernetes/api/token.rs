//! Tokens of ServiceAccounts that run out: whose they are, when they are due, how new ones are asked
//! for. Pure: the clock is an argument.
//!
//! A token is a JWT (RFC 7519) whose payload the API server has written. It is our own and is only
//! looked into to know when it runs out; whether it is genuine is the server's business.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use kube::{client::Body, core::Request as Builder, core::params::PostParams};
use serde::Deserialize;
use serde_json::json;

use super::failure::Failure;

/// What a token says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kubernetes) struct Bound {
    account: Account,
    /// Seconds since 1970, as the server's clock says.
    issued: u64,
    expires: u64,
}

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kubernetes) struct Account {
    /// Its namespace.
    pub(in crate::kubernetes) namespace: String,
    /// Its name.
    pub(in crate::kubernetes) name: String,
    /// Another one of the same name has another.
    uid: String,
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[derive(Deserialize)]
struct Claims {
    iat: u64,
    exp: u64,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Reference,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    uid: String,
}

/// `TokenRequest`, as far as its answer is used.
#[derive(Deserialize)]
struct Answer {
    status: Granted,
}

#[derive(Deserialize)]
struct Granted {
    token: String,
}

impl Bound {
    /// Of a token; none where it is no ServiceAccount's that runs out.
    pub(in crate::kubernetes) fn read(token: &str) -> Option<Self> {
        let payload = token.trim().split('.').nth(1)?;
        let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        let Claims { iat, exp, kubernetes } = serde_json::from_slice(&bytes).ok()?;
        let Kubernetes { namespace, serviceaccount: Reference { name, uid } } = kubernetes;
        (exp > iat).then_some(Self {
            account: Account { namespace, name, uid },
            issued: iat,
            expires: exp,
        })
    }

    /// Whose it is.
    pub(in crate::kubernetes) fn account(&self) -> &Account {
        &self.account
    }

    /// How long it was made for.
    pub(in crate::kubernetes) fn life(&self) -> Duration {
        Duration::from_secs(self.expires.saturating_sub(self.issued))
    }

    /// Whether another is to be asked for: half of its life is over, so that a host that was off
    /// for less than the other half comes back with one that is good.
    pub(in crate::kubernetes) fn is_due(&self, now: SystemTime) -> bool {
        self.left(now) <= self.life() / 2
    }

    /// Whether it is soon too late: a quarter of its life is left.
    pub(in crate::kubernetes) fn is_urgent(&self, now: SystemTime) -> bool {
        self.left(now) <= self.life() / 4
    }

    /// Whether it is of the same account and lasts longer.
    pub(in crate::kubernetes) fn follows(&self, other: &Self) -> bool {
        self.account == other.account && self.expires > other.expires
    }

    fn left(&self, now: SystemTime) -> Duration {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(self.expires).saturating_sub(since)
    }
}

/// Asks for a token of an account, bound to it, for so long. The server may give one for less.
///
/// # Errors
/// When the names cannot be a part of a request.
pub(in crate::kubernetes) fn request(
    namespace: &str,
    name: &str,
    lasts: Duration,
) -> Result<Request<Body>, Failure> {
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": lasts.as_secs()},
    });
    let accounts = Builder::new(format!("/api/v1/namespaces/{namespace}/serviceaccounts"));
    let broken = |error: &dyn std::error::Error| Failure::Broken(error.to_string());
    let request = accounts
        .create_subresource("token", name, &PostParams::default(), body.to_string().into_bytes())
        .map_err(|error| broken(&error))?;
    Ok(request.map(Body::from))
}

/// The token of the answer to [`request`].
///
/// # Errors
/// When there is none in it.
pub(in crate::kubernetes) fn granted(answer: &[u8]) -> Result<String, Failure> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|error| Failure::Broken(format!("no TokenRequest: {error}")))?;
    Ok(answer.status.token)
}

#[cfg(test)]
pub(in crate::kubernetes) mod tests {
    use super::*;

    /// A token without a signature, made at `issued` to run out at `expires`.
    pub(in crate::kubernetes) fn made(uid: &str, issued: u64, expires: u64) -> String {
        let claims = json!({"iat": issued, "exp": expires, "sub": "system:serviceaccount:ns:me",
            "kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "me", "uid": uid}}});
        format!("{{}}.{}.signature", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_is_due_at_half_of_its_life_and_urgent_at_the_last_quarter() {
        let token = Bound::read(&made("a", 1_000, 2_000)).expect("a token");
        assert_eq!(token.account().to_string(), "ns/me");
        assert_eq!(token.life(), Duration::from_secs(1_000));
        assert_eq!(
            [1_000, 1_499, 1_500, 9_999].map(|now| token.is_due(at(now))),
            [false, false, true, true]
        );
        assert_eq!([1_749, 1_750, 9_999].map(|now| token.is_urgent(at(now))), [false, true, true]);
    }

    #[test]
    fn a_token_of_the_same_account_that_lasts_longer_takes_the_place_of_another() {
        let read = |uid, expires| Bound::read(&made(uid, 1, expires)).expect("a token");
        assert!(read("a", 9_001).follows(&read("a", 9_000)));
        assert!(!read("a", 9_000).follows(&read("a", 9_000)));
        assert!(!read("b", 9_001).follows(&read("a", 9_000)), "of another cluster, or made anew");
    }

    #[test]
    fn what_does_not_run_out_or_is_no_accounts_is_not_renewed() {
        for token in ["", "token", "a.b.c", "a.e30.c", &made("a", 5, 5)] {
            assert_eq!(Bound::read(token), None, "{token}");
        }
    }

    #[test]
    fn an_answer_has_a_token_or_is_none() {
        let good =
            r#"{"kind": "TokenRequest", "status": {"token": "t", "expirationTimestamp": ""}}"#;
        assert_eq!(granted(good.as_bytes()).ok().as_deref(), Some("t"));
        assert!(granted(b"{}").is_err());
    }
}
