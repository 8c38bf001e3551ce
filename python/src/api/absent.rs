//! Attributes of uWSGI's module `uwsgi` that ruwsgi does not have, each with an alternative.

/// Returns the alternative to an absent attribute of the module `uwsgi`; `None` if there is none.
pub fn way_out(name: &str) -> Option<&'static str> {
    let beginnings: [(&str, &str); 8] = [
        ("queue_", "set queue = SLOTS"),
        ("sharedarea_", "set sharedarea = PAGES"),
        ("spool", "use a task queue such as Celery, Dramatiq or RQ"),
        (
            "websocket_",
            "serve WebSockets by an ASGI server beside this one",
        ),
        ("snmp_", "use prometheus_client"),
        ("erlang_", "use a message broker"),
        ("metric_", "use prometheus_client"),
        (
            "lord_",
            "elect a leader with a lock in the database or in Redis",
        ),
    ];
    let names: [(&str, &str); 6] = [
        (
            "send_to_spooler",
            "use a task queue such as Celery, Dramatiq or RQ",
        ),
        (
            "i_am_the_lord",
            "elect a leader with a lock in the database or in Redis",
        ),
        ("offload", "return wsgi.file_wrapper"),
        (
            "route",
            "route requests in the application or in the web server",
        ),
        ("connect", "use the module socket"),
        ("async_connect", "use the module socket"),
    ];
    let exact = names.iter().find(|(known, _)| *known == name);
    let beginning = beginnings.iter().find(|(known, _)| name.starts_with(known));
    exact.or(beginning).map(|(_, way_out)| *way_out)
}
