//! What survives of a statement, and what must not.

use super::{Dialect, LONGEST, normalise};

fn of(text: &str) -> String {
    normalise(text, true, Dialect::Unknown)
}

const DIALECTS: [Dialect; 4] =
    [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite, Dialect::Unknown];

#[test]
fn values_are_left_out_whatever_their_form() {
    for (text, expected) in [
        ("SELECT * FROM t WHERE a = 'x'", "SELECT * FROM t WHERE a = ?"),
        ("select a from t where b='it''s'", "select a from t where b=?"),
        ("SELECT 1, -2, +3.5, .5, 1e-5, 0xFF, 1_000", "SELECT ?"),
        ("SELECT a FROM t WHERE b > -5 AND c < a-1", "SELECT a FROM t WHERE b > ? AND c < a-?"),
        ("SELECT x'0aff', N'abc', B'01', _utf8mb4'abc'", "SELECT ?"),
        ("SELECT E'a\\nb' AS c", "SELECT ? AS c"),
        ("SELECT 'a' 'b'\n'c'", "SELECT ?"),
        ("SELECT a FROM t1 WHERE col_2 = 7", "SELECT a FROM t1 WHERE col_2 = ?"),
        ("SELECT NULL, TRUE, CURRENT_DATE", "SELECT NULL, TRUE, CURRENT_DATE"),
        ("SELECT a FROM t WHERE d = DATE '2026-01-01'", "SELECT a FROM t WHERE d = DATE ?"),
    ] {
        assert_eq!(of(text), expected);
    }
    assert_eq!(normalise("SELECT $$a'b$$, $t$ $$ $t$", true, Dialect::Postgres), "SELECT ?");
    assert_eq!(normalise("SELECT \"alice\"", true, Dialect::MySql), "SELECT ?");
}

#[test]
fn placeholders_of_all_styles_are_alike() {
    for text in ["a = %s", "a = %(name)s", "a = $1", "a = :name", "a = ?", "a = ?7", "a = @p1"] {
        assert_eq!(of(text), "a = ?");
    }
    assert_eq!(of("SELECT a::int, b % c, d %% e"), "SELECT a::int, b % c, d % e");
    assert_eq!(of("SET @@session.x := 5"), "SET @@session.x := ?");
    assert_eq!(of("a @> %s"), "a @> ?");
}

#[test]
fn lists_of_values_are_one() {
    for (text, expected) in [
        ("a IN (1, 2, 3)", "a IN (?)"),
        ("a IN (%s,%s)", "a IN (?)"),
        ("a IN (1)", "a IN (?)"),
        ("INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')", "INSERT INTO t (a, b) VALUES (?)"),
        (
            "INSERT INTO t (a) VALUES (%s), (%s), (%s) RETURNING t.id",
            "INSERT INTO t (a) VALUES (?) RETURNING t.id",
        ),
        (
            "INSERT INTO t (a, b) VALUES (%(a)s::INTEGER, %(b)s::VARCHAR), (%(c)s::INTEGER, %(d)s::VARCHAR)",
            "INSERT INTO t (a, b) VALUES (?::INTEGER, ?::VARCHAR)",
        ),
        ("VALUES (1, DEFAULT), (2, DEFAULT)", "VALUES (?, DEFAULT)"),
        ("a IN (%s::INTEGER, %s::INTEGER, %s::INTEGER)", "a IN (?::INTEGER)"),
        ("(a = 1 AND b = 2) OR (a = 3 AND b = 4) OR (a = 5 AND b = 6)", "(a = ? AND b = ?)"),
        ("f(a, a), (a), (a)", "f(a, a), (a), (a)"),
        ("(a, b) IN ((1, 2), (3, 4))", "(a, b) IN ((?))"),
    ] {
        assert_eq!(of(text), expected);
    }
}

#[test]
fn comments_are_dropped() {
    for (text, expected) in [
        ("SELECT a -- for alice\nFROM t", "SELECT a FROM t"),
        ("/* user=4711 */ SELECT a /* 'it''s' */ FROM t", "SELECT a FROM t"),
        ("SELECT a FROM t /*route='%2Fusers',traceparent='00-ab'*/", "SELECT a FROM t"),
        ("SELECT a FROM t -- the end", "SELECT a FROM t"),
        ("SELECT a FROM t;", "SELECT a FROM t"),
        ("SELECT 1; SELECT 2;", "SELECT ?; SELECT ?"),
        ("SELECT a /* never closed 'x' SELECT b", "SELECT a"),
    ] {
        assert_eq!(of(text), expected);
    }
    let text = "SELECT a # for alice\nFROM t";
    assert_eq!(normalise(text, true, Dialect::MySql), "SELECT a FROM t");
    let text = "SELECT a #>> '{b}' FROM t";
    assert_eq!(normalise(text, true, Dialect::Postgres), "SELECT a #>> ? FROM t");
}

