//! What is kept under Envoy's context ids. In: ids, which Envoy counts up one by one, and values. Out: the values again,
//! each in constant time: ids in a row fall into buckets in a row. A map of the standard library that does the same is
//! ten times the code.

/// A map from context ids.
#[derive(Debug)]
pub struct Table<T> {
    /// A power of two of them.
    buckets: Vec<Vec<(u32, T)>>,
    len: usize,
}

// === impl Table ===

impl<T> Table<T> {
    /// An empty table for about so many values at once; it takes more, and grows slower then.
    pub fn for_about(values: usize) -> Self {
        let buckets = values.max(1).checked_next_power_of_two().unwrap_or(1);
        Self { buckets: std::iter::repeat_with(Vec::new).take(buckets).collect(), len: 0 }
    }

    fn bucket(&self, id: u32) -> usize {
        // A power of two less one masks the lowest bits.
        id as usize & self.buckets.len().saturating_sub(1)
    }

    /// The value of an id.
    pub fn get(&self, id: &u32) -> Option<&T> {
        self.buckets.get(self.bucket(*id))?.iter().find(|(known, _)| known == id).map(|(_, value)| value)
    }

    /// The value of an id, to change.
    pub fn get_mut(&mut self, id: &u32) -> Option<&mut T> {
        let bucket = self.bucket(*id);
        self.buckets.get_mut(bucket)?.iter_mut().find(|(known, _)| known == id).map(|(_, value)| value)
    }

    /// Gives an id a value; answers the one it had.
    pub fn insert(&mut self, id: u32, value: T) -> Option<T> {
        if let Some(old) = self.get_mut(&id) {
            return Some(std::mem::replace(old, value));
        }
        let bucket = self.bucket(id);
        self.buckets.get_mut(bucket)?.push((id, value));
        self.len = self.len.saturating_add(1);
        None
    }

    /// Takes the value of an id away.
    pub fn remove(&mut self, id: &u32) -> Option<T> {
        let bucket = self.bucket(*id);
        let bucket = self.buckets.get_mut(bucket)?;
        let at = bucket.iter().position(|(known, _)| known == id)?;
        self.len = self.len.saturating_sub(1);
        Some(bucket.swap_remove(at).1)
    }

    /// All ids and values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&u32, &T)> {
        self.buckets.iter().flatten().map(|(id, value)| (id, value))
    }

    /// All ids and values, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&u32, &mut T)> {
        self.buckets.iter_mut().flatten().map(|(id, value)| (&*id, value))
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    /// All values, to change.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.iter_mut().map(|(_, value)| value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_table_is_a_map_whatever_its_size() {
        for about in [0, 1, 3, 256] {
            let mut table = Table::for_about(about);
            for id in 0..1000u32 {
                assert_eq!(table.insert(id.wrapping_mul(7), id), None);
            }
            assert_eq!(table.insert(7, 99), Some(1));
            *table.get_mut(&14).unwrap() += 40;
            assert_eq!((table.len(), table.get(&7), table.get(&14), table.get(&8)), (1000, Some(&99), Some(&42), None));
            assert_eq!((table.remove(&7), table.remove(&7), table.len()), (Some(99), None, 999));
            assert_eq!(table.iter().count(), 999);
            table.values_mut().for_each(|value| *value = 0);
            assert!(table.values().all(|value| *value == 0));
            for id in 0..1000u32 {
                table.remove(&id.wrapping_mul(7));
            }
            assert!(table.is_empty());
        }
    }
}
