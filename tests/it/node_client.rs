//! The Node client the appliance hands out, installed by npm, and the quick examples of both clients.

use std::path::Path;
use std::process::Command;

use hyper::Method;

use crate::support::{BOOTSTRAP, Demo, Serve, free_address, pdf, repository};

const PACKAGE: &str = "/sdk/faxbot-node.tgz";

/// As Faxbot's users know it; only the address differs from run to run.
const QUICK_NODE: &str = r#"
const FaxbotClient = require('faxbot');
const client = new FaxbotClient('http://localhost:8080', process.env.API_KEY);
(async () => {
  const job = await client.sendFax('+15551234567', './document.pdf');
  console.log('Queued:', job.id);
  const status = await client.getStatus(job.id);
  console.log('Status:', status.status);
})();
"#;

/// The same in Python; the original leaves out the first line.
const QUICK_PYTHON: &str = r"
import os
from faxbot import FaxbotClient
client = FaxbotClient('http://localhost:8080', api_key=os.getenv('API_KEY'))
job = client.send_fax('+15551234567', './document.pdf')
print('Queued', job['id'])
status = client.get_status(job['id'])
print('Status', status['status'])
";

const SCRIPT: &str = r#"
const assert = require('node:assert/strict');
const FaxbotClient = require('faxbot');
const { FaxbotError } = FaxbotClient;
assert.equal(FaxbotClient.FaxbotClient, FaxbotClient);
const [url, key] = process.argv.slice(1);
const client = new FaxbotClient(url + '/', key);

async function refused(promise, expected) {
  const error = await promise.then(() => assert.fail('not refused'), (error) => error);
  assert.ok(error instanceof FaxbotError, error.stack);
  for (const [name, value] of Object.entries(expected)) assert.equal(error[name], value, `${name} of ${error}`);
  assert.ok(error.message.includes(error.detail) && error.requestId, error.stack);
  assert.ok(!JSON.stringify(error).includes(key));
  return error;
}

