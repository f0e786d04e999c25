//! Holding memory, index and snapshot against the rows.

use std::collections::HashSet;
use std::sync::Arc;

use super::generation::Generation;
use super::loader::off;
use super::shelf::Shelf;
use super::store::{Kept, Store};
use super::tune::Exam;
use crate::{EmbeddingError, PointId, Report, Tenant};

/// Rows read at once.
const ROWS_PER_PAGE: u64 = 1_000;

/// Checks a collection. What is written meanwhile is left out.
pub(super) async fn verify(store: &Store, shelf: Arc<Shelf>) -> Result<Report, EmbeddingError> {
    let until = store.sequence().await?;
    let (mut last, mut rows, mut faults) = (0, HashSet::new(), Vec::new());
    loop {
        let page = store.after(last, ROWS_PER_PAGE).await?;
        let Some(end) = page.last().map(|kept| kept.sequence) else { break };
        last = end;
        for kept in page.into_iter().filter(|kept| kept.collection == shelf.id && kept.sequence <= until) {
            rows.insert(kept.sequence);
            if !agrees(&shelf, &kept) && still_there(store, &kept).await? && !agrees(&shelf, &kept) {
                faults.push(format!("row {} differs from memory", kept.sequence));
            }
        }
    }
    off(move || check(&shelf, &rows, until, faults)).await?
}

fn agrees(shelf: &Shelf, kept: &Kept) -> bool {
    let (Ok(tenant), Ok(id)) = (Tenant::parse(&*kept.tenant), PointId::parse(&*kept.id)) else {
        return false;
    };
    let generation = shelf.current();
    let table = generation.table();
    let entry = table.slot(&tenant, id.as_str()).and_then(|slot| table.entry(slot));
    entry.is_some_and(|entry| entry.sequence == kept.sequence && entry.row.bytes() == kept.vector)
}

async fn still_there(store: &Store, kept: &Kept) -> Result<bool, EmbeddingError> {
    let next = store.after(kept.sequence - 1, 1).await?;
    Ok(next.first().is_some_and(|next| next.sequence == kept.sequence))
}

fn check(
    shelf: &Shelf,
    rows: &HashSet<u64>,
    until: u64,
    mut faults: Vec<String>,
) -> Result<Report, EmbeddingError> {
    let generation = shelf.current();
    let unkept = unkept(&generation, rows, until);
    if unkept > 0 {
        faults.push(format!("{unkept} points are in memory and have no row"));
    }
    let unindexed = unindexed(&generation);
    if unindexed > 0 {
        faults.push(format!("{unindexed} points are missing from the index"));
    }
    faults.extend(shelf.snapshot_fault());
    let expansion = generation.graph.tuned().expansion;
    let exam = (generation.indexed() > 0).then(|| Exam::new(&generation).recall(&generation, expansion));
    Ok(Report { points: rows.len() as u64, recall: exam.transpose()?, faults })
}

fn unkept(generation: &Generation, rows: &HashSet<u64>, until: u64) -> usize {
    let table = generation.table();
    let living = (0..table.slots()).filter(|slot| generation.rows.lives(*slot));
    living.filter_map(|slot| table.trace(slot)).filter(|(.., at)| *at <= until && !rows.contains(at)).count()
}

fn unindexed(generation: &Generation) -> usize {
    let indexed = (0..generation.indexed()).filter(|slot| generation.rows.lives(*slot));
    indexed.filter(|slot| !generation.graph.has(*slot)).count()
}
