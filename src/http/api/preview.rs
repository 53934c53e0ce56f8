//! `/previews`: the pages of a fax before it is sent; and cover pages.
//!
//! Owns: the answers to "what will they get, how long does it take, and where does it go". The pages are
//! the sender's own upload, kept for a quarter of an hour for nobody but them: looking at them is no view
//! of a fax, and leaves no row in the audit log. `POST /fax` with `preview` sends exactly these.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::CONTENT_TYPE;
use warp::reply::Response;

use super::fax::{PageQuery, picture};
use super::fax_view::PolicyVerdict;
use super::send::{self, announced_length};
use super::upload::{Upload, check_announced};
use super::{answer, document, get, id, json, post};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::codec::page::{FaxPage, Resolution};
use crate::convert::{Options, Quality};
use crate::fax::cover::Cover;
use crate::fax::number::FaxNumber;
use crate::fax::{places, sentences};
use crate::http::error::{ApiError, FAX_NOT_FOUND, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::id::PreviewId;
use crate::queue::{Draft, Previewed};

/// What most machines agree on.
const BITS_PER_SECOND: u32 = 14_400;
/// A page with more black takes long and the receiver's toner; usually it is a dark scan.
const MUCH_BLACK: f64 = 0.4;
/// Longest line on a cover page, in characters.
const LINE_CHARS: usize = 100;
/// Longest note on a cover page, in characters.
const NOTE_CHARS: usize = 4000;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let make = warp::path!("previews").and(post(app)).then(|request| answer(make(request)));
    let page = warp::path!("previews" / String / "pages" / String)
        .and(get(app))
        .then(|id, page, request| answer(page_png(id, page, request)));
    make.or(page).unify().boxed()
}

/// Pages before they are sent.
#[derive(Serialize, ToSchema)]
#[schema(as = Preview)]
pub(in crate::http) struct PreviewView {
    /// Send as `preview` with `POST /fax` to send exactly these pages.
    id: String,
    /// From when on it is gone.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    pages: Vec<PreviewPage>,
    /// Seconds on the line at 14,400 bit/s, without call set-up.
    seconds: f64,
    /// Where it goes; null when no number was given.
    destination: Option<DestinationView>,
}

/// One page.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PreviewPage {
    /// From 1.
    page: u32,
    /// Dots.
    width: u32,
    /// Rows.
    height: u32,
    /// Seconds on the line at 14,400 bit/s.
    seconds: f64,
    /// How much of it is black.
    black_percent: u32,
    /// What to think of before sending; null when there is nothing.
    warning: Option<String>,
    /// Where its picture is; takes `width`.
    png: String,
}

/// Where a fax goes.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DestinationView {
    /// As it was written.
    to: String,
    /// The number that is dialled.
    to_e164: String,
    /// The same as one reads it, with the place where that is known, as in `+1 212 555 1234 (New York)`.
    will_dial: String,
    /// Null when the first digits do not tell.
    country: Option<&'static str>,
    /// State or province, in the United States and Canada.
    region: Option<&'static str>,
    /// The route it would take.
    route: String,
    /// Whether a call there costs money.
    spends: bool,
    policy: PolicyVerdict,
    /// What the key has not got left for it; null when it has.
    quota: Option<String>,
    /// What would keep it waiting; null when nothing would.
    waiting_for: Option<String>,
    /// Why it would be held until somebody has looked at its number; null when it would not.
    second_look: Option<String>,
}

/// The form of `POST /previews`, for the description.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"file": ["Hello, fax."]}))]
#[expect(dead_code, reason = "the form is read part by part; this only describes it")]
pub(in crate::http) struct PreviewForm {
    /// Fax number that is looked at as well: E.164, or digits only
    to: Option<String>,
    /// PDF, text, TIFF, PNG or JPEG; several parts become one fax in their order. May be missing with
    /// `cover`
    #[schema(value_type = Option<Vec<String>>, format = Binary, min_items = 1)]
    file: Option<Vec<Vec<u8>>>,
    /// `standard`, `fine` (default) or `superfine`
    resolution: Option<String>,
    /// `text` (default) or `photo`, which takes several times longer on the line
    quality: Option<String>,
    /// `1`: a cover page comes first, with the fields below
    cover: Option<String>,
    /// On the cover page: what it is about
    subject: Option<String>,
    /// On the cover page: some words
    note: Option<String>,
    /// On the cover page: whom it is from; the name in the tag line when not given
    from_name: Option<String>,
    /// On the cover page: whom it is for
    to_name: Option<String>,
}

