//! One render worker, seen from the server.
//!
//! Owns the child process: how it is started (nothing of our environment, an own folder, three pipes), how
//! frames go in and out, and what its death means. Invariants: dropping a [`WorkerProcess`] kills the child;
//! however much a child writes, no more than one bounded frame and a small tail of its error output is held.
//!
//! Children are started on a thread of their own, because a child asks the kernel to be killed when the
//! *thread* that started it ends, and a runtime's threads come and go.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::ConvertError;
use super::protocol::{HEADER_BYTES, PROTOCOL, ProtocolError, Reply, Request, Setup};
use super::sandbox::Protections;

/// The hidden argument that makes the executable a worker.
pub const WORKER_ARGUMENT: &str = "render-worker";

/// Bytes of a worker's error output that are kept, for the cause of its death and the debug log.
const STDERR_TAIL_BYTES: usize = 2048;

/// A worker is a few pages of memory and a filter away from its first frame; this is for a machine that swaps.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// A process whose output has ended is as good as dead; this is how long its exit status may take.
const EXIT_WITHIN: Duration = Duration::from_secs(2);

/// Starts children on one thread that lives as long as this does.
#[derive(Debug, Clone)]
pub(super) struct Spawner {
    orders: mpsc::Sender<Order>,
}

struct Order {
    runtime: Handle,
    started: oneshot::Sender<std::io::Result<Child>>,
}

impl Spawner {
    /// Children will run `executable` as workers. When the thread cannot be had, [`WorkerProcess::start`]
    /// fails.
    pub(super) fn new(executable: PathBuf) -> Self {
        let (orders, incoming) = mpsc::channel::<Order>();
        let serve = move || {
            for order in incoming {
                let _runtime = order.runtime.enter();
                // Nobody waiting any more drops the child, and so kills it.
                let _ = order.started.send(command(&executable).spawn());
            }
        };
        if let Err(error) = std::thread::Builder::new().name("convert-spawn".into()).spawn(serve) {
            log::error!("no thread to start render workers on: {error}");
        }
        Self { orders }
    }

    async fn spawn(&self) -> Result<Child, ConvertError> {
        let unavailable = |reason: &dyn std::fmt::Display| {
            ConvertError::Unavailable(format!("a render worker cannot be started: {reason}"))
        };
        let (started, child) = oneshot::channel();
        let order = Order { runtime: Handle::current(), started };
        self.orders.send(order).map_err(|_| unavailable(&"there is no thread for it"))?;
        child
            .await
            .map_err(|_| unavailable(&"there is no thread for it"))?
            .map_err(|error| unavailable(&error))
    }
}

