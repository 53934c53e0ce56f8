//! Lists of jobs, newest first.
//!
//! Owns: filters, totals and pages that cost the same at 200,000 rows as at 200. The table
//! `job_counts`, kept by triggers, says how many jobs of a kind stand in each thousand of `seq`:
//! its sum is the total, and walking it finds the thousand in which a deep page begins, so that at
//! most one thousand rows are stepped over.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::read_all;
use crate::db::{Db, DbError, to_ms};
use crate::fax::job::{Job, PublicStatus, State};
use crate::id::{AccountId, GroupId};

/// Rows of `seq` that one row set of `job_counts` covers; the triggers have the same number.
const BLOCK: i64 = 1000;
/// Up to so many hits, a number search sorts its hits; above, walking the newest finds a page
/// sooner.
const FEW_HITS: u64 = 2000;

/// Which jobs a list shows; an empty one shows all.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// In one of these states.
    pub states: Option<Vec<State>>,
    /// Name of the route.
    pub route: Option<String>,
    /// The account the jobs belong to.
    pub owner: Option<AccountId>,
    /// The API key they came by.
    pub key_id: Option<String>,
    /// The group they are part of.
    pub group: Option<GroupId>,
    /// How the dialled number begins, `+` included.
    pub number_prefix: Option<String>,
    /// Accepted then or later.
    pub from: Option<Timestamp>,
    /// Accepted before.
    pub to: Option<Timestamp>,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug)]
pub enum Position {
    /// With the newest.
    Start,
    /// After so many jobs of the list.
    Offset(u32),
    /// With the first job older than this `seq`: the `next` of the page before.
    Before(i64),
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct JobPage {
    /// The jobs, newest first.
    pub jobs: Vec<Job>,
    /// How many the whole list has.
    pub total: u64,
    /// Where the next page begins; `None` on the last.
    pub next: Option<i64>,
}

impl Db {
    /// One page of at most `limit` jobs.
    pub async fn list_jobs(
        &self,
        filter: ListFilter,
        start: Position,
        limit: u32,
    ) -> Result<JobPage, DbError> {
        self.list(move |connection| {
            // One reading moment for total and page.
            let transaction = connection.unchecked_transaction()?;
            page(&transaction, &filter, start, limit)
        })
        .await
    }
}

fn page(
    connection: &Connection,
    filter: &ListFilter,
    start: Position,
    limit: u32,
) -> Result<JobPage, DbError> {
    let Some(window) = Window::of(connection, filter)? else {
        return Ok(JobPage { jobs: Vec::new(), total: 0, next: None });
    };
    // What an index of its own finds, and no sum over blocks knows.
    let is_indexed = filter.number_prefix.is_some() || filter.group.is_some();
    let (total, window, offset) = match is_indexed {
        true => {
            let hits = count_rows(connection, filter, window, filter.number_prefix.as_deref())?;
            match start {
                Position::Start => (hits, window, 0),
                Position::Offset(offset) => (hits, window, offset.into()),
                Position::Before(seq) => (hits, window.before(seq), 0),
            }
        }
        false => {
            let blocks = blocks(connection, filter, window)?;
            let total = blocks.iter().map(|(_, jobs)| jobs).sum();
            let (window, offset) = narrow(&blocks, window, start, limit);
            (total, window, offset)
        }
    };
    // One more than asked for tells whether there is a next page.
    let mut jobs = rows(connection, filter, window, total, offset, limit + 1)?;
    let has_more = jobs.len() > limit as usize;
    jobs.truncate(limit as usize);
    let next = if has_more { jobs.last().map(|job| job.seq) } else { None };
    Ok(JobPage { jobs, total, next })
}

/// A range of `seq`, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    low: i64,
    high: i64,
}

