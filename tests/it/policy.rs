//! What may be dialled, over HTTP, as those meet it who run an appliance.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, Serve, files_below, form, on_the_appliance, pdf, users};

/// A token of a production key owned by a new user of this role.
async fn key_of(serve: &Serve, data_dir: &std::path::Path, role: &str) -> String {
    users(data_dir, &["add", role, "--role", role], "a passphrase of these tests\n").await;
    let scopes: Vec<String> = pagewire::access::scopes::Scope::ALL.iter().map(ToString::to_string).collect();
    let new = json!({"name": role, "owner": role, "scopes": scopes});
    let made = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
    made["token"].as_str().unwrap().to_owned()
}

fn range<'a>(policy: &'a Value, name: &str) -> &'a Value {
    policy["ranges"].as_array().unwrap().iter().find(|range| range["range"] == name).unwrap()
}

#[tokio::test]
async fn numbers_are_blocked_by_administrators_and_allowed_by_global_ones() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[("ALLOW_BOOTSTRAP_KEY", "true")]).await;
    let admin = key_of(&serve, folder.path(), "admin").await;
    let global = key_of(&serve, folder.path(), "global_admin").await;
    let put = async |path: &str, key: &str, body: Value| {
        serve.http.json(Method::PUT, &format!("/admin/policy/{path}"), key, body).await
    };

    let policy = serve.http.get("/admin/policy", &admin).await.expect(200).json();
    assert_eq!(policy["home_country"], "1");
    let open: Vec<_> = policy["ranges"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|range| range["open"] == true)
        .map(|range| range["range"].as_str().unwrap())
        .collect();
    assert_eq!(open, ["home", "toll_free"]);

    let block = json!({"ruling": "block", "reason": "They asked us to stop."});
    let rule = put("numbers/+15551234567", &admin, block.clone()).await.expect(200).json();
    assert_eq!((rule["prefix"].as_str(), rule["by"].is_string()), (Some("+15551234567"), true));
    let before = files_below(&folder.path().join("spool")).len();
    let refused = serve.http.send_fax(&global, "(555) 123-4567", b"hello").await.expect(403).json();
    assert_eq!(refused["error"]["code"], "blocked_by_policy");
    assert_eq!(refused["reason"], "policy");
    assert_eq!(
        refused["detail"],
        "This number is not allowed from here. It was blocked: They asked us to stop."
    );
    assert_eq!(files_below(&folder.path().join("spool")).len(), before, "nothing is left behind");
    assert_eq!(serve.http.get("/fax", &global).await.expect(200).json()["total"], 0);
    for emergency in ["+19115550100", "+353112"] {
        let refused = serve.http.send_fax(&global, emergency, b"hello").await.expect(403).json();
        assert_eq!(
            refused["detail"],
            "This number is not allowed from here. Emergency numbers are never dialled."
        );
    }
    serve.http.send_fax(&global, "911", b"hello").await.expect(400);
    serve.http.send_fax(&global, "+4930123456", b"hello").await.expect(202);

    // What lets more out needs more than what lets less out.
    let allow = json!({"ruling": "allow", "reason": "our lab"});
    put("numbers/4930", &admin, allow.clone()).await.expect(403);
    put("numbers/4930", &global, allow).await.expect(200);
    let open = json!({"open": true, "reason": "our lab is there"});
    put("ranges/abroad", &admin, open.clone()).await.expect(403);
    let policy = put("ranges/abroad", &global, open).await.expect(200).json();
    assert_eq!(range(&policy, "abroad")["reason"], "our lab is there");
    let policy = put("ranges/abroad", &admin, json!({"open": false})).await.expect(200).json();
    assert_eq!(range(&policy, "abroad")["open"], false);
    let delete = async |prefix: &str, key: &str| {
        let path = format!("/admin/policy/numbers/{prefix}");
        serve.http.call(Method::DELETE, &path, &[("x-api-key", key)], "").await
    };
    delete("15551234567", &admin).await.expect(403);
    delete("4930", &admin).await.expect(200);
    delete("4930", &admin).await.expect(404);
    delete("%2B15551234567", &global).await.expect(200);
    serve.http.send_fax(&global, "+15551234567", b"hello").await.expect(202);

    // Mistakes are named.
    put("numbers/12x", &admin, block).await.expect(422);
    put("numbers/1555", &admin, json!({"ruling": "maybe", "reason": "a"})).await.expect(422);
    for reason in [json!(null), json!(""), json!("two\nlines"), json!("x".repeat(201))] {
        let body = json!({"ruling": "block", "reason": reason});
        let refused = put("numbers/1555", &admin, body).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], "reason");
    }
    put("ranges/abroad", &global, json!({"open": true})).await.expect(422);
    put("ranges/home", &global, json!({"open": false})).await.expect(404);
    let unknown = put("ranges/moon", &global, json!({"open": false})).await.expect(404).json();
    assert!(unknown["detail"].as_str().unwrap().contains("abroad, other_plus_one, premium"));

    // Every change has its row, and the log is whole.
    let rows = serve.http.get("/admin/audit?action=policy.changed", &global).await.expect(200).json();
    let targets: Vec<_> =
        rows["rows"].as_array().unwrap().iter().map(|row| row["target"].as_str().unwrap()).collect();
    assert_eq!(
        targets,
        [
            "policy:+15551234567",
            "policy:+4930",
            "policy:abroad",
            "policy:abroad",
            "policy:+4930",
            "policy:+15551234567"
        ]
    );
    on_the_appliance(folder.path(), "audit", &["verify"], "").await;
}

