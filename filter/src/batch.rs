//! Records that wait to leave together. In: encoded records, one at a time. Out: sealed [`Payload`]s no larger than the
//! bounds in items and bytes. Refuses a record that alone is larger than a batch may be.

use crate::config::Batch as Limits;
use crate::otlp;

/// Records of one signal that have not been sealed yet.
#[derive(Debug, Default)]
pub struct Batch {
    records: Vec<u8>,
    items: u32,
    /// When the oldest record came, Unix time in nanoseconds.
    since: u64,
}

/// Records that leave in one export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Encoded records, without the envelope.
    pub records: Vec<u8>,
    /// How many they are.
    pub items: u32,
    /// When the oldest of them came, Unix time in nanoseconds.
    pub since: u64,
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is in the batch.
    Taken,
    /// It is in the batch, and the batch before it, now full, has to leave.
    Sealed(Payload),
    /// It is larger than a batch may be.
    TooLarge,
    /// It does not fit into what the queue has left.
    NoRoom,
}

// === impl Batch ===

impl Batch {
    /// Takes an encoded record, if it fits into `room` bytes. It counts as so many `items`: a metric holds several data
    /// points.
    pub fn offer(&mut self, limits: &Limits, room: usize, now: u64, items: u32, record: &[u8]) -> Offer {
        let limit = limits.max_export_batch_bytes as usize;
        let len = otlp::record_len(record.len());
        if len > limit {
            return Offer::TooLarge;
        }
        if len > room {
            return Offer::NoRoom;
        }
        let is_full = self.items.saturating_add(items) > limits.max_export_batch_size
            || self.records.len().saturating_add(len) > limit;
        let sealed = if is_full { self.take() } else { None };
        if self.items == 0 {
            self.since = now;
        }
        otlp::append_record(&mut self.records, record);
        self.items = self.items.saturating_add(items);
        match sealed {
            Some(payload) => Offer::Sealed(payload),
            None => Offer::Taken,
        }
    }

    /// Whether it is time to leave: full, or its oldest record has waited for half of the schedule delay (ticks come
    /// that often, so nothing waits for longer than the whole).
    pub fn should_flush(&self, limits: &Limits, now: u64) -> bool {
        let waited = now.saturating_sub(self.since);
        self.items >= limits.max_export_batch_size || (self.items > 0 && waited >= limits.schedule_delay.as_nanos() / 2)
    }

    /// Seals what there is.
    pub fn take(&mut self) -> Option<Payload> {
        if self.items == 0 {
            return None;
        }
        let items = std::mem::take(&mut self.items);
        let mut records = std::mem::take(&mut self.records);
        // It may wait for long, and the bound on what waits is meant for what is allocated, too.
        records.shrink_to_fit();
        Some(Payload { records, items, since: self.since })
    }

    /// When the oldest record came, if there is one.
    pub fn since(&self) -> Option<u64> {
        (self.items > 0).then_some(self.since)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.records.len()
    }

    /// Records held.
    pub fn items(&self) -> u32 {
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn limits(items: u32, bytes: u32) -> Limits {
        Limits { max_export_batch_size: items, max_export_batch_bytes: bytes, ..Limits::default() }
    }

    fn offer(batch: &mut Batch, limits: &Limits, len: usize) -> Offer {
        batch.offer(limits, usize::MAX, 7, 1, &vec![b'x'; len])
    }

    #[test]
    fn a_batch_is_full_at_its_number_of_items() {
        let limits = limits(2, 4096);
        let mut batch = Batch::default();
        assert_eq!(offer(&mut batch, &limits, 10), Offer::Taken);
        assert!(!batch.should_flush(&limits, 7));
        assert_eq!(offer(&mut batch, &limits, 10), Offer::Taken);
        assert!(batch.should_flush(&limits, 7));
        let Offer::Sealed(full) = offer(&mut batch, &limits, 10) else { panic!("not sealed") };
        assert_eq!((full.items, full.records.len()), (2, 24));
        assert_eq!(batch.take().map(|p| (p.items, p.records.len())), Some((1, 12)));
        assert_eq!(batch.take(), None);
    }

    #[test]
    fn a_record_that_does_not_fit_begins_the_next_batch() {
        let limits = limits(100, 4096);
        let mut batch = Batch::default();
        assert_eq!(offer(&mut batch, &limits, 3000), Offer::Taken);
        let Offer::Sealed(first) = offer(&mut batch, &limits, 2000) else { panic!("not sealed") };
        assert_eq!((first.items, first.records.len()), (1, 3003));
        assert_eq!((batch.items(), batch.bytes()), (1, 2003));
        for _ in 0..1000 {
            let before = match offer(&mut batch, &limits, 50) {
                Offer::Sealed(payload) => payload.records.len(),
                _ => 0,
            };
            assert!(batch.bytes() <= 4096 && before <= 4096, "no payload is larger than its bound");
        }
    }

    #[test]
    fn a_record_of_many_items_does_not_overfill_a_batch() {
        let limits = limits(10, 4096);
        let mut batch = Batch::default();
        let mut offer = |items| batch.offer(&limits, usize::MAX, 7, items, &[0]);
        assert_eq!((offer(6), offer(4)), (Offer::Taken, Offer::Taken));
        let Offer::Sealed(full) = offer(7) else { panic!("not sealed") };
        assert_eq!(full.items, 10);
        let Offer::Sealed(part) = offer(4) else { panic!("not sealed") };
        assert_eq!((part.items, batch.items()), (7, 4));
    }

    #[test]
    fn a_record_that_is_too_large_is_refused_and_leaves_no_trace() {
        let limits = limits(100, 4096);
        let mut batch = Batch::default();
        assert_eq!(offer(&mut batch, &limits, 10), Offer::Taken);
        assert_eq!(offer(&mut batch, &limits, 5000), Offer::TooLarge);
        let no_room = batch.offer(&limits, 11, 7, 1, &[b'x'; 10]);
        assert_eq!(no_room, Offer::NoRoom, "ten bytes and two of framing");
        assert_eq!((batch.items(), batch.bytes()), (1, 12));
    }

    #[test]
    fn the_oldest_record_decides_when_it_is_time() {
        let limits = limits(100, 4096);
        let mut batch = Batch::default();
        assert!(!batch.should_flush(&limits, u64::MAX), "an empty batch never leaves");
        batch.offer(&limits, 9, 1_000, 1, &[0]);
        batch.offer(&limits, 9, 400_001_000, 1, &[0]);
        assert!(!batch.should_flush(&limits, 499_999_999));
        assert!(batch.should_flush(&limits, 500_001_000));
        assert!(!batch.should_flush(&limits, 0), "a clock that went back does not flush");
    }
}
