//! Caches: `cache2`, the older options, and `uwsgi.cache_*`.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::kit::*;

/// Evaluates an expression in the application, and returns the repr of the result.
pub fn eval(server: &Server, expression: &str) -> String {
    let query: String = expression
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    server.get(&format!("/?{query}")).expect(200).text()
}

/// Fails unless each expression has this result.
#[track_caller]
pub fn check(server: &Server, expected: &[(&str, &str)]) {
    for (expression, result) in expected {
        assert_eq!(eval(server, expression), *result, "{expression}");
    }
}

fn launch() -> Launch {
    Site::with("shared_memory").server()
}

#[test]
fn values_are_stored_once_updated_and_deleted() {
    let server = launch().set("cache2", "name=first,items=100").start();
    check(
        &server,
        &[
            ("uwsgi.cache_set('a', '1')", "True"),
            ("uwsgi.cache_set('a', '2')", "None"),
            ("uwsgi.cache_get('a')", "b'1'"),
            ("uwsgi.cache_get(b'a')", "b'1'"),
            ("uwsgi.cache_update('a', b'3')", "True"),
            ("uwsgi.cache_update('neu', 'ü')", "True"),
            ("uwsgi.cache_get('neu')", r"b'\xc3\xbc'"),
            ("uwsgi.cache_exists('a')", "True"),
            ("uwsgi.cache_exists('zz')", "None"),
            ("uwsgi.cache_get('zz')", "None"),
            ("sorted(uwsgi.cache_keys())", "[b'a', b'neu']"),
            ("uwsgi.cache_del('a')", "True"),
            ("uwsgi.cache_del('a')", "None"),
            ("uwsgi.cache_get('a')", "None"),
            ("uwsgi.cache_clear()", "True"),
            ("uwsgi.cache_keys()", "[]"),
        ],
    );
}

#[test]
fn what_cannot_be_stored_is_refused() {
    let server = launch().set("cache2", "name=first,items=100").start();
    check(
        &server,
        &[
            ("uwsgi.cache_set('', '1')", "None"),
            ("uwsgi.cache_set('e', '')", "None"),
            ("uwsgi.cache_update('e', '')", "None"),
            ("uwsgi.cache_get('')", "None"),
            ("uwsgi.cache_set('k' * 2049, 'x')", "None"),
            ("uwsgi.cache_set('big', 'x' * 65536)", "True"),
            ("uwsgi.cache_set('bigger', 'x' * 65537)", "None"),
            ("uwsgi.cache_set(1, 'x')", "'TypeError'"),
            ("uwsgi.cache_set('x', 1)", "'TypeError'"),
            ("uwsgi.cache_set('x')", "'TypeError'"),
            ("uwsgi.cache_set('x', '1', expires=1)", "'TypeError'"),
            ("uwsgi.cache_set('x', '1', 'y')", "'TypeError'"),
            ("uwsgi.cache_get()", "'TypeError'"),
        ],
    );
}

#[test]
fn numbers_are_calculated() {
    let launch = launch().set("cache2", "name=first,items=100");
    let server = launch
        .set("cache2", "name=second,items=9,math_initial=100")
        .start();
    check(
        &server,
        &[
            ("uwsgi.cache_inc('n')", "True"),
            ("uwsgi.cache_inc('n', 5)", "True"),
            ("uwsgi.cache_get('n') == (6).to_bytes(8, 'little')", "True"),
            ("uwsgi.cache_dec('n', 2)", "True"),
            ("uwsgi.cache_num('n')", "4"),
            ("uwsgi.cache_mul('n')", "True"),
            ("uwsgi.cache_num('n')", "8"),
            ("uwsgi.cache_inc('n', -18)", "True"),
            ("uwsgi.cache_div('n', 3)", "True"),
            ("uwsgi.cache_num('n')", "-3"),
            ("uwsgi.cache_div('n', 0)", "True"),
            ("uwsgi.cache_num('n')", "0"),
            ("uwsgi.cache_dec('m')", "True"),
            ("uwsgi.cache_num('m')", "-1"),
            ("uwsgi.cache_mul('q')", "True"),
            ("uwsgi.cache_num('q')", "0"),
            ("uwsgi.cache_num('zz')", "0"),
            ("uwsgi.cache_inc('s', 1, 0, 'second')", "True"),
            ("uwsgi.cache_num('s', 'second')", "101"),
            ("uwsgi.cache_set('text', 'text')", "True"),
            ("uwsgi.cache_num('text')", "0"),
        ],
    );
    if !differs(
        "cache_inc and similar functions do not change a value that has not 8 bytes: they return None. uWSGI calculates with \
         the bytes that follow the value in memory.",
    ) {
        check(
            &server,
            &[
                ("uwsgi.cache_inc('text')", "None"),
                ("uwsgi.cache_get('text')", "b'text'"),
            ],
        );
    }
}

