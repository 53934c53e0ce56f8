//! The tables of people: `people`, `recovery_codes`, `sessions`, `setup_links`, `removed_accounts`.
//!
//! Owns: their rows, and the changes of `accounts` that people make. Invariants: the last
//! administrator who can sign in stays one; a recovery code, a time step and a link work once; who
//! is disabled, removed, given another role or a new password is signed out in the same commit.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use rusqlite::{Row, Transaction, params};

use super::audit::Audited;
use super::{Db, DbError, accounts, from_ms, optional, parse, to_ms};
use crate::access::people::{LinkRecord, PersonRecord, SecondFactor, SessionRecord, TokenHash, TotpRecord};
use crate::access::records::AccountRecord;
use crate::id::{AccountId, SessionId};
use crate::secret::Secret;

const PERSON: &str = "SELECT account_id, password_phc, password_set_at, must_change, totp_sealed, totp_on_since, \
     totp_step, failed_tries, last_failed_at, last_login_at, last_login_ip, \
     (SELECT count(*) FROM recovery_codes AS codes WHERE codes.account_id = people.account_id) FROM people";

impl Db {
    /// What is kept of this person; the default when there is nothing.
    pub fn person(&self, account: AccountId) -> Result<PersonRecord, DbError> {
        self.point(|connection| {
            let mut statement = connection.prepare_cached(&format!("{PERSON} WHERE account_id = ?1"))?;
            let mut rows = statement.query([account.to_string()])?;
            Ok(rows.next()?.map(read_person).transpose()?.map(|(_, person)| person).unwrap_or_default())
        })
    }

    /// All people.
    pub async fn people(&self) -> Result<HashMap<AccountId, PersonRecord>, DbError> {
        self.list(|connection| {
            let mut statement = connection.prepare_cached(PERSON)?;
            let mut rows = statement.query([])?;
            let mut people = HashMap::new();
            while let Some(row) = rows.next()? {
                people.extend([read_person(row)?]);
            }
            Ok(people)
        })
        .await
    }

    /// Accounts that were removed.
    pub async fn removed_accounts(&self) -> Result<HashSet<AccountId>, DbError> {
        self.list(|connection| {
            let mut statement = connection.prepare_cached("SELECT account_id FROM removed_accounts")?;
            let mut rows = statement.query([])?;
            let mut removed = HashSet::new();
            while let Some(row) = rows.next()? {
                removed.insert(parse(
                    row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?,
                    "removed_accounts.account_id",
                )?);
            }
            Ok(removed)
        })
        .await
    }