/// Look at the pages of a fax before it is sent
///
/// Takes the form of `POST /fax` as far as it makes pages; `to` may be missing. Nothing is sent or charged; the pages are kept for
/// 15 minutes for who made them.
#[utoipa::path(post, path = "/previews", tag = "fax", security(("api_key" = ["fax:send"])),
    params(("as_key" = Option<String>, Query, description = "In a session: id of a key to send as")),
    request_body(content = PreviewForm, content_type = "multipart/form-data"),
    responses((status = 200, body = PreviewView),
        (status = 400, description = "The number is not one", body = ProblemBody),
        (status = 403, description = "The key may not send to this number", body = ProblemBody),
        (status = 408, description = "The body stopped arriving", body = ProblemBody),
        (status = 413, description = "Too large", body = ProblemBody),
        (status = 415, description = "Not a document we take", body = ProblemBody),
        (status = 422, description = "No file, an unusable document, or a wrong field", body = ProblemBody)))]
pub(in crate::http) async fn make(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxSend).await?;
    let asked_by = request.caller.label();
    let request = request.sending_as_key(Scope::FaxSend)?;
    let max_mb = request.app.config().max_file_size_mb;
    check_announced(announced_length(request.headers()), max_mb)?;
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let upload = Upload::read(request.body()?, content_type, max_mb, request.app.uploads()).await?;
    let to = match upload.field("to") {
        Some(raw) => Some((raw.to_owned(), send::number(&request, raw)?)),
        None => None,
    };
    let cover = cover(&request, &upload, to.as_ref().map(|(_, number)| number))?;
    if upload.documents.is_empty() && cover.is_none() {
        return Err(ApiError::field("file", "missing", "A part 'file' with the document is missing."));
    }
    let options = send::options(&upload)?;
    let task = tokio::spawn(convert(request, upload, to, cover, options, asked_by));
    task.await.unwrap_or_else(|panic| Err(ApiError::internal(&panic)))
}

async fn convert(
    request: Permitted,
    upload: Upload,
    to: Option<(String, FaxNumber)>,
    cover: Option<Cover>,
    options: Options,
    asked_by: String,
) -> Result<Response, ApiError> {
    let queue = request.app.queue();
    let template = request.app.config().cover_template.clone();
    let cover = cover.map(|cover| (cover, template));
    let pages = queue.draft(Draft { documents: upload.documents.clone(), options, cover }).await?;
    let whose = (request.caller.owner, asked_by);
    let Some(made) = queue.keep_preview(pages, options, upload.source_sha256(), whose).await? else {
        let detail = "You have many previews already; the oldest ends within 15 minutes.";
        return Err(ApiError::rate_limited(detail, "previews", 60));
    };
    let count = made.preview.pages;
    let destination = match to {
        Some((raw, to)) => Some(destination(&request, raw, &to, count).await?),
        None => None,
    };
    json(StatusCode::OK, &PreviewView::new(&made, destination))
}

impl PreviewView {
    fn new(made: &Previewed, destination: Option<DestinationView>) -> Self {
        let id = made.preview.id;
        let tenths = |seconds: f64| (seconds * 10.0).round() / 10.0;
        let view = |(number, (page, black)): (u32, (&FaxPage, &f64))| PreviewPage {
            page: number,
            width: page.width,
            height: page.height,
            seconds: tenths(page.seconds_at(BITS_PER_SECOND)),
            black_percent: (black * 100.0).round() as u32,
            warning: (*black > MUCH_BLACK).then(|| {
                format!(
                    "{} % of this page is black: it takes long and may be hard to read. Is it a dark scan?",
                    (black * 100.0).round()
                )
            }),
            png: format!("/previews/{id}/pages/{number}.png"),
        };
        Self {
            id: id.to_string(),
            expires_at: made.preview.expires_at,
            pages: (1..).zip(made.pages.iter().zip(&made.black)).map(view).collect(),
            seconds: tenths(made.pages.iter().map(|page| page.seconds_at(BITS_PER_SECOND)).sum()),
            destination,
        }
    }
}

async fn destination(
    request: &Permitted,
    raw: String,
    to: &FaxNumber,
    pages: u32,
) -> Result<DestinationView, ApiError> {
    let (app, caller) = (&request.app, &request.caller);
    let routes = app.route_of(caller.mode);
    let allowance = app.keys().allowance(caller);
    let foreseen = app.queue().foresee(&routes, to, pages, None, allowance.as_ref())?;
    let limits = app.queue().dialling()?.limits;
    let look = app.queue().second_look(routes.first(), to).await?;
    let place = places::place_of(to);
    let spaced = places::spaced(to);
    let will_dial = match place {
        Some(place) => format!("{spaced} ({})", place.region.unwrap_or(place.country)),
        None => spaced,
    };
    Ok(DestinationView {
        to: raw,
        to_e164: to.as_e164().to_owned(),
        will_dial,
        country: place.map(|place| place.country),
        region: place.and_then(|place| place.region),
        route: foreseen.route.clone(),
        spends: foreseen.spends,
        policy: PolicyVerdict::from(&foreseen.verdict),
        quota: foreseen.overspent.map(|over| over.to_string()),
        waiting_for: foreseen.waiting_for(limits),
        second_look: look.map(|look| sentences::second_look(to, &look, None)),
    })
}

