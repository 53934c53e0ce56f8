//! Damage of every kind to a stored log, and what finds it.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::access::audit::chain::{Anchor, Known};

const ROWS: i64 = 200;
/// Printed with every failure; change it to look elsewhere.
const SEED: u64 = 20_261_121;

/// A database with its audit log open.
pub(in crate::db) fn open() -> (tempfile::TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&super::super::file_in(folder.path())).unwrap();
    db.start_audit(&Secret::new([9; 32]));
    (folder, db)
}

/// Something to tell, where what is told does not matter.
pub(in crate::db) fn event() -> AuditEvent {
    numbered(0)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn numbered(number: i64) -> AuditEvent {
    let context = Context { address: Some("192.0.2.1".parse().unwrap()), ..Context::cli(1000) };
    let target = Target::new("test", number);
    let event = context
        .event(Action::SettingsChanged, target, at(number))
        .before(Snapshot::new().with("value", number))
        .after(Snapshot::new().with("value", number + 1));
    event.reason(Some(format!("reason {number}")))
}

async fn of_rows(count: i64) -> (tempfile::TempDir, Db) {
    let (folder, db) = open();
    let more = (2..=count).map(numbered);
    db.audited(numbered(1)).and(more).record().await.unwrap();
    (folder, db)
}

/// What a verification says of the log as it stands.
async fn verify(db: &Db, anchor: Option<Anchor>) -> Result<u64, Fault> {
    verify_knowing(db, anchor).await.map(|(rows, _)| rows)
}

/// The same, with the damage that was accepted.
async fn verify_knowing(db: &Db, anchor: Option<Anchor>) -> Result<(u64, Vec<Known>), Fault> {
    let key = db.audit_key().unwrap();
    let page = db.audit_page(None, 10_000).await.unwrap();
    let genuine = |mark: Option<Mark>, name| mark.filter(|mark| mark.is_genuine(&key, name));
    let start = genuine(page.checkpoint, MarkName::Checkpoint).map_or(Place::BEGINNING, |mark| mark.place);
    let accepted = db.audit_accepted().await.unwrap();
    let mut verifier = Verifier::new(&key, start, anchor).accepting(accepted);
    page.rows.iter().try_for_each(|row| verifier.take(row))?;
    verifier.end(genuine(page.head, MarkName::Head).map(|mark| mark.place))?;
    Ok((verifier.rows(), verifier.known().to_vec()))
}

/// Takes note of damage that begins at this row.
async fn accept(db: &Db, first_bad_seq: i64, number: i64) {
    let told = Snapshot::new().with(Acceptance::FROM, first_bad_seq);
    let event = Context::cli(0).event(Action::AuditDamageAccepted, Target::new("audit", "log"), at(number));
    db.audited(event.after(told)).record().await.unwrap();
}

/// Does something to the stored log behind everybody's back, and undoes it after `look`.
async fn tampered(db: &Db, sql: &str) -> Result<u64, Fault> {
    let whole = "CREATE TEMP TABLE kept AS SELECT * FROM audit; CREATE TEMP TABLE marks AS SELECT * FROM audit_marks;";
    execute(db, whole).await;
    execute(db, sql).await;
    let found = verify(db, None).await;
    execute(
        db,
        "DELETE FROM audit; INSERT INTO audit SELECT * FROM kept; DROP TABLE kept; \
         DELETE FROM audit_marks; INSERT INTO audit_marks SELECT * FROM marks; DROP TABLE marks;",
    )
    .await;
    found
}

async fn execute(db: &Db, sql: &str) {
    let sql = sql.to_owned();
    db.write(move |transaction| Ok(transaction.execute_batch(&sql)?)).await.unwrap();
}

impl Db {
    /// Removes a row as somebody would who can write the file.
    pub(crate) async fn lose_audit_row(&self, seq: i64) {
        execute(self, &format!("DELETE FROM audit WHERE seq = {seq}")).await;
    }
}

async fn head(db: &Db) -> Place {
    db.audit_head().await.unwrap()
}

#[tokio::test]
async fn every_flipped_bit_is_found_at_its_row() {
    let (_folder, db) = of_rows(ROWS).await;
    assert_eq!(verify(&db, Some(head(&db).await)).await, Ok(ROWS as u64));
    let mut random = StdRng::seed_from_u64(SEED);
    for column in COLUMNS.split(", ") {
        for _ in 0..20 {
            let seq = random.random_range(1..=ROWS);
            let (kind, bytes) = stored(&db, column, seq).await;
            let bit = random.random_range(0..bytes.len() * 8);
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let hex: String = flipped.iter().map(|byte| format!("{byte:02x}")).collect();
            let value = match kind {
                Kind::Whole => i64::from_be_bytes(flipped.try_into().unwrap()).to_string(),
                Kind::Text => format!("CAST(x'{hex}' AS TEXT)"),
                Kind::Blob => format!("x'{hex}'"),
            };
            let sql = format!("UPDATE OR REPLACE audit SET {column} = {value} WHERE seq = {seq}");
            let fault = tampered(&db, &sql).await.expect_err(&format!("seed {SEED}: {sql}"));
            // A row with another number is missing where it was and misplaced where it is now.
            let moved: i64 = if column == "seq" { value.parse().unwrap() } else { seq };
            assert_eq!(fault.seq(), seq.min(moved), "seed {SEED}: {sql}: {fault}");
        }
    }
    assert_eq!(verify(&db, None).await, Ok(ROWS as u64));
}

enum Kind {
    Whole,
    Text,
    Blob,
}

async fn stored(db: &Db, column: &str, seq: i64) -> (Kind, Vec<u8>) {
    use rusqlite::types::ValueRef;
    // A column that is empty in these rows gets a value first.
    let sql = format!("SELECT coalesce({column}, 'null') FROM audit WHERE seq = {seq}");
    db.write(move |transaction| {
        Ok(transaction.query_row(&sql, [], |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Integer(whole) => (Kind::Whole, whole.to_be_bytes().to_vec()),
                ValueRef::Text(text) => (Kind::Text, text.to_vec()),
                ValueRef::Blob(bytes) => (Kind::Blob, bytes.to_vec()),
                ValueRef::Null | ValueRef::Real(_) => panic!("not a value of this table"),
            })
        })?)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn deleted_inserted_and_swapped_rows_are_found() {
    let (_folder, db) = of_rows(ROWS).await;
    let mut random = StdRng::seed_from_u64(SEED);
    for _ in 0..40 {
        let first = random.random_range(1..ROWS);
        let second = random.random_range(first + 1..=ROWS);
        let copied = COLUMNS.replacen("seq", "NEW", 1);
        let cases = [
            (format!("DELETE FROM audit WHERE seq = {first}"), first),
            (format!("DELETE FROM audit WHERE seq >= {second}"), second),
            (format!("DELETE FROM audit WHERE seq <= {first}"), 1),
            (
                format!(
                    "UPDATE audit SET seq = -1 WHERE seq = {first}; UPDATE audit SET seq = {first} WHERE seq = {second}; UPDATE audit SET seq = {second} WHERE seq = -1"
                ),
                first,
            ),
            (
                format!(
                    "INSERT INTO audit SELECT {} FROM audit WHERE seq = {first}",
                    copied.replace("NEW", &(ROWS + 1).to_string())
                ),
                ROWS + 1,
            ),
            (
                format!(
                    "INSERT INTO audit SELECT {} FROM audit WHERE seq = {first}",
                    copied.replace("NEW", "0")
                ),
                0,
            ),
            (
                // Room is made in the middle, as a forger would.
                format!(
                    "UPDATE audit SET seq = -seq - 1 WHERE seq > {first}; UPDATE audit SET seq = -seq WHERE seq < 0; \
                     INSERT INTO audit SELECT {} FROM audit WHERE seq = {first}",
                    copied.replace("NEW", &(first + 1).to_string())
                ),
                first + 1,
            ),
        ];
        for (sql, seq) in cases {
            let fault = tampered(&db, &sql).await.expect_err(&format!("seed {SEED}: {sql}"));
            assert_eq!(fault.seq(), seq, "seed {SEED}: {sql}: {fault}");
        }
    }
    assert_eq!(verify(&db, None).await, Ok(ROWS as u64));
}

#[tokio::test]
async fn the_marks_are_signed() {
    let (_folder, db) = of_rows(9).await;
    db.prune_audit(at(5), 100, at(100)).await.unwrap();
    for column in ["seq", "pruned", "at"] {
        for name in ["head", "checkpoint"] {
            let sql = format!("UPDATE audit_marks SET {column} = {column} + 1 WHERE name = '{name}'");
            assert!(tampered(&db, &sql).await.is_err(), "{sql}");
        }
    }
    let sql = "DELETE FROM audit_marks WHERE name = 'head'";
    assert_eq!(tampered(&db, sql).await, Err(Fault::Head { last: 10 }));
    let sql = "DELETE FROM audit_marks WHERE name = 'checkpoint'";
    assert_eq!(tampered(&db, sql).await, Err(Fault::Missing { first: 1, last: 4 }));
    let sql = "UPDATE audit_marks SET (seq, hash, pruned, at, mac) = (SELECT seq, hash, pruned, at, mac FROM audit_marks WHERE name = 'checkpoint') WHERE name = 'head'";
    assert_eq!(tampered(&db, sql).await, Err(Fault::Head { last: 10 }));
}

#[tokio::test]
async fn an_anchor_tells_what_the_log_alone_cannot() {
    let (_folder, db) = of_rows(20).await;
    let anchor = head(&db).await;
    db.audited(numbered(21)).record().await.unwrap();
    assert_eq!(verify(&db, Some(anchor)).await, Ok(21));
    let other = Place { hash: Hash([1; 32]), ..anchor };
    assert_eq!(verify(&db, Some(other)).await, Err(Fault::AnchorDiffers { seq: 20 }));
    // Somebody with the key cuts the log and signs a new end.
    let key = db.audit_key().unwrap();
    let tenth = db.audit_row(10).unwrap().unwrap().place();
    let forged = Mark::sign(&key, MarkName::Head, tenth, 0, 0);
    db.write(move |transaction| {
        transaction.execute("DELETE FROM audit WHERE seq > 10", [])?;
        store_mark(transaction, MarkName::Head, &forged)
    })
    .await
    .unwrap();
    assert_eq!(verify(&db, None).await, Ok(10));
    assert_eq!(verify(&db, Some(anchor)).await, Err(Fault::AnchorBeyond { last: 10, anchor: 20 }));
}

#[tokio::test]
async fn what_was_cut_off_shows_for_good() {
    // With the old head left, the next row leaves a gap.
    let (_folder, db) = of_rows(9).await;
    execute(&db, "DELETE FROM audit WHERE seq > 7").await;
    db.audited(event()).record().await.unwrap();
    assert_eq!(verify(&db, None).await, Err(Fault::Missing { first: 8, last: 9 }));
    // With the head removed, the next row is preceded by one that says so.
    let (_folder, db) = of_rows(9).await;
    execute(&db, "DELETE FROM audit WHERE seq > 7; DELETE FROM audit_marks").await;
    db.audited(event()).record().await.unwrap();
    assert_eq!(verify(&db, None).await, Err(Fault::Broken { seq: 8 }));
    assert_eq!(head(&db).await.seq, 9);
    db.audited(event()).record().await.unwrap();
    let told = db.events_after(0, 10).await.unwrap();
    assert_eq!(told.iter().map(|logged| logged.event.kind.as_str()).collect::<Vec<_>>(), ["audit.damaged"]);
    // A row forged at the end does not stop the log.
    let (_folder, db) = of_rows(9).await;
    let forged = COLUMNS.replacen("seq", "10", 1);
    execute(&db, &format!("INSERT INTO audit SELECT {forged} FROM audit WHERE seq = 9")).await;
    db.audited(event()).record().await.unwrap();
    assert_eq!(verify(&db, None).await, Err(Fault::Unlinked { seq: 10 }));
}

#[tokio::test]
async fn pruning_keeps_the_chain() {
    let (_folder, db) = of_rows(20).await;
    let old = db.audit_row(3).unwrap().unwrap().place();
    assert_eq!(db.prune_audit(at(8), 5, at(100)).await.unwrap(), Pruned::Rows(5));
    assert_eq!(db.prune_audit(at(8), 5, at(100)).await.unwrap(), Pruned::Rows(2));
    assert_eq!(db.prune_audit(at(8), 5, at(100)).await.unwrap(), Pruned::Rows(0));
    assert_eq!(verify(&db, None).await, Ok(15), "13 kept, and 2 that tell of the pruning");
    assert_eq!(verify(&db, Some(old)).await, Ok(15), "what is pruned is not damaged");
    assert_eq!(db.audit_checkpoint().unwrap().unwrap().place.seq, 7);
    let told = db.audit_row(21).unwrap().unwrap();
    assert_eq!(told.action, "audit.pruned");
    assert!(told.after.unwrap().contains("\"rows\":5,\"through_seq\":5"));
    execute(&db, "UPDATE audit SET actor = 'nobody' WHERE seq = 9").await;
    let kept = db.prune_audit(at(90), 100, at(100)).await.unwrap();
    assert_eq!(kept, Pruned::Kept(Fault::Altered { seq: 9 }), "evidence stays");
    // Everything may go, and the log goes on.
    let (_folder, db) = of_rows(3).await;
    db.prune_audit(at(90), 100, at(100)).await.unwrap();
    assert_eq!(verify(&db, None).await, Ok(1));
}

#[tokio::test]
async fn a_change_and_its_row_are_stored_together_or_not_at_all() {
    let (_folder, db) = open();
    let failed: Result<(), DbError> = db.audited(event()).write(|_| Err(DbError::Conflict)).await;
    assert!(matches!(failed, Err(DbError::Conflict)));
    assert_eq!(head(&db).await, Place::BEGINNING);
    let folder = tempfile::tempdir().unwrap();
    let closed = Db::open(&super::super::file_in(folder.path())).unwrap();
    let ran = closed.audited(event()).write(|_| Ok(())).await;
    assert!(matches!(ran, Err(DbError::AuditClosed)));
}

#[tokio::test]
async fn rows_are_found_by_what_they_tell() {
    let (_folder, db) = of_rows(30).await;
    db.audited(Context::system().event(Action::ContentViewed, Target::new("fax", "x"), at(5)))
        .record()
        .await
        .unwrap();
    let list = async |filter, before, limit| {
        let rows: Vec<Row> = db.audit_list(filter, before, limit).await.unwrap();
        rows.iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    let all = AuditFilter::default;
    assert_eq!(list(all(), None, 3).await, [31, 30, 29]);
    assert_eq!(list(all(), Some(3), 10).await, [2, 1]);
    assert_eq!(list(AuditFilter { actor: Some("system".into()), ..all() }, None, 9).await, [31]);
    assert_eq!(list(AuditFilter { action: Some(Action::ContentViewed), ..all() }, None, 9).await, [31]);
    assert_eq!(list(AuditFilter { target: Some("test:7".into()), ..all() }, None, 9).await, [7]);
    let window = AuditFilter { from: Some(at(4)), to: Some(at(7)), ..all() };
    assert_eq!(list(window.clone(), None, 9).await, [31, 6, 5, 4], "by time, not by number");
    assert_eq!(list(AuditFilter { actor: Some("system".into()), ..window }, None, 9).await, [31]);
    assert!(list(AuditFilter { from: Some(at(400)), ..all() }, None, 9).await.is_empty());
}

#[tokio::test]
async fn behind_accepted_damage_the_log_goes_on_and_is_pruned() {
    let (_folder, db) = of_rows(20).await;
    execute(&db, "UPDATE audit SET actor = 'x' WHERE seq = 4").await;
    execute(&db, "DELETE FROM audit WHERE seq = 9").await;
    let prune = async |until: i64| db.prune_audit(at(until), 100, at(1000)).await.unwrap();
    assert_eq!(verify(&db, None).await, Err(Fault::Altered { seq: 4 }));
    assert_eq!(prune(6).await, Pruned::Kept(Fault::Altered { seq: 4 }));
    accept(&db, 4, 21).await;
    db.audited(numbered(22)).and([numbered(23)]).record().await.unwrap();
    let known = |fault| vec![Known { fault, through: 20 }];
    assert_eq!(verify_knowing(&db, None).await, Ok((6, known(Fault::Altered { seq: 4 }))));

    // It covers what it says and nothing else, and nobody makes one without the key.
    let (cut, altered) = (Fault::Altered { seq: 22 }, Fault::Altered { seq: 4 });
    for (sql, expected) in [
        ("UPDATE audit SET actor = 'x' WHERE seq = 22", cut),
        ("UPDATE audit SET actor = 'x' WHERE seq = 2", Fault::Altered { seq: 2 }),
        ("DELETE FROM audit WHERE seq = 21", altered.clone()),
        ("UPDATE audit SET after = '{\"first_bad_seq\":1}' WHERE seq = 21", altered.clone()),
        (
            "UPDATE audit SET action = 'audit.damage_accepted', after = '{\"first_bad_seq\":2}' WHERE seq = 3",
            Fault::Altered { seq: 3 },
        ),
    ] {
        assert_eq!(tampered(&db, sql).await, Err(expected), "{sql}");
    }
    let anchor = db.audit_row(12).unwrap().unwrap().place();
    assert_eq!(verify(&db, Some(anchor)).await, Ok(6));
    let other = Place { hash: Hash::ZERO, ..anchor };
    assert_eq!(
        verify(&db, Some(other)).await,
        Err(Fault::AnchorDiffers { seq: 12 }),
        "an anchor is not excused"
    );

    assert_eq!(prune(6).await, Pruned::Rows(5));
    let missing = Fault::Missing { first: 9, last: 9 };
    // 6 to 8, 21 to 23, and the row of the pruning.
    assert_eq!(verify_knowing(&db, None).await, Ok((7, known(missing))));
    assert_eq!(prune(21).await, Pruned::Rows(14));
    assert_eq!(verify_knowing(&db, None).await, Ok((5, Vec::new())));
    assert_eq!(prune(23).await, Pruned::Rows(2), "the acceptance too, when its time has come");
    assert_eq!(verify_knowing(&db, None).await, Ok((4, Vec::new())));
}

#[tokio::test]
async fn each_kind_of_damage_can_be_accepted() {
    let cases: &[(&str, bool)] = &[
        ("DELETE FROM audit_marks WHERE name = 'head'", true),
        ("UPDATE audit_marks SET seq = 12 WHERE name = 'head'", true),
        ("DELETE FROM audit WHERE seq > 15", false),
        ("DELETE FROM audit WHERE seq < 3", false),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 20", false),
        ("UPDATE audit SET seq = -1 WHERE seq = 1", false),
    ];
    for (sql, writes_on) in cases {
        let (_folder, db) = of_rows(20).await;
        execute(&db, sql).await;
        if *writes_on {
            db.audited(numbered(21)).record().await.unwrap();
        }
        let fault = verify(&db, None).await.unwrap_err();
        accept(&db, fault.seq(), 22).await;
        db.audited(numbered(23)).record().await.unwrap();
        let (_, known) = verify_knowing(&db, None).await.unwrap_or_else(|fault| panic!("{sql}: {fault}"));
        assert_eq!(known.len(), 1, "{sql}");
        assert!(matches!(db.prune_audit(at(23), 100, at(1000)).await.unwrap(), Pruned::Rows(_)), "{sql}");
        assert!(matches!(verify_knowing(&db, None).await, Ok((_, known)) if known.is_empty()), "{sql}");
    }
    // A forged note of what was pruned.
    let (_folder, db) = of_rows(20).await;
    assert_eq!(db.prune_audit(at(6), 100, at(1000)).await.unwrap(), Pruned::Rows(5));
    execute(&db, "UPDATE audit_marks SET seq = 3 WHERE name = 'checkpoint'").await;
    let kept = Pruned::Kept(Fault::Checkpoint { first: 6 });
    assert_eq!(db.prune_audit(at(10), 100, at(1000)).await.unwrap(), kept);
    accept(&db, 6, 22).await;
    assert_eq!(db.prune_audit(at(10), 100, at(1000)).await.unwrap(), Pruned::Rows(4));
    verify(&db, None).await.unwrap();
}