#[test]
fn names_in_quotes_stay_where_they_can_be_nothing_else() {
    let text = "SELECT \"shop\".\"id\", COUNT(\"a\".\"b\") AS \"n\" FROM \"shop\" WHERE \"shop\".\"id\" = %s";
    let expected = text.replace("%s", "?");
    for dialect in [Dialect::Postgres, Dialect::Sqlite, Dialect::Unknown] {
        assert_eq!(normalise(text, true, dialect), expected);
    }
    assert_eq!(of("SELECT `a b` FROM `t`"), "SELECT `a b` FROM `t`");
    assert_eq!(of("WHERE name = \"alice\""), "WHERE name = ?");
    let text = "INSERT INTO \"t\" (\"a\", \"b\") VALUES (%s, %s)";
    let expected = "INSERT INTO \"t\" (\"a\", \"b\") VALUES (?)";
    assert_eq!(normalise(text, true, Dialect::Postgres), expected);
}

#[test]
fn made_up_names_are_values() {
    assert_eq!(of("SAVEPOINT \"s140213_x3\""), "SAVEPOINT ?");
    assert_eq!(of("RELEASE SAVEPOINT sa_savepoint_1"), "RELEASE SAVEPOINT ?");
    assert_eq!(of("ROLLBACK TO SAVEPOINT sa_savepoint_1"), "ROLLBACK TO SAVEPOINT ?");
    assert_eq!(of("SELECT a FROM tenant_20261121_x"), "SELECT a FROM tenant_?_x");
}

#[test]
fn what_databases_read_differently_is_hidden() {
    // Under the one reading or the other this is in quotes.
    for text in [
        "SELECT 'a\\', secret, '",
        "SELECT 'a\\' , 'secret'",
        "SELECT a # it's\n secret '",
        "SELECT 5--'\n secret'",
        "SELECT q'[it's secret]'",
        "/*!50000 'x*/ secret' */",
        "/* a /* b */ secret */",
        "SELECT -- x\r secret 'y",
    ] {
        assert!(!of(text).contains("secret"), "{text}: {}", of(text));
    }
    assert_eq!(of("VALUES ('O\\'Brien', 1)"), "VALUES (?");
}

#[test]
fn a_long_statement_is_cut_after_its_values_are_out() {
    let text = format!("SELECT {} FROM t WHERE a = 'secret'", "column_name, ".repeat(200));
    let short = of(&text);
    assert_eq!(short.chars().count(), LONGEST + 1);
    assert!(short.ends_with('…'));
    assert_eq!(
        normalise("SELECT a FROM t WHERE b = 'hal", false, Dialect::Unknown),
        "SELECT a FROM t WHERE b = ?…"
    );
}

/// What must not survive. Each is told from the others and from what may.
const SECRETS: [&str; 6] = ["zqalice", "zqsecret", "zq4711", "zqtoken", "zqvalue", "zqüber"];

/// A value as its dialect writes it, with a secret in it.
fn literal(random: &mut fastrand::Rng, dialect: Dialect) -> String {
    let secret = SECRETS[random.usize(..SECRETS.len())];
    let noise =
        ["", " ", "''", " -- ", "/*", "*/", "$$", "#", "\n", "(", ",", "%s", "\"", "`", ";", "]"];
    let inner = |random: &mut fastrand::Rng| {
        let mut text = String::new();
        for _ in 0..random.usize(..3) {
            text.push_str(noise[random.usize(..noise.len())]);
        }
        text.push_str(secret);
        for _ in 0..random.usize(..3) {
            text.push_str(noise[random.usize(..noise.len())]);
        }
        text
    };
    let inner = inner(random);
    let double = inner.replace('"', "\"\"");
    let free = inner.replace('$', "");
    match (dialect, random.u8(..8)) {
        (Dialect::Postgres, 0) => format!("$tag${free}$tag$"),
        (Dialect::Postgres, 1) => format!("$${free}$$"),
        (Dialect::Postgres, 2) => format!("E'{inner}\\\\{secret}\\n'"),
        (Dialect::Postgres, 3) => format!("E'\\'{secret}'"),
        (Dialect::MySql, 0 | 1) => format!("\"{double}\""),
        (Dialect::MySql, 2) => format!("'\\'{secret}\\\\'"),
        (Dialect::MySql, 3) => format!("_utf8mb4'{inner}'"),
        (_, 4) => format!("N'{inner}'"),
        (_, 5) => "4711.25e-3".to_owned(),
        _ => format!("'{inner}'"),
    }
}

