//! TLS towards the API server: always verified, and followed when certificates are rotated.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::*;

/// A certificate authority, and a server's certificate by it.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a configuration");
        TlsAcceptor::from(Arc::new(config))
    }
}

fn write(directory: &Path, api: &Api, authority: &Authority, cluster: &Value) {
    replace(directory, "ca.pem", &authority.pem);
    let mut cluster = cluster.clone();
    cluster["server"] = json!(format!("https://{}", api.address));
    cluster["certificate-authority"] = json!("ca.pem");
    replace(
        directory,
        "kubeconfig",
        &json!({
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "token"}}],
        })
        .to_string(),
    );
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_by_the_authority_is_not_believed_until_it_is_named() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let api = Api::start_with(Some(right.acceptor("127.0.0.1"))).await;
    let mut lab = Lab::with(&[], |directory| write(directory, &api, &wrong, &json!({})));
    let told = |it: &Snapshot| it.problems.iter().any(|it| it.message.contains("certificate"));
    let refused = lab.until("refused", told).await;
    assert_eq!(refused.sources[&home()], SourceState::Unread);
    assert_eq!(api.change(|world| world.asked.len()), 0, "no token was sent to it");
    replace(lab.directory.path(), "ca.pem", &right.pem);
    lab.until_current().await;
}

#[tokio::test]
async fn a_certificate_of_another_name_is_not_believed_unless_that_name_is_asked_for() {
    let authority = Authority::new();
    let api = Api::start_with(Some(authority.acceptor("kubernetes"))).await;
    let mut lab = Lab::with(&[], |directory| write(directory, &api, &authority, &json!({})));
    let told = |it: &Snapshot| it.problems.iter().any(|it| it.message.contains("certificate"));
    lab.until("refused", told).await;
    let cluster = json!({"tls-server-name": "kubernetes"});
    write(lab.directory.path(), &api, &authority, &cluster);
    lab.until_current().await;
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let said = |cluster: &Value, user: &Value| {
        let text = json!({
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
        });
        replace(directory.path(), "kubeconfig", &text.to_string());
        match check(&directory.path().join("kubeconfig")) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    };
    let server = json!({"server": "https://192.0.2.1:6443"});
    let token = json!({"token": "t"});
    assert_eq!(said(&server, &token), "");
    assert_eq!(said(&json!({"server": "http://[::1]:8001"}), &token), "");
    for (cluster, user, words) in [
        (json!({"server": "http://192.0.2.1:8001"}), &token, "not asked over TLS"),
        (
            json!({"server": "https://192.0.2.1", "insecure-skip-tls-verify": true}),
            &token,
            "refused",
        ),
        (json!({"server": "https://192.0.2.1", "proxy-url": "http://p"}), &token, "proxy-url"),
        (
            json!({"server": "https://192.0.2.1", "certificate-authority": "/nowhere"}),
            &token,
            "/nowhere cannot be read",
        ),
        (
            server.clone(),
            &json!({"exec": {"command": "x", "apiVersion": "v1"}}),
            "no program is run",
        ),
        (server.clone(), &json!({"tokenFile": "gone"}), "gone cannot be read"),
        (
            server.clone(),
            &json!({"client-certificate-data": "AAAA", "client-key-data": "AAAA"}),
            "credentials",
        ),
    ] {
        let said = said(&cluster, user);
        assert!(said.contains(words), "{said} for {cluster} {user}");
    }
    assert!(check(Path::new("/nowhere")).is_err());
}
