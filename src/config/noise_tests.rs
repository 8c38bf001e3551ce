//! Random bytes as configurations: none of them causes a panic, an endless run or a lack of memory.
//! `PROPTEST_CASES=100000` selects a long run.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::table::options;
use super::tests::typed;
use super::*;

/// Lines as they occur in real files. The tests tear and mix them.
const LINES: &[&str] = &[
    "[uwsgi]",
    "[uwsgi",
    "[",
    "]",
    "[base]",
    "master = true",
    "processes = %k",
    "processes = %(a * 2)",
    "a = 4",
    "a = %(b)",
    "b = %(a)",
    "chdir = %d/app",
    "module = %n.wsgi:application",
    "socket = /run/%(a).sock",
    "socket = 127.0.0.1:8000",
    "chmod-socket = 664 ; x",
    "for = a b c",
    "for-times = 9",
    "endfor =",
    "if-env = HOME",
    "if-not-opt = a=4",
    "endif",
    "ini = :base",
    "ini = site.ini",
    "set = a=b",
    "set-ph = c=d",
    "env = A=$(HOME)",
    "mount = /a/=b.py",
    "x = @(site.ini)",
    "http = [::1]:80,@x,fd://3",
    "logto = %%(a)%",
    "plugins = python,php",
    "strict",
    "umask = 022",
    "for-glob = /*/*",
    "if-exists = %p",
    "\u{feff}",
    "e = é%é",
];

/// Pieces of the other formats.
const PARTS: &[&str] = &[
    "uwsgi:\n",
    "  processes: 2\n",
    "  env: [A=1, B=2]\n",
    "  - x\n",
    "&a ",
    "*a ",
    "? ",
    "---\n",
    "|\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "\"uwsgi\": ",
    "\"a\": 1",
    "[uwsgi]\n",
    "a = 1\n",
    "b = [1, 'x']\n",
    "c.d = 2\n",
    "<uwsgi>",
    "</uwsgi>",
    "<a>",
    "</a>",
    "<b/>",
    "&lt;",
    "&x;",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "%(a)",
    "%",
    "\t",
    "\u{feff}",
    "é",
];

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => proptest::sample::select(LINES).prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => "[%$@(){}a-z =/:;#\\[\\]]{0,30}".prop_map(String::into_bytes),
    ];
    (
        proptest::collection::vec(line, 0..25),
        any::<bool>(),
        proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
    )
        .prop_map(|(lines, headed, changes)| {
            let mut bytes = if headed {
                b"[uwsgi]\n".to_vec()
            } else {
                Vec::new()
            };
            bytes.extend(lines.join(&b'\n'));
            for (index, byte) in changes {
                if !bytes.is_empty() {
                    let at = index.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            bytes
        })
}

/// One directory for all cases of a test, because the creation of a directory for each case would take longer than
/// reading the file.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn read(&self, name: &str, content: &[u8]) {
        fs::write(self.0.path().join(name), content).unwrap();
        let began = Instant::now();
        let _ = load(&typed(self.0.path(), &[name]));
        let took = began.elapsed();
        assert!(
            took < LONGEST,
            "{name} took {took:?}: {:?}",
            String::from_utf8_lossy(content)
        );
    }
}

/// Time limit of a case. It is far longer than any case needs, even on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

proptest! {

    #[test]
    fn no_command_line_whatever_panics(arguments in proptest::collection::vec("(--?)?[a-z=:%()$@\\[\\]0-9 é-]{0,12}", 0..8)) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| *argument != "-").collect();
        let _ = load(&typed("/nonexistent".as_ref(), &arguments)).map(|config| config.name().len());
    }

    #[test]
    fn every_option_takes_every_value_without_a_panic(value in "\\PC{0,30}") {
        let mut config = Config::defaults();
        for row in options::SERVED {
            let _ = config.set(row.name(), &value);
        }
    }

    #[test]
    fn an_address_that_is_read_is_written_as_it_was(text in "[a-z0-9:./@\\[\\]]{1,20}") {
        if let Ok(address) = Address::parse(&text) {
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }
    }
}

#[test]
fn no_ini_file_whatever_panics_or_hangs() {
    let place = Place::new();
    proptest!(|(content in mutated())| place.read("site.ini", &content));
}

#[test]
fn no_file_of_another_kind_panics_or_hangs() {
    let place = Place::new();
    let files = (
        proptest::sample::select(&["yaml", "json", "toml", "xml"]),
        proptest::collection::vec(proptest::sample::select(PARTS), 0..30),
        proptest::collection::vec(any::<u8>(), 0..6),
    );
    proptest!(|((kind, parts, noise) in files)| {
        let mut content = parts.concat().into_bytes();
        content.extend(noise);
        place.read(&format!("site.{kind}"), &content);
    });
}