impl Window {
    /// The range that the filter's times leave; `None` when nothing can be in it. `seq` grows with
    /// the time of acceptance, except across a clock that was set back.
    fn of(connection: &Connection, filter: &ListFilter) -> Result<Option<Self>, DbError> {
        let end = |sql: &str, at: Timestamp| -> Result<Option<i64>, DbError> {
            Ok(connection.prepare_cached(sql)?.query_row([to_ms(at)], |row| row.get(0)).optional()?)
        };
        let low = match filter.from {
            Some(from) => {
                end("SELECT seq FROM jobs WHERE created_at >= ?1 ORDER BY created_at, seq LIMIT 1", from)?
            }
            None => Some(0),
        };
        let high = match filter.to {
            Some(to) => end(
                "SELECT seq FROM jobs WHERE created_at < ?1 ORDER BY created_at DESC, seq DESC LIMIT 1",
                to,
            )?,
            None => Some(i64::MAX),
        };
        Ok(low.zip(high).filter(|(low, high)| low <= high).map(|(low, high)| Self { low, high }))
    }

    fn before(self, seq: i64) -> Self {
        Self { high: self.high.min(seq - 1), ..self }
    }

    fn is_whole_block(self, block: i64) -> bool {
        self.low <= block * BLOCK && self.high >= block * BLOCK + (BLOCK - 1)
    }

    fn within_block(self, block: i64) -> Self {
        Self { low: self.low.max(block * BLOCK), high: self.high.min(block * BLOCK + (BLOCK - 1)) }
    }
}

/// How many matching jobs stand in each block of the window, newest block first. Blocks that reach
/// over the window's ends are counted row by row.
fn blocks(connection: &Connection, filter: &ListFilter, window: Window) -> Result<Vec<(i64, u64)>, DbError> {
    let (condition, mut values) = conditions(filter, Table::Counts);
    let sql = format!(
        "SELECT block, sum(jobs) FROM job_counts WHERE block BETWEEN ? AND ?{condition} \
         GROUP BY block ORDER BY block DESC"
    );
    values.splice(0..0, [Value::from(window.low / BLOCK), Value::from(window.high / BLOCK)]);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut blocks = Vec::new();
    while let Some(row) = rows.next()? {
        let (block, jobs): (i64, i64) = (row.get(0)?, row.get(1)?);
        blocks.push((block, jobs.unsigned_abs()));
    }
    for (block, jobs) in &mut blocks {
        if !window.is_whole_block(*block) {
            *jobs = count_rows(connection, filter, window.within_block(*block), None)?;
        }
    }
    Ok(blocks)
}

/// The range of `seq` in which the page lies, and how many matches to step over at its newest end.
fn narrow(blocks: &[(i64, u64)], window: Window, start: Position, limit: u32) -> (Window, u64) {
    let (window, mut skip) = match start {
        Position::Start => (window, 0),
        Position::Offset(offset) => (window, u64::from(offset)),
        Position::Before(seq) => (window.before(seq), 0),
    };
    let mut high = None;
    let mut wanted = u64::from(limit) + 1;
    for &(block, jobs) in blocks {
        if block * BLOCK > window.high {
            continue;
        }
        if high.is_none() {
            if skip >= jobs && !matches!(start, Position::Before(_)) {
                skip -= jobs;
                continue;
            }
            high = Some(window.high.min(block * BLOCK + (BLOCK - 1)));
            // A cursor may stand anywhere in its block: that block's count promises nothing.
            if matches!(start, Position::Before(_)) && !window.is_whole_block(block) {
                continue;
            }
            wanted += skip;
        }
        wanted = wanted.saturating_sub(jobs);
        if wanted == 0 {
            let low = window.low.max(block * BLOCK);
            return (Window { low, high: high.unwrap_or(window.high) }, skip);
        }
    }
    match high {
        Some(high) => (Window { low: window.low, high }, skip),
        None => (Window { low: 0, high: -1 }, 0),
    }
}

