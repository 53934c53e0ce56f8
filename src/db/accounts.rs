//! The `accounts` table: users and service accounts.
//!
//! Owns: their rows. Names are unique without regard to ASCII case.

use rusqlite::{Row, Transaction, params};
use serde_json::Value;

use super::audit::Audited;
use super::{Db, DbError, events, from_ms, parse, to_ms};
use crate::access::records::AccountRecord;
use crate::access::roles::Grant;
use crate::fax::event::Event;
use crate::id::AccountId;

impl Db {
    /// All accounts, in order of creation.
    pub async fn accounts(&self) -> Result<Vec<AccountRecord>, DbError> {
        self.list(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, kind, name, role, status, created_at, grants FROM accounts ORDER BY id",
            )?;
            let mut rows = statement.query([])?;
            let mut accounts = Vec::new();
            while let Some(row) = rows.next()? {
                accounts.push(read(row)?);
            }
            Ok(accounts)
        })
        .await
    }
}

impl Audited<'_> {
    /// Stores a new account; [`DbError::Conflict`] when its name is taken.
    pub async fn insert_account(self, account: AccountRecord) -> Result<(), DbError> {
        self.write(move |transaction| insert(transaction, &account)).await
    }

    /// Stores the grants of an account, together with the event that tells of it.
    /// [`DbError::Conflict`] when the account is not there.
    pub async fn update_grants(self, id: AccountId, grants: Vec<Grant>, event: Event) -> Result<(), DbError> {
        self.write(move |transaction| {
            let changed = transaction
                .prepare_cached("UPDATE accounts SET grants = ?2 WHERE id = ?1")?
                .execute(params![id.to_string(), grants_to_json(&grants)])?;
            if changed != 1 {
                return Err(DbError::Conflict);
            }
            events::append(transaction, &[event])
        })
        .await
    }
}

pub(super) fn insert(transaction: &Transaction<'_>, account: &AccountRecord) -> Result<(), DbError> {
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO accounts(id, kind, name, role, status, created_at, grants) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            account.id.to_string(),
            account.kind.as_str(),
            account.name,
            account.role.as_str(),
            account.status.as_str(),
            to_ms(account.created_at),
            grants_to_json(&account.grants),
        ])?;
    if inserted == 1 { Ok(()) } else { Err(DbError::Conflict) }
}

fn read(row: &Row<'_>) -> Result<AccountRecord, DbError> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    Ok(AccountRecord {
        id: parse(text(0)?, "accounts.id")?,
        kind: parse(text(1)?, "accounts.kind")?,
        name: row.get(2)?,
        role: parse(text(3)?, "accounts.role")?,
        status: parse(text(4)?, "accounts.status")?,
        created_at: from_ms(row.get(5)?, "accounts.created_at")?,
        grants: grants_from_json(text(6)?)?,
    })
}

fn grants_to_json(grants: &[Grant]) -> String {
    Value::from_iter(grants.iter().map(|grant| grant.as_str())).to_string()
}

fn grants_from_json(json: &str) -> Result<Vec<Grant>, DbError> {
    const WHAT: &str = "accounts.grants";
    let names: Vec<String> = serde_json::from_str(json).map_err(|_| DbError::Damaged { what: WHAT })?;
    names.iter().map(|name| parse(name, WHAT)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;

    use super::super::audit::tests::{event, open};
    use super::*;
    use crate::access::records::{AccountKind, AccountStatus};
    use crate::access::roles::Role;
    use crate::id::AccountId;

    pub(in crate::db) fn account(name: &str) -> AccountRecord {
        AccountRecord {
            id: AccountId::new(),
            kind: AccountKind::Service,
            name: name.to_owned(),
            role: Role::Operator,
            status: AccountStatus::Active,
            grants: Vec::new(),
            created_at: Timestamp::from_millisecond(1_767_225_600_123).unwrap(),
        }
    }

    #[tokio::test]
    async fn names_are_unique_without_case() {
        let (_folder, db) = open();
        let clinic = account("Clinic");
        db.audited(event()).insert_account(clinic.clone()).await.unwrap();
        assert!(matches!(
            db.audited(event()).insert_account(account("clinic")).await,
            Err(DbError::Conflict)
        ));
        let other = account("other");
        db.audited(event()).insert_account(other.clone()).await.unwrap();
        let mut expected = [clinic, other];
        expected.sort_by_key(|account| account.id);
        assert_eq!(db.accounts().await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_change_is_stored_with_its_event_or_not_at_all() {
        let (_folder, db) = open();
        let (clinic, lab) = (account("Clinic"), account("Lab"));
        db.audited(event()).insert_account(clinic.clone()).await.unwrap();
        db.audited(event()).insert_account(lab.clone()).await.unwrap();
        let told = |at| Event {
            at,
            kind: "account.changed".into(),
            subject: format!("account:{}", lab.id),
            data: Value::Null,
        };
        let changed = AccountRecord { grants: vec![Grant::AccountKeyShow], ..lab.clone() };
        let grants = changed.grants.clone();
        db.audited(event()).update_grants(lab.id, grants.clone(), told(lab.created_at)).await.unwrap();
        let unknown = db.audited(event()).update_grants(AccountId::new(), grants, told(lab.created_at)).await;
        assert!(matches!(unknown, Err(DbError::Conflict)));
        let stored = db.accounts().await.unwrap();
        assert!(stored.contains(&changed) && stored.contains(&clinic));
        let events = db.events_about(format!("account:{}", lab.id), i64::MAX, 10).await.unwrap();
        assert_eq!(events.len(), 1);
    }
}
