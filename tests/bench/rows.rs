//! A history of faxes, and limits of keys, written straight into the database of a stopped server.

use std::path::Path;

use rusqlite::{Connection, params};

/// Adds so many ended faxes: nine of ten delivered, the others failed.
pub fn fill(database: &Path, rows: u32) {
    let mut connection = Connection::open(database).expect("the database opens");
    let transaction = connection.transaction().expect("a transaction");
    {
        let mut insert = transaction
            .prepare(
                "INSERT INTO jobs (id, owner_id, to_raw, to_e164, route, state, status, priority, rank, resolution,
                    quality, pages, confirmed_pages, source_sha256, attempts, dials, tries, outcome, deadline_at,
                    created_at, updated_at, final_at)
                 VALUES (?1, ?2, ?3, ?3, 'loopback', ?4, ?5, 'normal', 1, 'fine', 'text', 2, ?6, '', 1, 1, 1, ?7,
                    ?8, ?8, ?8, ?8)",
            )
            .expect("the table is as expected");
        for row in 0..rows {
            let is_delivered = row % 10 != 0;
            let (state, status, confirmed) =
                if is_delivered { ("delivered", "SUCCESS", 2) } else { ("failed", "FAILED", 0) };
            let class = if is_delivered { "delivered" } else { "busy" };
            let outcome = format!(
                r#"{{"class":"{class}","code":"{class}","retryable":false,"who_acts":null,"human":"It ended.","next_try_at":null,"detail":{{}}}}"#
            );
            let at = 1_700_000_000_000i64 + i64::from(row) * 60_000;
            let owner = format!("{:032x}", row % 50);
            let number = format!("+1555{:07}", row % 20_000);
            insert
                .execute(params![format!("{row:032x}"), owner, number, state, status, confirmed, outcome, at])
                .expect("a row is written");
        }
    }
    transaction.commit().expect("the history is written");
}

/// Gives every key quotas that no load reaches; they are counted all the same.
pub fn lift_limits(database: &Path) {
    let connection = Connection::open(database).expect("the database opens");
    let limits = r#"{"per_minute":4000000000,"per_hour":4000000000}"#;
    connection.execute("UPDATE api_keys SET limits = ?1", [limits]).expect("the limits are lifted");
}

/// Copies the first key, under other ids, until there are so many; their secret is the same.
pub fn add_keys(database: &Path, count: u32) {
    let mut connection = Connection::open(database).expect("the database opens");
    let transaction = connection.transaction().expect("a transaction");
    transaction
        .execute_batch(
            "CREATE TEMP TABLE key AS SELECT * FROM api_keys LIMIT 1;
             CREATE TEMP TABLE slot AS SELECT * FROM api_key_slots WHERE key_id = (SELECT id FROM key);",
        )
        .expect("there is a key");
    let present: u32 =
        transaction.query_row("SELECT count(*) FROM api_keys", [], |row| row.get(0)).expect("a count");
    for number in present..count {
        let id = format!("{number:012x}");
        for copy in [
            "UPDATE key SET id = ?1",
            "INSERT INTO api_keys SELECT * FROM key WHERE id = ?1",
            "UPDATE slot SET key_id = ?1",
            "INSERT INTO api_key_slots SELECT * FROM slot WHERE key_id = ?1",
        ] {
            transaction
                .prepare_cached(copy)
                .and_then(|mut copy| copy.execute([&id]))
                .expect("a copy is made");
        }
    }
    transaction.commit().expect("the keys are stored");
}

/// Gives each fax what a real one leaves: a call, its page, an event; and receives as many as there are faxes.
/// The first `over` of the faxes stay as old as they are, the others have ended today.
pub fn complete(database: &Path, over: u32) {
    let mut connection = Connection::open(database).expect("the database opens");
    let transaction = connection.transaction().expect("a transaction");
    transaction
        .execute_batch(&format!(
            "UPDATE jobs SET final_at = unixepoch() * 1000 WHERE seq > {over};
             INSERT INTO attempts (id, job_id, number, route, first_page, started_at, ended_at, outcome)
                 SELECT 'a' || substr(id, 2), id, 1, route, 1, created_at, final_at, outcome FROM jobs;
             INSERT INTO attempt_pages SELECT id, 1, ended_at, 9000, 1000 FROM attempts;
             INSERT INTO events (at, type, subject, data)
                 SELECT final_at, 'fax.delivered', id, '{{}}' FROM jobs;
             INSERT INTO inbound (id, route, pages, size_bytes, document_id, complete, received_at, updated_at)
                 SELECT 'b' || substr(id, 2), route, 1, 9000, 'd' || substr(id, 2), 1, final_at, final_at FROM jobs;"
        ))
        .expect("the history is completed");
    transaction.commit().expect("the history is written");
}
