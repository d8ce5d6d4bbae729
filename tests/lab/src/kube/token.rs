//! Tokens of ServiceAccounts as the API server would have made them at another time: signed with its
//! own key (RFC 7515, ES256), so that it believes them as far as their claims go.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{KeyPair, SigningKey};
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

use crate::kube::plane::Plane;

/// Bytes of each of the two numbers of a signature by P-256 (RFC 7518 section 3.4).
const NUMBER: usize = 32;

/// How old a token is, and how long it was made for.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    /// Since it was made.
    pub old: Duration,
    /// From then to its end.
    pub life: Duration,
}

/// A token of a daemon's ServiceAccount (`roadstead-speaker`) of such an age.
pub fn aged(plane: &Plane, account: &str, age: Age) -> Result<String> {
    let namespace = "roadstead-system";
    let known = plane.kubectl()?.get(&["serviceaccount", account, "-n", namespace])?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let issued = now.checked_sub(age.old.as_secs()).context("made before 1970")?;
    let issuer = "https://kubernetes.default.svc";
    let claims = json!({
        "iss": issuer,
        "aud": [issuer],
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
        "iat": issued,
        "nbf": issued,
        "exp": issued + age.life.as_secs(),
        "kubernetes.io": {
            "namespace": namespace,
            "serviceaccount": {"name": account, "uid": known["metadata"]["uid"]},
        },
    });
    signed(&plane.dir().join("tokens.key"), &claims)
}

/// Puts another token into a kubeconfig that `roadstead kubeconfig` has written, by rename.
pub fn replace(kubeconfig: &Path, token: &str) -> Result<()> {
    let mut content: Value = serde_json::from_slice(&fs::read(kubeconfig)?)?;
    content["users"][0]["user"]["token"] = json!(token);
    let draft = kubeconfig.with_extension("draft");
    fs::write(&draft, content.to_string())?;
    Ok(fs::rename(draft, kubeconfig)?)
}

fn signed(key: &Path, claims: &Value) -> Result<String> {
    let key = PrivatePkcs8KeyDer::from_pem_file(key).context("the key of the API server")?;
    let key = KeyPair::try_from(&key)?;
    let header = json!({"alg": "ES256", "typ": "JWT"});
    let [header, claims] = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = format!("{header}.{claims}");
    let signature = plain(&key.sign(text.as_bytes())?)?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The two numbers of a signature as JOSE has them, of a DER sequence of two integers.
fn plain(der: &[u8]) -> Result<Vec<u8>> {
    let [0x30, _, rest @ ..] = der else { anyhow::bail!("a signature that is no sequence") };
    let (first, rest) = integer(rest)?;
    let (second, rest) = integer(rest)?;
    ensure!(rest.is_empty(), "a signature with more than two numbers");
    Ok([padded(first)?, padded(second)?].concat())
}

fn integer(der: &[u8]) -> Result<(&[u8], &[u8])> {
    let [0x02, length, rest @ ..] = der else { anyhow::bail!("a signature without a number") };
    rest.split_at_checked(usize::from(*length)).context("a number that is cut off")
}

fn padded(number: &[u8]) -> Result<[u8; NUMBER]> {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let bytes = number.get(start..).unwrap_or_default();
    let mut padded = [0; NUMBER];
    let at = NUMBER.checked_sub(bytes.len()).context("a number that is too long")?;
    padded[at..].copy_from_slice(bytes);
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_signature_lose_their_sign_and_are_padded() -> Result<()> {
        let plain = plain(&[0x30, 7, 2, 2, 0, 0x80, 2, 1, 5])?;
        assert_eq!((plain.len(), plain[31], plain[63]), (64, 0x80, 5));
        assert!(super::plain(&[0x30, 3, 2, 9, 1]).is_err());
        Ok(())
    }
}
