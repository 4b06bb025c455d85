//! What rotation calls files: a number or a date behind the name, or before its extension, or
//! `.old`. Pure.

use std::path::{Path, PathBuf};

/// What `path` was called before a rotation named it so; to be looked up.
pub(super) fn original_names(path: &Path) -> impl Iterator<Item = PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    let number = |c: char| c.is_ascii_digit() || ".-_:TZ".contains(c);
    let behind = name.strip_suffix(".old").unwrap_or(name);
    let behind = behind.trim_end_matches(number);
    let before = name.rsplit_once('.').map(|(stem, extension)| {
        let stem = stem.trim_end_matches(number);
        format!("{stem}.{extension}")
    });
    let names = [Some(behind.to_owned()), before];
    let found = names.into_iter().flatten();
    let found: Vec<PathBuf> = found
        .filter(|original| !original.is_empty() && original != name)
        .map(|original| path.with_file_name(original))
        .collect();
    found.into_iter()
}

/// Whether `path` is a name that rotation gives to files called `original`: with a number or
/// a date behind it, or before its extension, or `.old`.
pub(super) fn is_rotated_name(path: &Path, original: &Path) -> bool {
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.as_encoded_bytes().to_vec())
    };
    let (Some(name), Some(original)) = (name(path), name(original)) else {
        return false;
    };
    let is_number = |part: &[u8]| {
        let is_separator = part.first().is_some_and(|first| b".-_".contains(first));
        let mut rest = part.iter().skip(1).peekable();
        let is_any = rest.peek().is_some();
        is_separator && is_any && rest.all(|byte| b"0123456789.-_:TZ".contains(byte))
    };
    if let Some(rest) = name.strip_prefix(&*original) {
        return is_number(rest) || rest == b".old";
    }
    let Some(dot) = memchr::memrchr(b'.', &original).filter(|dot| *dot > 0) else {
        return false;
    };
    let (stem, extension) = original.split_at(dot);
    let middle = name
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_suffix(extension));
    middle.is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_of_a_rotated_name_is_told() {
        let is = |path: &str, original: &str| {
            original_names(Path::new(path)).any(|found| found == Path::new(original))
        };
        for name in [
            "/l/app.log.1",
            "/l/app.log-20260102",
            "/l/app-1.log",
            "/l/app.log.old",
        ] {
            assert!(is(name, "/l/app.log"), "{name}");
        }
        assert!(!is("/l/app.log", "/l/app.log"));
        assert!(!is("/l/app-access.log", "/l/app.log"));
    }

    #[test]
    fn names_of_rotation_are_told_from_names_of_others() {
        let is = |name: &str| is_rotated_name(Path::new(name), Path::new("/l/app.log"));
        for name in [
            "app.log.1",
            "app.log-20260102",
            "app.1.log",
            "app-2026-01-02.log",
            "app.log.old",
        ] {
            assert!(is(name), "{name}");
        }
        for name in [
            "app.log",
            "app.log.1.gz",
            "app-access.log.1",
            "app.log.",
            "apps.log",
            "app.log.bak.1",
        ] {
            assert!(!is(name), "{name}");
        }
    }
}
