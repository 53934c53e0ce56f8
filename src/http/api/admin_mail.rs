//! `/admin/mail/test`: one message to the mail server, right now, and what it said.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, json, post};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::fax::notify::Address;
use crate::http::error::{ApiError, CONFLICT, ProblemBody};
use crate::http::request::Request;
use crate::mail::MailError;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    warp::path!("admin" / "mail" / "test").and(post(app)).then(|request| answer(test(request))).boxed()
}

/// Whom to send a test to.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct TestMail {
    /// One address; the first of `mail.to` when it is not given
    to: Option<String>,
}

/// What came of it.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TestedMail {
    /// Whether the server took it.
    sent: bool,
    /// Whom it went to.
    to: Option<String>,
    /// What the server said when it took it, with its own number for it, as most do.
    answer: Option<String>,
    /// Why it was not taken.
    error: Option<String>,
}

/// Send a test message, and tell what the mail server said
///
/// Takes up to a minute where a server is slow. Nothing is tried again.
#[utoipa::path(post, path = "/admin/mail/test", tag = "admin", security(("api_key" = ["settings:write"])),
    request_body = Option<TestMail>,
    responses((status = 200, description = "It was tried; `sent` tells what came of it", body = TestedMail),
        (status = 409, description = "No mail server is set up", body = ProblemBody),
        (status = 422, description = "The address cannot be used, or there is none", body = ProblemBody)))]
pub(in crate::http) async fn test(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsWrite).await?;
    let asked: TestMail = request.body()?.json().await?;
    let to = asked.to.map(|text| text.trim().parse::<Address>()).transpose();
    let to = to.map_err(|error| ApiError::field("to", "invalid", format!("'to' {error}.")))?;
    let tested = match request.app.post().test(to).await {
        Ok((to, answer)) => {
            TestedMail { sent: true, to: Some(to.to_string()), answer: Some(answer), error: None }
        }
        Err(MailError::Off) => {
            return Err(ApiError::new(
                &CONFLICT,
                "No mail is sent from here: set mail.server and mail.from first.",
            ));
        }
        Err(MailError::Nobody) => {
            return Err(ApiError::field("to", "missing", "'to' is needed: mail.to names nobody."));
        }
        Err(error) => TestedMail { sent: false, to: None, answer: None, error: Some(error.in_full()) },
    };
    json(StatusCode::OK, &tested)
}
