//! Caches: the values of `cache2`.

use crate::config::finding::{Fault, shortened};
use crate::shared::cache::{CacheDefinition, Expiry, Store, WhenFull};

use super::keyed::{settings, unknown_key};
use super::number::{bytes, small};
use super::setting::{Parsed, Value};
use super::text::{non_empty, switch};

/// A cache: `name=NAME,items=NUMBER` and more settings.
pub(crate) struct CacheText;

const KEYS: &[&str] = &[
    "name",
    "items",
    "blocksize",
    "blocks",
    "bitmap",
    "keysize",
    "hash",
    "hashsize",
    "store",
    "store_sync",
    "store_delete",
    "math_initial",
    "ignore_full",
    "purge_lru",
    "clear_on_full",
    "sweep_on_full",
    "lazy_expire",
    "no_expire",
    "lastmod",
];

/// The names of uWSGI's hash functions. Each name is accepted, but ruwsgi always uses the same function.
const HASHES: [&str; 4] = ["djb33x", "murmur2", "rr", "rand"];

const CLUSTER: &str =
    "caches are shared within one instance only: use Redis or memcached between hosts";

impl Value for CacheText {
    type Stored = CacheDefinition;
    type Ref<'a> = &'a CacheDefinition;
    const ARG: &'static str = "name=NAME,items=NUMBER[,KEY=VALUE...]";

    fn parse(text: &str) -> Parsed<CacheDefinition> {
        let (text, remark) = non_empty(text)?;
        let mut settings = Settings::default();
        for (key, value) in self::settings(&text) {
            settings.set(&key, value.as_deref())?;
        }
        Ok((settings.finish()?, remark))
    }

    fn get(stored: &CacheDefinition) -> &CacheDefinition {
        stored
    }
}

/// The settings of a cache that have been parsed so far.
struct Settings {
    definition: CacheDefinition,
    blocks: Option<u32>,
    store: Option<String>,
    sync: u32,
    replaces: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            definition: CacheDefinition::new("", 0),
            blocks: None,
            store: None,
            sync: 0,
            replaces: false,
        }
    }
}

impl Settings {
    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), Fault> {
        let it = &mut self.definition;
        match key {
            "name" => it.name = text(key, value)?.to_owned(),
            "items" | "maxitems" | "max_items" => it.items = number(key, value)?,
            "blocksize" => it.block_size = size(key, value)?,
            "blocks" => self.blocks = Some(number(key, value)?),
            "bitmap" => it.spans_blocks = flag(value)?,
            "keysize" | "key_size" => it.key_size = number(key, value)?,
            "hashsize" | "hash_size" => it.buckets = number(key, value)?,
            "hash" => it.hash = hash(text(key, value)?)?,
            "store" => self.store = Some(text(key, value)?.to_owned()),
            "store_sync" | "storesync" => self.sync = number(key, value)?,
            "store_delete" | "storedelete" => self.replaces = flag(value)?,
            "math_initial" | "mathinitial" => it.math_initial = signed(text(key, value)?)?,
            "ignore_full" => it.logs_full = !flag(value)?,
            "purge_lru" | "lru" if flag(value)? => it.when_full = WhenFull::RemoveOldest,
            "clear_on_full" if flag(value)? => it.when_full = WhenFull::Clear,
            "lazy_expire" | "lazy" if flag(value)? => it.expiry = Expiry::Lazy,
            "no_expire" | "noexpire" if flag(value)? => it.expiry = Expiry::Never,
            "purge_lru" | "lru" | "clear_on_full" | "lazy_expire" | "lazy" | "no_expire"
            | "noexpire" => {}
            // these flags have no effect, because ruwsgi always removes expired items from a full cache and always
            // records the time of the last change
            "sweep_on_full" | "lastmod" | "last_mod" => {}
            "sync" | "node" | "nodes" | "udp" | "udp_servers" | "udp_server" | "udpservers" => {
                return Err(Fault::new(format!("{key} is not supported")).hint(CLUSTER));
            }
            _ => return Err(unknown_key(key, KEYS)),
        }
        Ok(())
    }

    fn finish(self) -> Result<CacheDefinition, Fault> {
        let mut it = self.definition;
        if it.name.is_empty() {
            return Err(Fault::new("the cache has no name").hint("add name=NAME"));
        }
        if it.items == 0 {
            let fault = Fault::new(format!("the cache {} has no number of items", it.name));
            return Err(fault.hint("add items=NUMBER"));
        }
        it.blocks = self.blocks.unwrap_or(it.items);
        if it.blocks < it.items {
            let fault = Fault::new(format!(
                "blocks={} is less than items={}",
                it.blocks, it.items
            ));
            return Err(fault.hint("an item needs at least one block"));
        }
        if !(1..65_535).contains(&it.key_size) {
            return Err(Fault::new("keysize must be from 1 to 65534"));
        }
        if it.block_size == 0 || it.buckets == 0 {
            return Err(Fault::new("blocksize and hashsize must be at least 1"));
        }
        it.store = self.store.map(|path| Store {
            path,
            sync: self.sync,
            replaces: self.replaces,
        });
        match it.memory() {
            Some(_) => Ok(it),
            None => Err(Fault::new(format!("the cache {} is too large", it.name))
                .hint("reduce items, blocks or blocksize")),
        }
    }
}

