//! What cannot be used is refused in plain words and leaves nothing behind.

use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::hostile;
use crate::support::{Answer, Demo, files_below, form, pdf};

async fn post(demo: &Demo, fields: &[(&str, &str)], documents: &[&[u8]]) -> Answer {
    let (media_type, body) = form(fields, documents);
    let headers = [("x-api-key", demo.api_key.as_str()), ("content-type", &media_type)];
    demo.http.call(Method::POST, "/fax", &headers, body).await
}

fn detail(answer: Answer, status: u16) -> String {
    answer.expect(status).json()["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_mistake_is_named_and_nothing_stays() {
    let demo = Demo::start();
    let spool = demo.data_dir.join("spool");
    let before = files_below(&spool);
    let to = ("to", "+15551234567");
    let document = pdf(1);

    for number in ["", "12345", "555-CALL-NOW", "+1555123456７"] {
        let answer = post(&demo, &[("to", number)], &[&document]).await;
        assert_eq!(detail(answer, 400), "'to' must be E.164 or digits only", "{number:?}");
    }
    assert!(detail(post(&demo, &[to], &[]).await, 422).contains("'file'"));
    let cases: &[(&[u8], u16, &str)] = &[
        (b"", 422, "empty"),
        (b"PK\x03\x04\x14\x00\x06\x00word/document.xml", 415, "Word"),
        (b"GIF89a\x01\x00\x01\x00", 415, "GIF"),
        (b"\x7fELF\x02\x01\x01", 415, "program"),
        (b"some\x00binary\x01data", 415, "unknown"),
        (b"%PDF-1.4\nthis is no document\n%%EOF", 422, "damaged"),
        (&document[..document.len() / 2], 422, ""),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", 422, ""),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", 422, ""),
        (b"II*\x00\x08\x00\x00\x00\x00\x00", 422, ""),
    ];
    for (content, status, word) in cases {
        let said = detail(post(&demo, &[to], &[content]).await, *status);
        assert!(said.contains(word) && said.ends_with('.'), "{said:?} does not name {word:?}");
    }
    assert!(detail(post(&demo, &[to], &[&hostile::pdf_encrypted()]).await, 422).contains("password"));
    assert!(detail(post(&demo, &[to], &[&hostile::pdf_without_pages()]).await, 422).contains("no pages"));
    // One bad part spoils the fax, whichever it is.
    detail(post(&demo, &[to], &[&document, b"\x7fELF\x02"]).await, 415);

    for (field, value) in [
        ("resolution", "ultra"),
        ("quality", "best"),
        ("priority", "now"),
        ("schedule_at", "tomorrow"),
        ("schedule_at", "2020-01-01T00:00:00Z"),
        ("deadline", "2020-01-01T00:00:00Z"),
        ("dry_run", "perhaps"),
        ("route", "cheapest"),
    ] {
        let refused = post(&demo, &[to, (field, value)], &[&document]).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    let ignored = post(&demo, &[to, ("colour", "red"), ("dry_run", "1")], &[&document]).await;
    ignored.expect(200);

    let headers = [("x-api-key", demo.api_key.as_str()), ("content-type", "application/json")];
    demo.http.call(Method::POST, "/fax", &headers, "{}").await.expect(422);
    let headers =
        [("x-api-key", demo.api_key.as_str()), ("content-type", "multipart/form-data; boundary=edge")];
    demo.http.call(Method::POST, "/fax", &headers, "--edge\r\nContent-Dispo").await.expect(400);

    assert_eq!(files_below(&spool), before, "refused documents left files behind");
}

#[tokio::test]
async fn too_large_is_refused_while_it_streams() {
    let demo = Demo::start();
    let before = files_below(&demo.data_dir.join("spool"));
    let too_large = vec![b'x'; 11 << 20];
    let said = detail(post(&demo, &[("to", "+15551234567")], &[&too_large]).await, 413);
    assert!(said.contains("10 MB"), "{said}");

    // Chunked, so that no length announces it.
    let mut stream = TcpStream::connect(demo.http.address).await.unwrap();
    let head = format!(
        "POST /fax HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: multipart/form-data; boundary=edge\r\n\r\n",
        demo.api_key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = |content: &[u8]| [format!("{:x}\r\n", content.len()).as_bytes(), content, b"\r\n"].concat();
    let opening = b"--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    stream.write_all(&chunk(opening)).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let sender = tokio::spawn(async move {
        let block = chunk(&[b'y'; 64 * 1024]);
        // Ends by itself or by the server's closing.
        for _ in 0..400 {
            if writing.write_all(&block).await.is_err() {
                break;
            }
        }
    });
    let mut answer = vec![0; 12];
    reading.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    sender.abort();
    assert_eq!(files_below(&demo.data_dir.join("spool")), before);
}

