//! `/sdk/faxbot-node.tgz`: the Node client, as npm installs it.
//!
//! Owns: the package, made once from the embedded files. Its bytes are the same in every process of
//! one build, so that a lock file that holds their hash keeps fitting.

use std::io;
use std::sync::LazyLock;

use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;

use super::{answer, get};
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::request::Request;

macro_rules! embedded {
    ($($name:literal),+) => { &[$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/sdk/node/", $name)))),+] };
}

static FILES: &[(&str, &[u8])] = embedded!("package.json", "index.js", "index.d.ts", "README.md", "LICENSE");

/// When npm says that the files of its packages were made: the dawn of tar, as far as it is concerned.
const MADE_AT_S: u64 = 499_162_500;
/// "Unknown", in the gzip header (RFC 1952).
const NO_SYSTEM: u8 = 255;

struct Package {
    bytes: Vec<u8>,
    etag: String,
}

static NODE: LazyLock<io::Result<Package>> = LazyLock::new(|| package(FILES));

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    warp::path!("sdk" / "faxbot-node.tgz").and(get(app)).then(|request| answer(node(request))).boxed()
}

/// The Node client, for `npm install`
#[utoipa::path(get, path = "/sdk/faxbot-node.tgz", tag = "sdk",
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of the package one has")),
    responses((status = 200, description = "A package npm installs", content_type = "application/gzip", body = Vec<u8>),
        (status = 304, description = "It is the one you have")))]
pub(in crate::http) async fn node(request: Request) -> Result<Response, ApiError> {
    let package = NODE.as_ref().map_err(|error| ApiError::internal(error))?;
    let known = request.headers().get(IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let is_known = known.is_some_and(|known| {
        known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == package.etag || tag.trim() == "*")
    });
    let mut response = Response::new(if is_known { Vec::new() } else { package.bytes.clone() }.into());
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&package.etag) {
        headers.insert(ETAG, etag);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
        let attachment = HeaderValue::from_static("attachment; filename=\"faxbot-node.tgz\"");
        headers.insert(CONTENT_DISPOSITION, attachment);
    }
    Ok(response)
}

/// The files as npm packs them: below `package/`, with nothing in it that differs from run to run.
fn package(files: &[(&str, &[u8])]) -> io::Result<Package> {
    let gzip = GzBuilder::new().mtime(0).operating_system(NO_SYSTEM).write(Vec::new(), Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(MADE_AT_S);
        tar.append_data(&mut header, format!("package/{name}"), *content)?;
    }
    let bytes = tar.into_inner()?.finish()?;
    let digest: String = Sha256::digest(&bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok(Package { bytes, etag: format!("\"{digest}\"") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_the_same_every_time_and_holds_what_it_lists() {
        let made = package(FILES).unwrap();
        assert_eq!(made.bytes, package(FILES).unwrap().bytes);
        let listed: serde_json::Value = serde_json::from_slice(FILES[0].1).unwrap();
        assert_eq!(listed["version"], env!("CARGO_PKG_VERSION"), "client and appliance share their version");
        let mut expected: Vec<&str> =
            listed["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
        expected.insert(0, "package.json");
        let names: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, expected);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(made.bytes.as_slice()));
        let packed: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|file| file.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(packed, names.iter().map(|name| format!("package/{name}")).collect::<Vec<_>>());
    }
}