fn text<'a>(key: &str, value: Option<&'a str>) -> Result<&'a str, Fault> {
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Fault::new(format!("{key} has no value")))
}

fn number(key: &str, value: Option<&str>) -> Result<u32, Fault> {
    let value = size(key, value)?;
    u32::try_from(value)
        .ok()
        .filter(|value| *value <= i32::MAX as u32)
        .ok_or_else(|| Fault::new(format!("{key} is too large")))
}

/// A number that may have a unit, as in uWSGI's documentation.
fn size(key: &str, value: Option<&str>) -> Result<u64, Fault> {
    let in_key = |mut fault: Fault| {
        fault.what = format!("{key}: {}", fault.what);
        fault
    };
    bytes(text(key, value)?)
        .map(|(size, _)| size)
        .map_err(in_key)
}

fn signed(text: &str) -> Result<i64, Fault> {
    text.parse()
        .map_err(|_| Fault::new(format!("{} is not a whole number", shortened(text))))
}

/// A flag, which may stand without a value.
fn flag(value: Option<&str>) -> Result<bool, Fault> {
    value.map_or(Ok(true), |value| switch(value).map(|(on, _)| on))
}

fn hash(name: &str) -> Result<String, Fault> {
    match HASHES.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(Fault::new(format!("unknown hash {}", shortened(name)))
            .hint(format!("the hash functions are {}", HASHES.join(", ")))),
    }
}

/// Returns the cache that the options `cache` and `cache-...` define.
pub(crate) fn default_cache(
    items: u32,
    block_size: Option<u64>,
    store: Option<(&str, u32)>,
    expires: bool,
) -> CacheDefinition {
    let mut it = CacheDefinition::new("default", items);
    if let Some(size) = block_size.filter(|size| *size > 0) {
        it.block_size = size;
    }
    if !expires {
        it.expiry = Expiry::Never;
    }
    it.store = store.map(|(path, sync)| Store {
        path: path.to_owned(),
        sync,
        replaces: false,
    });
    it
}

/// Parses the number of items of the option `cache`.
pub(crate) fn items(text: &str) -> Parsed<u32> {
    let (items, remark) = small(text, &[])?;
    match CacheDefinition::new("default", items).memory() {
        Some(_) => Ok((items, remark)),
        None => Err(Fault::new("the cache is too large")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> CacheDefinition {
        CacheText::parse(text).unwrap().0
    }

    fn fault(text: &str) -> String {
        CacheText::parse(text).unwrap_err().what
    }

    #[test]
    fn a_name_and_a_number_of_items_are_enough() {
        assert_eq!(parse("name=a,items=5"), CacheDefinition::new("a", 5));
        assert_eq!(parse("items=5, name=a ,"), CacheDefinition::new("a", 5));
        assert_eq!(parse("name=a,maxitems=2k").items, 2048);
        assert_eq!(fault("name=a"), "the cache a has no number of items");
        assert_eq!(fault("items=3"), "the cache has no name");
    }

    #[test]
    fn flags_need_no_value() {
        let cache = parse("name=a,items=5,purge_lru,ignore_full,lazy,bitmap=1,blocksize=1k");
        assert_eq!(cache.when_full, WhenFull::RemoveOldest);
        assert_eq!(cache.expiry, Expiry::Lazy);
        assert!(!cache.logs_full && cache.spans_blocks);
        assert_eq!((cache.block_size, cache.max_value()), (1024, 5120));
        assert_eq!(
            parse("name=a,items=5,purge_lru=0").when_full,
            WhenFull::Refuse
        );
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (text, what) in [
            ("name=a,items=5,nodes=1.2.3.4:5", "nodes is not supported"),
            ("name=a,items=5,blocks=4", "blocks=4 is less than items=5"),
            (
                "name=a,items=5,keysize=70000",
                "keysize must be from 1 to 65534",
            ),
            ("name=a,items=5,hash=md5", "unknown hash md5"),
            ("name=a,items=5,math_initial=x", "x is not a whole number"),
            ("name=a,items=5,colour=red", "unknown key colour"),
            ("name=a,items=2000000000", "the cache a is too large"),
        ] {
            assert_eq!(fault(text), what, "{text}");
        }
    }
}
