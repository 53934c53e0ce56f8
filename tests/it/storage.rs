//! How full the disk is, and what is deleted, as an administrator sees it.

use std::io::Write;
use std::path::Path;

use hyper::Method;
use serde_json::json;

use crate::faults::Mounted;
use crate::support::{BOOTSTRAP, Serve};

/// Fills the disk, whose size is in MB, up to this percentage.
fn fill(ballast: &Path, size_mb: usize, percent: usize) {
    let mut file = std::fs::File::create(ballast).unwrap();
    file.write_all(&vec![0; size_mb * (1 << 20) * percent / 100]).unwrap();
    file.sync_all().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_are_refused_before_receives_are() {
    const SIZE_MB: u32 = 64;
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let Some(_disk) = Mounted::disk(&data_dir, SIZE_MB) else { return };
    let env = [("PAGEWIRE_STOP_SENDS_PERCENT", "95")];
    let serve = Serve::start(&data_dir, "loopback", &env).await;
    let post = async || serve.http.send_fax(BOOTSTRAP, "+15550000001", b"a line").await;
    let level = async || {
        let storage = serve.http.get("/admin/storage", BOOTSTRAP).await.expect(200).json();
        let ready = serve.http.get("/health/ready", "").await.expect(200).json();
        assert_eq!(ready["storage"], storage["level"]);
        storage["level"].as_str().unwrap().to_owned()
    };
    serve.http.json(Method::POST, "/admin/pause", BOOTSTRAP, json!({})).await.expect(200);
    let accepted = post().await.expect(202).json();
    assert_eq!(level().await, "ample");
    let ballast = data_dir.join("ballast");
    fill(&ballast, SIZE_MB as usize, 81);
    assert_eq!(level().await, "low");
    post().await.expect(202);
    fill(&ballast, SIZE_MB as usize, 95);
    assert_eq!(level().await, "full");
    let refused = post().await.expect(503);
    assert_eq!(refused.json()["error"]["code"], "storage_full");
    assert!(refused.json()["detail"].as_str().unwrap().starts_with("The appliance is almost full"));
    assert_eq!(refused.header("retry-after"), "60");

    serve.http.json(Method::POST, "/admin/resume", BOOTSTRAP, json!({})).await.expect(200);
    let ended = serve.http.finished(BOOTSTRAP, accepted["id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "SUCCESS", "what was accepted is sent, and received: {ended}");
    assert_ne!(serve.http.get("/inbound", BOOTSTRAP).await.expect(200).json(), json!([]));
    std::fs::remove_file(&ballast).unwrap();
    post().await.expect(202);
    assert_eq!(serve.terminate(), Some(0));
}