#[tokio::test]
async fn without_a_key_no_body_is_read() {
    let demo = Demo::start();
    for key in [None, Some("fbk_live_0123456789ab_wrong"), Some("nonsense")] {
        let mut stream = TcpStream::connect(demo.http.address).await.unwrap();
        let key_line = key.map(|key| format!("X-API-Key: {key}\r\n")).unwrap_or_default();
        let head = format!(
            "POST /fax HTTP/1.1\r\nHost: localhost\r\n{key_line}Content-Length: 209715200\r\n\
             Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Not one byte of the body was sent, and yet the answer comes.
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 401");
    }
    // A client that writes its whole body first still gets to read the answer.
    let body = vec![b'x'; 8 << 20];
    let refused = demo.http.call(Method::POST, "/fax", &[("x-api-key", "wrong")], body).await.expect(401);
    assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"fax\", error=\"invalid_token\"");
    let anonymous = demo.http.call(Method::GET, "/fax/x", &[], "").await.expect(401);
    assert_eq!(anonymous.header("www-authenticate"), "Bearer realm=\"fax\"");
}

#[tokio::test]
async fn every_failure_has_the_one_body() {
    let demo = Demo::start();
    let cases = [
        (Method::GET, "/nowhere", 404, "invalid_request_error"),
        (Method::PUT, "/fax", 405, "invalid_request_error"),
        (Method::GET, "/fax/0190b3c0000070008000000000000000", 404, "invalid_request_error"),
        (Method::GET, "/fax/not-an-id", 404, "invalid_request_error"),
        (Method::GET, "/admin/fax-jobs", 403, "authorization_error"),
        (Method::POST, "/admin/api-keys", 403, "authorization_error"),
    ];
    for (method, path, status, kind) in cases {
        let answer =
            demo.http.call(method.clone(), path, &[("x-api-key", &demo.api_key)], "").await.expect(status);
        let body = answer.json();
        assert_eq!((&body["status"], &body["instance"]), (&json!(status), &json!(path)));
        assert_eq!(body["error"]["type"], kind);
        assert_eq!(body["error"]["message"], body["detail"]);
        assert_eq!(body["request_id"], answer.header("x-request-id"));
        assert!(body["detail"].is_string() && body["message"].is_string() && body["title"].is_string());
        assert_eq!(answer.header("content-type"), "application/json");
        let page = demo.http.call(Method::GET, body["type"].as_str().unwrap(), &[], "").await.expect(303);
        assert!(page.header("location").starts_with("../docs/errors#"));
    }
    let allow = demo.http.call(Method::PUT, "/fax", &[], "").await;
    assert_eq!(allow.header("allow"), "GET, HEAD, POST");
    let scope = demo.http.get("/admin/api-keys", &demo.api_key).await.expect(403).json();
    assert_eq!(scope["detail"], "Insufficient scope: keys:read required");
    let headers = [("accept", "application/problem+json")];
    let problem = demo.http.call(Method::GET, "/nowhere", &headers, "").await.expect(404);
    assert_eq!(problem.header("content-type"), "application/problem+json");
    let two = [("x-api-key", demo.api_key.as_str()), ("authorization", "Bearer other")];
    demo.http.call(Method::GET, "/fax", &two, "").await.expect(400);
    let json_errors = [(json!({"name": 5}), 422), (Value::String("x".into()), 422)];
    for (body, status) in json_errors {
        demo.http.json(Method::POST, "/admin/api-keys", &demo.admin_key, body).await.expect(status);
    }
    let headers = [("x-api-key", demo.admin_key.as_str())];
    demo.http.call(Method::POST, "/admin/api-keys", &headers, "{not json").await.expect(400);
    demo.http.call(Method::POST, "/admin/api-keys", &headers, vec![b' '; 70_000]).await.expect(413);
}
