//! What is known of each slot besides its vector: sequence, owner, name and payload, and the ways to find it.

use std::collections::HashMap;
use std::sync::Arc;

use super::column::{Column, Test};
use super::row::Row;
use super::rows::Rows;
use crate::{Collection, Filter, Payload, PointId, Tenant};

/// A point on its way into a table.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) tenant: Tenant,
    pub(super) id: PointId,
    pub(super) row: Row,
    pub(super) payload: Payload,
}

/// Everything by slot. Slots rise with sequences, and nothing but the owner of a slot ever changes.
#[derive(Debug)]
pub(super) struct Table {
    rows: Arc<Rows>,
    fields: Vec<String>,
    columns: Vec<Column>,
    sequences: Vec<u64>,
    names: Vec<Arc<str>>,
    owners: Vec<u32>,
    tenants: HashMap<Tenant, u32>,
    owned: Vec<Owned>,
    live: usize,
    memory: usize,
    /// Slots killed since a rebuild began; `None` while there is none.
    killed: Option<Vec<u32>>,
}

/// What one tenant has.
#[derive(Debug)]
struct Owned {
    tenant: Tenant,
    /// Ascending; slots of points that are gone among them.
    slots: Vec<u32>,
    by_name: HashMap<Arc<str>, u32>,
}

/// Tests of a filter with the columns they are about.
#[derive(Debug, Default)]
pub(super) struct Tests(Vec<(usize, Test)>);

impl Table {
    /// An empty table over empty rows.
    pub(super) fn new(collection: &Collection, rows: Arc<Rows>) -> Self {
        Self {
            rows,
            fields: collection.fields.iter().map(|field| field.name.clone()).collect(),
            columns: collection.fields.iter().map(|field| Column::new(field.kind)).collect(),
            sequences: Vec::new(),
            names: Vec::new(),
            owners: Vec::new(),
            tenants: HashMap::new(),
            owned: Vec::new(),
            live: 0,
            memory: 0,
            killed: None,
        }
    }

    /// Slots in use, those of points that are gone included.
    pub(super) const fn slots(&self) -> u32 {
        self.sequences.len() as u32
    }

    /// Points that are there.
    pub(super) const fn live(&self) -> usize {
        self.live
    }

    /// Memory of the vectors and names, in bytes.
    pub(super) const fn memory(&self) -> usize {
        self.memory
    }

    /// The sequence of each slot.
    pub(super) fn sequences(&self) -> &[u64] {
        &self.sequences
    }

    /// Appends a point; one of the same tenant and name before it is gone.
    pub(super) fn put(&mut self, entry: Entry) {
        let owner = self.owner_or_new(&entry.tenant);
        let slot = self.slots();
        let name: Arc<str> = entry.id.as_str().into();
        self.memory += entry.row.memory()
            + self.rows.coarse_bytes()
            + name.len()
            + size_of::<(u64, Arc<str>, u32, Arc<str>, u32)>();
        self.rows.put(slot, entry.row, owner);
        self.push(entry.sequence, Arc::clone(&name), owner, Some(&entry.payload));
        let owned = &mut self.owned[owner as usize];
        owned.slots.push(slot);
        let before = owned.by_name.insert(name, slot);
        self.live += 1;
        if let Some(before) = before {
            self.bury(before);
        }
    }

    /// Appends a slot whose point went before the process started, to keep the numbering of a snapshot.
    pub(super) fn put_gone(&mut self, sequence: u64) {
        self.push(sequence, "".into(), u32::MAX, None);
    }

    fn push(&mut self, sequence: u64, name: Arc<str>, owner: u32, payload: Option<&Payload>) {
        self.sequences.push(sequence);
        self.names.push(name);
        self.owners.push(owner);
        for (field, column) in self.fields.iter().zip(&mut self.columns) {
            column.push(payload.and_then(|payload| payload.get(field)));
        }
    }

    /// Removes a point; whether it was there.
    pub(super) fn remove(&mut self, tenant: &Tenant, id: &str) -> bool {
        let Some(owner) = self.owner(tenant) else { return false };
        let Some(slot) = self.owned[owner as usize].by_name.remove(id) else { return false };
        self.bury(slot);
        true
    }

    /// Removes a point if it still is the one of this sequence.
    pub(super) fn remove_sequence(&mut self, tenant: &Tenant, id: &str, sequence: u64) {
        let slot = self.slot(tenant, id);
        if slot.is_some_and(|slot| self.sequences[slot as usize] == sequence) {
            self.remove(tenant, id);
        }
    }

    fn bury(&mut self, slot: u32) {
        self.rows.kill(slot);
        self.live -= 1;
        if let Some(killed) = &mut self.killed {
            killed.push(slot);
        }
    }

    /// The number of a tenant who has or had points.
    pub(super) fn owner(&self, tenant: &Tenant) -> Option<u32> {
        self.tenants.get(tenant).copied()
    }

    fn owner_or_new(&mut self, tenant: &Tenant) -> u32 {
        if let Some(owner) = self.owner(tenant) {
            return owner;
        }
        let owner = self.owned.len() as u32;
        self.tenants.insert(tenant.clone(), owner);
        self.owned.push(Owned { tenant: tenant.clone(), slots: Vec::new(), by_name: HashMap::new() });
        owner
    }

