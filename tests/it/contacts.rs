//! The address book over HTTP.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, Serve};

#[tokio::test]
async fn entries_are_added_found_changed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "simulator", &[]).await;
    let call = async |method: Method, path: &str, body: Value| {
        serve.http.json(method, &format!("/contacts{path}"), BOOTSTRAP, body).await
    };
    let mut ids = Vec::new();
    for (name, number) in [("Clinic", "(555) 123-4567"), ("anna", "+4930123456"), ("Bert", "5551234568")] {
        let new =
            json!({"name": format!(" {name} "), "number": number, "note": "ask for room 7\nsecond line"});
        let contact = call(Method::POST, "", new).await.expect(201).json();
        assert_eq!(contact["name"], name);
        ids.push(contact["id"].as_str().unwrap().to_owned());
    }
    let names = |list: &Value| -> Vec<String> {
        let contacts = list["contacts"].as_array().unwrap().iter();
        contacts.map(|contact| contact["name"].as_str().unwrap().to_owned()).collect()
    };
    let list = async |query: &str| serve.http.get(&format!("/contacts{query}"), BOOTSTRAP).await;
    assert_eq!(names(&list("").await.expect(200).json()), ["anna", "Bert", "Clinic"]);
    let first = list("?limit=2").await.expect(200).json();
    let next = first["next_cursor"].as_str().unwrap();
    let rest = list(&format!("?limit=2&cursor={next}")).await.expect(200).json();
    assert_eq!((names(&rest), rest["next_cursor"].is_null()), (vec!["Clinic".to_owned()], true));
    assert_eq!(names(&list("?q=CLIN").await.expect(200).json()), ["Clinic"]);
    assert_eq!(names(&list("?q=555123").await.expect(200).json()), ["Bert", "Clinic"]);
    assert!(names(&list("?q=%25").await.expect(200).json()).is_empty(), "no wildcards");

    let path = format!("/{}", ids[0]);
    let changed = call(Method::PATCH, &path, json!({"number": "+15550000000", "note": ""})).await;
    let changed = changed.expect(200).json();
    assert_eq!((changed["number"].as_str(), changed["note"].is_null()), (Some("+15550000000"), true));
    assert_eq!(changed["name"], "Clinic");
    assert_eq!(serve.http.get(&format!("/contacts{path}"), BOOTSTRAP).await.expect(200).json(), changed);
    call(Method::DELETE, &path, json!({})).await.expect(200);
    call(Method::DELETE, &path, json!({})).await.expect(404);

    for (body, field) in [
        (json!({"name": "", "number": "+15551234567"}), "name"),
        (json!({"name": "a\nb", "number": "+15551234567"}), "name"),
        (json!({"name": "a", "number": "12x"}), "number"),
        (json!({"name": "a", "number": "+15551234567", "note": "x".repeat(501)}), "note"),
        (json!({"name": "a", "number": "+15551234567", "nmae": "b"}), "nmae"),
    ] {
        let refused = call(Method::POST, "", body).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    list("?limit=0").await.expect(422);
    list("?cursor=x").await.expect(422);
    assert_eq!(names(&list("").await.expect(200).json()), ["anna", "Bert"]);
}