/// One page of a preview
#[utoipa::path(get, path = "/previews/{id}/pages/{page}", tag = "fax",
    params(("id" = String, Path,), ("page" = String, Path, description = "Number from 1, then .png", example = "1.png"), PageQuery),
    security(("api_key" = ["fax:send"])),
    responses((status = 200, content_type = "image/png", body = Vec<u8>),
        (status = 404, description = "No such page, or the preview has ended or is somebody else's", body = ProblemBody),
        (status = 422, description = "The width cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn page_png(
    id: String,
    page: String,
    request: Request,
) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxSend).await?;
    let id: PreviewId = super::id(&id, gone)?;
    let preview = request.app.queue().preview(id, &request.caller.label())?.ok_or_else(gone)?;
    let pages = request.app.queue().preview_pages(&preview).await?;
    let (number, png) = picture(&request, pages, &page).await?;
    Ok(document(png, "image/png", &format!("preview-page-{number}.png")))
}

/// Pages that need no conversion any more.
pub(super) struct Ready {
    pub(super) pages: Vec<FaxPage>,
    pub(super) source_sha256: String,
    pub(super) options: Options,
}

/// The pages of a preview that `asked_by` made.
pub(super) async fn ready(request: &Permitted, id: PreviewId, asked_by: &str) -> Result<Ready, ApiError> {
    let queue = request.app.queue();
    let ended = || {
        ApiError::field(
            "preview",
            "gone",
            "This preview has ended; make a new one, or send the document itself.",
        )
    };
    let preview = queue.preview(id, asked_by)?.ok_or_else(ended)?;
    Ok(Ready {
        pages: queue.preview_pages(&preview).await?,
        source_sha256: preview.source_sha256,
        options: Options {
            resolution: Resolution::from_name(&preview.resolution).unwrap_or(Resolution::FINE),
            quality: Quality::from_name(&preview.quality).unwrap_or_default(),
        },
    })
}

/// The preview a form names. Its pages are what they are, so nothing that would change them may
/// stand beside it.
pub(super) fn id_in(upload: &Upload) -> Result<Option<PreviewId>, ApiError> {
    let Some(text) = upload.field("preview") else { return Ok(None) };
    let id = id(text, || ApiError::field("preview", "invalid", "'preview' must be the id of a preview."))?;
    let with = ["cover", "resolution", "quality"].into_iter().find(|field| upload.field(field).is_some());
    let with = if upload.documents.is_empty() { with } else { Some("file") };
    match with {
        Some(field) => Err(ApiError::field(
            field,
            "unavailable",
            format!("'{field}' cannot change a preview; give it when the preview is made."),
        )),
        None => Ok(Some(id)),
    }
}

/// The cover page a form asks for.
pub(super) fn cover(
    request: &Permitted,
    upload: &Upload,
    to: Option<&FaxNumber>,
) -> Result<Option<Cover>, ApiError> {
    let is_wanted = send::word(upload, "cover", "1 or 0", send::truth)?.unwrap_or(false);
    let fields =
        [("to_name", LINE_CHARS), ("from_name", LINE_CHARS), ("subject", LINE_CHARS), ("note", NOTE_CHARS)];
    let mut given = Vec::new();
    for (name, most) in fields {
        let text = upload.field(name).map(str::to_owned);
        if text.is_some() && !is_wanted {
            let message = format!("'{name}' stands on a cover page; ask for one with cover=1.");
            return Err(ApiError::field(name, "unavailable", message));
        }
        let is_too_long = |text: &String| text.chars().count() > most;
        if text.as_ref().is_some_and(is_too_long) {
            return Err(ApiError::field(
                name,
                "too_long",
                format!("'{name}' must be at most {most} characters."),
            ));
        }
        given.push(text);
    }
    if !is_wanted {
        return Ok(None);
    }
    let config = request.app.config();
    let mut given = given.into_iter();
    let mut next = || given.next().flatten();
    let (to_name, from_name, subject, note) = (next(), next(), next(), next());
    let own = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let today = request.app.clock().now().to_zoned(TimeZone::system());
    Ok(Some(Cover {
        to_name,
        to_number: to.map(places::spaced).unwrap_or_default(),
        from_name: from_name.or_else(|| own(&config.header)),
        from_number: own(&config.station_id),
        subject,
        note,
        date: today.strftime("%-d %B %Y").to_string(),
    }))
}

fn gone() -> ApiError {
    ApiError::new(&FAX_NOT_FOUND, "No such preview; they are kept for 15 minutes.")
}