fn comment(random: &mut fastrand::Rng, dialect: Dialect) -> String {
    let secret = SECRETS[random.usize(..SECRETS.len())];
    match (dialect, random.u8(..5)) {
        (Dialect::MySql, 0) => format!("# it's {secret}\n"),
        (Dialect::Postgres, 1) => format!("/* a /* {secret} */ {secret}' */"),
        (_, 2 | 3) => format!("/* {secret}=\"'*{secret} */"),
        _ => format!("-- it's {secret} \"\n"),
    }
}

/// A statement with values of a dialect in it.
fn statement(random: &mut fastrand::Rng, dialect: Dialect) -> String {
    let words = [
        "SELECT", "a", "FROM", "t", "WHERE", "b", "=", "AND", "(", ")", ",", "IN", "::int", "||",
        "-", "[", "]", "\"n\"", "`m`", "%s", "$1", ":p", "?", "x.y", "E", "_utf8", "#", "VALUES",
        "u&", "@v",
    ];
    let mut text = String::new();
    for _ in 0..random.usize(1..20) {
        let glue = [" ", " ", "\n", ""][random.usize(..4)];
        let part = match random.u8(..6) {
            0 | 1 => literal(random, dialect),
            2 => comment(random, dialect),
            _ => {
                let word = words[random.usize(..words.len())];
                // What means something else in that dialect is not that dialect's.
                match (dialect, word) {
                    (Dialect::MySql, "#" | "\"n\"") | (Dialect::Postgres, "`m`") => "c",
                    // No string can stand after it.
                    (Dialect::MySql, "FROM") => "HAVING",
                    (Dialect::Sqlite, "[" | "]") => "d",
                    _ => word,
                }
                .to_owned()
            }
        };
        // Two strings side by side would be one, and a letter before one its prefix.
        let joins = |c: char| "'\"`$-/*#[]".contains(c) || c.is_alphanumeric() || c == '_';
        let apart = if text.ends_with(joins) && part.starts_with(joins) { " " } else { glue };
        text.push_str(apart);
        text.push_str(&part);
    }
    text
}

#[test]
fn no_value_survives_whoever_reads_and_wherever_the_text_is_cut() {
    let mut random = fastrand::Rng::with_seed(4);
    for round in 0..20_000 {
        let dialect = [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite][round % 3];
        let text = statement(&mut random, dialect);
        for known in [dialect, Dialect::Unknown] {
            let whole = normalise(&text, true, known);
            assert!(
                !whole.contains("zq") && !whole.contains("4711"),
                "{dialect:?} {known:?}\n{text}\n{whole}"
            );
            let cut = random.usize(..=text.chars().count());
            let part: String = text.chars().take(cut).collect();
            let part = normalise(&part, false, known);
            assert!(!part.contains("zq"), "{dialect:?} {known:?} cut at {cut}\n{text}\n{part}");
        }
    }
}

#[test]
fn anything_at_all_is_normalised_within_bounds_and_only_once() {
    let pieces = [
        "'",
        "\"",
        "`",
        "$",
        "$a$",
        "--",
        "/*",
        "*/",
        "#",
        "\\",
        "(",
        ")",
        ",",
        "?",
        "%",
        "%(",
        "[",
        "]",
        ":",
        "@",
        "e",
        "E'",
        "1",
        ".",
        "-",
        "\n",
        "\r",
        " ",
        "OR",
        "ü",
        "\u{0}",
        "…",
        "SAVEPOINT",
        ";",
        "zq",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20_000 {
        let count = random.usize(..30);
        let text: String = (0..count).map(|_| pieces[random.usize(..pieces.len())]).collect();
        for dialect in DIALECTS {
            let once = normalise(&text, true, dialect);
            assert!(once.chars().count() <= LONGEST + 1);
            assert!(!once.contains(['\n', '\r', '\u{0}']));
            let twice = normalise(&once, true, dialect);
            assert!(
                twice.chars().count() <= once.chars().count() + 2,
                "{text:?}\n{once:?}\n{twice:?}"
            );
        }
    }
}