    /// Notes how many wrong passwords in a row there were; 0 forgets them.
    pub async fn note_failed_tries(
        &self,
        account: AccountId,
        tries: u32,
        at: Timestamp,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "UPDATE people SET failed_tries = ?2, last_failed_at = ?3 WHERE account_id = ?1",
                )?
                .execute(params![account.to_string(), tries, (tries > 0).then(|| to_ms(at))])?;
            Ok(())
        })
        .await
    }

    /// All sessions.
    pub async fn sessions(&self) -> Result<Vec<SessionRecord>, DbError> {
        self.list(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, token_hash, account_id, created_at, last_seen_at, address, agent FROM sessions ORDER BY id",
            )?;
            let mut rows = statement.query([])?;
            let mut sessions = Vec::new();
            while let Some(row) = rows.next()? {
                sessions.push(read_session(row)?);
            }
            Ok(sessions)
        })
        .await
    }

    /// Removes sessions whose time is over.
    pub async fn remove_sessions(&self, ids: Vec<SessionId>) -> Result<(), DbError> {
        self.write(move |transaction| delete_sessions(transaction, &ids)).await
    }

    /// Notes when these sessions were last seen, all at once.
    pub async fn note_sessions_seen(&self, seen: Vec<(SessionId, Timestamp)>) -> Result<(), DbError> {
        self.write(move |transaction| {
            let mut statement =
                transaction.prepare_cached("UPDATE sessions SET last_seen_at = ?2 WHERE id = ?1")?;
            seen.iter()
                .try_for_each(|(id, at)| statement.execute(params![id.to_string(), to_ms(*at)]).map(drop))?;
            Ok(())
        })
        .await
    }

    /// Keeps a second factor until its first code is entered; replaces one that waits for that.
    pub async fn begin_totp(&self, account: AccountId, sealed: Vec<u8>) -> Result<(), DbError> {
        self.write(move |transaction| {
            let begun = transaction
                .prepare_cached(
                    "UPDATE people SET totp_sealed = ?2 WHERE account_id = ?1 AND totp_on_since IS NULL",
                )?
                .execute(params![account.to_string(), sealed])?;
            if begun == 1 { Ok(()) } else { Err(DbError::Conflict) }
        })
        .await
    }

    /// The link with this hash.
    pub fn link(&self, token_hash: TokenHash) -> Result<Option<LinkRecord>, DbError> {
        self.point(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT account_id, expires_at FROM setup_links WHERE token_hash = ?1")?;
            let mut rows = statement.query([token_hash.as_slice()])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let account: Option<String> = row.get(0)?;
            Ok(Some(LinkRecord {
                token_hash,
                account: account.map(|id| parse(&id, "setup_links.account_id")).transpose()?,
                expires_at: from_ms(row.get(1)?, "setup_links.expires_at")?,
            }))
        })
    }
}

