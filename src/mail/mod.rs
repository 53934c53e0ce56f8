//! E-mail notices: telling people what became of a fax, and what calls for a person.
//!
//! Owns: the post office, one task that hands the notices that wait in the database to the mail server, one
//! after the other, and tries again as [`schedule`] has it; and the messages they become ([`message`]).
//! Refuses: to delay anything else. Nobody waits for it but who asks for a test, and a server that is down
//! is asked now and then.
//!
//! Notices of a fax are stored with the change they tell of ([`crate::db::mails`]), the others are made of the
//! event log, to whom the settings say by then. A message that the server may
//! have taken before the connection broke is sent again under the same Message-ID: at least once. What the
//! server refuses for good, or did not take for 24 hours, is given up; the log says so, and so does the
//! list of what needs a person.

mod message;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use rand::RngExt;
use tokio::task::JoinHandle;

use crate::clock::{Clock, Wake};
use crate::crash::{self, Step};
use crate::db::mails::Mail;
use crate::db::{Db, DbError};
use crate::fax::notice::test_letter;
use crate::fax::notify::{Address, Notify, When};
use crate::id::MailId;
use crate::net::schedule;
pub use crate::net::smtp::{HostPort, Security};
use crate::net::smtp::{Login, Server, SmtpClient, SmtpError};
use crate::secret::Secret;

/// What was given up is remembered so long.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Pause after a failure of our own, such as a full disk.
const OWN_FAILURE: SignedDuration = SignedDuration::from_secs(30);

/// How mail is sent.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The server; without one no mail is sent.
    pub server: Option<HostPort>,
    /// How the way there is kept safe.
    pub security: Security,
    /// Who we are there, if it asks.
    pub user: Option<String>,
    /// The password for that.
    pub password: Option<Secret<String>>,
    /// Whom mails are from.
    pub from: Option<Address>,
    /// Who is told when nobody else is named.
    pub to: Vec<Address>,
    /// Of what senders are told who do not say.
    pub notify: When,
    /// Who is told what calls for a person; when empty, those of `to` are.
    pub alerts_to: Vec<Address>,
    /// Whether whole numbers stand in mails.
    pub show_numbers: bool,
}

impl Settings {
    /// Whether any mail can be sent.
    pub fn is_on(&self) -> bool {
        self.server.is_some() && self.from.is_some()
    }

    /// Who is told of a fax whose sender said nothing about it.
    pub fn default_notify(&self) -> Option<Notify> {
        if self.is_on() { Notify::new(self.notify, self.to.clone()) } else { None }
    }

    /// Who is told now what calls for a person.
    fn told_of_alerts(&self) -> &[Address] {
        match (self.is_on(), self.alerts_to.is_empty()) {
            (false, _) => &[],
            (true, true) => &self.to,
            (true, false) => &self.alerts_to,
        }
    }

    fn way(&self) -> Result<(Server, Address), MailError> {
        let (Some(address), Some(from)) = (self.server.clone(), self.from.clone()) else {
            return Err(MailError::Off);
        };
        let login = self.user.clone().zip(self.password.clone());
        let login = login.map(|(user, password)| Login { user, password });
        Ok((Server { address, security: self.security, login }, from))
    }
}

