//! `type = "file"`: which log files are followed, and how their lines become events.

use std::path::{Component, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::{Around, Seen, probe};
use crate::config::section::Section;
use crate::config::units::format_size;
use crate::config::{
    Encoding, FileConfig, FilePatterns, LineEnding, LinePattern, MultilineConfig, MultilineRule,
    StartAt, defaults,
};

/// Most patterns in one list, and most directories that links may lead into.
const PATTERNS_MAX: usize = 64;

/// Shortest limit of a line in bytes.
const LINE_MIN: u32 = 256;

/// Longest limit of a line in bytes; an event cannot be longer.
const LINE_MAX: u32 = 16 << 20;

/// Most lines that one event may be allowed.
const LINES_MAX: u64 = 100_000;

/// Most files that may be held open.
const OPEN_MAX: u64 = 65_536;

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a kernel shows itself as files; what is read there does not end, or acts.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Reads the keys of a file input; none when no pattern of it can be used.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    name: &str,
    around: Around<'_>,
    seen: &mut Seen,
) -> Option<FileConfig> {
    let patterns = read_patterns(section, name, around, seen);
    let is_usable = patterns.is_some();
    let mut file = FileConfig::new(patterns.unwrap_or_default());
    read_start(section, &mut file);
    read_text(section, &mut file, around);
    file.multiline = read_multiline(section, &file, around);
    file.follow_symlinks_into = read_directories(section);
    file.scan_interval = section.duration(
        "scan_interval",
        file.scan_interval,
        100 * MILLISECOND..=HOUR,
    );
    let mut count = |key, default: u32| {
        let count = section.number(key, default.into(), 1..=OPEN_MAX);
        u32::try_from(count).unwrap_or(default)
    };
    file.max_open_files = count("max_open_files", file.max_open_files);
    file.max_deleted_files = count("max_deleted_files", file.max_deleted_files);
    let bytes = 0..=1 << 46;
    file.max_deleted_bytes = section.size("max_deleted_bytes", file.max_deleted_bytes, bytes);
    is_usable.then_some(file)
}

fn read_patterns(
    section: &mut Section<'_, '_>,
    name: &str,
    around: Around<'_>,
    seen: &mut Seen,
) -> Option<FilePatterns> {
    let mut patterns = FilePatterns::default();
    let include = section.texts("include");
    if include.as_ref().is_none_or(Vec::is_empty) {
        section.absent(
            "include",
            "name files, e.g. include = [\"/var/log/app/*.log\"]",
        );
    }
    let include = limited(section, "include", include.unwrap_or_default());
    for text in &include {
        let fault = patterns.include(text.get_ref()).map_err(|e| e.to_string());
        let fault = fault.and_then(|()| is_free(name, text.get_ref(), seen));
        if let Err(what) = fault {
            let what = format!("{:?} {what}", text.get_ref());
            section.fault("include", text.span(), &what, None);
        }
    }
    let exclude = section.texts("exclude").unwrap_or_default();
    for text in limited(section, "exclude", exclude) {
        if let Err(error) = patterns.exclude(text.get_ref()) {
            let what = format!("{:?} {error}", text.get_ref());
            section.fault("exclude", text.span(), &what, None);
        }
    }
    for (pattern, text) in patterns.included().iter().zip(&include) {
        let root = pattern.root();
        if KERNEL.iter().any(|kernel| root.starts_with(kernel)) {
            let what = format!("{:?} is in {}", pattern.as_str(), root.display());
            let help = Some("name log files; these are made by the kernel".to_owned());
            section.fault("include", text.span(), &what, help);
        }
    }
    if around.context.probe_files {
        probe::files(section, &patterns, &include);
    }
    (!patterns.included().is_empty()).then_some(patterns)
}

/// Two inputs with one pattern would deliver each line twice.
fn is_free(name: &str, pattern: &str, seen: &mut Seen) -> Result<(), String> {
    match seen.patterns.insert(pattern.to_owned(), name.to_owned()) {
        Some(other) => Err(format!("is a pattern of input {other:?} already")),
        None => Ok(()),
    }
}

fn limited(
    section: &mut Section<'_, '_>,
    key: &str,
    mut texts: Vec<Spanned<String>>,
) -> Vec<Spanned<String>> {
    if let Some(first) = texts.get(PATTERNS_MAX) {
        let what = format!("has {} entries, {PATTERNS_MAX} are enough", texts.len());
        section.fault(key, first.span(), &what, Some("use wildcards".to_owned()));
        texts.truncate(PATTERNS_MAX);
    }
    texts
}

/// Where reading begins, and what becomes of a file that was read.
fn read_start(section: &mut Section<'_, '_>, file: &mut FileConfig) {
    let starts = [("end", StartAt::End), ("beginning", StartAt::Beginning)];
    file.start = section.choice("start", file.start, &starts);
    file.read_once = section.flag("read_once", file.read_once);
    let delete = section.span_of("delete_after_delivery");
    file.delete_after_delivery = section.flag("delete_after_delivery", file.delete_after_delivery);
    file.delete_grace = section.duration("delete_grace", file.delete_grace, MILLISECOND..=DAY);
    // What was there before the first start would go unread.
    if let Some(span) = delete.filter(|_| file.delete_after_delivery && file.start == StartAt::End)
    {
        let help = Some("set start = \"beginning\"".to_owned());
        let what = "would remove files whose beginning was never read";
        section.fault("delete_after_delivery", span, what, help);
    }
}

