//! `/ca`: how a device comes to trust this appliance.
//!
//! Owns: the page with instructions and the local authority's certificate in two forms. All of it
//! is public, over plain HTTP too: what protects against a swapped certificate is the fingerprint,
//! which people compare with the appliance's own log.

use std::sync::Arc;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::error::{ApiError, NOT_FOUND};
use super::pages;
use crate::app::App;
use crate::net::authority::Authority;

/// The type that phones and browsers offer to install.
const MEDIA_TYPE: &str = "application/x-x509-ca-cert";

/// `/ca`, `/ca.pem`, `/ca.crt`.
pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let (for_page, for_pem, for_der) = (app.clone(), app.clone(), app.clone());
    let page = warp::path!("ca").map(move || page(&for_page));
    let pem = warp::path!("ca.pem").map(move || file(&for_pem, |authority| authority.pem().into()));
    let der = warp::path!("ca.crt").map(move || file(&for_der, |authority| authority.der().into()));
    warp::get().and(page.or(pem).unify().or(der).unify()).boxed()
}

fn page(app: &App) -> Response {
    let Some(certificates) = app.certificates() else {
        return ApiError::new(&NOT_FOUND, "HTTPS is switched off on this appliance.").into_response();
    };
    let fingerprint = certificates.fingerprint();
    match certificates.authority() {
        Some(_) => pages::filled("ca.html", &[("fingerprint", &fingerprint)]),
        None => pages::filled("own-certificate.html", &[("fingerprint", &fingerprint)]),
    }
}

fn file(app: &App, content: impl Fn(&Authority) -> Vec<u8>) -> Response {
    let authority: Option<Arc<Authority>> = app.certificates().and_then(|used| used.authority());
    match authority {
        Some(authority) => pages::with_headers(content(&authority), MEDIA_TYPE),
        None => ApiError::new(&NOT_FOUND, "This appliance has no certificate authority of its own.")
            .into_response(),
    }
}