(async () => {
  assert.equal(await client.checkHealth(), true);
  for (const path of ['./x.pdf', './x.txt', ['./x.pdf', './x.txt']]) {
    const job = await client.sendFax('+15551234567', path);
    assert.deepEqual([job.to, job.error, job.provider_sid], ['+15551234567', null, null]);
    const fax = await client.waitFor(job.id, { timeoutMs: 60_000 });
    assert.deepEqual([fax.id, fax.status, fax.confirmed_pages], [job.id, 'SUCCESS', fax.pages], fax.error);
    assert.equal((await client.getStatus(job.id)).status, 'SUCCESS');
    const pdf = await client.downloadPdf(job.id, './sent.pdf');
    assert.equal(pdf.subarray(0, 5).toString(), '%PDF-');
    assert.ok(pdf.equals(require('node:fs').readFileSync('./sent.pdf')));
  }
  const later = { scheduleAt: new Date(Date.now() + 3_600_000), tag: 'later', priority: 'bulk', resolution: 'standard' };
  const waiting = await client.sendFax('+15551234567', './x.txt', later);
  assert.deepEqual([waiting.state, waiting.tag, waiting.priority, waiting.resolution], ['scheduled', 'later', 'bulk', 'standard']);
  await assert.rejects(client.waitFor(waiting.id, { timeoutMs: 50 }), /has not ended/);
  await assert.rejects(client.waitFor(waiting.id, { signal: AbortSignal.timeout(50) }), { name: 'TimeoutError' });
  assert.equal((await client.cancel(waiting.id)).state, 'cancelled');
  assert.equal((await refused(client.cancel(waiting.id), { status: 409, code: 'wrong_state' })).retryAfter, null);
  const once = { idempotencyKey: 'k-1' };
  const [a, b] = [await client.sendFax('+15551234567', './x.txt', once), await client.sendFax('+15551234567', './x.txt', once)];
  assert.equal(a.id, b.id);
  await client.waitFor(a.id);
  assert.equal((await client.sendFax('+15551234567', './x.txt', { dryRun: true })).id, undefined);
  const inbox = await client.listInbound({ limit: 2 });
  assert.equal(inbox.length, 2);
  assert.notEqual((await client.listInbound({ limit: 1, offset: 1 }))[0].id, inbox[0].id);
  assert.equal((await client.downloadInboundPdf(inbox[0].id)).subarray(0, 5).toString(), '%PDF-');

  const stranger = new FaxbotClient(url, 'wrong');
  await refused(stranger.sendFax('+15551234567', './x.pdf'), { status: 401, code: 'invalid_api_key', detail: 'Invalid API key provided' });
  await refused(new FaxbotClient(url).getStatus('x'), { status: 401, code: 'missing_api_key' });
  await refused(client.getStatus('nosuchfax/../x'), { status: 404, code: 'fax_not_found' });
  await refused(client.sendFax('letters', './x.pdf'), { status: 400, detail: "'to' must be E.164 or digits only" });
  await refused(client.sendFax('+15551234567', './large.pdf'), { status: 413, code: 'payload_too_large' });
  await refused(client.sendFax('+15551234567', './program.pdf'), { status: 415, code: 'unsupported_media_type' });
  const field = await refused(client.sendFax('+15551234567', './x.pdf', { priority: 'urgent' }), { status: 422 });
  assert.equal(field.errors[0].field, 'priority');
  await assert.rejects(client.sendFax('+15551234567', './none.pdf'), { code: 'ENOENT' });
  await assert.rejects(client.sendFax('', './x.pdf'), TypeError);
  await assert.rejects(new FaxbotClient('http://127.0.0.1:9', key).checkHealth(), { name: 'FaxbotError', status: null });
  assert.ok(!require('node:util').inspect(client, { showHidden: true, depth: 9 }).includes(key));
  console.log('all promises kept');
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
"#;

/// Whether Node or npm is missing here; says so.
pub fn node_is_missing() -> bool {
    let missing =
        ["node", "npm"].into_iter().find(|name| Command::new(name).arg("--version").output().is_err());
    if let Some(name) = missing {
        println!("skipped: {name} is not installed");
    }
    missing.is_some()
}

/// Runs a command that must succeed; answers what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Has npm install the package from an appliance, as its documentation says.
fn install(folder: &Path, url: &str, authority: Option<&Path>) {
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", &format!("{url}{PACKAGE}")]).current_dir(folder);
    // No file of an earlier run, which an appliance may have served under this very address.
    npm.env("npm_config_cache", folder.join("cache"));
    // Nor settings of this machine, which may name its own certificate authorities.
    for settings in ["npm_config_globalconfig", "npm_config_userconfig"] {
        npm.env(settings, folder.join(settings));
    }
    if let Some(authority) = authority {
        npm.env("NODE_EXTRA_CA_CERTS", authority);
    }
    run(&mut npm);
}

fn write_documents(folder: &Path) {
    let files: [(&str, Vec<u8>); 4] = [
        ("x.pdf", pdf(2)),
        ("x.txt", b"A letter.\n".to_vec()),
        ("large.pdf", [b"%PDF-1.7\n".as_slice(), &vec![b' '; 11 << 20]].concat()),
        ("program.pdf", b"\x7fELF\x02\x01\x01\x00".to_vec()),
    ];
    for (name, content) in files {
        std::fs::write(folder.join(name), content).unwrap();
    }
}

#[tokio::test]
async fn is_installed_by_npm_and_keeps_its_promises() {
    if node_is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start();
    let url = format!("http://{}", demo.http.address);
    install(folder.path(), &url, None);
    write_documents(folder.path());
    let said = run(Command::new("node").args(["-e", SCRIPT, &url, &demo.api_key]).current_dir(folder.path()));
    assert_eq!(said, "all promises kept\n");
    let types = std::fs::read_to_string(folder.path().join("node_modules/faxbot/index.d.ts")).unwrap();
    let source = std::fs::read_to_string(repository("packaging/sdk/node/index.d.ts")).unwrap();
    assert_eq!(types, source);
    // As an ES module, too.
    std::fs::write(folder.path().join("x.mjs"), "import Default, { FaxbotClient, FaxbotError } from 'faxbot';\nconsole.log(Default === FaxbotClient, new FaxbotClient().baseUrl, FaxbotError.name);\n").unwrap();
    let said = run(Command::new("node").arg("x.mjs").current_dir(folder.path()));
    assert_eq!(said, "true http://localhost:8080 FaxbotError\n");
}

#[tokio::test]
async fn works_over_https_with_the_local_authority() {
    if node_is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let https = free_address().to_string();
    let serve =
        Serve::start_with_https(&folder.path().join("data"), &[("PAGEWIRE_HTTPS_LISTEN", &https)]).await;
    let authority = folder.path().join("ca.pem");
    let pem = serve.http.call(Method::GET, "/ca.pem", &[], "").await.expect(200);
    std::fs::write(&authority, &pem.body).unwrap();
    let url = format!("https://{https}");
    install(folder.path(), &url, Some(&authority));
    write_documents(folder.path());
    let new = serde_json::json!({"name": "Node", "scopes": ["fax:send", "fax:read", "fax:cancel", "inbound:list", "inbound:read"]});
    let key = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
    let said = run(Command::new("node")
        .args(["-e", SCRIPT, &url, key["token"].as_str().unwrap()])
        .current_dir(folder.path())
        .env("NODE_EXTRA_CA_CERTS", &authority));
    assert_eq!(said, "all promises kept\n");
}

#[tokio::test]
async fn the_quick_examples_run_as_they_are() {
    if node_is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start();
    let url = format!("http://{}", demo.http.address);
    std::fs::write(folder.path().join("document.pdf"), pdf(1)).unwrap();
    install(folder.path(), &url, None);
    let python = folder.path().join("python");
    run(Command::new("python3").args(["-m", "venv"]).arg(&python));
    let packages = ["install", "--quiet", "--disable-pip-version-check", "faxbot==1.1.0", "requests"];
    run(Command::new(python.join("bin/pip")).args(packages));
    let mut node = Command::new("node");
    node.args(["-e", &QUICK_NODE.replace("http://localhost:8080", &url)]);
    let mut python = Command::new(python.join("bin/python"));
    python.args(["-c", &QUICK_PYTHON.replace("http://localhost:8080", &url)]);
    for command in [&mut node, &mut python] {
        let said = run(command.current_dir(folder.path()).env("API_KEY", &demo.api_key));
        let words: Vec<&str> = said.split_whitespace().collect();
        let [queued, id, status, shown] = words[..] else { panic!("{said}") };
        assert_eq!((queued.trim_end_matches(':'), status.trim_end_matches(':')), ("Queued", "Status"));
        assert!(["queued", "in_progress", "SUCCESS"].contains(&shown), "{said}");
        assert_eq!(demo.http.finished(&demo.api_key, id).await["status"], "SUCCESS");
    }
}

#[tokio::test]
async fn the_package_is_served_with_an_etag() {
    let demo = Demo::start();
    let first = demo.http.call(Method::GET, PACKAGE, &[], "").await.expect(200);
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10);
    assert_eq!(first.header("content-type"), "application/gzip");
    assert_eq!(first.body[..2], [0x1f, 0x8b]);
    for known in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
        let same = demo.http.call(Method::GET, PACKAGE, &[("if-none-match", &known)], "").await.expect(304);
        assert_eq!((same.header("etag"), same.body.len()), (etag.as_str(), 0));
    }
    let other = demo.http.call(Method::GET, PACKAGE, &[("if-none-match", "\"other\"")], "").await.expect(200);
    assert_eq!(other.body, first.body);
    demo.http.call(Method::HEAD, PACKAGE, &[], "").await.expect(200);
    demo.http.call(Method::POST, PACKAGE, &[], "").await.expect(405);
    // Another process of the same build hands out the very same bytes.
    let again = Demo::start().http.call(Method::GET, PACKAGE, &[], "").await.expect(200);
    assert_eq!(again.body, first.body);
}
