//! Patterns against paths, by example and against a plain definition.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::route::testing::by_definition;

fn pattern(text: &str) -> PathPattern {
    PathPattern::new(text).unwrap_or_else(|error| panic!("{text} {error}"))
}

#[test]
fn patterns_describe_whole_paths() {
    for (text, path) in [
        ("/var/log/*.log", "/var/log/a.log"),
        ("/var/log/*.log", "/var/log/.log"),
        ("/var/**/*.log", "/var/a.log"),
        ("/var/**/*.log", "/var/x/y/a.log"),
        ("/var/**", "/var/x/y"),
        ("/**/a", "/a"),
        ("/a?c", "/aéc"),
        ("/[a-c]x[!0-9]", "/bxy"),
        ("/[]]", "/]"),
        ("/[a-]", "/-"),
        ("/a.{log,txt}", "/a.txt"),
        ("/a.{log,t[a-z]*}", "/a.txt"),
        ("/a{,.1}", "/a"),
        ("/{app}/x", "/web/x"),
        ("/\\*\\{", "/*{"),
        ("/a+b(c)", "/a+b(c)"),
    ] {
        assert!(pattern(text).matches(Path::new(path)), "{text} {path}");
    }
    for (text, path) in [
        ("/var/log/*.log", "/var/log/a/b.log"),
        ("/var/log/*.log", "/var/log/a.log.1"),
        ("/var/**", "/var"),
        ("/var/**/x/*.log", "/var/a.log"),
        ("/a?c", "/a/c"),
        ("/[!a]b", "//b"),
        ("/a[.-0]b", "/a/b"),
        ("/{app}/x", "//x"),
        ("/a.{log,txt}", "/a.log,txt"),
        ("/a", "/a\n"),
        ("/A", "/a"),
    ] {
        assert!(!pattern(text).matches(Path::new(path)), "{text} {path}");
    }
}

#[test]
fn captures_are_told_by_name_in_the_order_of_the_pattern() {
    let pattern = pattern("/srv/{tenant}/log/{app}-*.log");
    let found = pattern
        .captures(Path::new("/srv/x y/log/web-1-2.log"))
        .unwrap();
    let found: Vec<(&str, &str)> = found.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(found, [("tenant", "x y"), ("app", "web-1")]);
    assert_eq!(pattern.captures(Path::new("/srv/x/log/web.log")), None);
    let raw = OsStr::from_bytes(b"/srv/\xff/log/a-.log");
    let found = pattern.captures(Path::new(raw)).unwrap();
    assert_eq!(found[0].1, "\u{FFFD}");
}

#[test]
fn the_root_is_what_is_written_out_before_the_name() {
    for (text, root) in [
        ("/var/log/app/*.log", "/var/log/app"),
        ("/var/log/app.log", "/var/log"),
        ("/var/{a,b}/c/*", "/var"),
        ("/**", "/"),
        ("/a\\*b/c", "/a*b"),
    ] {
        assert_eq!(pattern(text).root(), Path::new(root), "{text}");
    }
}

#[test]
fn only_directories_on_the_way_are_worth_a_look() {
    let deep = pattern("/var/*/app/**/x.log");
    for dir in ["/", "/var", "/var/log", "/var/log/app", "/var/log/app/a/b"] {
        assert!(deep.may_hold(Path::new(dir)), "{dir}");
    }
    for dir in ["/usr", "/var/log/web", "/vary"] {
        assert!(!deep.may_hold(Path::new(dir)), "{dir}");
    }
    let flat = pattern("/var/log/*.log");
    assert!(flat.may_hold(Path::new("/var/log")));
    assert!(!flat.may_hold(Path::new("/var/log/a.log")));
    assert!(pattern("/x/**").may_hold(Path::new("/x/y\n")));
}

#[test]
fn what_is_left_out_is_left_out_with_all_below() {
    let mut files = FilePatterns::default();
    files.include("/var/log/**").unwrap();
    for text in ["*.tmp", "archive", "/var/log/private/**", "/var/log/one"] {
        files.exclude(text).unwrap();
    }
    let taken = |path: &str| files.captures(Path::new(path)).is_some();
    assert!(taken("/var/log/a") && taken("/var/log/a.tmp2") && taken("/var/log/archive2/a"));
    assert!(!taken("/var/log/a.tmp") && !taken("/var/log/x/archive/y/a"));
    assert!(!taken("/var/log/private/a") && !taken("/var/log/one/a") && !taken("/etc/a"));
    assert!(files.may_hold(Path::new("/var/log/x")));
    assert!(!files.may_hold(Path::new("/var/log/private/x")));
    assert!(!files.may_hold(Path::new("/var/log/archive")));
}

#[test]
fn a_pattern_that_cannot_be_meant_is_refused() {
    let long = format!("/{}", "a".repeat(PATTERN_BYTES_MAX));
    let many: String = (0..9).map(|i| format!("/{{c{i}}}")).collect();
    let huge = format!("/{}", "[!é]".repeat(1000));
    for text in [
        "a.log", "", "/", "/a//b", "/a/", "/a/../b", "/./a", "/a**b", "/***", "/a[", "/[]", "/{a",
        "/{A}", "/{}", "/{1}", "/{a}{a}", "/{{a},b}", "/a\\", "/[z-a]", &long, &many, &huge,
    ] {
        assert!(PathPattern::new(text).is_err(), "{text}");
    }
    let mut files = FilePatterns::default();
    for text in ["**", "", "a/b", "../x"] {
        assert!(files.exclude(text).is_err(), "{text}");
    }
}

#[test]
fn the_worst_pattern_takes_linear_time() {
    let start = Instant::now();
    let worst = pattern(&format!("/{}b", "*a".repeat(200)));
    let path = format!("/{}", "a".repeat(4000));
    assert!(!worst.matches(Path::new(&path)));
    let deep = pattern(&format!("{}/x", "/**/a".repeat(50)));
    assert!(!deep.matches(Path::new(&"/a".repeat(2000))));
    assert!(deep.may_hold(Path::new(&"/b".repeat(2000))));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn a_name_agrees_with_the_definition(part in "[ab?*é]{1,8}", name in "[abé]{1,10}") {
        prop_assume!(!part.contains("**"));
        let found = pattern(&format!("/{part}")).matches(Path::new(&format!("/{name}")));
        prop_assert_eq!(found, by_definition(&part, &name));
    }

    #[test]
    fn any_pattern_is_survived_and_its_parents_hold_what_it_matches(
        text in "/[a-c*?{}\\[\\],/!-]{0,24}", path in "(/[a-c-]{1,3}){1,4}",
    ) {
        if let Ok(pattern) = PathPattern::new(&text)
            && pattern.matches(Path::new(&path))
        {
            for dir in Path::new(&path).ancestors().skip(1) {
                prop_assert!(pattern.may_hold(dir), "{} {} {}", text, path, dir.display());
            }
            prop_assert!(Path::new(&path).starts_with(pattern.root()));
        }
    }

    #[test]
    fn no_text_is_a_panic(text in any::<String>(), path in any::<String>()) {
        if let Ok(pattern) = PathPattern::new(&format!("/{text}")) {
            pattern.matches(Path::new(&path));
            pattern.may_hold(Path::new(&path));
        }
    }
}