#[tokio::test]
async fn a_test_number_stays_a_test_whatever_is_blocked() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let block = json!({"ruling": "block", "reason": "not here"});
    serve.http.json(Method::PUT, "/admin/policy/numbers/1500", BOOTSTRAP, block).await.expect(200);
    serve.http.send_fax(BOOTSTRAP, "+15005551000", b"hello").await.expect(403);
    let fax = serve.http.send_fax(BOOTSTRAP, "+15005550004", b"hello").await.expect(202).json();
    let ended = serve.http.finished(BOOTSTRAP, fax["id"].as_str().unwrap()).await;
    assert_eq!(ended["outcome"]["class"], "number_bad");
}

#[tokio::test]
async fn a_pause_stops_every_route_until_somebody_resumes_over_restarts_too() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let pause = json!({"reason": "a leaked key"});
    let state = serve.http.json(Method::POST, "/admin/pause", BOOTSTRAP, pause).await.expect(200).json();
    let sentence = "All dialling is paused: a leaked key. It goes on when somebody resumes.";
    assert_eq!(
        (state["paused"].as_bool(), state["holds"][0]["sentence"].as_str()),
        (Some(true), Some(sentence))
    );
    assert_eq!((state["dials_per_hour"].as_u64(), state["dials_this_hour"].as_u64()), (Some(60), Some(0)));
    let ready = serve.http.get("/health/ready", BOOTSTRAP).await.expect(200).json();
    assert_eq!((ready["status"].as_str(), ready["dialling"].as_str()), (Some("ready"), Some("paused")));
    let fax = serve.http.send_fax(BOOTSTRAP, "+15551234567", b"hello").await.expect(202).json();
    let path = format!("/fax/{}", fax["id"].as_str().unwrap());
    serve.kill();

    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let waiting = serve.http.get(&format!("{path}?wait=1"), BOOTSTRAP).await.expect(200).json();
    assert_eq!((waiting["state"].as_str(), waiting["modifier"].as_str()), (Some("queued"), Some("paused")));
    assert_eq!(waiting["waiting_for"], sentence);
    let list = serve.http.get("/admin/fax-jobs", BOOTSTRAP).await.expect(200).json();
    assert_eq!(list["jobs"][0]["modifier"], "paused");
    let printed = on_the_appliance(folder.path(), "resume", &[], "").await;
    assert_eq!(printed, "Dialling goes on.\n");
    let ended = serve.http.finished(BOOTSTRAP, fax["id"].as_str().unwrap()).await;
    assert_eq!((ended["status"].as_str(), ended["modifier"].is_null()), (Some("SUCCESS"), true));
    let printed = on_the_appliance(folder.path(), "pause", &["--reason", "a test"], "").await;
    assert!(printed.ends_with("until 'pagewire resume'. No call is under way.\n"), "{printed}");
    let rows = serve.http.get("/admin/audit?target=dialling:all", BOOTSTRAP).await.expect(200).json();
    let told: Vec<_> = rows["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["action"].as_str().unwrap(), row["reason"].as_str()))
        .collect();
    let expected = [
        ("dialling.paused", Some("a test")),
        ("dialling.resumed", None),
        ("dialling.paused", Some("a leaked key")),
    ];
    assert_eq!(told, expected);
    let wrong = json!({"reason": "two\nlines"});
    serve.http.json(Method::POST, "/admin/pause", BOOTSTRAP, wrong).await.expect(422);
    serve.http.json(Method::POST, "/admin/resume", BOOTSTRAP, json!({})).await.expect(200);
}

