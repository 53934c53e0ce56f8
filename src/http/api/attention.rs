//! What needs a person: one entry for each thing that does not come right by itself, with what can
//! be done; and `POST /fax/{id}/settle`, by which somebody says that a failed fax is seen to.
//!
//! Owns: the kinds, their sentences and their order. Refuses: to offer what the caller may not do.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::fax::own_job;
use super::fax_view::FaxView;
use super::{admin_summary, answer, json, post};
use crate::access::records::{EXPIRY_WARNING_DAYS, Standing};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::db::audit::END_MOVED;
use crate::fax::job::Job;
use crate::fax::retention::Level;
use crate::fax::sentences;
use crate::http::error::{ApiError, CONFLICT, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::id::AccountId;
use crate::queue::RouteState;

/// Entries that are named one by one.
const NAMED: u32 = 5;
/// Failures older than this are no news any more.
const FAILED_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Keys that end sooner are told of.
const KEYS_END_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Days before its end from which on a certificate is told of, and from which on it is urgent: those of
/// the first warning and of the second.
const CERTIFICATE_ENDS_WITHIN_DAYS: i64 = EXPIRY_WARNING_DAYS[0] as i64;
const CERTIFICATE_URGENT_DAYS: i64 = EXPIRY_WARNING_DAYS[1] as i64;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    warp::path!("fax" / String / "settle")
        .and(post(app))
        .then(|id, request| answer(settle(id, request)))
        .boxed()
}

/// Something that does not come right by itself.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Attention {
    /// `sealed`, `audit_damaged`, `storage_full`, `dialling_paused`, `route_out_of_service`, `faxes_failed`, `faxes_held`,
    /// `webhook_given_up`, `mail_given_up`, `certificate_ending`, `keys_ending`, `storage_low`, `no_recovery_key` or
    /// `dialling_limited`.
    kind: &'static str,
    /// `error`, `warning` or `notice`.
    severity: &'static str,
    /// What it is, for a person.
    sentence: String,
    /// How many, where there can be several.
    count: u64,
    /// Since or until when, where there is such a time.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// The newest five of them, where they have names.
    items: Vec<AttentionItem>,
    /// What can be done about all of it; what the caller may not do is not offered.
    actions: Vec<ActionView>,
}

/// One of several.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AttentionItem {
    id: String,
    /// A number, or a name; masked for viewers.
    label: String,
    /// What is the matter with it.
    sentence: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    actions: Vec<ActionView>,
}

/// A request that does something about it.
#[derive(Serialize, ToSchema)]
#[schema(as = AttentionAction)]
pub(in crate::http) struct ActionView {
    /// `release`, `resend`, `settle`, `cancel`, `resume`, `replay`, `clean`, `verify`, `restore`, `look` or `test`.
    name: &'static str,
    /// What a button says.
    label: &'static str,
    method: &'static str,
    path: String,
}

fn action(name: &'static str, label: &'static str, method: &'static str, path: String) -> ActionView {
    ActionView { name, label, method, path }
}

impl Attention {
    fn new(kind: &'static str, severity: &'static str, sentence: impl Into<String>) -> Self {
        let (items, actions) = (Vec::new(), Vec::new());
        Self { kind, severity, sentence: sentence.into(), count: 1, at: None, items, actions }
    }

    fn at(self, at: impl Into<Option<Timestamp>>) -> Self {
        Self { at: at.into(), ..self }
    }

    fn with(mut self, is_allowed: bool, action: ActionView) -> Self {
        if is_allowed {
            self.actions.push(action);
        }
        self
    }
}

/// Everything that needs a person, as this caller may know it.
pub(super) async fn of(
    request: &Permitted,
    owner: Option<AccountId>,
    now: Timestamp,
) -> Result<Vec<Attention>, ApiError> {
    let mut found = Vec::new();
    found.extend(sealed(request));
    found.extend(audit_damaged(request)?);
    let storage = storage(request)?;
    let (full, low) = storage.into_iter().partition::<Vec<_>, _>(|entry| entry.severity == "error");
    found.extend(full);
    let (paused, limited) = dialling(request)?;
    found.extend(paused);
    found.extend(routes_out(request)?);
    found.extend(failed(request, owner, now).await?);
    found.extend(held(request, owner).await?);
    found.extend(given_up(request).await?);
    found.extend(mail_given_up(request)?);
    found.extend(certificate(request, now));
    found.extend(keys(request, now));
    found.extend(low);
    found.extend(no_recovery_key(request)?);
    found.extend(limited);
    Ok(found)
}

