//! The Python client from the public index, unchanged, against a demo.

use std::process::Command;

use crate::support::{BOOTSTRAP, Demo, Serve, free_address, pdf};

const SCRIPT: &str = r#"
import sys, time
from faxbot import FaxbotClient

url, key, folder = sys.argv[1:4]
client = FaxbotClient(url, key)
assert client.check_health() is True
for name in ("x.pdf", "x.txt"):
    job = client.send_fax("+15551234567", f"{folder}/{name}")
    assert job["to"] == "+15551234567" and job["status"] in ("queued", "in_progress", "SUCCESS"), job
    deadline = time.monotonic() + 60
    while client.get_status(job["id"])["status"] != "SUCCESS":
        assert time.monotonic() < deadline, client.get_status(job["id"])
        time.sleep(0.05)

def refused(call, *words):
    try:
        call()
    except Exception as error:
        assert all(word in str(error) for word in words), f"{error} lacks {words}"
        return
    raise AssertionError(f"not refused: {words}")

refused(lambda: FaxbotClient(url, "wrong").send_fax("+15551234567", f"{folder}/x.pdf"), "401")
refused(lambda: FaxbotClient(url, "wrong").get_status(job["id"]), "401")
refused(lambda: client.get_status("nosuchfax"), "404")
refused(lambda: client.send_fax("letters", f"{folder}/x.pdf"), "400", "'to' must be E.164 or digits only")
refused(lambda: client.send_fax("+15551234567", f"{folder}/large.pdf"), "413", "10 MB", "MAX_FILE_SIZE_MB")
refused(lambda: client.send_fax("+15551234567", f"{folder}/program.pdf"), "415", "program", "PDF, plain text, TIFF, PNG")
refused(lambda: client.send_fax("+15551234567", f"{folder}/broken.pdf"), "422", "damaged")
assert FaxbotClient(url, key).plugins.list_plugins() == []
print("all promises kept")
"#;

/// Runs a command that must succeed; answers what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn works_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let python = folder.path().join("python");
    run(Command::new("python3").args(["-m", "venv"]).arg(&python));
    let install = ["install", "--quiet", "--disable-pip-version-check", "faxbot==1.1.0", "requests"];
    run(Command::new(python.join("bin/pip")).args(install));
    let demo = Demo::start();
    let files: [(&str, Vec<u8>); 5] = [
        ("x.pdf", pdf(2)),
        ("x.txt", b"A letter.\n".to_vec()),
        ("large.pdf", [b"%PDF-1.7\n".as_slice(), &vec![b' '; 11 << 20]].concat()),
        ("program.pdf", b"\x7fELF\x02\x01\x01\x00".to_vec()),
        ("broken.pdf", b"%PDF-1.7\nnothing here\n%%EOF\n".to_vec()),
    ];
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let said = run(Command::new(python.join("bin/python"))
        .args(["-c", SCRIPT, &format!("http://{}", demo.http.address), &demo.api_key])
        .arg(folder.path()));
    assert_eq!(said, "all promises kept\n");

    // Over HTTPS too, told of the local authority as every program that uses requests is.
    let https = free_address();
    let listen = https.to_string();
    let serve =
        Serve::start_with_https(&folder.path().join("data"), &[("PAGEWIRE_HTTPS_LISTEN", &listen)]).await;
    let key = serde_json::json!({"name": "Python", "scopes": ["fax:send", "fax:read"]});
    let key =
        serve.http.json(hyper::Method::POST, "/admin/api-keys", BOOTSTRAP, key).await.expect(200).json();
    let authority = folder.path().join("ca.pem");
    let pem = serve.http.call(hyper::Method::GET, "/ca.pem", &[], "").await.expect(200);
    std::fs::write(&authority, &pem.body).unwrap();
    let said = run(Command::new(python.join("bin/python"))
        .args(["-c", SCRIPT, &format!("https://{https}"), key["token"].as_str().unwrap()])
        .arg(folder.path())
        .env("REQUESTS_CA_BUNDLE", &authority));
    assert_eq!(said, "all promises kept\n");
}