/// How bytes become lines.
fn read_text(section: &mut Section<'_, '_>, file: &mut FileConfig, around: Around<'_>) {
    let encodings = [
        ("utf-8", Encoding::Utf8),
        ("utf-16le", Encoding::Utf16Le),
        ("utf-16be", Encoding::Utf16Be),
        ("latin-1", Encoding::Latin1),
    ];
    file.encoding = section.choice("encoding", file.encoding, &encodings);
    let endings = [("auto", LineEnding::Auto), ("lf", LineEnding::Lf)];
    file.line_ending = section.choice("line_ending", file.line_ending, &endings);
    let fits = file.encoding.fitting(around.max_event_bytes);
    file.max_line = read_bytes(section, "max_line", file.max_line.min(fits), fits);
}

/// A limit in bytes that has to be within what an event may have.
fn read_bytes(section: &mut Section<'_, '_>, key: &'static str, default: u32, fits: u32) -> u32 {
    let span = section.span_of(key);
    let range = u64::from(LINE_MIN)..=u64::from(LINE_MAX);
    let bytes = section.size(key, default.into(), range);
    let bytes = u32::try_from(bytes).unwrap_or(default);
    if let Some(span) = span.filter(|_| bytes > fits) {
        let what = format!(
            "{} of the file can become more than an event may have; {} fit",
            format_size(bytes.into()),
            format_size(fits.into())
        );
        let help = Some("lower it, or raise [spool] max_event_bytes".to_owned());
        section.fault(key, span, &what, help);
    }
    bytes
}

fn read_multiline(
    section: &mut Section<'_, '_>,
    file: &FileConfig,
    around: Around<'_>,
) -> Option<MultilineConfig> {
    let entry = section.take("multiline")?;
    let mut inner = crate::config::parse::table("[input.multiline]", &entry, section.sink)?;
    let rule = read_rule(&mut inner);
    let shortest = 10 * MILLISECOND;
    let timeout = inner.duration("timeout", defaults::MULTILINE_TIMEOUT, shortest..=HOUR);
    let lines = inner.number("max_lines", defaults::MULTILINE_LINES.into(), 1..=LINES_MAX);
    let fits = file.encoding.fitting(around.max_event_bytes);
    let default = defaults::MULTILINE_BYTES.max(file.max_line).min(fits);
    let span = inner.span_of("max_bytes");
    let max_bytes = read_bytes(&mut inner, "max_bytes", default, fits);
    if let Some(span) = span.filter(|_| max_bytes < file.max_line) {
        let what = format!(
            "is less than max_line, {}",
            format_size(file.max_line.into())
        );
        let help = Some("lower max_line as well".to_owned());
        inner.fault("max_bytes", span, &what, help);
    }
    inner.finish();
    Some(MultilineConfig {
        rule: rule?,
        timeout,
        max_lines: u32::try_from(lines).unwrap_or(defaults::MULTILINE_LINES),
        max_bytes,
    })
}

/// The one pattern that says how lines belong together.
fn read_rule(section: &mut Section<'_, '_>) -> Option<MultilineRule> {
    type Rule = fn(LinePattern) -> MultilineRule;
    const KEYS: [(&str, Rule); 3] = [
        ("start", MultilineRule::Start),
        ("continue", MultilineRule::Continue),
        ("end", MultilineRule::End),
    ];
    let mut found = None;
    for (key, rule) in KEYS {
        let Some(text) = section.text(key) else {
            continue;
        };
        if let Some((earlier, _)) = found {
            let what = format!("is a second rule beside {earlier}");
            section.fault(key, text.span(), &what, Some("keep one".to_owned()));
            continue;
        }
        let pattern = LinePattern::new(text.get_ref());
        if let Err(error) = &pattern {
            // The crate draws the place on lines of its own; the last one says what is wrong.
            let error = error.to_string();
            let words = error.lines().last().unwrap_or_default();
            let what = format!("{:?} is no regular expression: {words}", text.get_ref());
            section.fault(key, text.span(), &what, None);
        }
        found = Some((key, pattern.ok().map(rule)));
    }
    if found.is_none() {
        section.absent(
            "start",
            "describe the first line of an event, or set continue or end",
        );
    }
    found?.1
}

/// `follow_symlinks_into`: directories by their absolute paths.
fn read_directories(section: &mut Section<'_, '_>) -> Vec<PathBuf> {
    const KEY: &str = "follow_symlinks_into";
    let texts = section.texts(KEY).unwrap_or_default();
    let texts = limited(section, KEY, texts);
    let mut directories = Vec::new();
    for text in texts {
        let path = PathBuf::from(text.get_ref());
        let is_plain = !path.components().any(|part| part == Component::ParentDir);
        if path.is_absolute() && is_plain {
            directories.push(path);
        } else {
            let what = format!("{:?} is no absolute path without ..", text.get_ref());
            section.fault(KEY, text.span(), &what, None);
        }
    }
    directories
}
