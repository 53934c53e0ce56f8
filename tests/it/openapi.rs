//! The description is the truth: golden file, and every address called.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::Value;

use crate::support::{Demo, repository};

fn description() -> Value {
    serde_json::from_str(pagewire::http::openapi::description()).unwrap()
}

#[test]
fn matches_the_golden_file() {
    let golden = repository("src/http/openapi/description.json");
    let current = pagewire::http::openapi::generated().unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &current).unwrap();
    }
    let stored = std::fs::read_to_string(&golden).unwrap();
    assert!(stored == current, "the API changed; look at it, then run UPDATE_GOLDEN=1 cargo test openapi");
}

#[test]
fn is_complete_in_itself() {
    let description = description();
    assert_eq!(description["openapi"], "3.1.0");
    let text = description.to_string();
    for reference in text.split("\"#/").skip(1) {
        let pointer = format!("/{}", reference.split('"').next().unwrap());
        assert!(description.pointer(&pointer).is_some(), "{pointer} is referred to but not described");
    }
    let mut names = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            let mut always = vec!["403", "429", "500"];
            if operation.get("requestBody").is_some() {
                always.extend(["400", "408", "413", "422"]);
            }
            if operation.get("security").is_some() {
                always.extend(["400", "401", "421", "503"]);
            }
            for status in always {
                assert!(responses.contains_key(status), "{method} {path} does not tell of {status}");
            }
            for (status, response) in responses {
                let response = match response["$ref"].as_str() {
                    Some(reference) => description.pointer(&reference[1..]).unwrap(),
                    None => response,
                };
                assert!(response["description"].is_string(), "{method} {path} {status}");
                assert!(response["headers"]["X-Request-Id"].is_object(), "{method} {path} {status}");
            }
        }
    }
}

/// Every described operation exists, asks for exactly the scope it names, and no other method is
/// taken at its address.
#[tokio::test]
async fn every_operation_is_served_as_described() {
    let demo = Demo::start();
    let none = serde_json::json!({"name": "without rights", "scopes": ["fax:route"]});
    let created = demo.http.json(Method::POST, "/admin/api-keys", &demo.admin_key, none).await;
    let powerless = created.expect(200).json()["token"].as_str().unwrap().to_owned();
    for (path, item) in description()["paths"].as_object().unwrap() {
        let address = path
            .replace("{id}", "0190b3c0000070008000000000000000")
            .replace("{page}", "1.png")
            .replace("{number}", "1")
            .replace("{range}", "abroad")
            .replace("{prefix}", "1555")
            .replace("{name}", "none")
            .replace("{seq}", "1");
        let described: BTreeSet<String> =
            item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let answer =
                demo.http.json(method.parse().unwrap(), &address, &powerless, serde_json::json!({})).await;
            if !described.contains(method) {
                assert_eq!(answer.status, 405, "{method} {path} is served but not described");
                continue;
            }
            let operation = &item[method.to_lowercase()];
            match operation["security"][0]["api_key"][0].as_str() {
                Some(scope) => {
                    let body = answer.expect(403).json();
                    assert_eq!(
                        body["detail"],
                        format!("Insufficient scope: {scope} required"),
                        "{method} {path}"
                    );
                    let anonymous = demo.http.call(method.parse().unwrap(), &address, &[], "").await;
                    assert_eq!(anonymous.status, 401, "{method} {path}");
                }
                // A key never takes the place of a session.
                None if operation["security"][0].get("session").is_some() => {
                    assert_eq!(
                        answer.expect(401).json()["error"]["code"],
                        "session_required",
                        "{method} {path}"
                    );
                }
                // For people who are about to sign in, or on the appliance itself.
                None if method == "POST" => {
                    assert!(matches!(answer.status, 403 | 422), "{method} {path}: {}", answer.status);
                }
                None => {
                    assert_eq!(answer.status, 200, "{method} {path}");
                    let anonymous = demo.http.call(method.parse().unwrap(), &address, &[], "").await;
                    let needs_key = operation.get("security").is_some();
                    assert_eq!(anonymous.status, if needs_key { 401 } else { 200 }, "{method} {path}");
                }
            }
        }
    }
}