fn count_rows(
    connection: &Connection,
    filter: &ListFilter,
    window: Window,
    number_prefix: Option<&str>,
) -> Result<u64, DbError> {
    let (condition, mut values) = conditions(filter, Table::Jobs);
    let mut sql = format!("SELECT count(*) FROM jobs WHERE seq BETWEEN ? AND ?{condition}");
    values.splice(0..0, [Value::from(window.low), Value::from(window.high)]);
    if let Some(prefix) = number_prefix {
        sql = sql.replace("WHERE seq", "WHERE +seq");
        sql.push_str(" AND to_e164 >= ? AND to_e164 < ?");
        values.extend(prefix_range(prefix));
    }
    let count: i64 =
        connection.prepare_cached(&sql)?.query_row(params_from_iter(values), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

fn rows(
    connection: &Connection,
    filter: &ListFilter,
    window: Window,
    total: u64,
    offset: u64,
    limit: u32,
) -> Result<Vec<Job>, DbError> {
    let (condition, values) = conditions(filter, Table::Jobs);
    let mut all = Vec::with_capacity(values.len() + 6);
    let mut tail = String::new();
    match &filter.number_prefix {
        // The unary plus keeps SQLite from the index that would not help.
        Some(prefix) if total <= FEW_HITS => {
            tail.push_str("WHERE to_e164 >= ? AND to_e164 < ? AND +seq BETWEEN ? AND ?");
            all.extend(prefix_range(prefix));
        }
        Some(prefix) => {
            tail.push_str("WHERE +to_e164 >= ? AND +to_e164 < ? AND seq BETWEEN ? AND ?");
            all.extend(prefix_range(prefix));
        }
        None => tail.push_str("WHERE seq BETWEEN ? AND ?"),
    }
    all.extend([Value::from(window.low), Value::from(window.high)]);
    all.extend(values);
    tail.push_str(&condition);
    tail.push_str(" ORDER BY seq DESC LIMIT ? OFFSET ?");
    all.extend([Value::from(limit), Value::from(i64::try_from(offset).unwrap_or(i64::MAX))]);
    read_all(connection, &tail, params_from_iter(all))
}

/// All numbers that begin so: the character after the digits ends the range.
fn prefix_range(prefix: &str) -> [Value; 2] {
    [Value::from(prefix.to_owned()), Value::from(format!("{prefix}:"))]
}

/// Which table a condition is for.
#[derive(Clone, Copy, PartialEq)]
enum Table {
    Jobs,
    Counts,
}

/// The filter as SQL, each condition with `AND` before it; number and time are not in it.
fn conditions(filter: &ListFilter, table: Table) -> (String, Vec<Value>) {
    let (mut sql, mut values) = (String::new(), Vec::new());
    let mut equal = |column: &str, value: Option<String>| {
        if let Some(value) = value {
            sql.push_str(&format!(" AND {column} = ?"));
            values.push(Value::from(value));
        }
    };
    equal("route", filter.route.clone());
    equal("owner_id", filter.owner.map(|owner| owner.to_string()));
    equal("key_id", filter.key_id.clone());
    equal("group_id", filter.group.map(|group| group.to_string()));
    let Some(states) = &filter.states else { return (sql, values) };
    let status = PublicStatus::ALL.into_iter().find(|status| status.states().eq(states.iter().copied()));
    match (status, table) {
        // One value and then `seq`, so that the index gives the order too.
        (Some(status), Table::Jobs) => equal("status", Some(status.to_string())),
        _ => {
            let words: Vec<_> = states.iter().map(|state| format!("'{state}'")).collect();
            sql.push_str(&format!(" AND state IN ({})", words.join(", ")));
        }
    }
    (sql, values)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::accept::insert;
    use super::super::by_id;
    use super::super::tests::{new_job, now, open};
    use super::*;
    use crate::fax::transition::{Acceptance, accept};

    const ROWS: i64 = 3456;

    /// Jobs a second apart, of two owners, two keys and three routes, in all states, with holes;
    /// newest first.
    async fn filled(owners: [AccountId; 2]) -> (tempfile::TempDir, Db, Vec<Job>) {
        let (folder, db) = open();
        let write = db.write(move |transaction| {
            let mut jobs = Vec::new();
            for n in 0..ROWS {
                let moved = accept(
                    Acceptance {
                        owner: owners[usize::from(n % 10 == 0)],
                        key_id: (n % 3 > 0).then(|| format!("key{}", n % 3)),
                        to: format!("+1555{:07}", (n * 7919) % 10_000_000).parse().unwrap(),
                        route: if n % 500 == 3 {
                            "rare"
                        } else {
                            ["simulator", "loopback"][(n % 2) as usize]
                        }
                        .into(),
                        ..new_job()
                    },
                    now() + SignedDuration::from_secs(n),
                );
                insert(transaction, &moved)?;
                let state = if n < 2000 { State::Delivered } else { State::ALL[(n % 12) as usize] };
                transaction.execute(
                    "UPDATE jobs SET state = ?1, status = ?2 WHERE seq = ?3",
                    (state.as_str(), state.public_status().as_str(), transaction.last_insert_rowid()),
                )?;
                if n % 17 == 5 {
                    transaction
                        .execute("DELETE FROM jobs WHERE seq = ?1", [transaction.last_insert_rowid()])?;
                } else {
                    jobs.extend(by_id(transaction, moved.job().id)?);
                }
            }
            jobs.reverse();
            Ok(jobs)
        });
        let jobs = write.await.unwrap();
        (folder, db, jobs)
    }

    fn matches(filter: &ListFilter, job: &Job) -> bool {
        filter.states.as_ref().is_none_or(|states| states.contains(&job.state))
            && filter.route.as_ref().is_none_or(|route| *route == job.route)
            && filter.owner.is_none_or(|owner| owner == job.owner)
            && (filter.key_id.is_none() || filter.key_id == job.key_id)
            && filter.number_prefix.as_ref().is_none_or(|prefix| job.to.as_e164().starts_with(prefix))
            && filter.from.is_none_or(|from| job.created_at >= from)
            && filter.to.is_none_or(|to| job.created_at < to)
    }

    #[tokio::test]
    async fn every_page_of_every_filter_is_what_a_plain_search_finds() {
        let owners = [AccountId::new(), AccountId::new()];
        let (_folder, db, jobs) = filled(owners).await;
        let at = |second| Some(now() + SignedDuration::from_secs(second));
        let states = |status: PublicStatus| Some(status.states().collect::<Vec<_>>());
        let filters = [
            ListFilter::default(),
            ListFilter { states: states(PublicStatus::Failed), ..ListFilter::default() },
            ListFilter { states: Some(vec![State::Partial]), ..ListFilter::default() },
            ListFilter { route: Some("rare".into()), ..ListFilter::default() },
            ListFilter { route: Some("none".into()), ..ListFilter::default() },
            ListFilter {
                owner: Some(owners[1]),
                states: states(PublicStatus::Queued),
                ..ListFilter::default()
            },
            ListFilter { key_id: Some("key2".into()), ..ListFilter::default() },
            ListFilter { from: at(500), to: at(2500), ..ListFilter::default() },
            ListFilter { from: at(999), to: at(1002), ..ListFilter::default() },
            ListFilter { from: at(9999), ..ListFilter::default() },
            ListFilter { to: at(-1), ..ListFilter::default() },
            ListFilter { number_prefix: Some("+15550".into()), ..ListFilter::default() },
            ListFilter {
                number_prefix: Some("+1".into()),
                route: Some("loopback".into()),
                ..ListFilter::default()
            },
            ListFilter { number_prefix: Some("+1555".into()), from: at(100), ..ListFilter::default() },
        ];
        for filter in filters {
            let expected: Vec<_> = jobs.iter().filter(|job| matches(&filter, job)).cloned().collect();
            for offset in [0, 1, 49, 777, 1500, 3000, 5000] {
                let page = db.list_jobs(filter.clone(), Position::Offset(offset), 50).await.unwrap();
                let slice: Vec<_> = expected.iter().skip(offset as usize).take(50).cloned().collect();
                assert_eq!(page.total, expected.len() as u64, "{filter:?}");
                assert!(page.jobs == slice, "{filter:?} at {offset}: {} of {}", page.jobs.len(), slice.len());
            }
            let (mut walked, mut start) = (Vec::new(), Position::Start);
            loop {
                let page = db.list_jobs(filter.clone(), start, 100).await.unwrap();
                assert_eq!(page.total, expected.len() as u64);
                walked.extend(page.jobs);
                match page.next {
                    Some(seq) => start = Position::Before(seq),
                    None => break,
                }
            }
            assert!(walked == expected, "{filter:?}: walked {} of {}", walked.len(), expected.len());
        }
    }
}
