//! Stored measurements, read page by page.

use std::collections::HashSet;

use proto::manpasik::v1::*;
use tonic::{Code, Status};

use crate::harness::Harness;

async fn page(
    harness: &mut Harness,
    page_size: u32,
    page_token: &str,
    biomarker: &str,
) -> Result<GetMeasurementHistoryResponse, Status> {
    let request = GetMeasurementHistoryRequest {
        user_id: "user-1".to_owned(),
        page_size,
        page_token: page_token.to_owned(),
        biomarker_code: biomarker.to_owned(),
    };
    Ok(harness.client.get_measurement_history(request).await?.into_inner())
}

#[tokio::test]
async fn pages_are_newest_first_complete_and_stable() {
    let mut harness = Harness::quick().await;
    let mut ids = Vec::new();
    for index in 0..7 {
        // Two of them end in the same millisecond.
        harness.clock.advance_ms(if index == 3 { 0 } else { 1_000 });
        ids.push(harness.measure("user-1", "01:01", 3).await.id);
    }
    harness.measure("user-2", "01:01", 3).await;
    ids.reverse();

    let first = page(&mut harness, 3, "", "").await.expect("a page");
    harness.clock.advance_ms(1_000);
    harness.measure("user-1", "01:01", 3).await;
    let second = page(&mut harness, 3, &first.next_page_token, "").await.expect("a page");
    let third = page(&mut harness, 3, &second.next_page_token, "").await.expect("a page");
    assert_eq!(third.next_page_token, "");
    let pages = [first, second, third];
    let sizes: Vec<_> = pages.iter().map(|page| page.measurements.len()).collect();
    assert_eq!(sizes, [3, 3, 1]);
    let read: Vec<_> = pages.iter().flat_map(|page| &page.measurements).collect();
    assert!(read.is_sorted_by(|newer, older| newer.ended_unix_ms >= older.ended_unix_ms));
    let found: HashSet<_> = read.iter().map(|measurement| measurement.id.as_str()).collect();
    assert_eq!(found, ids.iter().map(String::as_str).collect(), "each once, the newer one not among them");
    let stored = harness.get(&read[0].id).await.expect("stored");
    assert_eq!(*read[0], stored, "a page carries whole measurements");
}

#[tokio::test]
async fn a_page_can_be_narrowed_to_a_biomarker() {
    let mut harness = Harness::quick().await;
    let glucose = harness.measure("user-1", "01:01", 3).await.id;
    let uric = harness.measure("user-1", "01:04", 3).await.id;
    let empty = harness.begin("user-1", "01:01").await;
    harness.end(&empty).await.expect("ends");
    harness.begin("user-1", "01:01").await;
    for (code, expected) in [("glucose", vec![&glucose]), ("2345-7", vec![&glucose]), ("tsh", vec![])] {
        let page = page(&mut harness, 0, "", code).await.expect("a page");
        let ids: Vec<_> = page.measurements.iter().map(|measurement| &measurement.id).collect();
        assert_eq!(ids, expected, "{code}");
    }
    let all = page(&mut harness, 0, "", "").await.expect("a page");
    assert_eq!(all.measurements.len(), 2, "neither running nor empty sessions");
    assert!(all.measurements.iter().any(|measurement| measurement.id == uric));
}

#[tokio::test]
async fn earlier_values_go_along_with_the_next_analysis() {
    let mut harness = Harness::quick().await;
    harness.measure("user-2", "01:01", 3).await;
    for _ in 0..2 {
        harness.clock.advance_ms(1_000);
        harness.measure("user-1", "01:01", 3).await;
    }
    harness.measure("user-1", "01:04", 3).await;
    harness.clock.advance_ms(1_000);
    harness.measure("user-1", "01:01", 3).await;
    let page = page(&mut harness, 0, "", "glucose").await.expect("a page");
    let points: Vec<_> = page.measurements[1..].iter().rev().map(point).collect();
    let asked = harness.ai.asked.lock().expect("not poisoned").pop().expect("asked");
    let series = Series { code: "glucose".to_owned(), unit: "mg/dL".to_owned(), points };
    assert_eq!(asked.history, [series], "of this user and this biomarker, oldest first");
}

fn point(measurement: &Measurement) -> SeriesPoint {
    let value = measurement.biomarkers[0].quantity.as_ref().expect("a quantity").value;
    SeriesPoint { time_unix_ms: measurement.ended_unix_ms, value }
}

#[tokio::test]
async fn wrong_pages_are_refused() {
    let mut harness = Harness::quick().await;
    for (size, token, code, field) in
        [(201, "", "", "page_size"), (1, "12", "", "page_token"), (1, "", "mood", "biomarker_code")]
    {
        let status = page(&mut harness, size, token, code).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(field), "{}", status.message());
    }
}