#[test]
fn a_cache_is_named_and_the_first_is_the_default() {
    let launch = launch().set("cache2", "name=first,items=100");
    let server = launch.set("cache2", "name=second,items=100").start();
    check(
        &server,
        &[
            ("uwsgi.cache_set('a', '1', 0, 'second')", "True"),
            ("uwsgi.cache_get('a')", "None"),
            ("uwsgi.cache_get('a', 'second')", "b'1'"),
            ("uwsgi.cache_set('b', '2')", "True"),
            ("uwsgi.cache_get('b', 'first')", "b'2'"),
            ("uwsgi.cache_set('c', 'x', 0, 'nope')", "None"),
            ("uwsgi.cache_get('c', 'nope')", "None"),
            ("uwsgi.cache_exists('c', 'nope')", "None"),
            ("uwsgi.cache_del('c', 'nope')", "None"),
            ("uwsgi.cache_inc('c', 1, 0, 'nope')", "None"),
            ("uwsgi.cache_num('c', 'nope')", "0"),
            ("uwsgi.cache_clear('nope')", "None"),
            ("uwsgi.cache_keys('nope')", "'ValueError'"),
        ],
    );
    if !differs(
        "A cache of another host (name@host:port) raises ValueError instead of returning None.",
    ) {
        check(
            &server,
            &[("uwsgi.cache_get('a', 'x@127.0.0.1:9')", "'ValueError'")],
        );
    }
}

#[test]
fn without_a_cache_nothing_is_stored() {
    let server = launch().start();
    check(
        &server,
        &[
            ("uwsgi.cache_set('a', '1')", "None"),
            ("uwsgi.cache_get('a')", "None"),
            ("uwsgi.cache_num('a')", "0"),
            ("uwsgi.cache_keys()", "'ValueError'"),
        ],
    );
}

#[test]
fn the_older_options_define_a_cache_named_default() {
    let launch = launch().set("cache", 50).set("cache-blocksize", 100);
    let server = launch.set("cache-expire-freq", 1).start();
    check(
        &server,
        &[
            ("uwsgi.cache_set('a', 'x' * 100)", "True"),
            ("uwsgi.cache_set('b', 'x' * 101)", "None"),
            ("uwsgi.cache_get('a', 'default') == b'x' * 100", "True"),
        ],
    );
}

#[test]
fn workers_share_a_cache() {
    let launch = launch()
        .set("cache2", "name=first,items=100")
        .set("processes", 3);
    let server = launch.start();
    eval(&server, "uwsgi.cache_set('a', '1')");
    server.eventually("each worker has answered", || {
        check(&server, &[("uwsgi.cache_get('a')", "b'1'")]);
        eval(
            &server,
            "uwsgi.cache_update('worker%d' % uwsgi.worker_id(), '1')",
        );
        eval(&server, "len(uwsgi.cache_keys())") == "4"
    });
}

#[test]
fn a_full_cache_refuses_items_and_says_so_once() {
    let mut server = launch()
        .set("cache2", "name=small,items=4,blocksize=100")
        .start();
    check(
        &server,
        &[
            (
                "[uwsgi.cache_set(str(n), 'x') for n in range(3)]",
                "[True, True, True]",
            ),
            ("uwsgi.cache_update('0', 'y')", "True"),
        ],
    );
    if !differs(
        "A cache holds as many items as items= says. uWSGI holds one less. The message that a cache is full is logged once in \
         ten seconds.",
    ) {
        check(
            &server,
            &[
                ("uwsgi.cache_set('3', 'x')", "True"),
                (
                    "[uwsgi.cache_set(str(n), 'x') for n in range(4, 9)]",
                    "[None, None, None, None, None]",
                ),
                ("uwsgi.cache_update('2', 'z')", "True"),
                ("uwsgi.cache_del('1')", "True"),
                ("uwsgi.cache_set('9', 'x')", "True"),
            ],
        );
        server.wait_for_log("small is FULL");
        assert_eq!(server.log_lines("small is FULL").len(), 1);
        server.expect_log("is FULL");
    }
}

#[test]
fn ignore_full_is_silent() {
    let server = launch()
        .set("cache2", "name=small,items=3,ignore_full=1")
        .start();
    eval(&server, "[uwsgi.cache_set(str(n), 'x') for n in range(9)]");
    assert!(server.log_lines("FULL").is_empty());
}