impl Audited<'_> {
    /// Ends these sessions.
    pub async fn end_sessions(self, ids: Vec<SessionId>) -> Result<(), DbError> {
        self.write(move |transaction| delete_sessions(transaction, &ids)).await
    }

    /// Stores a new account, with a password or a link to choose one. [`DbError::Conflict`] when
    /// its name is taken.
    pub async fn insert_person(
        self,
        account: AccountRecord,
        password: Option<(Secret<String>, bool)>,
        link: Option<LinkRecord>,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            accounts::insert(transaction, &account)?;
            if let Some((phc, must_change)) = &password {
                put_password(transaction, account.id, phc, *must_change, account.created_at)?;
            }
            link.iter().try_for_each(|link| put_link(transaction, link))
        })
        .await
    }

    /// Makes the first administrator with this link, signed in. [`DbError::Conflict`] when the link
    /// is used, ended or not for that.
    pub async fn insert_first_administrator(
        self,
        link: TokenHash,
        account: AccountRecord,
        phc: Secret<String>,
        session: SessionRecord,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            take_link(transaction, &link, None, account.created_at)?;
            accounts::insert(transaction, &account)?;
            put_password(transaction, account.id, &phc, false, account.created_at)?;
            insert_session(transaction, &session)
        })
        .await
    }

    /// Gives a person the password chosen with this link, signed in there and nowhere else.
    /// [`DbError::Conflict`] when the link is used, ended or somebody else's.
    pub async fn take_up_link(
        self,
        link: TokenHash,
        account: AccountId,
        phc: Secret<String>,
        session: SessionRecord,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            take_link(transaction, &link, Some(account), session.created_at)?;
            put_password(transaction, account, &phc, false, session.created_at)?;
            end_sessions(transaction, account, None)?;
            insert_session(transaction, &session)
        })
        .await
    }

    /// Stores role and status of an account and signs its person out. [`DbError::Conflict`] when
    /// it is the last administrator who can sign in and would no longer be one.
    pub async fn update_role_and_status(self, account: AccountRecord) -> Result<(), DbError> {
        self.write(move |transaction| {
            if !account.is_active_administrator() {
                keep_an_administrator(transaction, account.id)?;
            }
            transaction
                .prepare_cached("UPDATE accounts SET name = ?2, role = ?3, status = ?4 WHERE id = ?1")?
                .execute(params![
                    account.id.to_string(),
                    account.name,
                    account.role.as_str(),
                    account.status.as_str()
                ])?;
            end_sessions(transaction, account.id, None)
        })
        .await
    }

    /// Removes an account: what it needs to sign in goes, its row stays under the name given, for
    /// the keys and faxes it owned. [`DbError::Conflict`] as with [`Self::update_role_and_status`].
    pub async fn remove_account(self, account: AccountRecord, at: Timestamp) -> Result<(), DbError> {
        self.write(move |transaction| {
            let id = account.id.to_string();
            keep_an_administrator(transaction, account.id)?;
            transaction
                .prepare_cached("UPDATE accounts SET name = ?2, status = ?3 WHERE id = ?1")?
                .execute(params![id, account.name, account.status.as_str()])?;
            for table in ["sessions", "setup_links", "recovery_codes", "people"] {
                transaction.execute(&format!("DELETE FROM {table} WHERE account_id = ?1"), [&id])?;
            }
            transaction.execute("INSERT INTO removed_accounts VALUES (?1, ?2)", params![id, to_ms(at)])?;
            Ok(())
        })
        .await
    }

    /// Stores a new password and ends all sessions but one, and a link to choose another.
    pub async fn set_password(
        self,
        account: AccountId,
        phc: Secret<String>,
        must_change: bool,
        at: Timestamp,
        keep: Option<SessionId>,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            put_password(transaction, account, &phc, must_change, at)?;
            transaction.execute("DELETE FROM setup_links WHERE account_id = ?1", [account.to_string()])?;
            end_sessions(transaction, account, keep)
        })
        .await
    }

    /// Signs a person in whose password was `phc`. [`DbError::Conflict`] when the password was
    /// changed meanwhile, or the second factor was used before.
    pub async fn begin_session(
        self,
        session: SessionRecord,
        phc: Secret<String>,
        forget_failures: bool,
        factor: SecondFactor,
        replaces: Option<TokenHash>,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            let account = session.account;
            let noted = transaction
                .prepare_cached(
                    "UPDATE people SET failed_tries = CASE WHEN ?3 THEN 0 ELSE failed_tries END \
                     WHERE account_id = ?1 AND password_phc = ?2",
                )?
                .execute(params![account.to_string(), phc.reveal(), forget_failures])?;
            if noted != 1 {
                return Err(DbError::Conflict);
            }
            use_factor(transaction, account, factor)?;
            if let Some(token_hash) = replaces {
                transaction.execute("DELETE FROM sessions WHERE token_hash = ?1", [token_hash.as_slice()])?;
            }
            insert_session(transaction, &session)
        })
        .await
    }

    /// Puts the second factor in force, with its recovery codes; the code of `step` is used up.
    /// [`DbError::Conflict`] when another one was begun meanwhile.
    pub async fn confirm_totp(
        self,
        account: AccountId,
        sealed: Vec<u8>,
        step: u64,
        codes: Vec<TokenHash>,
        at: Timestamp,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            let id = account.to_string();
            let confirmed = transaction
                .prepare_cached(
                    "UPDATE people SET totp_on_since = ?3, totp_step = ?4 \
                     WHERE account_id = ?1 AND totp_sealed = ?2 AND totp_on_since IS NULL",
                )?
                .execute(params![id, sealed, to_ms(at), i64::try_from(step).unwrap_or(i64::MAX)])?;
            if confirmed != 1 {
                return Err(DbError::Conflict);
            }
            transaction.execute("DELETE FROM recovery_codes WHERE account_id = ?1", [&id])?;
            let mut statement = transaction.prepare_cached("INSERT INTO recovery_codes VALUES (?1, ?2)")?;
            codes.iter().try_for_each(|code| statement.execute(params![id, code.as_slice()]).map(drop))?;
            Ok(())
        })
        .await
    }

    /// Switches the second factor off.
    pub async fn disable_totp(self, account: AccountId) -> Result<(), DbError> {
        self.write(move |transaction| drop_totp(transaction, account)).await
    }

    /// Stores a link; it replaces the one before for the same account. With `is_reset` the second
    /// factor goes too.
    pub async fn put_link(self, link: LinkRecord, is_reset: bool) -> Result<(), DbError> {
        self.write(move |transaction| {
            if let (Some(account), true) = (link.account, is_reset) {
                drop_totp(transaction, account)?;
            }
            put_link(transaction, &link)
        })
        .await
    }
}

