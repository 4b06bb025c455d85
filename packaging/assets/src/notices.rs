//! THIRD-PARTY.txt: the licence and notice texts of what the binaries are made of, each text
//! once. Copies what the sources hold; says nothing about whether a licence may be used, which
//! is for deny.toml.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::linked::{self, Crate};

/// Bytes of one text; the longest that we know has 30 thousand.
const TEXT_BYTES_MAX: u64 = 256 * 1024;

/// Directories below the source of a crate, one in the other.
const DEPTH_MAX: usize = 8;

/// Files and directories in the source of one crate.
const ENTRIES_MAX: usize = 50_000;

/// How the name of a file with such a text begins, in small letters.
const NAMES: [&str; 6] = [
    "license",
    "licence",
    "copying",
    "notice",
    "copyright",
    "unlicense",
];

/// Files of such a name that are code.
const CODE: [&str; 8] = ["rs", "c", "h", "py", "toml", "json", "yml", "sh"];

/// Directories of vendored code that no crate builds into its library.
const NOT_BUILT: [&str; 9] = [
    "benches", "contrib", "doc", "docs", "examples", "fuzz", "programs", "tests", "target",
];

/// Where the source leaves a choice and has a file for the licence that we do not choose.
const NOT_CHOSEN: [(&str, &str, &str); 1] = [(
    "zstd-sys",
    "zstd/COPYING",
    "zstd is used under its BSD licence (zstd/LICENSE), not under the GPL",
)];

/// Licences whose text is the same wherever it stands, and is found under its name at SPDX.
const STANDARD: [&str; 9] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// What stands in the binary and is no crate: the standard library, and the C library.
const TOOLCHAIN: &str = include_str!("../toolchain.txt");

const HEAD: &str = "\
Spoolway is licensed under MIT or Apache-2.0. Its binaries hold code of others, under licences
that ask for their notice. First each crate with its licence, then what comes from the
toolchain, then the texts, each once, by the numbers in brackets. Some of the crates are named
because features of the tests ask for them, and leave no code in the binary.
";

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Linked(#[from] linked::Error),
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: {bytes} bytes are more than a notice has ({TEXT_BYTES_MAX})", path.display())]
    Large { path: PathBuf, bytes: u64 },
    #[error("{}: is not UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error(
        "{}: deeper than {DEPTH_MAX} directories, or more than {ENTRIES_MAX} files in the crate",
        path.display()
    )]
    Endless { path: PathBuf },
    #[error("{0}: has neither a licence expression nor a licence file; ask its authors")]
    Unlicensed(String),
}

/// A text, and where it stood below the source of its crate.
#[derive(Debug)]
struct Notice {
    file: String,
    text: String,
}

/// The whole file.
pub(crate) fn third_party() -> Result<String, Error> {
    let mut all = Vec::new();
    for found in linked::crates()? {
        let notices = notices(&found)?;
        if notices.is_empty() && found.license.is_none() {
            return Err(Error::Unlicensed(found.label()));
        }
        all.push((found, notices));
    }
    Ok(render(&all))
}

fn notices(found: &Crate) -> Result<Vec<Notice>, Error> {
    let root = found.manifest_path.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    let mut entries = 0;
    search(root, 0, &mut entries, &mut files)?;
    files.sort();
    let mut notices = Vec::new();
    for path in files {
        let file = path.strip_prefix(root).unwrap_or(&path);
        let file = file.display().to_string();
        let chosen = |(name, path, _): &(&str, &str, &str)| found.name != *name || file != *path;
        if NOT_CHOSEN.iter().all(chosen) {
            let text = read(&path)?;
            notices.push(Notice { file, text });
        }
    }
    Ok(notices)
}

