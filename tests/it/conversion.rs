//! The converter with its real workers: order, limits, cancellation, and who waits for whom.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pagewire::codec::page::Resolution;
use pagewire::convert::{ConvertError, Converter, DocumentKind, Options, Quality, Settings, WORKER_ARGUMENT};

use crate::hostile;
use crate::support::PROGRAM;

const OPTIONS: Options = Options { resolution: Resolution::FINE, quality: Quality::Text };

/// Workers are counted per test process, so one test at a time has any.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn converter(wall_clock: Duration) -> Converter {
    Converter::new(Settings {
        executable: PROGRAM.into(),
        workers: 2,
        wall_clock,
        max_pages: 5,
        require_sandbox: true,
        font_dirs: Vec::new(),
    })
}

fn text(content: &str) -> Bytes {
    Bytes::copy_from_slice(content.as_bytes())
}

/// Processes this one has started with the worker's argument, or that nobody has buried yet.
fn workers() -> usize {
    let own = format!("PPid:\t{}\n", std::process::id());
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let read = |name| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            let status = read("status");
            status.contains(&own)
                && (read("cmdline").contains(WORKER_ARGUMENT) || status.contains("State:\tZ"))
        })
        .count()
}

async fn workers_become(count: usize) {
    let started = Instant::now();
    while workers() != count {
        assert!(started.elapsed() < Duration::from_secs(5), "{} workers, not {count}", workers());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_documents_are_one_fax_in_order() {
    let _alone = ALONE.lock().await;
    let converter = converter(Duration::from_secs(30));
    let mut progress = Vec::new();
    let parts = vec![text("first"), hostile::pdf_of_pages(2).into(), text("last")];
    let fax = converter.convert(parts, OPTIONS, |done| progress.push(done)).await.unwrap();
    assert_eq!(progress, [1, 2, 3, 4]);
    assert_eq!(fax.kind, DocumentKind::Text);
    assert_eq!(fax.pages.len(), 4);
    let black: Vec<bool> =
        fax.pages.iter().map(|page| page.to_bitmap().unwrap().black_share() > 0.0).collect();
    assert_eq!(black, [true, false, false, true]);

    // The preview shows the very bits.
    let page = fax.pages[0].clone();
    let png = converter.page_png(page.clone(), None).await.unwrap();
    let expected = pagewire::codec::png::encode(&page.to_bitmap().unwrap(), Some(page.resolution)).unwrap();
    assert_eq!(png, expected);

    // The limit is that of the fax, not of each document.
    let parts = vec![hostile::pdf_of_pages(3).into(), hostile::pdf_of_pages(3).into()];
    let refused = converter.convert(parts, OPTIONS, |_| ()).await.map(|fax| fax.pages.len());
    assert_eq!(refused, Err(ConvertError::TooManyPages { limit: 5 }));

    // A type that is not taken is found before anything is read.
    let parts = vec![text("first"), Bytes::from_static(b"GIF89a")];
    let mut pages = 0;
    let refused = converter.convert(parts, OPTIONS, |_| pages += 1).await.map(|fax| fax.pages.len());
    assert_eq!(refused, Err(ConvertError::UnknownType { found: "a GIF image".into() }));
    assert_eq!(pages, 0);
    converter.self_test().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_time_and_memory_end_a_document() {
    let _alone = ALONE.lock().await;
    let hasty = converter(Duration::from_secs(1));
    let started = Instant::now();
    let endless = vec![hostile::pdf_exponential_forms().into()];
    let refused = hasty.convert(endless, OPTIONS, |_| ()).await.map(|fax| fax.pages.len());
    assert_eq!(refused, Err(ConvertError::TooSlow));
    assert!(started.elapsed() < Duration::from_secs(4));

    let patient = converter(Duration::from_secs(60));
    let vast = vec![hostile::pdf_of_white_space(3 * 1024).into()];
    let refused = patient.convert(vast, OPTIONS, |_| ()).await.map(|fax| fax.pages.len());
    assert_eq!(refused, Err(ConvertError::TooMuchMemory));
    // Both bad documents took their workers with them.
    workers_become(0).await;
    patient.convert(vec![text("still works")], OPTIONS, |_| ()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_who_leaves_takes_the_worker_along() {
    let _alone = ALONE.lock().await;
    let converter = converter(Duration::from_secs(30));
    let endless = vec![hostile::pdf_exponential_forms().into()];
    let left = tokio::time::timeout(Duration::from_millis(500), converter.convert(endless, OPTIONS, |_| ()));
    assert!(left.await.is_err());
    workers_become(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn previews_do_not_wait_for_conversions_and_the_queue_is_bounded() {
    let _alone = ALONE.lock().await;
    let converter = converter(Duration::from_secs(30));
    let fax = converter.convert(vec![text("a page")], OPTIONS, |_| ()).await.unwrap();
    let endless = Bytes::from(hostile::pdf_exponential_forms());
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..2 + 64 + 1 {
        let (converter, endless) = (converter.clone(), endless.clone());
        senders.spawn(async move { converter.convert(vec![endless], OPTIONS, |_| ()).await.map(drop) });
    }
    // Two are served, 64 wait, and whoever comes last is sent away before anyone is done.
    let first_answer = tokio::time::timeout(Duration::from_secs(10), senders.join_next());
    assert_eq!(first_answer.await.unwrap().unwrap().unwrap(), Err(ConvertError::Busy));
    let asked = Instant::now();
    converter.page_png(fax.pages[0].clone(), None).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "the preview waited {:?}", asked.elapsed());
    senders.shutdown().await;
}