fn delete_sessions(transaction: &Transaction<'_>, ids: &[SessionId]) -> Result<(), DbError> {
    let mut statement = transaction.prepare_cached("DELETE FROM sessions WHERE id = ?1")?;
    ids.iter().try_for_each(|id| statement.execute([id.to_string()]).map(drop))?;
    Ok(())
}

fn put_password(
    transaction: &Transaction<'_>,
    account: AccountId,
    phc: &Secret<String>,
    must_change: bool,
    at: Timestamp,
) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO people(account_id, password_phc, must_change, password_set_at) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET password_phc = excluded.password_phc, must_change = excluded.must_change, \
             password_set_at = excluded.password_set_at, failed_tries = 0, last_failed_at = NULL",
        )?
        .execute(params![account.to_string(), phc.reveal(), must_change, to_ms(at)])?;
    Ok(())
}

fn put_link(transaction: &Transaction<'_>, link: &LinkRecord) -> Result<(), DbError> {
    let account = optional(link.account.as_ref());
    transaction.prepare_cached("DELETE FROM setup_links WHERE account_id IS ?1")?.execute([&account])?;
    transaction
        .prepare_cached("INSERT INTO setup_links(token_hash, account_id, expires_at) VALUES (?1, ?2, ?3)")?
        .execute(params![link.token_hash.as_slice(), account, to_ms(link.expires_at)])?;
    Ok(())
}

/// Uses a link up.
fn take_link(
    transaction: &Transaction<'_>,
    token_hash: &TokenHash,
    account: Option<AccountId>,
    now: Timestamp,
) -> Result<(), DbError> {
    let taken = transaction
        .prepare_cached(
            "DELETE FROM setup_links WHERE token_hash = ?1 AND account_id IS ?2 AND expires_at > ?3",
        )?
        .execute(params![token_hash.as_slice(), optional(account.as_ref()), to_ms(now)])?;
    if taken == 1 { Ok(()) } else { Err(DbError::Conflict) }
}

/// Refuses to go on when nobody but this account could manage everything.
fn keep_an_administrator(transaction: &Transaction<'_>, account: AccountId) -> Result<(), DbError> {
    const IS_ADMINISTRATOR: &str = "kind = 'user' AND role = 'global_admin' AND status = 'active'";
    let id = account.to_string();
    let is_one: bool = transaction
        .prepare_cached(&format!(
            "SELECT EXISTS (SELECT 1 FROM accounts WHERE id = ?1 AND {IS_ADMINISTRATOR})"
        ))?
        .query_row([&id], |row| row.get(0))?;
    let is_there_another: bool = transaction
        .prepare_cached(&format!(
            "SELECT EXISTS (SELECT 1 FROM accounts JOIN people ON account_id = id \
             WHERE id <> ?1 AND password_phc IS NOT NULL AND {IS_ADMINISTRATOR})"
        ))?
        .query_row([&id], |row| row.get(0))?;
    if is_one && !is_there_another { Err(DbError::Conflict) } else { Ok(()) }
}

fn end_sessions(
    transaction: &Transaction<'_>,
    account: AccountId,
    keep: Option<SessionId>,
) -> Result<(), DbError> {
    transaction
        .prepare_cached("DELETE FROM sessions WHERE account_id = ?1 AND id IS NOT ?2")?
        .execute(params![account.to_string(), optional(keep.as_ref())])?;
    Ok(())
}

