//! The package once more, with a higher version and another sample configuration: what an
//! upgrade meets. Knows nothing of what is in it besides.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Result, ensure};
use tempfile::{NamedTempFile, TempDir};

use crate::machine::host;

/// What the version of the next package ends with.
pub(crate) const SUFFIX: &str = "+next";

const SAMPLE: &str = "etc/spoolway/spoolway.toml";

/// What is new in the sample.
const NEWS: &str = "# new in this version\n";

/// Of a .deb: taken apart, changed, and put together.
pub(crate) fn deb(deb: &str) -> Result<NamedTempFile> {
    let folder = TempDir::new()?;
    let tree = folder.path().join("tree");
    let tree_text = tree.display().to_string();
    host(&["dpkg-deb", "--raw-extract", deb, &tree_text])?;
    append(&tree.join(SAMPLE), NEWS)?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control)?;
    let lines = text
        .lines()
        .map(|line| match line.strip_prefix("Version: ") {
            Some(version) => format!("Version: {version}{SUFFIX}\n"),
            None => format!("{line}\n"),
        });
    let changed: String = lines.collect();
    ensure!(changed.contains(SUFFIX), "no version in {text}");
    fs::write(control, changed)?;
    let next = NamedTempFile::with_suffix(".deb")?;
    let next_text = next.path().display().to_string();
    host(&["dpkg-deb", "--build", &tree_text, &next_text])?;
    Ok(next)
}

fn append(file: &Path, text: &str) -> Result<()> {
    let whole = fs::read_to_string(file)? + text;
    Ok(fs::write(file, whole)?)
}

/// Of the .rpm of this checkout, which has to be built already.
pub(crate) fn rpm() -> Result<NamedTempFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // cargo-generate-rpm packs what lies around it.
    let folder = TempDir::new()?;
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name() != "packaging" {
            symlink(entry.path(), folder.path().join(entry.file_name()))?;
        }
    }
    let (root, folder_text) = (root.display(), folder.path().display().to_string());
    host(&["cp", "-a", &format!("{root}/packaging"), &folder_text])?;
    append(&folder.path().join("packaging/spoolway.toml"), NEWS)?;
    let next = NamedTempFile::with_suffix(".rpm")?;
    let next_text = next.path().display().to_string();
    let release = format!("release = \"1{SUFFIX}\"");
    let pack = ["env", "-C", &folder_text, "cargo", "generate-rpm"];
    host(
        &[
            &pack[..],
            &["--set-metadata", &release, "--output", &next_text],
        ]
        .concat(),
    )?;
    Ok(next)
}