/// Links are not followed.
fn search(
    dir: &Path,
    depth: usize,
    entries: &mut usize,
    files: &mut Vec<PathBuf>,
) -> Result<(), Error> {
    let failed = |error| Error::Io {
        path: dir.to_owned(),
        error,
    };
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        *entries += 1;
        if depth > DEPTH_MAX || *entries > ENTRIES_MAX {
            return Err(Error::Endless {
                path: dir.to_owned(),
            });
        }
        let kind = entry.file_type().map_err(failed)?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if kind.is_dir() && !NOT_BUILT.contains(&name.as_str()) {
            search(&entry.path(), depth + 1, entries, files)?;
        } else if kind.is_file() && is_notice(&name) {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Takes small letters.
fn is_notice(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    NAMES.iter().any(|begin| name.starts_with(begin)) && !CODE.contains(&ending)
}

fn read(path: &Path) -> Result<String, Error> {
    let path = path.to_owned();
    let failed = |error| Error::Io {
        path: path.clone(),
        error,
    };
    let bytes = fs::metadata(&path).map_err(failed)?.len();
    if bytes > TEXT_BYTES_MAX {
        return Err(Error::Large { path, bytes });
    }
    let text = fs::read(&path).map_err(failed)?;
    String::from_utf8(text).map_err(|_| Error::NotText { path })
}

/// Texts are equal when their words are.
#[derive(Default)]
struct Texts<'a> {
    numbers: HashMap<String, usize>,
    /// The text, and what it belongs to.
    known: Vec<(&'a str, Vec<String>)>,
}

impl<'a> Texts<'a> {
    /// Its number, from 1.
    fn add(&mut self, notice: &'a Notice, owner: String) -> usize {
        let words: Vec<&str> = notice.text.split_whitespace().collect();
        let next = self.known.len() + 1;
        let number = *self.numbers.entry(words.join(" ")).or_insert(next);
        match self.known.get_mut(number - 1) {
            Some((_, owners)) => owners.push(owner),
            None => self.known.push((&notice.text, vec![owner])),
        }
        number
    }
}

fn render(all: &[(Crate, Vec<Notice>)]) -> String {
    let mut texts = Texts::default();
    let mut lines = vec![HEAD.to_owned()];
    for (found, notices) in all {
        lines.push(found.label());
        let licence = found.license.as_deref().unwrap_or("see its text");
        lines.push(format!("    licence: {licence}"));
        if let Some(repository) = &found.repository {
            lines.push(format!("    source: {repository}"));
        }
        for notice in notices {
            let owner = format!("{} ({})", found.label(), notice.file);
            let number = texts.add(notice, owner);
            lines.push(format!("    text: [{number}] {}", notice.file));
        }
        if notices.is_empty() {
            lines.push(without_file(found, licence));
        }
        for (_, _, why) in NOT_CHOSEN.iter().filter(|(name, ..)| found.name == *name) {
            lines.push(format!("    note: {why}"));
        }
    }
    let mut file = lines.join("\n");
    let rule = "=".repeat(80);
    let _ = write!(file, "\n\n{rule}\n{}\n", TOOLCHAIN.trim());
    for (index, (text, owners)) in texts.known.iter().enumerate() {
        let owners = owners.join("\n    ");
        let _ = write!(file, "\n{rule}\n[{}] of\n    {owners}\n\n", index + 1);
        for line in text.trim_matches(['\r', '\n', ' ']).lines() {
            file.push_str(line.trim_end());
            file.push('\n');
        }
    }
    file
}

/// What is known of a crate whose source holds no text.
fn without_file(found: &Crate, licence: &str) -> String {
    let words = licence.split(|c: char| c.is_whitespace() || "/()".contains(c));
    let standard = words.filter(|word| STANDARD.contains(word));
    let links: Vec<String> = standard
        .map(|name| format!("https://spdx.org/licenses/{name}.html"))
        .collect();
    let mut said = "    text: no file in its source".to_owned();
    if !links.is_empty() {
        let _ = write!(said, "; the standard text: {}", links.join(" "));
    }
    if !found.authors.is_empty() {
        let _ = write!(said, "\n    authors: {}", found.authors.join(", "));
    }
    said
}

#[cfg(test)]
mod tests;
