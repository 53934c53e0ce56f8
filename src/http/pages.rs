//! Pages for people: the console's address, the documentation, the explanation of each problem.
//!
//! Owns: the files of `web/plain`, embedded in the binary, and the headers that keep a page to
//! itself. Refuses: anything from another host, inline script and inline style.

use std::sync::LazyLock;

use include_dir::{Dir, include_dir};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;

use super::error::{ApiError, CATALOGUE, NOT_FOUND};
use super::request::{Request, request};
use crate::app::App;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/web/plain");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The documentation with every problem in it, so that no error can go unexplained.
static DOCS: LazyLock<String> = LazyLock::new(|| {
    let problems: String = CATALOGUE
        .iter()
        .map(|problem| {
            format!(
                "<h3 id=\"{}\">{} {}</h3>\n<p class=\"faint\"><code>{}</code></p>\n<p>{}</p>\n",
                problem.slug, problem.status, problem.title, problem.code, problem.remedy
            )
        })
        .collect();
    text("docs.html").replace("<!-- problems -->", &problems)
});

/// `/`, `/favicon.ico`, `/console…`, `/docs`, `/problems/…`.
pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let home = warp::path::end()
        .and(request(app))
        .map(|request: Request| under_our_name(&request, || redirect("/console/")));
    // Browsers ask for it at answers that name no icon, such as /openapi.json.
    let icon = warp::path!("favicon.ico").map(|| embedded("icon.svg"));
    let console =
        warp::path("console").and(warp::path::full()).and(warp::path::tail()).and(request(app)).map(
            |full: warp::path::FullPath, tail: warp::path::Tail, request: Request| {
                under_our_name(&request, || match tail.as_str() {
                    // Without the slash the page's own links would point elsewhere.
                    "" if !full.as_str().ends_with('/') => redirect("/console/"),
                    "" => page(text("console.html")),
                    file => embedded(file),
                })
            },
        );
    let docs = warp::path!("docs").map(|| page(&DOCS));
    let problem = warp::path!("problems" / String).map(|slug: String| {
        match CATALOGUE.iter().find(|problem| problem.slug == slug) {
            Some(problem) => redirect(&format!("/docs#{}", problem.slug)),
            None => ApiError::new(&NOT_FOUND, "There is no such problem.").into_response(),
        }
    });
    let pages = home.or(icon).unify().or(console).unify().or(docs).unify().or(problem).unify();
    warp::get().and(pages).boxed()
}

/// The page a one-time link leads to.
pub(super) fn setup() -> Response {
    page(text("setup.html"))
}

/// Shows the console under our own names only, so that no other site's page can stand in for it.
fn under_our_name(request: &Request, show: impl FnOnce() -> Response) -> Response {
    match request.check_host() {
        Ok(()) => show(),
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
    page(&html)
}

fn page(html: &str) -> Response {
    with_headers(html.to_owned().into(), "text/html; charset=utf-8")
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

fn redirect(to: &str) -> Response {
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
