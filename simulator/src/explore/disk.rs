//! What a node has made durable, and what of it may be gone when the node comes back.
//!
//! A record is durable once something behind it has left the node. Of the rest any number may be
//! lost, the last first: each record of the log is tied to the one before it
//! (`synod_core::durable`), so that what is found behind a gap is cut off. A sync that fails ends
//! the node at once: it is a crash before what is behind the record, and no fault of its own here.
//! A sync that lies claims to have made durable what it has not; the next honest one makes up for
//! it. So only what the last syncs claim can be at risk.

use std::sync::Arc;

use synod_core::durable::is_replaced;
use synod_core::{Envelope, EventId};

/// A node's log. How much of its end is lost is decided when the node comes back: until then nobody
/// sees it. Most nodes have none, and those that have one seldom write: each change is a copy.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Disk(Option<Arc<Log>>);

#[derive(Clone, Debug, Default, Hash)]
struct Log {
    /// What is certainly there.
    records: Vec<Envelope>,
    /// What the last syncs claim to have made durable, the earlier ones first: as many as may lie.
    claimed: Vec<Vec<Write>>,
    /// What nothing has left behind.
    pending: Vec<Write>,
}

#[derive(Clone, Debug, Hash)]
struct Write {
    record: Envelope,
    replaces: Arc<[EventId]>,
}

impl Disk {
    fn log(&mut self) -> &mut Log {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    /// Takes a record that is to be durable before anything behind it leaves, in place of some.
    pub(crate) fn write(&mut self, record: &Envelope, replaces: Arc<[EventId]>) {
        self.log().pending.push(Write { record: record.clone(), replaces });
    }

    /// Something is about to leave. So many syncs of a run may lie.
    pub(crate) fn sync(&mut self, lies_max: u32) {
        if self.0.as_ref().is_some_and(|log| !log.pending.is_empty()) {
            self.log().sync(lies_max);
        }
    }

    /// How many of the last records may be gone if so many syncs may have lied.
    pub(crate) fn at_risk(&self, lies: u32) -> usize {
        self.0.as_ref().map_or(0, |log| log.at_risk(lies))
    }

    /// How many syncs must have lied for the last `lost` records to be gone.
    pub(crate) fn lies(&self, lost: usize) -> u32 {
        self.0.as_ref().map_or(0, |log| log.lies(lost))
    }

    /// The records that the node finds if the last `lost` ones are gone. They are safe from now on.
    pub(crate) fn recover(&mut self, lost: usize) -> Vec<Envelope> {
        let Some(mut log) = self.0.take().map(Arc::unwrap_or_clone) else {
            return Vec::new();
        };
        log.recover(lost);
        let records = log.records.clone();
        // A log without records is none: what was never there and what is lost look the same.
        self.0 = (!records.is_empty()).then(|| Arc::new(log));
        records
    }

    /// The same with other names in its records.
    pub(crate) fn renamed<E>(
        &self,
        rename: impl FnMut(&Envelope) -> Result<Envelope, E>,
    ) -> Result<Self, E> {
        let log = self.0.as_ref().map(|log| log.renamed(rename)).transpose()?;
        Ok(Self(log.map(Arc::new)))
    }
}

impl Log {
    fn sync(&mut self, lies_max: u32) {
        self.claimed.push(std::mem::take(&mut self.pending));
        let sure = self.claimed.len().saturating_sub(lies_max as usize);
        let sure: Vec<Write> = self.claimed.drain(..sure).flatten().collect();
        self.keep(sure);
    }

    fn at_risk(&self, lies: u32) -> usize {
        let claimed = self.claimed.iter().rev().take(lies as usize).map(Vec::len);
        self.pending.len() + claimed.sum::<usize>()
    }

    fn lies(&self, lost: usize) -> u32 {
        let mut left = lost.saturating_sub(self.pending.len());
        let mut lies = 0;
        for group in self.claimed.iter().rev() {
            lies += u32::from(0 < left);
            left = left.saturating_sub(group.len());
        }
        lies
    }

    fn recover(&mut self, lost: usize) {
        let mut left: Vec<Write> = self.claimed.drain(..).flatten().collect();
        left.append(&mut self.pending);
        left.truncate(left.len().saturating_sub(lost));
        self.keep(left);
    }

    fn renamed<E>(
        &self,
        mut rename: impl FnMut(&Envelope) -> Result<Envelope, E>,
    ) -> Result<Self, E> {
        let records = self.records.iter().map(&mut rename).collect::<Result<_, E>>()?;
        let mut write = |Write { record, replaces }: &Write| {
            Ok(Write { record: rename(record)?, replaces: Arc::clone(replaces) })
        };
        let mut writes = |group: &Vec<Write>| group.iter().map(&mut write).collect();
        let claimed = self.claimed.iter().map(&mut writes).collect::<Result<_, E>>()?;
        let pending = writes(&self.pending)?;
        Ok(Self { records, claimed, pending })
    }

    fn keep(&mut self, writes: Vec<Write>) {
        for Write { record, replaces } in writes {
            self.records.retain(|old| !is_replaced(old, &record, &replaces));
            self.records.push(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use synod_core::Event;

    use super::*;

    #[derive(Event, Debug, Serialize, Deserialize)]
    #[event(name = "record")]
    struct Record(u8);

    fn record(number: u8) -> Envelope {
        Envelope::seal(&Record(number))
    }

    fn found(disk: &Disk, lost: usize) -> Vec<u8> {
        let records = disk.clone().recover(lost);
        records.iter().map(|it| it.open::<Record>().expect("a record").0).collect()
    }

    #[test]
    fn the_last_records_may_be_gone_as_far_as_nothing_or_only_lies_vouch_for_them() {
        let mut disk = Disk::default();
        let none: Arc<[EventId]> = Arc::new([]);
        for group in [&[1, 2][..], &[3], &[4, 5]] {
            group.iter().for_each(|it| disk.write(&record(*it), Arc::clone(&none)));
            disk.sync(2);
        }
        disk.write(&record(6), none);
        assert_eq!([0, 1, 2, 3].map(|lies| disk.at_risk(lies)), [1, 3, 4, 4]);
        assert_eq!([0, 1, 2, 3, 4].map(|lost| disk.lies(lost)), [0, 0, 1, 1, 2]);
        assert_eq!(found(&disk, 0), [1, 2, 3, 4, 5, 6]);
        assert_eq!(found(&disk, 4), [1, 2]);
        let replaces: Arc<[EventId]> = Arc::new([Record::ID]);
        disk.write(&record(7), replaces);
        assert_eq!((found(&disk, 0), found(&disk, 1)), (vec![7], vec![1, 2, 3, 4, 5, 6]));
    }
}
