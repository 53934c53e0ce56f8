//! `/docs`: the documentation, each page at an address of its own.
//!
//! Owns: which pages there are, in which order, and the frame around each; the texts are the files of
//! `web/docs`, embedded in the binary. Keeps: every problem of the catalogue is explained on one of
//! them ([`problems`]), and `/problems/…` leads there. Refuses: links that begin at the root, because
//! the appliance may stand behind a proxy below a path; `~/` in a source becomes the way up.

mod problems;

use std::sync::LazyLock;

use include_dir::{Dir, include_dir};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::error::{ApiError, CATALOGUE, NOT_FOUND};
use super::pages;
use super::request::{Request, request};
use crate::app::App;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/web/docs");

/// One page: the last part of its address, which is also the name of its file.
struct Page {
    slug: &'static str,
    title: &'static str,
}

/// The page at `/docs` itself.
const FIRST: &str = "first-fax";

/// All pages by what they are about, in the order in which they lead on to each other.
static GROUPS: &[(&str, &[Page])] = &[
    (
        "Sending",
        &[
            Page { slug: FIRST, title: "Your first fax" },
            Page { slug: "sending", title: "Sending and following" },
            Page { slug: "images-and-pdfs", title: "Images & PDFs" },
            Page { slug: "simulator", title: "Try without a line" },
        ],
    ),
    (
        "Keys",
        &[
            Page { slug: "api-keys", title: "API Keys" },
            Page { slug: "rotating-keys", title: "Rotating keys" },
            Page { slug: "secret-managers", title: "Secret managers" },
            Page { slug: "limits", title: "Limits" },
        ],
    ),
    (
        "Programs",
        &[
            Page { slug: "node", title: "Node SDK" },
            Page { slug: "python", title: "Python SDK" },
            Page { slug: "webhooks", title: "Webhooks" },
            Page { slug: "events", title: "Events" },
            Page { slug: "errors", title: "Errors" },
        ],
    ),
    (
        "The appliance",
        &[
            Page { slug: "appliance", title: "Running the appliance" },
            Page { slug: "audit", title: "Audit log" },
            Page { slug: "help", title: "Need help?" },
        ],
    ),
];

/// All pages in their frames, but for what differs from request to request.
static RENDERED: LazyLock<Vec<(&'static str, String)>> = LazyLock::new(|| {
    let all: Vec<&Page> = GROUPS.iter().flat_map(|(_, pages)| pages.iter()).collect();
    (0..all.len()).map(|at| (all[at].slug, render(&all, at))).collect()
});

/// `/docs…` and `/problems/…`.
pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let docs = warp::path("docs").and(warp::path::full()).and(warp::path::tail()).and(request(app)).map(
        |full: warp::path::FullPath, tail: warp::path::Tail, request: Request| match tail.as_str() {
            // With the slash the page's own links would point elsewhere.
            "" if full.as_str().ends_with('/') => pages::redirect("../docs"),
            "" => shown(FIRST, request),
            FIRST => pages::redirect("../docs"),
            "docs.css" => pages::with_headers(text("docs.css").into(), "text/css; charset=utf-8"),
            slug => shown(slug, request),
        },
    );
    let problem = warp::path!("problems" / String).map(|slug: String| {
        match CATALOGUE.iter().find(|problem| problem.slug == slug) {
            Some(problem) => pages::redirect(&format!("../docs/errors#{}", problem.slug)),
            None => ApiError::new(&NOT_FOUND, "There is no such problem.").into_response(),
        }
    });
    warp::get().and(docs.or(problem).unify()).boxed()
}

fn shown(slug: &str, request: Request) -> Response {
    let Some((_, html)) = RENDERED.iter().find(|(name, _)| *name == slug) else {
        return ApiError::new(&NOT_FOUND, "There is no such page.").into_response();
    };
    let base = format!("{}{}", base_url(request.origin()), request.path_prefix());
    let contact = contact(request.unchecked().config().support_contact.as_deref());
    pages::page(&html.replace("<!-- base -->", &base).replace("<!-- contact -->", &contact), "")
}

/// Where the reader's own lines lead: to the name they found this page under.
fn base_url(origin: Option<String>) -> String {
    // It goes into a page: nothing but what names and addresses are made of.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:/[]".contains(&byte);
    origin.filter(|origin| origin.bytes().all(is_plain)).unwrap_or_else(|| "http://127.0.0.1:8080".to_owned())
}