fn sealed(request: &Permitted) -> Option<Attention> {
    let locked = request.app.sealing().seal().err()?;
    Some(Attention::new("sealed", "error", locked.to_string()))
}

fn audit_damaged(request: &Permitted) -> Result<Option<Attention>, ApiError> {
    let verified = request.app.audit().last_verified();
    let found = verified.and_then(|verified| verified.fault.map(|fault| (verified.at, fault.to_string())));
    let noticed = request.app.db().audit_broken_at()?;
    let noticed = noticed.map(|at| (at, END_MOVED.to_owned()));
    Ok(found.or(noticed).map(|(at, what)| {
        Attention::new(
            "audit_damaged",
            "error",
            format!("The audit log is damaged: {what}. Somebody may have touched the database."),
        )
        .at(at)
        .with(
            request.caller.may(Scope::AuditRead),
            action("verify", "Verify the log", "GET", "/admin/audit/verify".to_owned()),
        )
    }))
}

fn storage(request: &Permitted) -> Result<Option<Attention>, ApiError> {
    let (kind, severity, sentence) = match request.app.queue().storage_level()? {
        Level::Ample => return Ok(None),
        Level::Low => ("storage_low", "warning", "The disk fills up: make room, or have old faxes deleted."),
        Level::Full => (
            "storage_full",
            "error",
            "The disk is almost full: faxes are received, but none to be sent is taken in.",
        ),
    };
    let clean = action("clean", "Delete what is due", "POST", "/admin/storage/clean".to_owned());
    Ok(Some(Attention::new(kind, severity, sentence).with(request.caller.may(Scope::SettingsWrite), clean)))
}

/// A pause, and limits that are reached.
fn dialling(request: &Permitted) -> Result<(Option<Attention>, Vec<Attention>), ApiError> {
    let dialling = request.app.queue().dialling()?;
    let paused = dialling.pause().map(|hold| {
        let resume = action("resume", "Go on dialling", "POST", "/admin/resume".to_owned());
        Attention::new("dialling_paused", "warning", sentences::held(hold, dialling.limits))
            .at(hold.since)
            .with(request.caller.may(Scope::SettingsWrite), resume)
    });
    let limits = dialling.holds.iter().filter(|hold| hold.until.is_some());
    let limited = limits.map(|hold| {
        Attention::new("dialling_limited", "notice", sentences::held(hold, dialling.limits)).at(hold.until)
    });
    Ok((paused, limited.collect()))
}

/// Routes that faxes take and that are out of service.
fn routes_out(request: &Permitted) -> Result<Option<Attention>, ApiError> {
    let states = request.app.queue().route_states()?;
    let out: Vec<_> = states.iter().filter_map(|state| Some((state, state.health.out?))).collect();
    let Some((first, since)) = out.first().map(|(state, out)| (state, out.since)) else { return Ok(None) };
    let may_change = request.caller.may(Scope::SettingsWrite);
    let says = |RouteState { standing, health, .. }: &RouteState| {
        let class = health.last.as_ref().map(|last| last.class);
        sentences::out_of_service(&standing.name, class, health.out.map(|out| out.next_probe_at))
    };
    let items = out.iter().take(NAMED as usize).map(|(state, out)| {
        let name = &state.standing.name;
        let restore = format!("/admin/routes/{name}/restore");
        AttentionItem {
            id: name.clone(),
            label: name.clone(),
            sentence: Some(says(state)),
            at: Some(out.since),
            actions: Vec::from_iter(may_change.then(|| action("restore", "Use it again", "POST", restore))),
        }
    });
    let items = items.collect();
    let sentence = match out.len() {
        1 => says(first),
        count => format!("{count} lines are out of service."),
    };
    let entry = Attention::new("route_out_of_service", "error", sentence).at(since);
    Ok(Some(Attention { count: out.len() as u64, items, ..entry }))
}

