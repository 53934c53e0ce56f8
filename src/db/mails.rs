//! The `mails` table: notices on their way to the mail server.
//!
//! Owns: the durable queue of them. A notice about a fax is stored by [`queue`] in the transaction of the
//! change it tells of, so none is lost and none is told of what did not happen. One that calls for a person
//! is made of the event log, in the transaction that notes how far the log was looked through. One row for
//! each recipient, so that one who cannot be reached keeps no other waiting. Refuses: to hold whole numbers;
//! the fax has them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Db, DbError, events, from_ms, jobs, meta, parse, to_ms};
use crate::fax::alert::Alert;
use crate::fax::notice::Notice;
use crate::fax::notify::Address;
use crate::id::MailId;

/// Rows that one transaction gives up or forgets at most.
const AT_ONCE: u32 = 1000;
/// Events that one transaction makes notices of at most.
const ALERTS_AT_ONCE: u32 = 100;

/// One notice to one recipient.
#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    /// Its id, which receivers see.
    pub id: MailId,
    /// Whom it is for.
    pub to: Address,
    /// What it tells.
    pub notice: Notice,
    /// How often it was tried.
    pub tries: u32,
    /// When what it tells of happened; its time counts from then.
    pub first_at: Timestamp,
}

/// What is to be done next.
#[derive(Debug, PartialEq)]
pub struct NextMail {
    /// The mail that is due, the longest due first.
    pub due: Option<Mail>,
    /// When the next one is due, if any waits.
    pub next_at: Option<Timestamp>,
    /// Since when the oldest one waits.
    pub oldest_at: Option<Timestamp>,
}

