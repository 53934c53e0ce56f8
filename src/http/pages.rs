//! Pages for people: the console's address, and what leads to it.
//!
//! Owns: the files of `web/plain`, embedded in the binary, and the headers that keep a page to
//! itself. Refuses: anything from another host, inline script and inline style.

use include_dir::{Dir, include_dir};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;

use super::api::auth;
use super::console;
use super::error::{ApiError, NOT_FOUND};
use super::request::{Request, request};
use crate::app::App;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/web/plain");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// `/`, `/favicon.ico`, `/console…`.
pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let home = warp::path::end()
        .and(request(app))
        .map(|request: Request| under_our_name(&request, |prefix| redirect(&format!("{prefix}/console/"))));
    // Browsers ask for it at answers that name no icon, such as /openapi.json.
    let icon = warp::path!("favicon.ico").map(|| embedded("icon.svg"));
    let console =
        warp::path("console").and(warp::path::full()).and(warp::path::tail()).and(request(app)).map(
            |full: warp::path::FullPath, tail: warp::path::Tail, request: Request| {
                under_our_name(&request, |prefix| match tail.as_str() {
                    // One address for one page.
                    "" if !full.as_str().ends_with('/') => redirect(&format!("{prefix}/console/")),
                    "" if !console::is_built() => page(text("console.html"), prefix),
                    file if FILES.contains(file) || !console::is_built() => embedded(file),
                    path => console::answer(path, prefix, request.headers(), || session_of(&request)),
                })
            },
        );
    let pages = home.or(icon).unify().or(console).unify();
    warp::get().and(pages).boxed()
}

/// Where a one-time link leads: on to the console's wizard, which browsers follow with what stands behind the
/// `#`; a page of its own where there is no console.
pub(super) fn setup(prefix: &str) -> Response {
    if console::is_built() {
        return redirect(&format!("{prefix}/console/setup"));
    }
    page(text("setup.html"), prefix)
}

/// Who is signed in, as `GET /auth/session` tells it.
fn session_of(request: &Request) -> console::Session {
    let told = request.signed_in().and_then(|(app, caller)| auth::told(app, &caller).ok());
    match told {
        Some(told) => console::Session::Told(told),
        None if request.hides_cookie() => console::Session::Perhaps,
        None => console::Session::None,
    }
}

/// Shows the console under our own names only, so that no other site's page can stand in for it.
fn under_our_name(request: &Request, show: impl FnOnce(&str) -> Response) -> Response {
    match request.check_host() {
        Ok(()) => show(request.path_prefix()),
        Err(error) => error.into_response(),
    }
}

fn text(file: &str) -> &'static str {
    FILES.get_file(file).and_then(|file| file.contents_utf8()).unwrap_or_default()
}

/// The page for who opened the console over plain HTTP: `address` is the console's over HTTPS.
pub(super) fn way_to_https(status: StatusCode, address: &str) -> Response {
    let mut response = filled("https.html", &[("address", address)]);
    *response.status_mut() = status;
    response
}

/// An embedded page with its `<!-- name -->` marks filled; the values must be free of markup.
pub(super) fn filled(file: &str, values: &[(&str, &str)]) -> Response {
    let mut html = text(file).to_owned();
    for (name, value) in values {
        html = html.replace(&format!("<!-- {name} -->"), value);
    }
    page(&html, "")
}

/// A page whose links to us begin with what a proxy puts before our addresses.
pub(super) fn page(html: &str, prefix: &str) -> Response {
    let html = html
        .replace("href=\"/", &format!("href=\"{prefix}/"))
        .replace("src=\"/", &format!("src=\"{prefix}/"));
    with_headers(html.into(), "text/html; charset=utf-8")
}

fn embedded(name: &str) -> Response {
    let media_type = match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        _ => return ApiError::new(&NOT_FOUND, "There is no such page.").into_response(),
    };
    match FILES.get_file(name) {
        Some(file) => with_headers(file.contents().into(), media_type),
        None => ApiError::new(&NOT_FOUND, "There is no such page.").into_response(),
    }
}

/// Leads on to another address.
pub(super) fn redirect(to: &str) -> Response {
    let mut response = Response::new("".into());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// An answer that no other page may frame or misread.
pub(super) fn with_headers(body: Vec<u8>, media_type: &'static str) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