fn command(executable: &Path) -> Command {
    let mut command = Command::new(executable);
    command
        .arg(WORKER_ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A frame could not be exchanged with a worker.
#[derive(Debug, Error)]
pub(super) enum ExchangeError {
    /// The pipe ended or broke: the worker is dead or dying.
    #[error("the render worker is gone")]
    Gone,
    /// The worker sent what no sound worker sends.
    #[error("the render worker broke the protocol")]
    Protocol(#[from] ProtocolError),
}

/// A running worker that has said hello.
#[derive(Debug)]
pub(super) struct WorkerProcess {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    error_tail: Arc<Mutex<Vec<u8>>>,
    error_reader: JoinHandle<()>,
    protections: Protections,
    served: u32,
}

impl WorkerProcess {
    /// Starts a worker and waits for its hello.
    ///
    /// # Errors
    /// [`ConvertError::Unavailable`] when it cannot be started, does not answer, is another version than
    /// ours, or cannot lock itself in.
    pub(super) async fn start(spawner: &Spawner, setup: &Setup) -> Result<Self, ConvertError> {
        let mut child = spawner.spawn().await?;
        let no_pipe = || ConvertError::Unavailable("a render worker has no pipes".into());
        let input = child.stdin.take().ok_or_else(no_pipe)?;
        let output = child.stdout.take().ok_or_else(no_pipe)?;
        let errors = child.stderr.take().ok_or_else(no_pipe)?;
        let error_tail = Arc::new(Mutex::new(Vec::new()));
        let mut worker = Self {
            child,
            input,
            output: BufReader::new(output),
            error_reader: tokio::spawn(keep_tail(errors, error_tail.clone())),
            error_tail,
            protections: Protections::default(),
            served: 0,
        };
        let hello = timeout(HELLO_WITHIN, async {
            worker.send(&Request::Setup(setup.clone())).await?;
            worker.receive().await
        });
        match hello.await {
            Ok(Ok(Reply::Hello { protocol, protections, version })) => {
                if protocol != PROTOCOL || version != env!("CARGO_PKG_VERSION") {
                    return Err(ConvertError::Unavailable(format!(
                        "the program on disk is version {version} and not {}; restart the service",
                        env!("CARGO_PKG_VERSION")
                    )));
                }
                worker.protections = protections;
                Ok(worker)
            }
            Ok(Ok(Reply::Failed(error @ ConvertError::Unavailable(_)))) => Err(error),
            Ok(Ok(_)) => Err(ConvertError::Unavailable("a render worker answered with nonsense".into())),
            Ok(Err(error)) => {
                let tail = worker.death().await.error_tail;
                Err(ConvertError::Unavailable(
                    format!("{error} before it said hello: {tail}").trim_end_matches([':', ' ']).to_owned(),
                ))
            }
            Err(_) => Err(ConvertError::Unavailable("a render worker did not say hello in time".into())),
        }
    }

    /// The protections the worker has on.
    pub(super) fn protections(&self) -> Protections {
        self.protections
    }

    /// Requests sent, setup not counted.
    pub(super) fn served(&self) -> u32 {
        self.served
    }

    /// Whether the process still runs.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// # Errors
    /// [`ExchangeError::Gone`].
    pub(super) async fn send(&mut self, request: &Request) -> Result<(), ExchangeError> {
        if !matches!(request, Request::Setup(_)) {
            self.served += 1;
        }
        let (head, document) = request.encode();
        let written = async {
            self.input.write_all(&head).await?;
            self.input.write_all(&document).await?;
            self.input.flush().await
        };
        written.await.map_err(|_: std::io::Error| ExchangeError::Gone)
    }

    /// The next frame. Its length is checked before memory is taken for it.
    ///
    /// # Errors
    /// [`ExchangeError`]; the worker is then of no more use.
    pub(super) async fn receive(&mut self) -> Result<Reply, ExchangeError> {
        let gone = |_: std::io::Error| ExchangeError::Gone;
        let mut header = [0; HEADER_BYTES];
        self.output.read_exact(&mut header).await.map_err(gone)?;
        let [tag, length @ ..] = header;
        let length = Reply::check_length(tag, u32::from_be_bytes(length))?;
        let mut payload = vec![0; length];
        self.output.read_exact(&mut payload).await.map_err(gone)?;
        Ok(Reply::parse(tag, payload)?)
    }

    /// Why the worker died, once its output has ended.
    pub(super) async fn death(mut self) -> Death {
        let status = timeout(EXIT_WITHIN, self.child.wait()).await;
        // The pipe ends with the process, so this does not wait unless someone inherited it.
        let _ = timeout(EXIT_WITHIN, &mut self.error_reader).await;
        self.error_reader.abort();
        let tail = self.error_tail.lock().unwrap_or_else(PoisonError::into_inner);
        Death {
            status: status.ok().and_then(Result::ok),
            error_tail: String::from_utf8_lossy(&tail).trim().to_owned(),
        }
    }
}

/// How a worker ended.
#[derive(Debug)]
pub(super) struct Death {
    status: Option<ExitStatus>,
    /// The end of its error output: places in our source and words of the Rust runtime, no document content.
    error_tail: String,
}

impl Death {
    /// What the death says about the document that was being read.
    pub(super) fn verdict(&self) -> ConvertError {
        let signal = self.status.and_then(|status| status.signal()).and_then(Signal::from_named_raw);
        match signal {
            Some(Signal::XCPU) => ConvertError::TooSlow,
            // Not by us, who would know: the kernel was out of memory.
            Some(Signal::KILL) => ConvertError::TooMuchMemory,
            Some(Signal::ABORT) if self.error_tail.contains("memory allocation of") => {
                ConvertError::TooMuchMemory
            }
            Some(Signal::ABORT) if self.error_tail.contains("overflowed its stack") => {
                ConvertError::damaged("its content is nested too deeply")
            }
            Some(Signal::SEGV) => ConvertError::damaged("its content is nested too deeply"),
            _ => ConvertError::damaged("it cannot be read to its end"),
        }
    }

    /// Whether the worker was killed for a system call that no document should lead to.
    pub(super) fn broke_the_sandbox(&self) -> bool {
        self.status.and_then(|status| status.signal()).and_then(Signal::from_named_raw) == Some(Signal::SYS)
    }
}

impl std::fmt::Display for Death {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            Some(status) => write!(formatter, "{status}")?,
            None => formatter.write_str("no exit status")?,
        }
        if self.error_tail.is_empty() {
            return Ok(());
        }
        write!(formatter, "; {}", self.error_tail.replace('\n', " / "))
    }
}

/// Reads a worker's error output to its end and keeps the last of it.
async fn keep_tail(mut errors: ChildStderr, tail: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 1024];
    while let Ok(read @ 1..) = errors.read(&mut chunk).await {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(&chunk[..read]);
        let surplus = tail.len().saturating_sub(STDERR_TAIL_BYTES);
        tail.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_laid_to_its_cause() {
        let died_of = |signal: Signal, error_tail: &str| Death {
            status: Some(ExitStatus::from_raw(signal.as_raw())),
            error_tail: error_tail.into(),
        };
        let cases = [
            (died_of(Signal::XCPU, ""), ConvertError::TooSlow),
            (died_of(Signal::KILL, ""), ConvertError::TooMuchMemory),
            (died_of(Signal::ABORT, "memory allocation of 123 bytes failed"), ConvertError::TooMuchMemory),
            (
                died_of(Signal::ABORT, "thread 'main' has overflowed its stack"),
                ConvertError::damaged("its content is nested too deeply"),
            ),
            (died_of(Signal::ABORT, ""), ConvertError::damaged("it cannot be read to its end")),
        ];
        for (death, verdict) in cases {
            assert_eq!(death.verdict(), verdict, "{death}");
            assert!(!death.broke_the_sandbox());
        }
        assert!(died_of(Signal::SYS, "").broke_the_sandbox());
    }
}
