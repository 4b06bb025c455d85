//! The notices of the real Cargo.lock, and where they are shipped.

use std::process::Command;
use std::sync::LazyLock;

use super::*;

static WHOLE: LazyLock<String> = LazyLock::new(|| third_party().expect("notices are made"));

/// Asked of Cargo in another way than by the program.
fn tree(target: &str) -> Vec<String> {
    let output = Command::new(linked::cargo())
        .args(["tree", "--locked", "--manifest-path", linked::MANIFEST])
        .args(["--package", "spoolway", "--edges", "normal"])
        .args(["--target", target, "--prefix", "none", "--format", "{p}"])
        .output()
        .expect("cargo runs");
    let told = String::from_utf8(output.stdout).expect("names are UTF-8");
    let label = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let version = words.next()?.strip_prefix('v')?;
        (name != "spoolway").then(|| format!("{name} {version}"))
    };
    told.lines().filter_map(label).collect()
}

fn stub(name: &str, license: Option<&str>) -> Crate {
    let text = serde_json::json!({
        "id": name, "name": name, "version": "1.0.0", "license": license,
        "authors": ["A. Writer"], "manifest_path": format!("/{name}/Cargo.toml"),
    });
    serde_json::from_value(text).expect("a crate")
}

fn notice(text: &str) -> Notice {
    let (file, text) = ("LICENSE".to_owned(), text.to_owned());
    Notice { file, text }
}

#[test]
fn every_normal_dependency_of_the_lock_is_named_with_its_text() {
    for target in linked::TARGETS {
        let crates = tree(target);
        assert!(crates.len() > 100, "{target}: {crates:?}");
        for label in crates {
            let entry = WHOLE.split_once(&format!("\n{label}\n    licence: "));
            let (_, entry) = entry.unwrap_or_else(|| panic!("{label} of {target} is missing"));
            let own = entry.split("\n    ").any(|line| line.starts_with("text: "));
            assert!(own, "{label}");
        }
    }
}

#[test]
fn vendored_code_and_the_toolchain_have_their_notices() {
    for notice in [
        "(zstd/LICENSE)",
        "(liblz4/lib/LICENSE)",
        "(third_party/fiat/LICENSE)",
        "(LICENSE-BoringSSL)",
        "(src/unicode_tables/LICENSE-UNICODE)",
        "Copyright © 2005-2020 Rich Felker",
        "The Rust Project Developers",
    ] {
        assert!(WHOLE.contains(notice), "{notice}");
    }
    for foreign in ["proptest ", "windows-sys ", "(zstd/COPYING)", "programs/"] {
        assert!(!WHOLE.contains(foreign), "{foreign}");
    }
}

#[test]
fn every_package_ships_them() {
    let root = Path::new(linked::MANIFEST).parent().expect("a directory");
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("a file of ours");
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    for kind in ["deb", "generate-rpm"] {
        let assets = &manifest["package"]["metadata"][kind]["assets"];
        let shipped = assets.to_string().contains("target/assets/THIRD-PARTY.txt");
        assert!(shipped, "{kind}");
    }
    for file in [
        "packaging/Containerfile",
        "packaging/debian/copyright",
        "scripts/static.sh",
        "scripts/container.sh",
    ] {
        assert!(read(file).contains("THIRD-PARTY.txt"), "{file}");
    }
}

#[test]
fn a_text_of_several_crates_is_printed_once() {
    let one = (stub("one", Some("MIT")), vec![notice("Same\n  text.\r\n")]);
    let two = (stub("two", Some("MIT")), vec![notice("Same text.")]);
    let three = (stub("three", Some("MIT")), vec![notice("Another.")]);
    let file = render(&[one, two, three]);
    let owners = "[1] of\n    one 1.0.0 (LICENSE)\n    two 1.0.0 (LICENSE)\n\nSame\n  text.\n";
    assert!(file.contains(owners), "{file}");
    assert!(!file.contains("Same text."), "{file}");
    assert!(file.ends_with("[2] of\n    three 1.0.0 (LICENSE)\n\nAnother.\n"));
}

#[test]
fn a_crate_without_a_text_has_its_standard_licence_and_authors_named() {
    let file = render(&[(stub("bare", Some("Apache-2.0/MIT")), Vec::new())]);
    let said = "the standard text: https://spdx.org/licenses/Apache-2.0.html \
                https://spdx.org/licenses/MIT.html\n    authors: A. Writer\n";
    assert!(file.contains(said), "{file}");
    let file = render(&[(stub("odd", Some("Own-1")), Vec::new())]);
    assert!(file.contains("no file in its source\n"), "{file}");
}

#[test]
fn what_is_no_notice_is_refused_with_its_path() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("LICENSE");
    fs::write(&path, vec![b'x'; TEXT_BYTES_MAX as usize + 1]).expect("written");
    let error = read(&path).expect_err("too large").to_string();
    assert!(error.contains("LICENSE: 262145 bytes"), "{error}");
    fs::write(&path, b"\xff").expect("written");
    let error = read(&path).expect_err("no text").to_string();
    assert!(error.ends_with("LICENSE: is not UTF-8"), "{error}");
    assert!(is_notice("license.apache-2.0") && !is_notice("license.rs"));
}