#[test]
fn the_least_recently_used_item_is_removed() {
    if differs(
        "With purge_lru items still expire, a read counts as a use, and an item is removed when the cache is full, not one \
         before. uWSGI compares the expiry with another unit, so its items do not expire.",
    ) {
        return;
    }
    let server = launch()
        .set("cache2", "name=small,items=3,purge_lru=1")
        .start();
    check(
        &server,
        &[
            (
                "[uwsgi.cache_set(key, 'x') for key in 'abc']",
                "[True, True, True]",
            ),
            ("uwsgi.cache_get('a')", "b'x'"),
            ("uwsgi.cache_set('d', 'x')", "True"),
            ("sorted(uwsgi.cache_keys())", "[b'a', b'c', b'd']"),
            ("uwsgi.cache_update('a', 'x', -1)", "True"),
            ("uwsgi.cache_get('a')", "None"),
        ],
    );
}

#[test]
fn clear_on_full_removes_all_items() {
    if differs(
        "With clear_on_full the item that does not fit is stored after the cache is cleared.",
    ) {
        return;
    }
    let server = launch()
        .set("cache2", "name=small,items=3,clear_on_full=1")
        .start();
    check(
        &server,
        &[
            (
                "[uwsgi.cache_set(key, 'x') for key in 'abcd']",
                "[True, True, True, True]",
            ),
            ("uwsgi.cache_keys()", "[b'd']"),
        ],
    );
}

#[test]
fn a_value_spans_blocks_with_bitmap() {
    let options = "name=small,items=10,blocks=20,blocksize=100,bitmap=1";
    let server = launch().set("cache2", options).start();
    check(
        &server,
        &[
            ("uwsgi.cache_set('a', 'x' * 900)", "True"),
            ("len(uwsgi.cache_get('a'))", "900"),
            ("uwsgi.cache_set('b', 'x' * 2100)", "None"),
        ],
    );
}

#[test]
fn an_item_expires() {
    let server = launch().set("cache2", "name=first,items=100").start();
    check(
        &server,
        &[
            ("uwsgi.cache_set('a', '1', 1)", "True"),
            ("uwsgi.cache_set('b', '1', 1000)", "True"),
            ("uwsgi.cache_set('c', '1', 0)", "True"),
        ],
    );
    server.eventually("the item expires", || {
        eval(&server, "uwsgi.cache_get('a')") == "None"
    });
    check(&server, &[("sorted(uwsgi.cache_keys())", "[b'b', b'c']")]);
}

#[test]
fn a_negative_expiry_is_at_once() {
    if differs("A negative expiry removes the key at once; uWSGI keeps the item for ever.") {
        return;
    }
    let server = launch().set("cache2", "name=first,items=100").start();
    check(
        &server,
        &[
            ("uwsgi.cache_set('a', '1')", "True"),
            ("uwsgi.cache_set('a', '2', -1)", "None"),
            ("uwsgi.cache_get('a')", "b'1'"),
            ("uwsgi.cache_update('a', '2', -1)", "True"),
            ("uwsgi.cache_get('a')", "None"),
        ],
    );
}

#[test]
fn a_reload_keeps_the_items_of_a_cache_whose_definition_is_unchanged() {
    if differs("A reload keeps the items of a cache whose definition is unchanged.") {
        return;
    }
    let site = Site::with("shared_memory");
    let launch = site
        .server()
        .set("cache2", "name=first,items=100")
        .set("include", "more.ini");
    site.write("more.ini", "[uwsgi]\ncache2 = name=second,items=100\n");
    let server = launch.start();
    eval(&server, "uwsgi.cache_set('a', '1')");
    eval(&server, "uwsgi.cache_set('a', '1', 0, 'second')");
    site.write("more.ini", "[uwsgi]\ncache2 = name=second,items=101\n");
    server.signal(Signal::SIGHUP);
    server.wait_for_log("reloaded: ");
    server.eventually("the new workers answer", || {
        eval(&server, "uwsgi.is_a_reload") == "True"
    });
    check(
        &server,
        &[
            ("uwsgi.cache_get('a')", "b'1'"),
            ("uwsgi.cache_get('a', 'second')", "None"),
        ],
    );
}

#[test]
fn a_store_keeps_the_items_over_a_restart() {
    if under_uwsgi() {
        return; // it finds none of its own items again with blocks of the default size
    }
    let site = Site::with("shared_memory");
    let start = || {
        let launch = site
            .server()
            .set("cache2", "name=first,items=100,store=items.cache");
        launch.start()
    };
    let server = start();
    eval(&server, "uwsgi.cache_set('a', 'x' * 5000)");
    eval(&server, "uwsgi.cache_set('b', 'x', 1000)");
    server.stop();
    let server = start();
    check(
        &server,
        &[
            ("uwsgi.cache_get('a') == b'x' * 5000", "True"),
            ("uwsgi.cache_get('b')", "b'x'"),
        ],
    );
}