async fn failed(
    request: &Permitted,
    owner: Option<AccountId>,
    now: Timestamp,
) -> Result<Option<Attention>, ApiError> {
    let since = now.checked_sub(FAILED_WITHIN).unwrap_or(Timestamp::MIN);
    let failed = request.app.db().unsettled(since, owner, NAMED).await?;
    if failed.count == 0 {
        return Ok(None);
    }
    let sentence = match failed.count {
        1 => "A fax did not arrive.".to_owned(),
        count => format!("{count} faxes did not arrive."),
    };
    let may_send = request.caller.may(Scope::FaxSend);
    let items = failed.newest.iter().map(|job| {
        let id = job.id;
        let mut actions = Vec::new();
        if may_send && request.caller.sees(job.owner) {
            actions.push(action("resend", "Send again", "POST", format!("/fax/{id}/resend")));
            actions.push(action("settle", "Seen to", "POST", format!("/fax/{id}/settle")));
        }
        item(request, job, actions)
    });
    let items = items.collect();
    let entry = Attention::new("faxes_failed", "error", sentence);
    Ok(Some(Attention { count: failed.count, items, ..entry }))
}

async fn held(request: &Permitted, owner: Option<AccountId>) -> Result<Option<Attention>, ApiError> {
    let count = request.app.db().open_faxes(owner).await?.held;
    if count == 0 {
        return Ok(None);
    }
    let sentence = match count {
        1 => "A fax is held until somebody lets it go.".to_owned(),
        count => format!("{count} faxes are held until somebody lets them go."),
    };
    let held = request.app.db().held_faxes(owner, NAMED).await?;
    let items = held.iter().map(|job| {
        let id = job.id;
        let mut actions = Vec::new();
        if request.caller.may(Scope::Admin) {
            actions.push(action("release", "Let it go", "POST", format!("/admin/fax-jobs/{id}/release")));
        }
        if request.caller.may(Scope::FaxCancel) && request.caller.sees(job.owner) {
            actions.push(action("cancel", "Cancel it", "DELETE", format!("/fax/{id}")));
        }
        item(request, job, actions)
    });
    let items = items.collect();
    Ok(Some(Attention { count, items, ..Attention::new("faxes_held", "warning", sentence) }))
}

fn item(request: &Permitted, job: &Job, actions: Vec<ActionView>) -> AttentionItem {
    let masked = !request.caller.sees_numbers();
    AttentionItem {
        id: job.id.to_string(),
        label: if masked { job.to.masked() } else { job.to.as_e164().to_owned() },
        sentence: job.outcome.as_ref().map(|outcome| outcome.human.clone()),
        at: Some(job.final_at.unwrap_or(job.updated_at)),
        actions,
    }
}

async fn given_up(request: &Permitted) -> Result<Option<Attention>, ApiError> {
    if !request.caller.may(Scope::WebhooksManage) {
        return Ok(None);
    }
    let webhooks = request.app.db().given_up().await?;
    if webhooks.is_empty() {
        return Ok(None);
    }
    let items = webhooks.iter().take(NAMED as usize).map(|given_up| AttentionItem {
        id: given_up.webhook.clone(),
        label: given_up.name.clone(),
        sentence: Some(format!("{} messages were not taken within 24 hours.", given_up.deliveries)),
        at: None,
        actions: vec![action(
            "look",
            "Look at them",
            "GET",
            format!("/webhooks/{}/deliveries?state=dead", given_up.webhook),
        )],
    });
    let items = items.collect();
    let sentence =
        "A receiver of webhooks did not take messages for 24 hours; they are kept to be sent again.";
    let count = webhooks.iter().map(|given_up| given_up.deliveries).sum();
    Ok(Some(Attention { count, items, ..Attention::new("webhook_given_up", "warning", sentence) }))
}

fn mail_given_up(request: &Permitted) -> Result<Option<Attention>, ApiError> {
    if !request.caller.may(Scope::SettingsRead) {
        return Ok(None);
    }
    let (count, last) = request.app.post().given_up()?;
    if count == 0 {
        return Ok(None);
    }
    let sentence = match count {
        1 => "An e-mail notice was given up in the last seven days: the mail server did not take it."
            .to_owned(),
        count => {
            format!(
                "{count} e-mail notices were given up in the last seven days: the mail server did not take them."
            )
        }
    };
    let test = action("test", "Send a test", "POST", "/admin/mail/test".to_owned());
    let entry = Attention::new("mail_given_up", "warning", sentence).at(last);
    Ok(Some(Attention { count, ..entry }.with(request.caller.may(Scope::SettingsWrite), test)))
}

