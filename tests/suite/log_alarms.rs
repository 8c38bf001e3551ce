//! Alarms that lines of the log raise, and those of the application.

use crate::kit::*;

/// Prints its query string.
const PRINTING: &str = "def application(e, s):\n print(e['QUERY_STRING'], flush=True)\n s('200 OK', [])\n return [b'ok']\n";

#[test]
fn a_line_of_the_log_raises_alarms() {
    if under_uwsgi() {
        return; // the packaged uWSGI is built without regular expressions
    }
    let site = Site::of(PRINTING);
    let server = site
        .server()
        .set("disable-logging", true)
        .set("alarm", "mail cmd:cat >> alarms; echo >> alarms")
        .set("alarm", "page cmd:cat >> pages; echo >> pages")
        .set("not-log-alarm", "mail harmless")
        .set("log-alarm", "mail,page (?i)DISK.*full")
        .start();
    for query in [
        "harmless-disk-full",
        "disk-is-full",
        "disk-is-full",
        "last-disk-full",
    ] {
        server.get(&format!("/?{query}")).expect(200);
    }
    server.eventually("the last line has raised both alarms", || {
        ["alarms", "pages"]
            .iter()
            .all(|file| site.read(file).contains("last-disk-full"))
    });
    let alarms = site.read("alarms");
    assert!(!alarms.contains("harmless"), "{alarms}");
    assert_eq!(alarms.matches("disk-is-full").count(), 1, "{alarms}");
}

#[test]
fn no_line_about_an_alarm_raises_an_alarm() {
    if under_uwsgi() {
        return;
    }
    let site = Site::of(PRINTING);
    let mut server = site
        .server()
        .set("disable-logging", true)
        .set("alarm", "note log:")
        .set("alarm", "broken cmd:cat; exit 3")
        .set("log-alarm", "note,broken fire")
        .set("alarm-freq", 0)
        .start();
    server.get("/?fire").expect(200);
    server.wait_for_log("exited with status 3");
    server.get("/?fire-again").expect(200);
    server.wait_for_lines("exited with status 3", 2);
    server.expect_log("alarm note: fire-again");
    server.expect_log("alarm note: fire");
    assert_eq!(
        server.log_lines("alarm note: ").len(),
        2,
        "{}",
        server.log()
    );
    server.expect_log("exited with status 3");
}

#[test]
fn the_application_raises_an_alarm() {
    let site = Site::of(
        "import uwsgi\ndef application(e, s):\n uwsgi.alarm('mail', 'from ' + e['QUERY_STRING'])\n s('200 OK', [])\n return [repr(uwsgi.alarm('mail', b'bytes')).encode()]\n",
    );
    let server = site
        .server()
        .set("alarm", "mail cmd:cat >> alarms; echo >> alarms")
        .start();
    server.get("/?here").expect_text("None");
    server.eventually("both alarms are raised", || {
        let alarms = site.read("alarms");
        alarms.contains("from here") && alarms.contains("bytes")
    });
}

#[test]
fn an_alarm_can_be_a_datagram_and_an_unknown_one_is_reported() {
    if under_uwsgi() {
        return;
    }
    let site = Site::of(
        "import uwsgi\ndef application(e, s):\n uwsgi.alarm('net', 'hot')\n uwsgi.alarm('none', 'lost')\n s('200 OK', [])\n return [b'']\n",
    );
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .unwrap();
    let address = socket.local_addr().unwrap();
    let mut server = site
        .server()
        .set("alarm", format!("net udp:{address}"))
        .start();
    server.get("/").expect(200);
    let mut message = [0; 64];
    let size = socket.recv(&mut message).unwrap();
    assert_eq!(&message[..size], b"hot");
    server.wait_for_log("there is no alarm none");
    server.expect_log("there is no alarm none");
}