#[test]
fn a_store_is_written_periodically() {
    if differs(
        "The file of a cache (store) has a format of its own, which is written every store_sync seconds (default 60) and at \
         the end. A file of uWSGI is refused, or replaced with store_delete.",
    ) {
        return;
    }
    let site = Site::with("shared_memory");
    let options = "name=first,items=100,store=items.cache,store_sync=1";
    let server = site.server().set("cache2", options).start();
    eval(&server, "uwsgi.cache_set('a', 'a text to find')");
    server.eventually("the file is written", || {
        let text = std::fs::read(site.file("items.cache")).unwrap_or_default();
        String::from_utf8_lossy(&text).contains("a text to find")
    });
}

#[test]
fn a_file_of_another_kind_is_no_store() {
    if under_uwsgi() {
        return; // it compares the size only
    }
    let site = Site::with("shared_memory");
    site.write("items.cache", "some other text that is not a cache");
    let launch = site
        .server()
        .set("cache2", "name=first,items=100,store=items.cache");
    let refusal = launch.refused();
    assert!(
        refusal
            .log
            .contains("items.cache is not a file of a ruwsgi cache"),
        "{}",
        refusal.log
    );
    let launch = site.server().set(
        "cache2",
        "name=first,items=9,store=items.cache,store_delete=1",
    );
    let mut server = launch.start();
    server.expect_log("will be replaced (store_delete)");
    server.stop();
    let text = std::fs::read(site.file("items.cache")).unwrap();
    assert!(text.starts_with(b"ruwsgi cache"));
}

#[test]
fn memory_grows_with_use() {
    if under_uwsgi() {
        return; // it maps all memory too, but touches some of it
    }
    // 64 GB if all of it were used
    let server = launch().set("cache2", "name=large,items=1000000").start();
    let shared = |server: &Server| -> u64 {
        let text = proc::status(server.workers()[0], "RssShmem");
        text.trim_end_matches(" kB").trim().parse().unwrap()
    };
    let before = shared(&server);
    assert!(before < 2000, "{before} kB");
    eval(
        &server,
        "[uwsgi.cache_set(str(n), 'x' * 100) for n in range(1000)] and None",
    );
    let after = shared(&server);
    assert!(after < before + 1000, "{before} kB, {after} kB");
}

#[test]
fn what_is_not_configured_costs_no_descriptor() {
    if under_uwsgi() {
        return;
    }
    let without = launch().start();
    let with = launch().set("cache2", "name=first,items=100").start();
    // a worker that has just started still closes descriptors
    with.eventually(
        "the master has one descriptor more, the workers none",
        || {
            let ((master, workers), counts) = (without.descriptors(), with.descriptors());
            (master + 1, workers) == counts
        },
    );
}

#[test]
fn wrong_definitions_are_refused() {
    if under_uwsgi() {
        return; // it says less
    }
    for (options, sentence) in [
        ("name=a", "the cache a has no number of items"),
        ("items=5", "the cache has no name"),
        ("name=a,items=5,blocks=2", "blocks=2 is less than items=5"),
        (
            "name=a,items=5,nodes=127.0.0.1:4000",
            "caches are shared within one instance only",
        ),
        (
            "name=a,items=5,udp=127.0.0.1:4000",
            "caches are shared within one instance only",
        ),
    ] {
        let text = launch().set("cache2", options).refused().log;
        assert!(text.contains(sentence), "{text}");
    }
    let launch = launch()
        .set("cache2", "name=a,items=5")
        .set("cache2", "name=a,items=6");
    let text = launch.refused().log;
    assert!(
        text.contains("the cache a has the name or the file of another cache"),
        "{text}"
    );
}

/// Workers with threads use a cache while they are killed one after the other.
#[test]
fn no_kill_tears_a_value_or_holds_a_lock() {
    if under_uwsgi() {
        return; // its values can be torn
    }
    let seconds = if std::env::var_os("KIT_BIG").is_some() {
        600
    } else {
        4
    };
    let site = Site::with("shared_memory");
    let launch = site
        .server()
        .set("wsgi-file", "hammer.py")
        .set("processes", 4);
    let options = "name=first,items=1000,blocksize=4k,hashsize=16";
    let mut server = launch.set("cache2", options).start();
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut kills, mut total) = (0_u32, 0_u64);
    while Instant::now() < end {
        let workers = server.wait_for_workers(4);
        let mut done = String::new();
        // a worker answers, so its threads are not locked up
        server.eventually("the cache is used on", || {
            done = server.get("/").expect(200).text();
            let number: u64 = done.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(number >= total, "{done}");
            let grown = number > total;
            total = number;
            grown
        });
        assert!(done.starts_with("[] "), "{done}");
        server::send(workers[kills as usize % 4], Signal::SIGKILL);
        kills += 1;
        server.eventually("the worker has gone", || {
            !server
                .workers()
                .contains(&workers[(kills as usize - 1) % 4])
        });
    }
    server.wait_for_workers(4);
    server.expect_log("killed by signal 9");
    assert!(
        kills >= 5 && total > 100,
        "{kills} kills, {total} increments"
    );
}