impl Db {
    /// What is to be done at `now`.
    pub fn next_mail(&self, now: Timestamp) -> Result<NextMail, DbError> {
        self.point(|connection| {
            let (next_at, oldest_at): (Option<i64>, Option<i64>) = connection
                .prepare_cached(
                    "SELECT (SELECT min(next_try_at) FROM mails WHERE given_up_at IS NULL), \
                     (SELECT min(first_at) FROM mails WHERE given_up_at IS NULL)",
                )?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let row: Option<(String, String, String, u32, i64)> = connection
                .prepare_cached(
                    "SELECT message_id, recipient, notice, tries, first_at FROM mails \
                     WHERE given_up_at IS NULL AND next_try_at <= ?1 ORDER BY next_try_at, seq LIMIT 1",
                )?
                .query_row([to_ms(now)], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
                })
                .optional()?;
            let read = |(id, to, notice, tries, first_at): (String, String, String, u32, i64)| {
                Ok::<_, DbError>(Mail {
                    id: parse(&id, "mails.message_id")?,
                    to: parse(&to, "mails.recipient")?,
                    notice: serde_json::from_str(&notice)
                        .map_err(|_| DbError::Damaged { what: "mails.notice" })?,
                    tries,
                    first_at: from_ms(first_at, "mails.first_at")?,
                })
            };
            let time = |at: Option<i64>| at.map(|at| from_ms(at, "mails times")).transpose();
            Ok(NextMail {
                due: row.map(read).transpose()?,
                next_at: time(next_at)?,
                oldest_at: time(oldest_at)?,
            })
        })
    }

    /// Puts what the event log has had for a person since the last time on its way to each of `to`, some of
    /// it; answers whether there was any. What nobody is told now, nobody is told later.
    pub async fn queue_alerts(&self, to: Vec<Address>) -> Result<bool, DbError> {
        let next = |connection: &Connection| {
            events::alerts_after(connection, meta::alerts_told(connection)?, ALERTS_AT_ONCE)
        };
        // Nearly always there is none, and then nothing is written.
        if self.point(next)?.is_empty() {
            return Ok(false);
        }
        self.write(move |transaction| {
            for logged in next(transaction)? {
                if let Some(alert) = Alert::of(&logged.event) {
                    let at = alert.at;
                    queue(transaction, &to, &Notice::Alert(alert), at)?;
                }
                meta::put_alerts_told(transaction, logged.seq)?;
            }
            Ok(true)
        })
        .await
    }

    /// Removes a mail that the server has taken.
    pub async fn mail_sent(&self, id: MailId) -> Result<(), DbError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached("DELETE FROM mails WHERE message_id = ?1")?
                .execute([id.to_string()])?;
            Ok(())
        })
        .await
    }

    /// Notes a try that failed; the next one is at this time, or there is none any more.
    pub async fn mail_failed(
        &self,
        id: MailId,
        error: String,
        next_try_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "UPDATE mails SET tries = tries + 1, error = ?2, next_try_at = ifnull(?3, next_try_at), \
                     given_up_at = iif(?3 IS NULL, ?4, NULL) WHERE message_id = ?1",
                )?
                .execute(params![id.to_string(), error, next_try_at.map(to_ms), to_ms(now)])?;
            Ok(())
        })
        .await
    }

    /// Gives up some of what waits since `since` or before; answers how many, 0 at the end. What was
    /// given up at `forget` or before is forgotten.
    pub async fn give_up_mails(
        &self,
        since: Timestamp,
        forget: Timestamp,
        now: Timestamp,
    ) -> Result<usize, DbError> {
        // Nearly always there is none, and then nothing is written.
        let is_any = self.point(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT 1 FROM mails WHERE given_up_at IS NULL AND first_at <= ?1 \
                 UNION ALL SELECT 1 FROM mails WHERE given_up_at <= ?2",
            )?;
            Ok(statement.exists(params![to_ms(since), to_ms(forget)])?)
        })?;
        if !is_any {
            return Ok(0);
        }
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "DELETE FROM mails WHERE seq IN (SELECT seq FROM mails WHERE given_up_at <= ?1 LIMIT ?2)",
                )?
                .execute(params![to_ms(forget), AT_ONCE])?;
            let given_up = transaction
                .prepare_cached(
                    "UPDATE mails SET given_up_at = ?2 WHERE seq IN (SELECT seq FROM mails \
                     WHERE given_up_at IS NULL AND first_at <= ?1 LIMIT ?3)",
                )?
                .execute(params![to_ms(since), to_ms(now), AT_ONCE])?;
            Ok(given_up)
        })
        .await
    }

    /// How many mails were given up after `since`, and when the last one was.
    pub fn mails_given_up(&self, since: Timestamp) -> Result<(u64, Option<Timestamp>), DbError> {
        self.point(|connection| {
            let (count, last): (i64, Option<i64>) = connection
                .prepare_cached("SELECT count(*), max(given_up_at) FROM mails WHERE given_up_at > ?1")?
                .query_row([to_ms(since)], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let last = last.map(|at| from_ms(at, "mails.given_up_at")).transpose()?;
            Ok((count.unsigned_abs(), last))
        })
    }
}

