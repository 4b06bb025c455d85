//! Which crates the shipped binaries are made of: the normal dependencies of `spoolway`, as
//! Cargo.lock resolves them for every target that is shipped. Reads no licence text.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use serde::Deserialize;

/// What is shipped; the same as in deny.toml.
pub(crate) const TARGETS: [&str; 3] = [
    "x86_64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
];

pub(crate) const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");

/// The package whose dependencies count.
const SHIPPED: &str = "spoolway";

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot run `cargo metadata`: {0}")]
    Cargo(#[source] io::Error),
    #[error("`cargo metadata --locked` for {target} ended with {status}: {told}")]
    Refused {
        target: &'static str,
        status: ExitStatus,
        told: String,
    },
    #[error("cannot read what `cargo metadata` says: {0}")]
    Metadata(#[from] serde_json::Error),
    #[error("`cargo metadata` resolves no package {0}; is Cargo.toml the one of Spoolway?")]
    Unresolved(String),
}

/// A crate whose code is, or may be, in the binary.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Crate {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression, or an older list with slashes.
    pub(crate) license: Option<String>,
    pub(crate) repository: Option<String>,
    #[serde(default)]
    pub(crate) authors: Vec<String>,
    /// Cargo.toml in the directory of its source.
    pub(crate) manifest_path: PathBuf,
}

impl Crate {
    /// Name and version, as in Cargo.lock.
    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

/// `None` is a normal dependency, as against one of tests or of a build script.
#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// Every such crate, by name and version. Macros count: what they write is in the binary.
///
/// Features are those of the whole workspace, so some crates more than `cargo tree` names.
pub(crate) fn crates() -> Result<Vec<Crate>, Error> {
    let mut all = BTreeMap::new();
    for target in TARGETS {
        for found in of_target(target)? {
            all.insert((found.name.clone(), found.version.clone()), found);
        }
    }
    Ok(all.into_values().collect())
}

fn of_target(target: &'static str) -> Result<Vec<Crate>, Error> {
    let Metadata { packages, resolve } = metadata(target)?;
    let nodes: HashMap<&str, &Node> = resolve.nodes.iter().map(|n| (n.id.as_str(), n)).collect();
    let root = packages.iter().find(|found| found.name == SHIPPED);
    let root = root.ok_or_else(|| Error::Unresolved(SHIPPED.to_owned()))?;
    let mut seen = BTreeSet::new();
    let mut ahead = vec![root.id.as_str()];
    while let Some(id) = ahead.pop() {
        if !seen.insert(id.to_owned()) {
            continue;
        }
        let node = nodes.get(id);
        let node = node.ok_or_else(|| Error::Unresolved(id.to_owned()))?;
        let normal = |dep: &&Dependency| dep.dep_kinds.iter().any(|kind| kind.kind.is_none());
        ahead.extend(node.deps.iter().filter(normal).map(|dep| dep.pkg.as_str()));
    }
    let root = root.id.clone();
    let wanted = |found: &Crate| found.id != root && seen.contains(&found.id);
    Ok(packages.into_iter().filter(wanted).collect())
}

/// What Cargo resolves. It needs no network where the sources are there already.
fn metadata(target: &'static str) -> Result<Metadata, Error> {
    let output = Command::new(cargo())
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--manifest-path", MANIFEST, "--filter-platform", target])
        .output()
        .map_err(Error::Cargo)?;
    if !output.status.success() {
        return Err(Error::Refused {
            target,
            status: output.status,
            told: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The Cargo that runs us, which a toolchain of its own may have.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
