//! The guard against mis-dialled faxes, as clients see it.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, Serve, form, pdf};

#[tokio::test]
async fn a_near_miss_waits_until_somebody_has_looked() {
    let folder = tempfile::tempdir().unwrap();
    let rule = [("PAGEWIRE_SECOND_LOOK", "near_miss everywhere")];
    let serve = Serve::start(folder.path(), "loopback", &rule).await;
    let http = &serve.http;
    let contact = json!({ "name": "Oak Street Pharmacy", "number": "+15552017788" });
    http.json(Method::POST, "/contacts", BOOTSTRAP, contact).await.expect(201);
    let new = json!({ "name": "sender", "owner": "service:sender", "scopes": ["fax:send", "fax:read"] });
    let made = http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
    let sender = made["token"].as_str().unwrap();

    let striking = "+1 555 201 7789 is one digit away from a number in the address book. Check the number, then release the fax or correct it.";
    let (media_type, body) = form(&[("to", "+15552017789"), ("dry_run", "1")], &[&pdf(1)]);
    let headers = [("x-api-key", sender), ("content-type", media_type.as_str())];
    let dry = http.call(Method::POST, "/fax", &headers, body).await.expect(200).json();
    assert_eq!(dry["second_look"], striking);
    let (media_type, body) = form(&[("to", "+15552017789")], &[&pdf(1)]);
    let headers = [("x-api-key", sender), ("content-type", media_type.as_str())];
    let preview = http.call(Method::POST, "/previews", &headers, body).await.expect(200).json();
    assert_eq!(preview["destination"]["second_look"], striking);

    let fax = http.send_fax(sender, "+15552017789", &pdf(1)).await.expect(202).json();
    let path = format!("/fax/{}", fax["id"].as_str().unwrap());
    assert_eq!((&fax["status"], &fax["state"]), (&json!("queued"), &json!("held")));
    assert_eq!((&fax["modifier"], &fax["waiting_for"]), (&json!("second_look"), &json!(striking)));
    // Who may read the address book is told the name, and nobody else.
    let seen = http.get(&path, BOOTSTRAP).await.expect(200).json();
    let named = seen["waiting_for"].as_str().unwrap();
    assert!(named.starts_with("+1 555 201 7789 is one digit away from “Oak Street Pharmacy”."), "{named}");
    let events = http.get("/events?types=fax.*", BOOTSTRAP).await.expect(200).json().to_string();
    assert!(
        events.contains("fax.second_look") && !events.contains("Oak") && !events.contains("5552017"),
        "{events}"
    );

    let right = http.send_fax(sender, "+15552017788", &pdf(1)).await.expect(202).json();
    let verb = async |path: String, key: &str, status: u16| -> Value {
        http.json(Method::POST, &format!("{path}/release"), key, json!({})).await.expect(status).json()
    };
    let refused = verb(format!("/fax/{}", right["id"].as_str().unwrap()), sender, 409).await;
    assert!(refused["detail"].as_str().unwrap().ends_with("only a held fax can be released."), "{refused}");
    let released = verb(path.clone(), sender, 200).await;
    assert_eq!((&released["state"], &released["waiting_for"]), (&json!("queued"), &Value::Null));
    assert_eq!(http.finished(sender, fax["id"].as_str().unwrap()).await["state"], "delivered");
    let again = http.send_fax(sender, "+15552017789", &pdf(1)).await.expect(202).json();
    assert_eq!(again["state"], "queued", "it is not asked about again");

    // Of a fax that somebody else holds, its sender does not decide.
    let (media_type, body) =
        form(&[("to", "+15559990000"), ("schedule_at", "2100-01-01T00:00:00Z")], &[&pdf(1)]);
    let headers = [("x-api-key", sender), ("content-type", media_type.as_str())];
    let other = http.call(Method::POST, "/fax", &headers, body).await.expect(202).json();
    let other = other["id"].as_str().unwrap();
    http.json(Method::POST, &format!("/admin/fax-jobs/{other}/hold"), BOOTSTRAP, json!({})).await.expect(200);
    let refused = verb(format!("/fax/{other}"), sender, 409).await;
    assert_eq!(
        refused["detail"],
        "The fax is held for another reason than its number; an administrator can release it."
    );
    assert_eq!(serve.terminate(), Some(0));
}
