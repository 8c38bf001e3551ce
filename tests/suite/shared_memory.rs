//! Shared memory besides caches: locks, the queue, shared areas.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cache::{check, eval};
use crate::kit::*;

fn launch() -> Launch {
    Site::with("shared_memory").server()
}

#[test]
fn a_lock_is_taken_and_released() {
    let server = launch().set("locks", 2).start();
    check(
        &server,
        &[
            ("uwsgi.lock()", "None"),
            ("uwsgi.is_locked()", "True"),
            ("uwsgi.is_locked(1)", "False"),
            ("uwsgi.unlock()", "None"),
            ("uwsgi.is_locked()", "False"),
            ("uwsgi.lock(2)", "None"),
            ("uwsgi.unlock(2)", "None"),
            ("uwsgi.unlock(1)", "None"),
            ("uwsgi.lock(3)", "'ValueError'"),
            ("uwsgi.unlock(-1)", "'ValueError'"),
            ("uwsgi.is_locked(9)", "'ValueError'"),
        ],
    );
}

#[test]
fn lock_0_exists_without_configuration() {
    let server = launch().set("processes", 2).start();
    check(
        &server,
        &[
            ("uwsgi.lock()", "None"),
            ("uwsgi.is_locked()", "True"),
            ("uwsgi.lock(1)", "'ValueError'"),
        ],
    );
    let holder = eval(&server, "uwsgi.worker_id()");
    server.eventually("another worker sees the lock", || {
        check(&server, &[("uwsgi.is_locked()", "True")]);
        eval(&server, "uwsgi.worker_id()") != holder
    });
}

#[test]
fn the_lock_of_a_killed_worker_is_free_within_a_second() {
    let mut server = launch().set("locks", 1).set("processes", 2).start();
    let holder: i32 = eval(&server, "uwsgi.lock(1) or os.getpid()")
        .parse()
        .unwrap();
    let begun = Instant::now();
    server::send(holder, Signal::SIGKILL);
    // a request could still reach the dying worker
    server.eventually("the worker has gone", || !proc::is_running(holder));
    check(
        &server,
        &[("uwsgi.lock(1)", "None"), ("uwsgi.is_locked(1)", "True")],
    );
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    server.wait_for_workers(2);
    if !under_uwsgi() {
        server.expect_log("killed by signal 9");
    }
}

#[test]
fn a_reload_keeps_a_lock_and_the_queue() {
    if differs("A reload keeps the items of the queue, the shared areas, and the locks.") {
        return;
    }
    let launch = launch()
        .set("locks", 1)
        .set("queue", 8)
        .set("sharedarea", 1);
    let server = launch.start();
    eval(
        &server,
        "(uwsgi.queue_push('a'), uwsgi.sharedarea_write(0, 5, 'abc'))",
    );
    server.signal(Signal::SIGHUP);
    server.wait_for_log("reloaded: ");
    server.eventually("the new workers answer", || {
        eval(&server, "uwsgi.is_a_reload") == "True"
    });
    check(
        &server,
        &[
            ("uwsgi.queue_pull()", "b'a'"),
            ("uwsgi.sharedarea_read(0, 5, 3)", "b'abc'"),
        ],
    );
}

#[test]
fn the_queue_is_pulled_in_order_and_popped_in_reverse() {
    let server = launch().set("queue", 8).start();
    check(
        &server,
        &[
            ("uwsgi.queue_size", "8"),
            ("uwsgi.queue_get(0)", "None"),
            (
                "[uwsgi.queue_push(item) for item in ('a', b'b', 'c')]",
                "[True, True, True]",
            ),
            ("(uwsgi.queue_slot(), uwsgi.queue_pull_slot())", "(3, 0)"),
            ("uwsgi.queue_last()", "b'c'"),
            ("uwsgi.queue_last(2)", "[b'c', b'b']"),
            (
                "uwsgi.queue_last(10)",
                "[b'c', b'b', b'a', None, None, None, None, None]",
            ),
            ("uwsgi.queue_get(1)", "b'b'"),
            ("uwsgi.queue_set(5, 'x')", "True"),
            ("uwsgi.queue_get(5)", "b'x'"),
            ("uwsgi.queue_set(50, 'x')", "None"),
            ("uwsgi.queue_get(50)", "None"),
            ("uwsgi.queue_pull()", "b'a'"),
            ("uwsgi.queue_pop()", "b'c'"),
            ("uwsgi.queue_pull()", "b'b'"),
            ("uwsgi.queue_pull()", "None"),
            ("uwsgi.queue_push('x' * 8193)", "None"),
            ("uwsgi.queue_push('')", "None"),
            ("uwsgi.queue_push(3)", "'TypeError'"),
        ],
    );
}

#[test]
fn a_full_queue_overwrites_its_oldest_items() {
    if differs(
        "A push into a full queue overwrites the oldest item, and the next pull returns the oldest that is left. uWSGI \
         returns the newest instead, and a pop of an empty queue moves its position.",
    ) {
        return;
    }
    let server = launch().set("queue", 4).set("queue-blocksize", 3).start();
    check(
        &server,
        &[
            ("uwsgi.queue_pop()", "None"),
            ("[uwsgi.queue_push(str(n)) for n in range(6)][-1]", "True"),
            (
                "[uwsgi.queue_pull() for _ in range(5)]",
                "[b'2', b'3', b'4', b'5', None]",
            ),
            ("uwsgi.queue_push('long')", "None"),
        ],
    );
}

