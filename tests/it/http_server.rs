//! The accept loop: panics, slow clients, limits, draining.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::Method;
use pagewire::http::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use crate::support::{Demo, Http, Serve, free_address};

/// `/panic` panics, `/slow` answers when told, anything else answers at once.
fn routes(told: mpsc::Receiver<()>) -> BoxedFilter<(Response,)> {
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let panic = warp::path!("panic").map(|| -> Response { panic!("on purpose") });
    let slow = warp::path!("slow").then(move || {
        let told = told.clone();
        async move {
            told.lock().await.recv().await;
            "slow".into_response()
        }
    });
    let other = warp::any().map(|| "fast".into_response());
    panic.or(slow).unify().or(other).unify().boxed()
}

async fn start(max_connections: usize) -> (Server, Http, mpsc::Sender<()>) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let http = Http::new(listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel(1);
    let mut server = Server::new(routes(told), max_connections);
    server.listen(listener);
    (server, http, tell)
}

#[tokio::test]
async fn a_panic_is_a_500_of_that_request_alone() {
    let (_server, http, _tell) = start(16).await;
    let mut connection = http.connect().await;
    for _ in 0..3 {
        let broken = connection.call(Method::GET, "/panic", &[], "").await.unwrap().expect(500);
        let body = broken.json();
        assert!(!body.to_string().contains("on purpose"), "causes stay inside: {body}");
        assert_eq!(body["request_id"], broken.header("x-request-id"));
        let fine = connection.call(Method::GET, "/", &[], "").await.unwrap().expect(200);
        assert_eq!(fine.body, "fast");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let (_server, http, _tell) = start(16).await;
    let answer = http.call(Method::HEAD, "/", &[], "").await.expect(200);
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("content-length"), "4");
}

#[tokio::test]
async fn a_request_under_way_is_finished_before_the_end() {
    let (server, http, tell) = start(16).await;
    let request = tokio::spawn({
        let http = http.clone();
        async move { http.call(Method::GET, "/slow", &[], "").await }
    });
    // Once a second connection was served, the first one was accepted too.
    http.call(Method::GET, "/", &[], "").await.expect(200);
    let drain = tokio::spawn(server.drain(Duration::from_secs(20)));
    tell.send(()).await.unwrap();
    assert_eq!(request.await.unwrap().expect(200).body, "slow");
    drain.await.unwrap();
    assert!(http.try_connect().await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn beyond_the_limit_connections_are_closed_not_queued() {
    let (_server, http, _tell) = start(4).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut connection = http.connect().await;
        connection.call(Method::GET, "/", &[], "").await.unwrap();
        held.push(connection);
    }
    let mut refused = TcpStream::connect(http.address).await.unwrap();
    let mut nothing = [0; 1];
    assert!(matches!(refused.read(&mut nothing).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn slow_clients_lock_nobody_out() {
    let demo = Demo::start();
    let mut slow = Vec::new();
    for _ in 0..1100 {
        let mut stream = TcpStream::connect(demo.http.address).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: loc").await.unwrap();
        slow.push(stream);
    }
    demo.http.call(Method::GET, "/health", &[], "").await.expect(200);
    // The server ends them by itself: ten seconds for headers.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), slow[0].read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "a half-sent request was held open");
}

#[tokio::test]
async fn long_polls_end_with_the_server() {
    let demo = Demo::start();
    let fax = demo.http.send_fax(&demo.test_key, "+15005550008", b"slow").await.expect(202).json();
    let path = format!("/fax/{}?wait=55", fax["id"].as_str().unwrap());
    let mut polls = Vec::new();
    for _ in 0..4 {
        let (http, key, path) = (demo.http.clone(), demo.test_key.clone(), path.clone());
        polls.push(tokio::spawn(async move {
            let mut connection = http.connect().await;
            let mut last = 0;
            // Answers again and again as the fax moves, until the server goes.
            while let Ok(answer) = connection.call(Method::GET, &path, &[("x-api-key", &key)], "").await {
                last = answer.status;
            }
            last
        }));
    }
    demo.http.call(Method::GET, "/health", &[], "").await.expect(200);
    let stopped = tokio::task::spawn_blocking(move || demo.stop());
    let code =
        tokio::time::timeout(Duration::from_secs(15), stopped).await.expect("it stops in time").unwrap();
    assert_eq!(code, Some(0));
    for poll in polls {
        assert!(matches!(poll.await.unwrap(), 0 | 200));
    }
}

#[tokio::test]
async fn the_metrics_have_a_listener_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = free_address();
    let serve =
        Serve::start(folder.path(), "loopback", &[("PAGEWIRE_METRICS_LISTEN", &metrics.to_string())]).await;
    serve.http.call(Method::GET, "/fax", &[("x-api-key", "wrong")], "").await.expect(401);
    let text = Http::new(metrics).call(Method::GET, "/metrics", &[], "").await.expect(200);
    assert!(String::from_utf8_lossy(&text.body).contains("pagewire_auth_total{outcome=\"malformed\"} 1"));
    serve.http.call(Method::GET, "/metrics", &[], "").await.expect(404);
}
