//! `/contacts`: the address book, one for the appliance.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, delete, get, id, json, patch, post, query};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::clock::whole_ms;
use crate::fax::contact::{Contact, NAME_CHARS, NOTE_CHARS, is_name, is_note};
use crate::fax::number::FaxNumber;
use crate::http::error::{ApiError, NOT_FOUND, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::id::ContactId;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let list = warp::path!("contacts").and(get(app)).then(|request| answer(list(request)));
    let create = warp::path!("contacts").and(post(app)).then(|request| answer(create(request)));
    let show = warp::path!("contacts" / String).and(get(app)).then(|id, request| answer(show(id, request)));
    let change =
        warp::path!("contacts" / String).and(patch(app)).then(|id, request| answer(change(id, request)));
    let remove =
        warp::path!("contacts" / String).and(delete(app)).then(|id, request| answer(remove(id, request)));
    list.or(create).unify().or(show).unify().or(change).unify().or(remove).unify().boxed()
}

/// One entry of the address book.
#[derive(Serialize, ToSchema)]
#[schema(as = Contact)]
pub(in crate::http) struct ContactView {
    id: String,
    name: String,
    /// The fax number, in E.164
    number: String,
    note: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<&Contact> for ContactView {
    fn from(contact: &Contact) -> Self {
        Self {
            id: contact.id.to_string(),
            name: contact.name.clone(),
            number: contact.number.as_e164().to_owned(),
            note: contact.note.clone(),
            created_at: contact.created_at,
            updated_at: contact.updated_at,
        }
    }
}

/// One page of the address book.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ContactList {
    contacts: Vec<ContactView>,
    /// Send as `cursor` to get the next page; null at the end.
    next_cursor: Option<String>,
}

/// Which entries to list.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ContactsQuery {
    /// Part of the name or of the number
    q: Option<String>,
    /// Rows, 1 to 100; 50 by default
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before
    cursor: Option<String>,
}

/// The address book, by name
#[utoipa::path(get, path = "/contacts", tag = "contacts", params(ContactsQuery),
    security(("api_key" = ["contacts:read"])),
    responses((status = 200, body = ContactList), (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::ContactsRead).await?;
    let asked: ContactsQuery = query(request.query())?;
    let limit = super::admin_jobs::limit(asked.limit)?;
    let db = request.app.db();
    let unknown =
        || ApiError::field("cursor", "invalid", "'cursor' must be the next_cursor of an earlier answer.");
    let after = match asked.cursor.as_deref() {
        None => None,
        // Whatever was changed meanwhile, the page goes on where the entry stands now.
        Some(text) => {
            let contact = db.contact(id(text, unknown)?)?.ok_or_else(unknown)?;
            Some((contact.name, contact.id))
        }
    };
    let contacts = db.contacts(asked.q.filter(|text| !text.is_empty()), after, limit).await?;
    let next = contacts.last().filter(|_| contacts.len() == limit as usize);
    let next_cursor = next.map(|contact| contact.id.to_string());
    json(
        StatusCode::OK,
        &ContactList { contacts: contacts.iter().map(ContactView::from).collect(), next_cursor },
    )
}

/// A new entry.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreateContact {
    /// 1 to 100 characters
    name: String,
    /// E.164, or as you dial it
    number: String,
    /// Up to 500 characters
    note: Option<String>,
}

/// Add an entry
#[utoipa::path(post, path = "/contacts", tag = "contacts", security(("api_key" = ["contacts:manage"])),
    request_body = CreateContact,
    responses((status = 201, body = ContactView), (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn create(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::ContactsManage).await?;
    let body: CreateContact = request.body()?.json().await?;
    let now = whole_ms(request.app.clock().now());
    let contact = Contact {
        id: ContactId::new(),
        name: name(&body.name)?,
        number: number(&request, &body.number)?,
        note: body.note.as_deref().map(note).transpose()?.flatten(),
        created_at: now,
        updated_at: now,
    };
    request.app.db().put_contact(contact.clone()).await?;
    json(StatusCode::CREATED, &ContactView::from(&contact))
}

/// One entry
#[utoipa::path(get, path = "/contacts/{id}", tag = "contacts", params(("id" = String, Path,)),
    security(("api_key" = ["contacts:read"])),
    responses((status = 200, body = ContactView), (status = 404, description = "No such entry", body = ProblemBody)))]
pub(in crate::http) async fn show(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::ContactsRead).await?;
    json(StatusCode::OK, &ContactView::from(&stored(&request, &text)?))
}

/// What shall be different; what is not named stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct ChangeContact {
    name: Option<String>,
    number: Option<String>,
    /// An empty one is taken away
    note: Option<String>,
}

/// Change an entry
#[utoipa::path(patch, path = "/contacts/{id}", tag = "contacts", params(("id" = String, Path,)),
    security(("api_key" = ["contacts:manage"])), request_body = Option<ChangeContact>,
    responses((status = 200, body = ContactView), (status = 404, description = "No such entry", body = ProblemBody),
        (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn change(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::ContactsManage).await?;
    let mut contact = stored(&request, &text)?;
    let body: ChangeContact = request.body()?.json().await?;
    if let Some(text) = &body.name {
        contact.name = name(text)?;
    }
    if let Some(text) = &body.number {
        contact.number = number(&request, text)?;
    }
    if let Some(text) = &body.note {
        contact.note = note(text)?;
    }
    contact.updated_at = whole_ms(request.app.clock().now());
    request.app.db().put_contact(contact.clone()).await?;
    json(StatusCode::OK, &ContactView::from(&contact))
}

/// Remove an entry
#[utoipa::path(delete, path = "/contacts/{id}", tag = "contacts", params(("id" = String, Path,)),
    security(("api_key" = ["contacts:manage"])),
    responses((status = 200, description = "The entry as it was", body = ContactView),
        (status = 404, description = "No such entry", body = ProblemBody)))]
pub(in crate::http) async fn remove(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::ContactsManage).await?;
    let contact = stored(&request, &text)?;
    if !request.app.db().remove_contact(contact.id).await? {
        return Err(missing());
    }
    json(StatusCode::OK, &ContactView::from(&contact))
}

fn stored(request: &Permitted, text: &str) -> Result<Contact, ApiError> {
    request.app.db().contact(id(text, missing)?)?.ok_or_else(missing)
}

fn missing() -> ApiError {
    ApiError::new(&NOT_FOUND, "There is no such entry in the address book.")
}

fn name(text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    let message = || format!("'name' must have 1 to {NAME_CHARS} characters on one line.");
    if is_name(text) { Ok(text.to_owned()) } else { Err(ApiError::field("name", "invalid", message())) }
}

fn number(request: &Permitted, text: &str) -> Result<FaxNumber, ApiError> {
    let message = "'number' must be E.164, like +15551234567, or digits only.";
    FaxNumber::parse(text, &request.app.config().country_code)
        .map_err(|_| ApiError::field("number", "invalid", message))
}

fn note(text: &str) -> Result<Option<String>, ApiError> {
    let text = text.trim();
    if !is_note(text) {
        let message = format!("'note' must have at most {NOTE_CHARS} characters.");
        return Err(ApiError::field("note", "invalid", message));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}
