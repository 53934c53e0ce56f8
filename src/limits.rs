//! The limits several parts of the product share, each with its reason. Limits of one module
//! stand in that module.

use std::time::Duration;

/// Largest upload by default, in MB; Faxbot's default too.
pub const DEFAULT_UPLOAD_MB: u32 = 10;
/// Highest value `MAX_FILE_SIZE_MB` takes: uploads are held in memory while they are converted.
pub const MAX_UPLOAD_MB: u32 = 100;
/// All uploads under way together, in MB; beyond it a request is asked to come back.
pub const UPLOADS_IN_MEMORY_MB: u32 = 400;
/// Longest fax, in pages: at about half a minute a page this is a call of four hours.
pub const MAX_PAGES: u32 = 500;
/// A document may keep a worker busy for this long.
pub const CONVERSION_TIME: Duration = Duration::from_secs(30);
/// A request waits this long for its conversion; a longer one goes on behind a 202. Below the 30 s
/// after which the published Python client gives up.
pub const CONVERSION_WAIT: Duration = Duration::from_secs(20);
/// Longest `GET /fax/{id}?wait=`, in seconds: below the idle limit of common proxies.
pub const LONGEST_WAIT_S: u64 = 55;
/// Rows of one page of a list.
pub const LIST_ROWS: u32 = 100;
/// Connections at once by default: four times what 1,024 slow clients could occupy.
pub const CONNECTIONS: u32 = 4096;
/// Numbers one document can go to in one request: their rows are one transaction, some tens of
/// milliseconds of the database's only writer.
pub const GROUP_NUMBERS: usize = 1000;
/// Requests under way get this long to finish when the server stops.
pub const DRAIN_TIME: Duration = Duration::from_secs(10);
/// Addresses of `mail.to`: each notice is one mail to each of them.
pub const MAIL_RECIPIENTS: usize = 10;