fn certificate(request: &Permitted, now: Timestamp) -> Option<Attention> {
    let (ends_at, days) = admin_summary::certificate(&request.app, now)?.ends_by_hand()?;
    let sentence = match days {
        ..0 => "The HTTPS certificate has ended; browsers refuse it. Install a new one.".to_owned(),
        0 => "The HTTPS certificate ends within a day; install a new one before.".to_owned(),
        1 => "The HTTPS certificate ends tomorrow; install a new one before.".to_owned(),
        2..CERTIFICATE_ENDS_WITHIN_DAYS => {
            format!("The HTTPS certificate ends in {days} days; install a new one before.")
        }
        _ => return None,
    };
    let severity = match days {
        ..0 => "error",
        0..CERTIFICATE_URGENT_DAYS => "warning",
        _ => "notice",
    };
    Some(Attention::new("certificate_ending", severity, sentence).at(ends_at))
}

fn keys(request: &Permitted, now: Timestamp) -> Option<Attention> {
    if !request.caller.may(Scope::KeysRead) {
        return None;
    }
    let until = now.checked_add(KEYS_END_WITHIN).unwrap_or(Timestamp::MAX);
    let mut ending: Vec<(Timestamp, AttentionItem)> = Vec::new();
    for key in request.app.keys().list() {
        let is_theirs = request.caller.administrates() || key.record.owner == request.caller.owner;
        let Some(end) = key.record.expires_at.filter(|end| *end <= until) else { continue };
        if !is_theirs || key.status != Standing::Active {
            continue;
        }
        let item = AttentionItem {
            id: key.record.id.to_string(),
            label: key.record.name.clone(),
            sentence: Some(format!("Of {}.", key.owner_name)),
            at: Some(end),
            actions: Vec::new(),
        };
        ending.push((end, item));
    }
    ending.sort_by_key(|(end, _)| *end);
    let first = ending.first()?.0;
    let count = ending.len() as u64;
    let sentence = match count {
        1 => "An API key ends within a week.".to_owned(),
        count => format!("{count} API keys end within a week."),
    };
    let items = ending.into_iter().take(NAMED as usize).map(|(_, item)| item).collect();
    let entry = Attention::new("keys_ending", "warning", sentence).at(first);
    Some(Attention { count, items, ..entry })
}

fn no_recovery_key(request: &Permitted) -> Result<Option<Attention>, ApiError> {
    let is_for_them = request.caller.administrates() && request.app.sealing().seal().is_ok();
    if !is_for_them || request.app.sealing().has_recovery_key()? {
        return Ok(None);
    }
    Ok(Some(Attention::new(
        "no_recovery_key",
        "notice",
        "There is no recovery key yet: if the sealing key is lost, so are all faxes. Make one on the appliance \
         with 'pagewire seal recovery-key', and keep it elsewhere.",
    )))
}

/// Say that a fax that did not arrive is seen to
///
/// It is no longer among what needs a person in `/admin/summary`; nothing else changes. Sending it
/// again does the same.
#[utoipa::path(post, path = "/fax/{id}/settle", tag = "fax", params(("id" = String, Path,)),
    security(("api_key" = ["fax:send"])),
    responses((status = 200, body = FaxView), (status = 404, description = "No such fax", body = ProblemBody),
        (status = 409, description = "It has not ended", body = ProblemBody)))]
pub(in crate::http) async fn settle(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxSend).await?;
    let job = own_job(&request, &id)?;
    if !job.state.is_final() {
        let message = format!("The fax is {}; only a fax that has ended can be seen to.", job.state);
        return Err(ApiError::new(&CONFLICT, message));
    }
    let now = request.app.clock().now();
    request.app.db().settle_fax(job.id, request.caller.label(), now).await?;
    json(StatusCode::OK, &FaxView::new(&job, &request.app.queue().dialling_for(&job)?))
}