#[test]
fn a_shared_area_is_read_and_written_within_its_bounds() {
    let server = launch().set("sharedarea", 10).start();
    check(
        &server,
        &[
            ("uwsgi.sharedarea_write(0, 0, 'hello')", "None"),
            ("uwsgi.sharedarea_read(0, 0, 5)", "b'hello'"),
            ("len(uwsgi.sharedarea_read(0, 0))", "40960"),
            ("uwsgi.sharedarea_read(9, 0, 5)", "'ValueError'"),
            ("uwsgi.sharedarea_write(0, 40955, 'hello')", "None"),
            ("uwsgi.sharedarea_write(0, 40956, 'hello')", "'ValueError'"),
            ("uwsgi.sharedarea_read(0, 40956, 5)", "'ValueError'"),
            ("uwsgi.sharedarea_write(0, -1, 'x')", "'ValueError'"),
            ("uwsgi.sharedarea_write(0, 0, 3)", "'TypeError'"),
            ("uwsgi.sharedarea_read8(0, 0)", "104"),
            ("uwsgi.sharedarea_read16(0, 0)", "25960"),
            ("uwsgi.sharedarea_read32(0, 0)", "1819043176"),
            ("uwsgi.sharedarea_write8(0, 10, 200)", "None"),
            ("uwsgi.sharedarea_read8(0, 10)", "-56"),
            ("uwsgi.sharedarea_write32(0, 12, -200)", "None"),
            ("uwsgi.sharedarea_inc32(0, 12, 5)", "None"),
            ("uwsgi.sharedarea_dec32(0, 12)", "None"),
            ("uwsgi.sharedarea_read32(0, 12)", "-196"),
            ("uwsgi.sharedarea_write64(0, 16, -200)", "None"),
            ("uwsgi.sharedarea_inc64(0, 16)", "None"),
            ("uwsgi.sharedarea_dec64(0, 16, 5)", "None"),
            ("uwsgi.sharedarea_read64(0, 16)", "-204"),
            ("uwsgi.sharedarea_read64(0, 40953)", "'ValueError'"),
            ("uwsgi.sharedarea_write64(0, 40953, 1)", "'ValueError'"),
            ("bytes(uwsgi.sharedarea_memoryview(0)[:5])", "b'hello'"),
            ("uwsgi.sharedarea_memoryview(9)", "'ValueError'"),
            ("uwsgi.sharedarea_wlock(0)", "None"),
            ("uwsgi.sharedarea_unlock(0)", "None"),
            ("uwsgi.sharedarea_wlock(9)", "'ValueError'"),
        ],
    );
}

#[test]
fn what_is_not_configured_has_no_functions() {
    let server = launch().start();
    check(
        &server,
        &[
            ("hasattr(uwsgi, 'queue_push')", "False"),
            ("hasattr(uwsgi, 'sharedarea_read')", "False"),
        ],
    );
}

#[test]
fn django_stores_its_cache_in_a_cache_of_the_instance() {
    if under_uwsgi() {
        return;
    }
    let launch = launch()
        .set("wsgi-file", "django_app.py")
        .set("processes", 2);
    let launch = launch.set(
        "home",
        venv::shared("django_cache", &system_python(), &["django"]).display(),
    );
    let launch = launch.set("cache2", "name=first,items=100");
    let server = launch
        .set("cache2", "name=small,items=10,blocksize=100,ignore_full")
        .start();
    check(
        &server,
        &[
            ("cache.set('a', {'b': [1, None, 'ü']})", "None"),
            ("cache.get('a')", "{'b': [1, None, 'ü']}"),
            ("cache.add('a', 1)", "False"),
            ("cache.add('n', 41)", "True"),
            ("cache.incr('n')", "42"),
            ("cache.decr('n', 2)", "40"),
            ("cache.incr('missing')", "'ValueError'"),
            ("cache.get_many(['a', 'n', 'x'])['n']", "40"),
            ("cache.touch('n', 100)", "True"),
            ("cache.touch('x', 100)", "False"),
            ("'n' in cache", "True"),
            ("cache.set('n', 1, timeout=0)", "None"),
            ("cache.get('n', 'gone')", "'gone'"),
            ("cache.get_or_set('g', lambda: 5.5)", "5.5"),
            ("cache.incr('g')", "6.5"),
            ("cache.set('true', True) or cache.get('true')", "True"),
            (
                "cache.set('big', 2 ** 70) or cache.incr('big') == 2 ** 70 + 1",
                "True",
            ),
            ("caches['small'].set('a', 'x')", "None"),
            ("caches['small'].set('a', 'x' * 1000)", "None"),
            ("caches['small'].get('a')", "None"),
            ("cache.delete('a')", "True"),
            ("cache.delete('a')", "False"),
            ("cache.set('a', 1, version=2) or cache.get('a')", "None"),
            ("cache.get('a', version=2)", "1"),
            ("cache.clear()", "None"),
            ("cache.get('true')", "None"),
        ],
    );
}