/// Puts a notice on its way to all who are to be told, in the transaction of what it tells.
pub(super) fn queue(
    transaction: &Transaction<'_>,
    to: &[Address],
    notice: &Notice,
    at: Timestamp,
) -> Result<(), DbError> {
    let notice = jobs::to_json(notice);
    let mut statement = transaction.prepare_cached(
        "INSERT INTO mails(message_id, recipient, notice, first_at, next_try_at) VALUES (?1, ?2, ?3, ?4, ?4)",
    )?;
    for to in to {
        statement.execute(params![MailId::new().to_string(), to.as_str(), notice, to_ms(at)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::fax::event::Event;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn addresses(to: &[&str]) -> Vec<Address> {
        to.iter().map(|to| to.parse().unwrap()).collect()
    }

    async fn add(db: &Db, to: &[&str], at: Timestamp) {
        let to = addresses(to);
        let notice = Notice::GroupDone {
            group: "x".into(),
            faxes: 2,
            delivered: 1,
            sentence: "1 of 2 delivered, 1 failed.".into(),
            confirmed_pages: 1,
            pages: 2,
            at,
        };
        db.write(move |transaction| queue(transaction, &to, &notice, at)).await.unwrap();
    }

    #[tokio::test]
    async fn each_recipient_has_a_mail_that_waits_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&crate::db::file_in(folder.path())).unwrap();
        let none = NextMail { due: None, next_at: None, oldest_at: None };
        assert_eq!(db.next_mail(now()).unwrap(), none);
        add(&db, &["a@example.org", "b@example.org"], now()).await;
        assert_eq!(db.next_mail(now() - HOUR).unwrap().due, None, "not before its time");
        let due = || db.next_mail(now() + HOUR).unwrap().due;
        let first = due().unwrap();
        assert_eq!((first.to.as_str(), first.tries, first.first_at), ("a@example.org", 0, now()));
        db.mail_failed(first.id, "busy".into(), Some(now() + HOUR * 2), now()).await.unwrap();
        let second = due().unwrap();
        assert_eq!(second.to.as_str(), "b@example.org");
        db.mail_sent(second.id).await.unwrap();
        let next = db.next_mail(now() + HOUR).unwrap();
        assert_eq!(next, NextMail { due: None, next_at: Some(now() + HOUR * 2), oldest_at: Some(now()) });
        assert_eq!(db.next_mail(now() + HOUR * 2).unwrap().due, Some(Mail { tries: 1, ..first.clone() }));

        // Refused for good, and waiting for too long.
        db.mail_failed(first.id, "no such user".into(), None, now() + HOUR * 2).await.unwrap();
        add(&db, &["c@example.org"], now() + HOUR).await;
        let give_up = async |hours| {
            let at = now() + HOUR * hours;
            db.give_up_mails(at - HOUR * 24, at - HOUR * 24 * 7, at).await.unwrap()
        };
        assert_eq!((give_up(24).await, give_up(25).await, give_up(25).await), (0, 1, 0));
        assert_eq!(db.mails_given_up(now()).unwrap(), (2, Some(now() + HOUR * 25)));
        assert_eq!(db.mails_given_up(now() + HOUR * 2).unwrap().0, 1);
        assert_eq!(db.next_mail(now() + HOUR * 99).unwrap(), none);
        give_up(24 * 9).await;
        assert_eq!(db.mails_given_up(now()).unwrap(), (0, None));
    }

    #[tokio::test]
    async fn of_what_calls_for_a_person_each_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&crate::db::file_in(folder.path())).unwrap();
        let happens = async |route: &str, what: &str| {
            let event = Event::route(route, what, serde_json::json!({ "out_s": 60 }), now());
            db.tell(event).await.unwrap();
        };
        let mut told = Vec::new();
        let mut tell = async |to: &[&str]| {
            while db.queue_alerts(addresses(to)).await.unwrap() {}
            while let Some(mail) = db.next_mail(now()).unwrap().due {
                let Notice::Alert(alert) = mail.notice else { panic!("{mail:?}") };
                told.push(format!("{}: {}", mail.to.as_str(), alert.subject));
                db.mail_sent(mail.id).await.unwrap();
            }
            std::mem::take(&mut told)
        };
        assert!(tell(&["a@example.org"]).await.is_empty());
        happens("first", "in_service").await;
        happens("first", "of_no_such_type").await;
        happens("second", "out_of_service").await;
        assert_eq!(
            tell(&["a@example.org", "b@example.org"]).await,
            [
                "a@example.org: Line first is in service again",
                "b@example.org: Line first is in service again",
                "a@example.org: Line second is out of service",
                "b@example.org: Line second is out of service",
            ]
        );
        happens("third", "in_service").await;
        assert!(tell(&[]).await.is_empty(), "nobody is to be told");
        assert!(tell(&["a@example.org"]).await.is_empty(), "nor later");
        for route in 0..ALERTS_AT_ONCE + 1 {
            happens(&route.to_string(), "in_service").await;
        }
        assert_eq!(tell(&["a@example.org"]).await.len(), ALERTS_AT_ONCE as usize + 1);
    }
}