/// Why there is no mail.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// No server is set.
    #[error("e-mail is not set up: mail.server and mail.from are needed")]
    Off,
    /// Nobody was named.
    #[error("nobody is named to send it to")]
    Nobody,
    /// The server did not take it.
    #[error(transparent)]
    Smtp(#[from] SmtpError),
    /// The database refused.
    #[error("the mails that wait cannot be read or written")]
    Db(#[from] DbError),
}

impl MailError {
    /// It with its causes.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}

/// All mail of the appliance. Cheap to clone.
#[derive(Clone)]
pub struct Post {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    clock: Clock,
    client: SmtpClient,
    settings: RwLock<Arc<Settings>>,
    /// Calls the task; held here, because the database holds it weakly.
    wake: Arc<Wake>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// How the server has been taking mail since the start.
#[derive(Default)]
struct ServerState {
    failures: u32,
    resting_until: Option<Timestamp>,
}

impl Post {
    /// The mail in this database; nothing is sent before [`Post::start`].
    pub fn new(db: Db, clock: Clock, settings: Settings) -> Self {
        let wake = Arc::new(Wake::new(&clock));
        let (settings, task) = (RwLock::new(Arc::new(settings)), Mutex::default());
        let client = SmtpClient::default();
        Self { inner: Arc::new(Inner { db, clock, client, settings, wake, task }) }
    }

    /// Begins to send what waits.
    pub fn start(&self) {
        self.inner.db.call_on_events(&self.inner.wake);
        let mut task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.get_or_insert_with(|| tokio::spawn(run(self.inner.clone())));
    }

    /// Ends in the middle of whatever is done: what was under way is sent again after the next start.
    pub async fn stop(&self) {
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }

    /// Works by these settings from now on; what waits is tried anew.
    pub fn set(&self, settings: Settings) {
        *self.inner.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.inner.wake.call();
    }

    /// Sends a test right now, once, to this address or else the first of `mail.to`; who it went to and
    /// what the server said.
    ///
    /// # Errors
    ///
    /// Why it was not taken.
    pub async fn test(&self, to: Option<Address>) -> Result<(Address, String), MailError> {
        let settings = self.inner.settings();
        let (server, from) = settings.way()?;
        let to = to.or_else(|| settings.to.first().cloned()).ok_or(MailError::Nobody)?;
        let envelope =
            message::envelope(MailId::new(), from, to.clone(), &test_letter(), self.inner.clock.now());
        let reply = self.inner.client.send(&server, &envelope).await?;
        Ok((to, reply.to_string()))
    }

    /// Looks whether the server is there and lets us in, and sends nothing; `None` when no mail is set up.
    pub async fn check(&self) -> Option<Result<(), MailError>> {
        let (server, _) = self.inner.settings().way().ok()?;
        Some(self.inner.client.check(&server).await.map(drop).map_err(MailError::from))
    }

    /// How many notices were given up in the last seven days, and when the last one was.
    ///
    /// # Errors
    ///
    /// The database's.
    pub fn given_up(&self) -> Result<(u64, Option<Timestamp>), DbError> {
        let since = self.inner.clock.now().checked_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
        self.inner.db.mails_given_up(since)
    }
}

impl Inner {
    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Sends what waits, for ever.
async fn run(inner: Arc<Inner>) {
    let mut work = inner.clock.work();
    let mut state = ServerState::default();
    loop {
        match step(&inner, &mut state).await {
            Ok(Next::Go) => {}
            Ok(Next::Wait(until)) => {
                let settings = inner.settings();
                work.wait_for(&inner.wake, until).await;
                // Other settings may mean another server.
                if !Arc::ptr_eq(&settings, &inner.settings()) {
                    state = ServerState::default();
                }
            }
            Err(error) => {
                log::warn!("e-mail notices wait: {error}");
                let until = inner.clock.now().checked_add(OWN_FAILURE).unwrap_or(Timestamp::MAX);
                work.sleep_until(until).await;
            }
        }
    }
}

/// What to do after a step.
enum Next {
    /// Look again.
    Go,
    /// Wait to be called, or until then.
    Wait(Option<Timestamp>),
}

async fn step(inner: &Inner, state: &mut ServerState) -> Result<Next, DbError> {
    let now = inner.clock.now();
    let ago = |life| now.checked_sub(life).unwrap_or(Timestamp::MIN);
    let given_up = inner.db.give_up_mails(ago(schedule::LIFE), ago(REMEMBERED), now).await?;
    if given_up > 0 {
        log::warn!("{given_up} e-mail notices were given up: no mail server took them for 24 hours");
        return Ok(Next::Go);
    }
    let settings = inner.settings();
    if inner.db.queue_alerts(settings.told_of_alerts().to_vec()).await? {
        return Ok(Next::Go);
    }
    let next = inner.db.next_mail(now)?;
    let given_up_at = next.oldest_at.and_then(|oldest| oldest.checked_add(schedule::LIFE).ok());
    let Ok((server, from)) = settings.way() else { return Ok(Next::Wait(given_up_at)) };
    if let Some(until) = state.resting_until.filter(|until| now < *until) {
        let until = given_up_at.map_or(until, |end| end.min(until));
        return Ok(Next::Wait(next.oldest_at.map(|_| until)));
    }
    let Some(mail) = next.due else { return Ok(Next::Wait(next.next_at)) };
    let number = if settings.show_numbers { number_of(inner, &mail)? } else { None };
    let letter = mail.notice.letter(number.as_deref());
    let envelope = message::envelope(mail.id, from, mail.to.clone(), &letter, mail.first_at);
    let sent = inner.client.send(&server, &envelope).await;
    store(inner, state, &mail, sent.map(drop)).await?;
    Ok(Next::Go)
}

/// Stores what came of a try.
async fn store(
    inner: &Inner,
    state: &mut ServerState,
    mail: &Mail,
    sent: Result<(), SmtpError>,
) -> Result<(), DbError> {
    let (now, chance) = (inner.clock.now(), rand::rng().random_range(0.0..1.0));
    let Err(error) = sent else {
        *state = ServerState::default();
        log::debug!("the mail server took a notice about {}", about(mail));
        crash::after(Step::MailTaken);
        return inner.db.mail_sent(mail.id).await.inspect(|()| crash::after(Step::MailStored));
    };
    let is_final = error.is_final();
    // Servers like to repeat the address in what they say.
    let text = MailError::from(error).in_full().replace(mail.to.as_str(), "…");
    if is_final {
        *state = ServerState::default();
        log::warn!("an e-mail notice about {} was given up: {text}", about(mail));
        return inner.db.mail_failed(mail.id, text, None, now).await;
    }
    state.failures += 1;
    state.resting_until = schedule::rest(state.failures, chance, now);
    log::debug!("an e-mail notice about {} waits: {text}", about(mail));
    let next = schedule::next_try(mail.tries + 1, chance, now);
    inner.db.mail_failed(mail.id, text, Some(next), now).await
}

/// The whole number of the fax a mail is about, while there is that fax.
fn number_of(inner: &Inner, mail: &Mail) -> Result<Option<String>, DbError> {
    let Some(id) = mail.notice.fax() else { return Ok(None) };
    Ok(inner.db.job(id)?.map(|job| job.to.as_e164().to_owned()))
}

/// What a mail is about, for the log.
fn about(mail: &Mail) -> String {
    match (mail.notice.fax(), mail.notice.group()) {
        (Some(fax), _) => format!("fax {fax}"),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "the appliance itself".to_owned(),
    }
}