/// Whom to ask, as the administrator wrote it; a link where it can be one.
fn contact(setting: Option<&str>) -> String {
    let Some(written) = setting else {
        return "<p>Nobody is named here yet. An administrator sets <code>support.contact</code>, and this page \
                shows it.</p>"
            .to_owned();
    };
    let shown = escaped(written);
    let is_one_word = !written.contains(char::is_whitespace);
    let link = if is_one_word && (written.starts_with("https://") || written.starts_with("http://")) {
        Some(shown.clone())
    } else {
        (is_one_word && written.contains('@')).then(|| format!("mailto:{shown}"))
    };
    match link {
        Some(link) => format!("<p class=\"says\"><a href=\"{link}\">{shown}</a></p>"),
        None => format!("<p class=\"says\">{shown}</p>"),
    }
}

fn render(all: &[&Page], at: usize) -> String {
    let page = all[at];
    let content = text(&format!("{}.html", page.slug)).replace("<!-- problems -->", &problems::explained());
    let html = text("frame.html")
        .replace("<!-- title -->", &escaped(page.title))
        .replace("<!-- pages -->", &list(page.slug))
        .replace("<!-- content -->", &content)
        .replace("<!-- turn -->", &turn(at.checked_sub(1).map(|at| all[at]), all.get(at + 1).copied()));
    // The page at /docs stands one folder higher than the others.
    html.replace("\"~/", if page.slug == FIRST { "\"./" } else { "\"../" })
}

fn address(page: &Page) -> String {
    if page.slug == FIRST { "~/docs".to_owned() } else { format!("~/docs/{}", page.slug) }
}

/// The list of all pages beside the text.
fn list(current: &str) -> String {
    let entry = |page: &Page| {
        let mark = if page.slug == current { " aria-current=\"page\"" } else { "" };
        format!("<li><a href=\"{}\"{mark}>{}</a></li>\n", address(page), escaped(page.title))
    };
    let group = |(name, pages): &(&str, &[Page])| {
        let entries: String = pages.iter().map(entry).collect();
        format!("<h2>{name}</h2>\n<ul>\n{entries}</ul>\n")
    };
    GROUPS.iter().map(group).collect()
}

/// Links to the page before and the page after.
fn turn(before: Option<&Page>, after: Option<&Page>) -> String {
    let link = |page: Option<&Page>, class: &str, word: &str| {
        page.map(|page| {
            let (address, title) = (address(page), escaped(page.title));
            format!("<a class=\"{class}\" href=\"{address}\"><span>{word}</span>{title}</a>\n")
        })
    };
    [link(before, "before", "Before"), link(after, "after", "Next")].into_iter().flatten().collect()
}

fn text(file: &str) -> &'static str {
    FILES.get_file(file).and_then(|file| file.contents_utf8()).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_its_text_and_every_text_its_page() {
        let mut listed: Vec<String> = RENDERED.iter().map(|(slug, _)| format!("{slug}.html")).collect();
        listed.extend(["frame.html", "docs.css"].map(ToOwned::to_owned));
        listed.sort();
        let mut present: Vec<String> = FILES.files().map(|file| file.path().display().to_string()).collect();
        present.sort();
        assert_eq!(listed, present);
        for (slug, html) in RENDERED.iter() {
            assert!(!text(&format!("{slug}.html")).trim().is_empty(), "{slug}");
            assert_eq!(html.matches("<h1").count(), 1, "{slug}");
            assert!(!html.contains("~/"), "{slug} has a link that was not resolved");
        }
    }

    #[test]
    fn a_name_that_could_be_markup_is_not_repeated() {
        assert_eq!(base_url(Some("https://fax.local:8443".into())), "https://fax.local:8443");
        assert_eq!(base_url(Some("https://[fd00::2]:8443".into())), "https://[fd00::2]:8443");
        for bad in
            [None, Some("http://<b>".to_owned()), Some("http://a'b".into()), Some("http://$(x)".into())]
        {
            assert_eq!(base_url(bad), "http://127.0.0.1:8080");
        }
    }

    #[test]
    fn the_contact_is_a_link_where_it_can_be_one() {
        assert!(contact(None).contains("support.contact"));
        assert!(contact(Some("help@example.org")).contains("<a href=\"mailto:help@example.org\">"));
        assert!(
            contact(Some("https://help.example.org/?a=1&b=2"))
                .contains("href=\"https://help.example.org/?a=1&amp;b=2\"")
        );
        assert_eq!(contact(Some("<b> at \"5\"")), "<p class=\"says\">&lt;b&gt; at &quot;5&quot;</p>");
        assert!(!contact(Some("javascript:alert(1)")).contains("href"));
    }
}
