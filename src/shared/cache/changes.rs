//! Changes of an existing value of a cache that keep its number or its bytes: `cache.incr` and `cache.touch` of Django.

use super::writer::NewItem;
use super::{Cache, Lifetime, item, now};

impl Cache {
    /// Adds to the number of a key, and returns the sum. `None` if there is no value, or a value of another size than 8
    /// bytes.
    pub fn add_to_number(&self, key: &[u8], operand: i64) -> Option<i64> {
        let writer = self.writer(now())?;
        let found = writer.find_valid(key, self.hash(key))?;
        let mut sum = 0;
        item::change_number(&self.memory, found.first, &found.head, |number| {
            sum = number.wrapping_add(operand);
            sum
        })?;
        writer.touch(&found);
        writer.changed();
        Some(sum)
    }

    /// Sets a new lifetime of a value. Returns whether there is a value.
    pub fn extend(&self, key: &[u8], lifetime: Lifetime) -> bool {
        let now = now();
        let Some(writer) = self.writer(now) else {
            return false;
        };
        let hash = self.hash(key);
        let found = writer.find_valid(key, hash);
        let Some((found, value)) = found.and_then(|found| {
            let value = item::value(&self.memory, found.first, &found.head)?;
            Some((found, value))
        }) else {
            return false;
        };
        if lifetime == Lifetime::Over {
            writer.remove(&found);
            return true;
        }
        let item = NewItem {
            key,
            value: &value,
            hash,
            expires: self.expiry(lifetime, now),
        };
        self.stored(&writer, item).is_ok()
    }
}
