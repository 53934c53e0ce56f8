//! Frames there and back, and frames that nobody should send.

use super::*;

fn split(frame: &[u8]) -> (u8, u32, Vec<u8>) {
    let length = u32::from_be_bytes(frame[1..5].try_into().unwrap());
    (frame[0], length, frame[HEADER_BYTES..].to_vec())
}

fn page() -> FaxPage {
    FaxPage { width: 1728, height: 2200, resolution: Resolution::FINE, strip: vec![1, 2, 3] }
}

#[test]
fn requests_come_back_as_they_were() {
    let (head, document) = Request::Convert {
        kind: DocumentKind::Tiff,
        options: Options { resolution: Resolution::SUPERFINE, quality: Quality::Photo },
        max_pages: 7,
        document: Bytes::from_static(b"II*\0"),
    }
    .encode();
    let (tag, length, mut payload) = split(&head);
    payload.extend_from_slice(&document);
    assert_eq!(payload.len(), length as usize);
    match Request::parse(tag, payload).unwrap() {
        Request::Convert { kind, options, max_pages, document } => {
            assert_eq!(kind, DocumentKind::Tiff);
            assert_eq!(options.resolution, Resolution::SUPERFINE);
            assert_eq!(options.quality, Quality::Photo);
            assert_eq!(max_pages, 7);
            assert_eq!(&document[..], b"II*\0");
        }
        other => panic!("{other:?}"),
    }

    let setup = Setup {
        require_sandbox: true,
        cpu_seconds: 30,
        font_dirs: vec!["/usr/share/fonts".into(), "/opt/fonts".into()],
    };
    let (head, _) = Request::Setup(setup.clone()).encode();
    let (tag, _, payload) = split(&head);
    match Request::parse(tag, payload).unwrap() {
        Request::Setup(parsed) => assert_eq!(parsed, setup),
        other => panic!("{other:?}"),
    }
}

#[test]
fn failures_come_back_as_they_were() {
    let errors = [
        ConvertError::Empty,
        ConvertError::Encrypted,
        ConvertError::NoPages,
        ConvertError::damaged("it ends early"),
        ConvertError::damaged_page(9, "it ends early"),
        ConvertError::TooManyPages { limit: 500 },
        ConvertError::TooLarge { page: Some(2), dimensions: "9 × 9 m".into() },
        ConvertError::TooDense { limit_mib: 64 },
        ConvertError::TooMuchMemory,
        ConvertError::Unavailable("no filter".into()),
    ];
    for error in errors {
        let (tag, length, payload) = split(&Reply::Failed(error.clone()).encode());
        assert!(Reply::check_length(tag, length).is_ok());
        match Reply::parse(tag, payload).unwrap() {
            Reply::Failed(parsed) => assert_eq!(parsed, error),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_hostile_cause_is_cut_and_cleaned() {
    let cause = "\x1B[2J".to_owned() + &"x".repeat(10_000);
    let (tag, _, payload) = split(&Reply::Failed(ConvertError::damaged(cause)).encode());
    let Reply::Failed(ConvertError::Damaged { cause, .. }) = Reply::parse(tag, payload).unwrap() else {
        panic!("not a damage");
    };
    assert_eq!(cause.chars().count(), MAX_TEXT_CHARS);
    assert!(!cause.contains('\x1B'));
}

#[test]
fn lengths_are_bounded_before_reading() {
    for (tag, length, fits) in [
        (TAG_PAGE, 4 << 20, true),
        (TAG_PAGE, u32::MAX, false),
        (TAG_DONE, 0, true),
        (TAG_DONE, 1, false),
        (TAG_PNG, 9 << 20, false),
        (TAG_FAILED, 5000, false),
        (TAG_HELLO, 65, false),
        (0, 0, false),
        (TAG_CONVERT, 10, false),
    ] {
        assert_eq!(Reply::check_length(tag, length).is_ok(), fits, "{tag} {length}");
    }
}

#[test]
fn pages_out_of_range_are_refused() {
    let sound = Reply::Page(page()).encode();
    assert!(Reply::parse(TAG_PAGE, sound[HEADER_BYTES..].to_vec()).is_ok());
    // (offset into the payload, bytes put there)
    for (offset, bytes) in [
        (0, vec![0, 0, 0, 0]),
        (0, vec![0xFF, 0xFF, 0xFF, 0xFF]),
        (4, vec![0, 0, 0, 0]),
        (4, vec![0, 1, 0, 0]),
        (8, vec![0, 0]),
        (10, vec![0xFF, 0xFF]),
    ] {
        let mut payload = sound[HEADER_BYTES..].to_vec();
        payload[offset..offset + bytes.len()].copy_from_slice(&bytes);
        assert!(Reply::parse(TAG_PAGE, payload).is_err(), "{offset} {bytes:?}");
    }
    for length in 0..12 {
        let payload = sound[HEADER_BYTES..HEADER_BYTES + length].to_vec();
        assert!(Reply::parse(TAG_PAGE, payload).is_err(), "cut to {length}");
    }
}
