use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::rustls::{self, pki_types::PrivateKeyDer};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(50);

async fn answer(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let _ = stream.read(&mut [0; 512]).await;
    });
    address
}

#[tokio::test]
async fn an_open_port_passes_and_a_closed_one_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert!(connect(address, LIMIT).await.is_ok());
    drop(listener);
    assert_eq!(connect(address, LIMIT).await.unwrap_err(), Failure::Refused);
}

#[tokio::test]
async fn health_is_the_status_and_nothing_else() {
    let cases = [
        ("HTTP/1.1 200 OK\r\n\r\n", Ok(())),
        ("HTTP/1.0 200 OK\r\n\r\n", Ok(())),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Err(Failure::Status(503))),
        ("HTTP", Err(Failure::Garbled)),
        ("SSH-2.0-OpenSSH\r\n", Err(Failure::Garbled)),
        ("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", Err(Failure::Garbled)),
    ];
    for (text, expected) in cases {
        assert_eq!(healthz(answer(text).await, LIMIT).await, expected, "{text:?}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = within(SHORT, healthz(silent.local_addr().unwrap(), LIMIT)).await;
    assert_eq!(silent, Err(Failure::TimedOut), "the kernel accepts, nobody answers");
}

#[tokio::test]
async fn silence_is_a_pass_for_udp_and_port_unreachable_is_not() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    assert_eq!(udp(address, SHORT).await, Ok(()));
    drop(socket);
    assert_eq!(udp(address, LIMIT).await, Err(Failure::Refused));
}

fn wanted(protocol: HealthProtocol, path: &str, host: Option<&str>) -> HealthCheck {
    HealthCheck { protocol, path: path.into(), host: host.map(Into::into), port: None }
}

#[tokio::test]
async fn a_health_check_over_http_passes_with_200_to_399() {
    let cases = [
        ("HTTP/1.1 200 OK\r\n\r\n", Ok(())),
        ("HTTP/1.1 399 Odd\r\n\r\n", Ok(())),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", Err(Unfit::Status(400))),
        ("HTTP/1.1 500 Internal Server Error\r\n\r\n", Err(Unfit::Status(500))),
        ("HTTP/2.0 200 OK\r\n\r\n", Err(Unfit::NoHttp)),
        ("HTTP/1.1 2x0 OK\r\n\r\n", Err(Unfit::NoHttp)),
        ("", Err(Unfit::NoHttp)),
    ];
    let http = wanted(HealthProtocol::Http, "/", None);
    for (text, expected) in cases {
        let outcome = check(answer(text).await, &http, LIMIT).await;
        assert_eq!(outcome, expected.map_err(Failure::Check), "{text:?}");
    }
}

#[tokio::test]
async fn a_health_check_names_its_path_and_its_host() {
    for (host, named) in
        [(Some("web.example"), "web.example"), (Some("2001:db8::1"), "[2001:db8::1]")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 512];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        let http = wanted(HealthProtocol::Http, "/ready?full=1", host);
        assert_eq!(check(to, &http, LIMIT).await, Ok(()));
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("GET /ready?full=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("\r\nHost: {named}\r\n")), "{asked}");
        assert!(asked.ends_with("\r\n\r\n"), "{asked}");
    }
}

/// A server with a certificate that nobody has signed, for another name; the SNI it was asked by.
async fn tls_server(text: &'static str) -> (SocketAddr, tokio::task::JoinHandle<Option<String>>) {
    let own = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let name = stream.get_ref().1.server_name().map(str::to_owned);
        let _ = stream.read(&mut [0; 512]).await;
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        // The probe closes first.
        let _ = stream.read(&mut [0; 512]).await;
        name
    });
    (to, served)
}

#[tokio::test]
async fn https_asks_whoever_answers() {
    let https = wanted(HealthProtocol::Https, "/healthz", None);
    let (to, served) = tls_server("HTTP/1.1 200 OK\r\n\r\n").await;
    assert_eq!(check(to, &https, LIMIT).await, Ok(()));
    assert_eq!(served.await.unwrap(), None, "an address is no SNI");

    let named = wanted(HealthProtocol::Https, "/healthz", Some("web.example"));
    let (to, served) = tls_server("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
    let outcome = check(to, &named, LIMIT).await;
    assert_eq!(outcome, Err(Failure::Check(Unfit::Status(503))));
    assert_eq!(served.await.unwrap().as_deref(), Some("web.example"));

    let plain = answer("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(check(plain, &https, LIMIT).await, Err(Failure::Check(Unfit::NoTls)));
}

/// How a gRPC server of the tests answers.
#[derive(Clone)]
struct GrpcAnswer {
    status: u16,
    message: Vec<u8>,
    grpc_status: Option<&'static str>,
}

impl GrpcAnswer {
    fn serving(status: u8) -> Self {
        Self { status: 200, message: vec![0, 0, 0, 0, 2, 8, status], grpc_status: Some("0") }
    }
}

async fn grpc_server(answer: GrpcAnswer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let head = ::http::Response::builder().status(answer.status).body(()).unwrap();
            let mut body = respond.send_response(head, false).unwrap();
            body.send_data(answer.message.clone().into(), answer.grpc_status.is_none()).unwrap();
            if let Some(status) = answer.grpc_status {
                let mut trailers = ::http::HeaderMap::new();
                trailers.insert("grpc-status", status.parse().unwrap());
                body.send_trailers(trailers).unwrap();
            }
        }
    });
    to
}

#[tokio::test]
async fn grpc_passes_with_serving_alone() {
    let serving = GrpcAnswer::serving;
    let cases = [
        (serving(1), Ok(())),
        (serving(2), Err(Unfit::NotServing(2))),
        (GrpcAnswer { message: vec![0; 5], ..serving(1) }, Err(Unfit::NotServing(0))),
        (GrpcAnswer { grpc_status: Some("12"), ..serving(1) }, Err(Unfit::Grpc(12))),
        (GrpcAnswer { grpc_status: None, ..serving(1) }, Err(Unfit::NoGrpc)),
        (GrpcAnswer { status: 404, ..serving(1) }, Err(Unfit::NoGrpc)),
        (GrpcAnswer { message: vec![0; 16 << 10], ..serving(1) }, Err(Unfit::NoGrpc)),
        (GrpcAnswer { message: vec![], ..serving(1) }, Err(Unfit::NoGrpc)),
    ];
    let grpc = wanted(HealthProtocol::Grpc, "/", None);
    for (answer, expected) in cases {
        let outcome = check(grpc_server(answer).await, &grpc, LIMIT).await;
        assert_eq!(outcome, expected.map_err(Failure::Check));
    }
    let http = answer("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(check(http, &grpc, LIMIT).await, Err(Failure::Check(Unfit::NoGrpc)));
}

/// What accepts and says nothing costs its timeout, in every protocol.
#[tokio::test]
async fn silence_is_no_pass() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = silent.local_addr().unwrap();
    for protocol in [HealthProtocol::Http, HealthProtocol::Https, HealthProtocol::Grpc] {
        let asked = wanted(protocol, "/", None);
        let outcome = within(SHORT, check(to, &asked, LIMIT)).await;
        assert_eq!(outcome, Err(Failure::TimedOut), "{protocol:?}");
    }
}