#[tokio::test]
async fn a_dry_run_says_what_policy_says_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let block = json!({"ruling": "block", "reason": "they moved"});
    serve.http.json(Method::PUT, "/admin/policy/numbers/15551234567", BOOTSTRAP, block).await.expect(200);
    let dry = async |to: &str| {
        let (media_type, body) = form(&[("to", to), ("dry_run", "1")], &[pdf(2).as_slice()]);
        let headers = [("x-api-key", BOOTSTRAP), ("content-type", media_type.as_str())];
        serve.http.call(Method::POST, "/fax", &headers, body).await.expect(200).json()
    };
    let blocked = dry("(555) 123-4567").await;
    assert_eq!(
        blocked["policy"],
        json!({"allowed": false, "code": "block_list", "sentence": "It was blocked: they moved."})
    );
    assert_eq!((blocked["to_e164"].as_str(), blocked["pages"].as_u64()), (Some("+15551234567"), Some(2)));
    assert_eq!(blocked["seconds_per_page"].as_array().unwrap().len(), 2);
    assert_eq!(dry("+353112").await["policy"]["code"], "emergency");
    serve.http.json(Method::POST, "/admin/pause", BOOTSTRAP, json!({})).await.expect(200);
    let free = dry("+4930123456").await;
    assert_eq!(
        (free["policy"]["code"].as_str(), free["spends"].as_bool()),
        (Some("nothing_spent"), Some(false))
    );
    assert_eq!(free["waiting_for"], "All dialling is paused. It goes on when somebody resumes.");
    assert_eq!((free["route"].as_str(), free["quota"].is_null()), (Some("loopback"), true));
    assert_eq!(serve.http.get("/fax", BOOTSTRAP).await.expect(200).json()["total"], 0);
    assert!(files_below(&folder.path().join("spool")).is_empty());
}

#[tokio::test]
async fn a_number_is_remembered_for_those_who_called_it() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "simulator", &[("ALLOW_BOOTSTRAP_KEY", "true")]).await;
    let operator = key_of(&serve, folder.path(), "operator").await;
    let stranger = serve.http.get("/destinations/15005550004", BOOTSTRAP).await.expect(200).json();
    assert_eq!((stranger["calls"].as_u64(), stranger["success_rate"].is_null()), (Some(0), true));
    for to in ["+15005550004", "+15005550000"] {
        let fax = serve.http.send_fax(BOOTSTRAP, to, b"hello").await.expect(202).json();
        serve.http.finished(BOOTSTRAP, fax["id"].as_str().unwrap()).await;
    }
    let bad = serve.http.get("/destinations/%2B15005550004", BOOTSTRAP).await.expect(200).json();
    assert_eq!((bad["delivered"].as_u64(), bad["last"][0]["class"].as_str()), (Some(0), Some("number_bad")));
    assert!(bad["worked"].is_null());
    let good = serve.http.get("/destinations/5005550000", BOOTSTRAP).await.expect(200).json();
    assert_eq!(good["number"], "+15005550000");
    assert_eq!((good["calls"].as_u64(), good["success_rate"].as_f64()), (Some(1), Some(1.0)));
    assert_eq!(good["last_remote_station_id"], "PAGEWIRE SIMULATOR");
    assert_eq!(good["worked"], json!({"transport": "t38", "bit_rate": 14_400, "ecm": true}));
    assert_eq!(
        (good["last"][0]["pages"].as_u64(), good["last"][0]["route"].as_str()),
        (Some(1), Some("simulator"))
    );
    let others = serve.http.get("/destinations/15005550000", &operator).await.expect(200).json();
    assert_eq!(others["calls"], 0, "what others did is not told");
    serve.http.get("/destinations/abc", BOOTSTRAP).await.expect(400);
}
