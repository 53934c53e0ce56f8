//! The bits that go in are the bits that come out, as an independent library sees them.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Demo, pdf};

/// Runs one of libtiff's tools, which must not warn.
fn libtiff(tool: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(tool).args(arguments).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{tool} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The pages of an uncompressed one-bit TIFF made by `tiffcp -c none`: rows, 1 = black.
fn uncompressed_pages(content: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
    use tiff::decoder::{Decoder, DecodingResult};
    let mut decoder = Decoder::new(std::io::Cursor::new(content)).unwrap();
    let mut pages = Vec::new();
    loop {
        let (width, height) = decoder.dimensions().unwrap();
        let DecodingResult::U8(bits) = decoder.read_image().unwrap() else { panic!("not one bit a dot") };
        // The tiff crate turns MinIsWhite around; back to 1 = black, padding cleared.
        let stride = (width as usize).div_ceil(8);
        let mut black: Vec<u8> = bits.iter().map(|byte| !byte).collect();
        for row in black.chunks_mut(stride) {
            *row.last_mut().unwrap() &= 0xffu8 << (stride * 8 - width as usize);
        }
        pages.push((width, height, black));
        if !decoder.more_images() {
            return pages;
        }
        decoder.next_image().unwrap();
    }
}

/// The dots of a one-bit PNG: rows, 1 = black.
fn png_dots(content: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(content)).read_info().unwrap();
    let mut bits = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bits).unwrap();
    assert_eq!((info.bit_depth, info.color_type), (png::BitDepth::One, png::ColorType::Grayscale));
    let spare = info.line_size * 8 - info.width as usize;
    let mut black: Vec<u8> = bits.iter().map(|byte| !byte).collect();
    for row in black.chunks_mut(info.line_size) {
        *row.last_mut().unwrap() &= 0xffu8 << spare;
    }
    (info.width, info.height, black)
}

#[tokio::test]
async fn three_pages_arrive_bit_identical() {
    let demo = Demo::start();
    let sent = demo.http.send_fax(&demo.api_key, "+15551234567", &pdf(3)).await.expect(202).json();
    let id = sent["id"].as_str().unwrap();
    assert_eq!(demo.http.finished(&demo.api_key, id).await["status"], "SUCCESS");
    let inbox: Value = demo.http.get("/inbound", &demo.api_key).await.expect(200).json();
    let path = format!("/inbound/{}/tiff", inbox[0]["id"].as_str().unwrap());
    let received = demo.http.get(&path, &demo.api_key).await.expect(200).body;

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("received.tif"), &received).unwrap();
    let info = libtiff("tiffinfo", &["received.tif"], folder.path());
    assert_eq!(info.matches("CCITT Group 4").count(), 3, "{info}");
    libtiff("tiffcp", &["-c", "none", "received.tif", "plain.tif"], folder.path());
    let by_libtiff = uncompressed_pages(&std::fs::read(folder.path().join("plain.tif")).unwrap());
    assert_eq!(by_libtiff.len(), 3);
    for (index, (width, height, dots)) in by_libtiff.into_iter().enumerate() {
        let path = format!("/fax/{id}/pages/{}.png", index + 1);
        let png = demo.http.get(&path, &demo.api_key).await.expect(200).body;
        let shown = png_dots(&png);
        assert_eq!((width, height), (shown.0, shown.1));
        assert!(dots == shown.2, "page {} differs", index + 1);
        assert!(dots.iter().any(|byte| *byte != 0), "page {} is white", index + 1);
    }
}
