//! What the console's screens are built on: the day at a glance, settings, the inbox, previews, cover
//! pages, checks and the log; each as a browser or a script would ask for it.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, Demo, Http, Serve, form, pdf};

async fn put(http: &Http, body: Value, status: u16) -> Value {
    http.json(Method::PUT, "/admin/settings", BOOTSTRAP, body).await.expect(status).json()
}

async fn setting(http: &Http, key: &str) -> Value {
    let all = http.get("/admin/settings", BOOTSTRAP).await.expect(200).json();
    let found = all["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key);
    found.unwrap_or_else(|| panic!("{key} is not there")).clone()
}

async fn summary(http: &Http, key: &str) -> Value {
    http.get("/admin/summary", key).await.expect(200).json()
}

fn kinds(summary: &Value) -> Vec<&str> {
    summary["attention"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect()
}

/// An operator's key of a fresh account.
async fn operator(http: &Http, admin_key: &str, scopes: &[&str]) -> String {
    let new = json!({"name": "desk", "owner": "desk", "scopes": scopes});
    let made = http.json(Method::POST, "/admin/api-keys", admin_key, new).await.expect(200).json();
    made["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_day_at_a_glance_says_what_needs_a_person_and_what_can_be_done() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(&folder.path().join("data"), "simulator", &[]).await;
    let http = &serve.http;
    let send = async |to: &str| {
        let sent = http.send_fax(BOOTSTRAP, to, b"a line").await.expect(202).json();
        sent["id"].as_str().unwrap().to_owned()
    };
    let fresh = summary(http, BOOTSTRAP).await;
    assert_eq!(fresh["ended"]["first_try_percent"], Value::Null, "nothing was delivered yet");
    assert_eq!(kinds(&fresh), ["no_recovery_key"]);

    let delivered = send("+15550000001").await;
    // Nobody has this number, says the script.
    let failed = send("+15005550004").await;
    for id in [&delivered, &failed] {
        http.finished(BOOTSTRAP, id).await;
    }
    http.json(Method::POST, "/admin/pause", BOOTSTRAP, json!({"reason": "a test"})).await.expect(200);
    let held = send("+15550000001").await;
    http.json(Method::POST, &format!("/admin/fax-jobs/{held}/hold"), BOOTSTRAP, json!({})).await.expect(200);

    let day = summary(http, BOOTSTRAP).await;
    assert_eq!(day["of"], "all");
    assert_eq!((&day["ended"]["delivered"], &day["ended"]["failed"]), (&json!(1), &json!(1)), "{day}");
    assert_eq!(day["ended"]["first_try_percent"], 100);
    assert_eq!((&day["open"]["held"], &day["dialling"]["paused"]), (&json!(1), &json!(true)));
    assert_eq!(kinds(&day), ["dialling_paused", "faxes_failed", "faxes_held", "no_recovery_key"]);
    let entry = &day["attention"][1];
    assert_eq!((&entry["count"], &entry["items"][0]["id"]), (&json!(1), &json!(failed)));
    assert!(entry["items"][0]["sentence"].as_str().unwrap().len() > 10);
    let actions = entry["items"][0]["actions"].as_array().unwrap();
    let settle = actions.iter().find(|action| action["name"] == "settle").unwrap();

    // What is offered works, and then there is nothing left of it.
    let offered =
        [settle, &day["attention"][0]["actions"][0], &day["attention"][2]["items"][0]["actions"][0]];
    for action in offered {
        let method = action["method"].as_str().unwrap().parse().unwrap();
        http.json(method, action["path"].as_str().unwrap(), BOOTSTRAP, json!({})).await.expect(200);
    }
    http.finished(BOOTSTRAP, &held).await;
    assert_eq!(kinds(&summary(http, BOOTSTRAP).await), ["no_recovery_key"]);

    // Others see what is theirs.
    let desk = operator(http, BOOTSTRAP, &["diagnostics:read", "fax:send"]).await;
    let own = summary(http, &desk).await;
    assert_eq!((&own["of"], &own["ended"]["delivered"]), (&json!("own"), &json!(0)));
    assert_eq!(own["received"], Value::Null, "it may not list received faxes");
    let early = http.get("/admin/summary?since=2020-01-01T00:00:00Z", BOOTSTRAP).await.expect(422).json();
    assert_eq!(early["errors"][0]["field"], "since");
    let still_open = http.json(Method::POST, &format!("/fax/{delivered}/settle"), &desk, json!({})).await;
    assert_eq!(still_open.status, 404, "another's fax");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_change_at_once_last_over_a_restart_and_say_what_overrides_them() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let env = [("MAX_FILE_SIZE_MB", "7")];
    let serve = Serve::start(&data_dir, "loopback", &env).await;
    let http = &serve.http;
    let limit = "security.max_requests_per_minute";
    let before = setting(http, limit).await;
    assert_eq!(
        (&before["value"], &before["source"], &before["applies"]),
        (&json!("0"), &json!("default"), &json!("live"))
    );
    assert_eq!(
        setting(http, "storage.when_low").await["choices"],
        json!(["keep", "delete_sent", "delete_all"])
    );

    // All or nothing, and every fault is named.
    let wrong =
        json!({limit: 40, "line.station_id": "letters", "line.rout": "loopback", "storage.data_dir": "/x"});
    let refused = put(http, wrong, 422).await;
    let fields: Vec<&str> =
        refused["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["line.rout", "line.station_id", "storage.data_dir"]);
    let open = json!({"security.require_api_key": false, "server.trusted_proxies": "10.0.0.0/8"});
    let crossed = put(http, open, 422).await;
    assert_eq!(crossed["errors"][0]["code"], "conflict");
    let taken = http.address.to_string();
    put(http, json!({"server.metrics_listen": taken}), 422).await;
    put(http, json!({"server.tls_cert": "/nowhere.pem", "server.tls_key": "/nowhere.key"}), 422).await;
    assert_eq!(setting(http, limit).await["value"], "0");

    let asked =
        json!({limit: 40, "documents.workers": 3, "security.max_file_size_mb": 9, "line.header": "Practice"});
    let checked =
        http.json(Method::POST, "/admin/settings/validate", BOOTSTRAP, asked.clone()).await.expect(200);
    assert_eq!(setting(http, limit).await["value"], "0", "only looked at");
    let changed = put(http, asked, 200).await;
    assert_eq!(checked.json(), changed);
    assert_eq!(
        changed["changed"],
        json!(["security.max_requests_per_minute", "documents.workers", "line.header"])
    );
    assert_eq!(changed["restart_needed"], json!(["documents.workers"]));
    assert_eq!(
        changed["overridden"],
        json!([{"key": "security.max_file_size_mb", "by": "environment variable MAX_FILE_SIZE_MB"}])
    );

    // In force for the next request of any key but the bootstrap one, which has no limits.
    let key = operator(http, BOOTSTRAP, &["fax:read"]).await;
    let mut statuses = Vec::new();
    for _ in 0..45 {
        statuses.push(http.get("/fax", &key).await.status);
    }
    assert!(statuses.contains(&429) && statuses[0] == 200, "{statuses:?}");
    put(http, json!({limit: null}), 200).await;
    http.get("/fax", &key).await.expect(200);
    assert_eq!(setting(http, limit).await["source"], "default");

    let rows = http.get("/admin/audit?action=settings.changed", BOOTSTRAP).await.expect(200).json();
    let rows = rows["rows"].as_array().unwrap().clone();
    assert!(
        rows.iter().any(|row| row["target"] == "settings:line.header" && row["after"]["value"] == "Practice")
    );
    let export = http.get("/admin/settings/export", BOOTSTRAP).await.expect(200);
    let export = String::from_utf8(export.body.to_vec()).unwrap();
    assert!(
        export.contains("\nheader = \"Practice\"\n") && export.contains("\n# station_id = \"\"\n"),
        "{export}"
    );
    assert!(!export.contains(BOOTSTRAP));
    let all = http.get("/admin/settings", BOOTSTRAP).await.expect(200);
    let secrets = json!([{"name": "API_KEY", "set": true}, {"name": "PAGEWIRE_MAIL_PASSWORD", "set": false}]);
    assert_eq!(all.json()["secrets"], secrets);
    assert!(!String::from_utf8_lossy(&all.body).contains(BOOTSTRAP));

    assert_eq!(serve.terminate(), Some(0));
    let serve = Serve::start(&data_dir, "loopback", &[]).await;
    for (key, value, pending) in [
        ("documents.workers", "3", false),
        ("line.header", "Practice", false),
        ("security.max_file_size_mb", "9", false),
    ] {
        let now = setting(&serve.http, key).await;
        assert_eq!((&now["value"], &now["pending"]), (&json!(value), &json!(pending)), "{key}");
        assert_eq!(now["source"], "stored");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn received_faxes_are_found_read_assigned_sent_on_and_deleted() {
    let demo = Demo::start();
    let (http, key) = (&demo.http, &demo.admin_key);
    for n in 1..=3 {
        let sent = http.send_fax(key, &format!("+1555000000{n}"), &pdf(2)).await.expect(202).json();
        http.finished(key, sent["id"].as_str().unwrap()).await;
    }
    let list = async |query: &str| http.get(&format!("/inbound{query}"), key).await.expect(200);
    let all = list("").await;
    let faxes = all.json().as_array().unwrap().clone();
    assert!(all.header("x-next-before").is_empty());
    let (count, id) = (faxes.len(), faxes[0]["id"].as_str().unwrap().to_owned());

    // Pages by place: each fax once, in the same order.
    let (mut walked, mut before) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("?limit=2{before}")).await;
        walked.extend(page.json().as_array().unwrap().clone());
        match page.header("x-next-before") {
            "" => break,
            next => before = format!("&before={next}"),
        }
    }
    assert_eq!(walked, faxes);

    let path = format!("/inbound/{id}");
    let patch = async |body: Value| http.json(Method::PATCH, &path, key, body).await;
    let read =
        patch(json!({"read": true, "note": "call back", "assigned_to": "me"})).await.expect(200).json();
    assert_eq!((&read["read"], &read["note"]), (&json!(true), &json!("call back")));
    assert!(read["read_by"].as_str().unwrap().starts_with("key:") && read["assigned_to_name"].is_string());
    assert_eq!(list("?unread=true").await.json().as_array().unwrap().len(), count - 1);
    assert_eq!(list("?assigned_to=me").await.json(), json!([read]));
    assert_eq!(list("?q=CALL+b").await.json(), json!([read]));
    assert_eq!(list("?q=%2B4930").await.json(), json!([]));
    assert_eq!(summary(http, key).await["received"]["unread"], count - 1);
    patch(json!({"assigned_to": "nobody of that name"})).await.expect(422);
    patch(json!({"raed": true})).await.expect(422);
    let cleared = patch(json!({"read": false, "note": null})).await.expect(200).json();
    assert_eq!((&cleared["read"], &cleared["note"]), (&json!(false), &Value::Null));
    let people = http.get("/assignees", key).await.expect(200).json();
    assert!(!people.as_array().unwrap().is_empty());

    let whole = http.get(&format!("{path}/pages/1.png"), key).await.expect(200);
    let small = http.get(&format!("{path}/pages/1.png?width=200"), key).await.expect(200);
    let width = |png: &[u8]| u32::from_be_bytes(png[16..20].try_into().unwrap());
    assert_eq!((width(&whole.body), width(&small.body)), (1728, 200));
    assert!(small.body.len() < whole.body.len());
    http.get(&format!("{path}/pages/1.png?width=5"), key).await.expect(422);
    http.get(&format!("{path}/pages/9.png"), key).await.expect(404);
    let views = http.get(&format!("/admin/audit?target=inbound:{id}&action=content.viewed"), key).await;
    assert_eq!(views.expect(200).json()["rows"].as_array().unwrap().len(), 2);

    let forward = json!({"to": "+15550000009"});
    let sent =
        http.json(Method::POST, &format!("{path}/forward"), key, forward.clone()).await.expect(202).json();
    assert_eq!(http.finished(key, sent["id"].as_str().unwrap()).await["status"], "SUCCESS");
    let newest = list("?limit=1").await.json()[0].clone();
    let pages = async |id: &str| http.get(&format!("/inbound/{id}/tiff"), key).await.expect(200).body;
    assert_eq!(pages(newest["id"].as_str().unwrap()).await, pages(&id).await, "the very pages");
    let sender_only = operator(http, key, &["fax:send"]).await;
    let refused =
        http.json(Method::POST, &format!("{path}/forward"), &sender_only, forward).await.expect(403);
    assert_eq!(refused.json()["detail"], "Insufficient scope: inbound:read required");

    http.json(Method::DELETE, &path, key, json!({})).await.expect(200);
    http.get(&path, key).await.expect(404);
    let told = http.get("/events?types=inbound.deleted,inbound.changed", key).await.expect(200).json();
    let last = told["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["type"], &last["data"]["because"]), (&json!("inbound.deleted"), &json!("person")));
    assert!(!told.to_string().contains("call back"), "what a note says is told to nobody");
    let accounts =
        http.json(Method::POST, "/admin/storage/reconcile", key, json!({})).await.expect(200).json();
    assert_eq!(accounts["unaccounted"], 0, "{accounts}");
}

async fn post_form(
    http: &Http,
    path: &str,
    key: &str,
    fields: &[(&str, &str)],
    documents: &[&[u8]],
) -> crate::support::Answer {
    let (media_type, body) = form(fields, documents);
    http.call(Method::POST, path, &[("x-api-key", key), ("content-type", &media_type)], body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_shows_the_very_pages_and_exactly_these_are_sent() {
    let demo = Demo::start();
    let (http, key) = (&demo.http, &demo.admin_key);
    let fields = [("to", "(212) 555-1234"), ("cover", "1"), ("to_name", "Dr. B"), ("note", "Please call.")];
    let made = post_form(http, "/previews", key, &fields, &[&pdf(2)]).await.expect(200).json();
    assert_eq!(made["pages"].as_array().unwrap().len(), 3, "the cover is page 1: {made}");
    assert_eq!(made["destination"]["will_dial"], "+1 212 555 1234 (New York)");
    assert_eq!(made["destination"]["country"], "United States");
    for page in made["pages"].as_array().unwrap() {
        assert!(page["seconds"].as_f64().unwrap() > 0.0 && page["black_percent"].as_u64().unwrap() < 20);
        assert_eq!(page["warning"], Value::Null);
    }
    let png = made["pages"][0]["png"].as_str().unwrap();
    let cover = http.get(png, key).await.expect(200).body;
    http.get(png, &demo.api_key).await.expect(404);

    let id = made["id"].as_str().unwrap();
    let send = async |fields: &[(&str, &str)], documents: &[&[u8]]| {
        post_form(http, "/fax", key, fields, documents).await
    };
    let to = ("to", "+15550000001");
    let sent = send(&[to, ("preview", id)], &[]).await.expect(202).json();
    assert_eq!(sent["pages"], 3);
    let fax = sent["id"].as_str().unwrap();
    assert_eq!(http.get(&format!("/fax/{fax}/pages/1.png"), key).await.expect(200).body, cover);
    send(&[to, ("preview", id)], &[b"and a document"]).await.expect(422);
    send(&[to, ("preview", "0190b3c0000070008000000000000000")], &[]).await.expect(422);
    let others = post_form(http, "/fax", &demo.api_key, &[to, ("preview", id)], &[]).await.expect(422).json();
    assert_eq!(others["errors"][0]["field"], "preview");

    // A black page is told of.
    let mut black = Vec::new();
    let image = image::GrayImage::from_pixel(400, 500, image::Luma([0]));
    image.write_to(&mut std::io::Cursor::new(&mut black), image::ImageFormat::Png).unwrap();
    let dark = post_form(http, "/previews", key, &[], &[&black]).await.expect(200).json();
    assert!(dark["pages"][0]["warning"].is_string(), "{dark}");
    assert_eq!(dark["destination"], Value::Null);

    // Cover pages without a preview, alone, and what belongs to them without one.
    let covered = send(&[to, ("cover", "1"), ("subject", "Tuesday")], &[&pdf(1)]).await.expect(202).json();
    assert_eq!(covered["pages"], 2);
    assert_eq!(send(&[to, ("cover", "1"), ("note", "Only this.")], &[]).await.expect(202).json()["pages"], 1);
    send(&[to, ("cover", "1")], &[]).await.expect(422);
    send(&[to, ("note", "for nobody")], &[&pdf(1)]).await.expect(422);
    let template = json!({"documents.cover_template": "To {{to.name}}\n{{nothing}}"});
    http.json(Method::PUT, "/admin/settings", key, template).await.expect(422);

    // Twenty at once; two were made above.
    for _ in 0..18 {
        post_form(http, "/previews", key, &[], &[b"one more"]).await.expect(200);
    }
    let refused = post_form(http, "/previews", key, &[], &[b"one too many"]).await.expect(429);
    assert_eq!(refused.json()["error"]["limit"], "previews");
    assert!(!refused.header("retry-after").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_leads_to_one_document_and_ends_with_its_maker() {
    let demo = Demo::start();
    let (http, key) = (&demo.http, &demo.admin_key);
    let desk = operator(http, key, &["fax:send", "fax:read"]).await;
    let ids = [
        http.send_fax(&desk, "+15550000001", b"one").await.expect(202).json()["id"]
            .as_str()
            .unwrap()
            .to_owned(),
        http.send_fax(&desk, "+15550000001", b"two").await.expect(202).json()["id"]
            .as_str()
            .unwrap()
            .to_owned(),
    ];
    let made = http
        .json(Method::POST, &format!("/fax/{}/pdf-link", ids[0]), &desk, json!({}))
        .await
        .expect(200)
        .json();
    let url = made["url"].as_str().unwrap();
    let follow = async |url: &str| http.call(Method::GET, url, &[], "").await;
    assert!(follow(url).await.expect(200).body.starts_with(b"%PDF"));
    follow(&url.replace(&ids[0], &ids[1])).await.expect(401);
    follow(&format!("/fax/{}/pdf?token=AAAA", ids[0])).await.expect(401);
    let rows =
        http.get(&format!("/admin/audit?target=fax:{}&action=content.viewed", ids[0]), key).await.expect(200);
    assert!(rows.json()["rows"][0]["actor"].as_str().unwrap().starts_with("key:"));
    let id = &desk["fbk_live_".len()..][..12];
    http.json(Method::DELETE, &format!("/admin/api-keys/{id}"), key, json!({})).await.expect(200);
    follow(url).await.expect(401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checks_try_the_real_thing_and_the_log_is_at_hand() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(&folder.path().join("data"), "loopback", &[]).await;
    let http = &serve.http;
    let run = || http.json(Method::POST, "/admin/diagnostics/run", BOOTSTRAP, json!({}));
    let (report, second) = tokio::join!(run(), run());
    second.expect(200);
    let report = report.expect(200).json();
    let status = |name: &str| {
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        assert_eq!(check["remedy"].is_null(), check["status"] == "ok", "{check}");
        check["status"].as_str().unwrap().to_owned()
    };
    for name in
        ["database", "spool", "sealing", "sandbox", "conversion", "clock", "webhooks", "dialling", "audit"]
    {
        assert_eq!(status(name), "ok", "{report}");
    }
    assert_eq!(status("recovery_key"), "warning");
    assert_eq!(http.get("/admin/health-status", BOOTSTRAP).await.expect(200).json()["status"], "healthy");
    let db = http.get("/admin/db-status", BOOTSTRAP).await.expect(200).json();
    assert!(db["bytes"].as_u64().unwrap() > 0 && db["tables"].as_array().unwrap().len() > 3);

    http.json(Method::POST, "/admin/pause", BOOTSTRAP, json!({})).await.expect(200);
    let logs = http.get("/admin/logs?level=warn&q=PAUSED", BOOTSTRAP).await.expect(200).json();
    let line = &logs["lines"][0];
    assert_eq!((&line["level"], logs["lines"].as_array().unwrap().len()), (&json!("warn"), 1), "{logs}");
    let after = logs["next_after"].as_u64().unwrap();
    let later = http.get(&format!("/admin/logs?q=paused&after={after}"), BOOTSTRAP).await.expect(200).json();
    assert_eq!(later["lines"], json!([]));
    http.get("/admin/logs?level=loud", BOOTSTRAP).await.expect(422);
}