fn insert_session(transaction: &Transaction<'_>, session: &SessionRecord) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO sessions(id, token_hash, account_id, created_at, last_seen_at, address, agent) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            session.id.to_string(),
            session.token_hash.as_slice(),
            session.account.to_string(),
            to_ms(session.created_at),
            to_ms(session.last_seen_at),
            optional(session.address.as_ref()),
            session.agent,
        ])?;
    transaction
        .prepare_cached("UPDATE people SET last_login_at = ?2, last_login_ip = ?3 WHERE account_id = ?1")?
        .execute(params![
            session.account.to_string(),
            to_ms(session.created_at),
            optional(session.address.as_ref())
        ])?;
    Ok(())
}

fn use_factor(
    transaction: &Transaction<'_>,
    account: AccountId,
    factor: SecondFactor,
) -> Result<(), DbError> {
    let id = account.to_string();
    let used = match factor {
        SecondFactor::None => transaction
            .prepare_cached(
                "UPDATE people SET totp_step = totp_step WHERE account_id = ?1 AND totp_on_since IS NULL",
            )?
            .execute([id])?,
        SecondFactor::Step(step) => transaction
            .prepare_cached("UPDATE people SET totp_step = ?2 WHERE account_id = ?1 AND totp_step < ?2")?
            .execute(params![id, i64::try_from(step).unwrap_or(i64::MAX)])?,
        SecondFactor::RecoveryCode(hash) => transaction
            .prepare_cached("DELETE FROM recovery_codes WHERE account_id = ?1 AND code_hash = ?2")?
            .execute(params![id, hash.as_slice()])?,
    };
    if used == 1 { Ok(()) } else { Err(DbError::Conflict) }
}

fn drop_totp(transaction: &Transaction<'_>, account: AccountId) -> Result<(), DbError> {
    let id = account.to_string();
    transaction.execute(
        "UPDATE people SET totp_sealed = NULL, totp_on_since = NULL, totp_step = 0 WHERE account_id = ?1",
        [&id],
    )?;
    transaction.execute("DELETE FROM recovery_codes WHERE account_id = ?1", [&id])?;
    Ok(())
}

fn read_person(row: &Row<'_>) -> Result<(AccountId, PersonRecord), DbError> {
    let id: String = row.get(0)?;
    let phc: Option<String> = row.get(1)?;
    let sealed: Option<Vec<u8>> = row.get(4)?;
    let totp_on_since = time(row, 5, "people.totp_on_since")?;
    let step: i64 = row.get(6)?;
    let address: Option<String> = row.get(10)?;
    let person = PersonRecord {
        password: phc.map(Secret::new),
        password_set_at: time(row, 2, "people.password_set_at")?,
        must_change: row.get(3)?,
        totp: sealed.map(|sealed| TotpRecord {
            sealed,
            on_since: totp_on_since,
            last_step: u64::try_from(step).unwrap_or_default(),
        }),
        recovery_codes: row.get(11)?,
        failed_tries: row.get(7)?,
        last_failed_at: time(row, 8, "people.last_failed_at")?,
        last_login_at: time(row, 9, "people.last_login_at")?,
        last_login_ip: address.map(|address| parse(&address, "people.last_login_ip")).transpose()?,
    };
    Ok((parse(&id, "people.account_id")?, person))
}

fn read_session(row: &Row<'_>) -> Result<SessionRecord, DbError> {
    let (id, account): (String, String) = (row.get(0)?, row.get(2)?);
    let address: Option<String> = row.get(5)?;
    Ok(SessionRecord {
        id: parse(&id, "sessions.id")?,
        token_hash: row.get(1)?,
        account: parse(&account, "sessions.account_id")?,
        created_at: from_ms(row.get(3)?, "sessions.created_at")?,
        last_seen_at: from_ms(row.get(4)?, "sessions.last_seen_at")?,
        address: address.map(|address| parse(&address, "sessions.address")).transpose()?,
        agent: row.get(6)?,
    })
}

fn time(row: &Row<'_>, column: usize, what: &'static str) -> Result<Option<Timestamp>, DbError> {
    row.get::<_, Option<i64>>(column)?.map(|ms| from_ms(ms, what)).transpose()
}