    /// Points of a tenant.
    pub(super) fn owned(&self, owner: u32) -> usize {
        self.owned[owner as usize].by_name.len()
    }

    /// Names of the points of a tenant, in no order.
    pub(super) fn names(&self, tenant: &Tenant) -> Vec<PointId> {
        let Some(owner) = self.owner(tenant) else { return Vec::new() };
        self.owned[owner as usize].by_name.keys().map(|name| PointId::trusted(name)).collect()
    }

    /// The slot of a point.
    pub(super) fn slot(&self, tenant: &Tenant, id: &str) -> Option<u32> {
        self.owned[self.owner(tenant)? as usize].by_name.get(id).copied()
    }

    /// Tenants that have points, ascending, those after `after`.
    pub(super) fn tenants(&self, after: Option<&Tenant>, limit: usize) -> Vec<Tenant> {
        let present = self.owned.iter().filter(|owned| !owned.by_name.is_empty()).map(|owned| &owned.tenant);
        let mut found: Vec<Tenant> =
            present.filter(|tenant| after.is_none_or(|after| *tenant > after)).cloned().collect();
        found.sort_unstable();
        found.truncate(limit);
        found
    }

    /// Makes a checked filter ready.
    pub(super) fn tests(&self, filter: &Filter) -> Tests {
        let test = |condition: &crate::Condition| {
            let at = self.fields.iter().position(|field| field == condition.field());
            at.map_or((0, Test::Never), |at| (at, self.columns[at].test(condition)))
        };
        Tests(filter.0.iter().map(test).collect())
    }

    /// Whether a slot holds a point of this tenant that passes the tests.
    pub(super) fn matches(&self, slot: u32, owner: u32, tests: &Tests) -> bool {
        let passes = |(at, test): &(usize, Test)| {
            self.columns.get(*at).is_some_and(|column| column.passes(slot, *test))
        };
        // Columns lie closer together than owners, and most tests sort out most slots.
        tests.0.iter().all(passes) && self.rows.belongs(slot, owner)
    }

    /// The matching slots of a tenant from slot `from` on, ascending.
    pub(super) fn select<'t>(
        &'t self,
        owner: u32,
        tests: &'t Tests,
        from: u32,
    ) -> impl Iterator<Item = u32> + 't {
        let slots = &self.owned[owner as usize].slots;
        let start = slots.partition_point(|slot| *slot < from);
        slots[start..].iter().copied().filter(move |slot| self.matches(*slot, owner, tests))
    }

    /// All matching slots of a tenant, ascending: one column after the other, which is quicker than slot by slot.
    pub(super) fn select_all(&self, owner: u32, tests: &Tests) -> Vec<u32> {
        let all = &self.owned[owner as usize].slots;
        let mut picked: Option<Vec<u32>> = None;
        for (at, test) in &tests.0 {
            let slots = picked.as_deref().unwrap_or(all);
            picked = Some(self.columns.get(*at).map_or_else(Vec::new, |column| column.pick(slots, *test)));
        }
        let mut slots = picked.unwrap_or_else(|| all.clone());
        slots.retain(|slot| self.rows.belongs(*slot, owner));
        slots
    }

    /// The first slot whose sequence is above `sequence`.
    pub(super) fn slot_after(&self, sequence: u64) -> u32 {
        self.sequences.partition_point(|other| *other <= sequence) as u32
    }

    /// The name of a slot.
    pub(super) fn name(&self, slot: u32) -> PointId {
        PointId::trusted(&self.names[slot as usize])
    }

    /// The payload of a slot.
    pub(super) fn payload(&self, slot: u32) -> Payload {
        let value = |(field, column): (&String, &Column)| Some((field.clone(), column.value(slot)?));
        self.fields.iter().zip(&self.columns).filter_map(value).collect()
    }

    /// Everything of a slot whose point is there.
    pub(super) fn entry(&self, slot: u32) -> Option<Entry> {
        let owner = *self.owners.get(slot as usize)?;
        if !self.rows.belongs(slot, owner) {
            return None;
        }
        Some(Entry {
            sequence: self.sequences[slot as usize],
            tenant: self.owned.get(owner as usize)?.tenant.clone(),
            id: self.name(slot),
            row: self.rows.row(slot)?.clone(),
            payload: self.payload(slot),
        })
    }

    /// Tenant, name and sequence of a slot, also of one whose point is gone.
    pub(super) fn trace(&self, slot: u32) -> Option<(&Tenant, &str, u64)> {
        let at = slot as usize;
        let owned = self.owned.get(*self.owners.get(at)? as usize)?;
        Some((&owned.tenant, &self.names[at], self.sequences[at]))
    }

    /// Begins to write down which slots are killed.
    pub(super) fn watch_kills(&mut self) {
        self.killed = Some(Vec::new());
    }

    /// The slots killed since [`watch_kills`](Self::watch_kills).
    pub(super) fn take_kills(&mut self) -> Vec<u32> {
        self.killed.take().unwrap_or_default()
    }
}
