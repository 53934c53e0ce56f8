//! The console: a built single-page application, embedded in the binary.
//!
//! Owns: the files of `web/dist` as `build.rs` left them for embedding, their caching and
//! encoding. Texts are embedded compressed only; a client that takes no compression gets them
//! unpacked. Refuses: nothing; what is no file is a page of the application, which knows its own
//! addresses.

use std::borrow::Cow;
use std::io::Read;
#[cfg(debug_assertions)]
use std::sync::LazyLock;

use include_dir::{Dir, include_dir};
use warp::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, VARY};
use warp::http::{HeaderMap, HeaderValue};
use warp::reply::Response;

use super::error::{ApiError, NOT_FOUND};
use super::pages::with_headers;

static FILES: Dir<'_> = include_dir!("$OUT_DIR/console");

/// Names of files below this folder hold a hash of their content.
const HASHED: &str = "assets/";
/// One year, the longest that browsers honour.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Names a folder to read instead, in debug builds: who works on the console need not link anew.
#[cfg(debug_assertions)]
static ON_DISK: LazyLock<Option<std::path::PathBuf>> =
    LazyLock::new(|| std::env::var_os("PAGEWIRE_CONSOLE_DIST").map(Into::into));

/// Whether this binary was built with the console.
pub(super) fn is_built() -> bool {
    stored("index.html").is_some()
}

/// What was made for embedding under this name.
fn stored(path: &str) -> Option<Cow<'static, [u8]>> {
    #[cfg(debug_assertions)]
    if let Some(folder) = &*ON_DISK {
        // Compressed copies are there beside their originals; of those, only the copies are embedded.
        let is_plain_path = !path.split('/').any(|part| part.starts_with('.'));
        let is_copied = folder.join(format!("{path}.gz")).exists();
        let file = (is_plain_path && !is_copied).then(|| std::fs::read(folder.join(path)).ok());
        return file.flatten().map(Cow::Owned);
    }
    FILES.get_file(path).map(|file| Cow::Borrowed(file.contents()))
}

/// What the page is told of the session, so that it need not ask before it shows anything.
pub(super) enum Session {
    /// There is none.
    None,
    /// The browser did not say; the page has to ask.
    Perhaps,
    /// The body of `GET /auth/session`.
    Told(String),
}

/// What stands at `/console/{path}` for a browser that asks with these headers; `prefix` is what
/// a proxy puts before our addresses. The page itself is told of the `session`.
pub(super) fn answer(
    path: &str,
    prefix: &str,
    headers: &HeaderMap,
    session: impl FnOnce() -> Session,
) -> Response {
    if let Some(file) = file(path, headers) {
        return file;
    }
    let index = stored("index.html").and_then(|text| String::from_utf8(text.into_owned()).ok());
    match index {
        Some(index) if !path.starts_with(HASHED) => {
            let page = filled(&index, prefix, &session());
            let mut page = with_headers(page.into_bytes(), "text/html; charset=utf-8");
            page.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            page
        }
        // A page of an older version asks for a file that is gone: not a page in its place.
        _ => ApiError::new(&NOT_FOUND, "There is no such page.").into_response(),
    }
}

/// The page with whole addresses: it is shown at many depths, so none may be relative.
fn filled(index: &str, prefix: &str, session: &Session) -> String {
    let session = match session {
        Session::None => "none".into(),
        Session::Perhaps => "perhaps".into(),
        Session::Told(told) => in_attribute(told),
    };
    index
        .replace("=\"/console/", &format!("=\"{prefix}/console/"))
        .replace("\"pagewire-prefix\" content=\"\"", &format!("\"pagewire-prefix\" content=\"{prefix}\""))
        .replace(
            "\"pagewire-session\" content=\"perhaps\"",
            &format!("\"pagewire-session\" content=\"{session}\""),
        )
}

/// A text between quotation marks of HTML.
fn in_attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

fn file(path: &str, headers: &HeaderMap) -> Option<Response> {
    let media_type = match path.rsplit_once('.')?.1 {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        "woff2" => "font/woff2",
        _ => return None,
    };
    let copy = |ending: &str| stored(&format!("{path}.{ending}")).map(Cow::into_owned);
    let (body, encoding) = match stored(path) {
        Some(file) => (file.into_owned(), None),
        None if accepts(headers, "br") => (copy("br")?, Some("br")),
        None if accepts(headers, "gzip") => (copy("gz")?, Some("gzip")),
        None => (unpacked(&copy("gz")?)?, None),
    };
    let mut response = with_headers(body, media_type);
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if path.starts_with(HASHED) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
    }
    Some(response)
}

fn unpacked(gz: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(gz).read_to_end(&mut text).ok()?;
    Some(text)
}

/// Whether the client takes this encoding (RFC 9110 section 12.5.3).
fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok());
        name.trim().eq_ignore_ascii_case(encoding) && weight.is_some_and(|weight: f32| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(encoding: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_str(encoding).unwrap())])
    }

    #[test]
    fn a_client_gets_an_encoding_it_takes() {
        for (line, br, gzip) in [
            ("gzip, deflate, br", true, true),
            ("gzip;q=0.5, br;q=0", false, true),
            ("identity", false, false),
            ("", false, false),
            ("GZIP ; q=1", false, true),
        ] {
            assert_eq!(accepts(&asking(line), "br"), br, "{line}");
            assert_eq!(accepts(&asking(line), "gzip"), gzip, "{line}");
        }
    }

    #[test]
    fn the_page_names_whole_addresses_below_the_prefix() {
        let index = "<meta name=\"pagewire-prefix\" content=\"\"><script src=\"/console/assets/a.js\">";
        let expected =
            "<meta name=\"pagewire-prefix\" content=\"/fax\"><script src=\"/fax/console/assets/a.js\">";
        assert_eq!(filled(index, "/fax", &Session::Perhaps), expected);
        assert_eq!(filled(index, "", &Session::Perhaps), index);
    }

    #[test]
    fn the_page_is_told_of_the_session_whatever_its_name() {
        let index = "<meta name=\"pagewire-session\" content=\"perhaps\">";
        let told = Session::Told(r#"{"name":"O\"<&"}"#.to_owned());
        let expected =
            "<meta name=\"pagewire-session\" content=\"{&quot;name&quot;:&quot;O\\&quot;&lt;&amp;&quot;}\">";
        assert_eq!(filled(index, "", &told), expected);
        assert!(filled(index, "", &Session::None).contains("content=\"none\""));
    }

    #[test]
    fn every_script_comes_packed_and_unpacked_alike() {
        let scripts = FILES.get_dir("assets").into_iter().flat_map(Dir::files);
        let names = scripts.filter_map(|file| file.path().to_str()?.strip_suffix(".gz"));
        for name in names {
            let plain = file(name, &HeaderMap::new()).unwrap();
            assert!(!plain.headers().contains_key(CONTENT_ENCODING));
            for encoding in ["br", "gzip"] {
                let packed = file(name, &asking(encoding)).unwrap();
                assert_eq!(packed.headers()[CONTENT_ENCODING], encoding, "{name}");
                assert_eq!(packed.headers()[CACHE_CONTROL], FOR_EVER);
            }
        }
        assert!(file("assets/none.js", &HeaderMap::new()).is_none());
    }

    #[test]
    fn what_is_no_file_is_a_page_but_never_in_place_of_a_script() {
        let answer = |path| answer(path, "", &HeaderMap::new(), || Session::None);
        assert_eq!(answer("assets/gone.js").status(), 404);
        let expected = if is_built() { 200 } else { 404 };
        assert_eq!(answer("jobs/0198").status(), expected);
    }
}