/// A file of the maximum size, with this line repeated.
fn large(line: &str) -> String {
    line.repeat((4 << 20) / line.len())
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of files")]
fn files_made_to_take_long_or_grow_are_refused_in_a_moment() {
    let wide = large("%(a) ");
    let glob = "[uwsgi]\nfor-glob = /proc/*/*/*\n".to_owned() + &"a = %(_)\n".repeat(1000);
    let deep: String = (0..60)
        .map(|n| format!("n{n} = %(n{m} n{m})\n", m = n + 1))
        .collect();
    for (name, content) in [
        ("open.ini", format!("[uwsgi]\na = {}", large("%("))),
        (
            "open-lines.ini",
            format!(
                "[uwsgi]\n{}",
                large(&format!("a = {}\n", "%(".repeat(30_000)))
            ),
        ),
        ("wide.ini", format!("[uwsgi]\na = {wide}\n")),
        (
            "nothing.ini",
            format!(
                "[uwsgi]\nfor = {}\n{}",
                " ".repeat(60_000),
                large("a = %(_)\n")
            ),
        ),
        (
            "words.ini",
            format!(
                "[uwsgi]\nfor = {}\n{}",
                "a ".repeat(30_000),
                large("a = %(_)\n")
            ),
        ),
        (
            "item.ini",
            format!(
                "[uwsgi]\nfor = {}\nb = {}\n",
                "a".repeat(60_000),
                "%(_)".repeat(16_000)
            ),
        ),
        (
            "condition.ini",
            format!("[uwsgi]\nif-opt = none\n{}", large("a = b\n")),
        ),
        (
            "conditions.ini",
            format!("[uwsgi]\n{}", large("if-opt = %(none)\nendif\n")),
        ),
        (
            "unknown.ini",
            format!("[uwsgi]\n{}", large("procsesses = 1\nthraeds = 2\n")),
        ),
        ("deleted.ini", format!("[uwsgi]\n{}", large("a = %Y\n"))),
        ("broken.ini", format!("[uwsgi]\n{}", large("= 1\n"))),
        (
            "concat.ini",
            format!("[uwsgi]\nn60 = xxxxxxxxxxxxxxxx\nchdir = %(n0)\n{deep}"),
        ),
        (
            "laughs.ini",
            format!(
                "[uwsgi]\na = {}\nb = {}\n",
                "x".repeat(60_000),
                "%(a)".repeat(16_000)
            ),
        ),
        (
            "join.ini",
            format!(
                "[uwsgi]\na = {}\nb = %({})\n",
                "x".repeat(60_000),
                "a ".repeat(16_000)
            ),
        ),
        (
            "files.ini",
            format!(
                "[uwsgi]\n{}",
                large(&format!("a = {}\n", "@(none)".repeat(9000)))
            ),
        ),
        (
            "custom.ini",
            "[uwsgi]\ndeclare-option = a=a=$1 $1;a=$1 $1\na = xxxxxxxx\n".to_owned(),
        ),
        ("wild.ini", glob),
        (
            "keys.toml",
            format!(
                "[uwsgi]\n{}",
                (0..400_000)
                    .map(|n| format!("a{n}=1\n"))
                    .collect::<String>()
            ),
        ),
        ("keys.xml", format!("<uwsgi>{}</uwsgi>", large("<a/>\n"))),
        ("keys.yaml", format!("uwsgi:\n{}", large("  a: 1\n"))),
        (
            "keys.json",
            format!(
                "{{\"uwsgi\": {{ {} \"b\": 1}}}}",
                "\"a\": 1,\n".repeat(400_000)
            ),
        ),
        (
            "laughs.yaml",
            "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nuwsgi:\n  c: *b\n".to_owned(),
        ),
    ] {
        Place::new().read(name, content.as_bytes());
    }
}

#[test]
fn files_that_read_each_other_in_a_loop_of_loops_end_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..12 {
        let content = format!(
            "[uwsgi]\nfor-times = 10\nini = {}.ini\nenv = A=%(_)\nendfor =\n",
            number + 1
        );
        fs::write(directory.path().join(format!("{number}.ini")), content).unwrap();
    }
    let report = load(&typed(directory.path(), &["0.ini"])).unwrap_err();
    assert!(
        report.to_string().contains("read too often or too deeply"),
        "{report}"
    );
}
