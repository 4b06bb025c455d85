//! The settings pages: every configuration on them passes `spoolway check`, what a manifest
//! starts is there, and every symptom that the doctor names has its place in
//! docs/troubleshooting.md.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

const TROUBLESHOOTING: &str = include_str!("../../docs/troubleshooting.md");

/// Pages that have to be there.
const PAGES: [&str; 6] = [
    "aiven.md",
    "amazon-msk.md",
    "confluent-cloud.md",
    "kubernetes.md",
    "redpanda.md",
    "self-hosted.md",
];

/// The fenced ones, and those that a manifest has as the text of a file.
fn configurations(page: &str) -> Vec<String> {
    let blocks = page.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let files = page.split("  spoolway.toml: |\n").skip(1);
    let files = files.map(|rest| {
        let lines = rest.lines().map_while(|line| match line {
            "" => Some(line),
            line => line.strip_prefix("    "),
        });
        lines.flat_map(|line| [line, "\n"]).collect()
    });
    blocks.map(str::to_owned).chain(files).collect()
}

/// The words of the YAML lists in brackets that follow these words.
fn lists<'p>(page: &'p str, before: &str) -> Vec<Vec<&'p str>> {
    let lists = page.split(before).skip(1);
    let lists = lists.filter_map(|rest| rest.split(']').next());
    lists.map(|list| list.split(", ").collect()).collect()
}

#[test]
fn every_configuration_of_the_settings_pages_passes_check() {
    let mut pages: Vec<PathBuf> = fs::read_dir("docs/vendors")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    pages.sort();
    let names: Vec<&str> = pages
        .iter()
        .map(|page| page.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, PAGES);
    let folder = tempfile::tempdir().unwrap();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let found = configurations(&text);
        assert!(!found.is_empty(), "{} has a configuration", page.display());
        for configuration in found {
            let file = folder.path().join("page.toml");
            fs::write(&file, &configuration).unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_spoolway"))
                .args(["check", "--without-files"])
                .arg(&file)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let page = page.display();
            assert!(output.status.success(), "{page}: {said}\n{configuration}");
        }
    }
}

#[test]
fn the_manifest_for_kubernetes_mounts_what_it_names_and_starts_what_exists() {
    let page = fs::read_to_string("docs/vendors/kubernetes.md").unwrap();
    let (page, manifest) = page.split_once("\nkind: DaemonSet\n").unwrap();
    let configuration = configurations(page).pop().unwrap();
    let paths = configuration
        .split('"')
        .filter(|word| word.starts_with('/'));
    for path in paths.chain(["/etc/spoolway/spoolway.toml"]) {
        let mounts = manifest.split("mountPath: ").skip(1);
        let mut mounts = mounts.filter_map(|rest| rest.split([',', ' ']).next());
        assert!(mounts.any(|mount| path.starts_with(mount)), "{path}");
    }
    let probes = lists(manifest, "command: [/spoolway, ");
    assert_eq!(probes.len(), 2);
    for words in probes.iter().chain(&lists(manifest, "args: [")) {
        let output = Command::new(env!("CARGO_BIN_EXE_spoolway"))
            .args(words)
            .arg("--help")
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}");
    }
}

#[test]
fn every_kind_and_exit_code_of_the_doctor_is_on_the_troubleshooting_page() {
    for (code, kind) in [
        (65, "size"),
        (65, "clock"),
        (66, "topic"),
        (67, "login"),
        (68, "name"),
        (69, "connection"),
        (69, "listener"),
        (75, "partition"),
        (75, "time"),
        (76, "handshake"),
        (77, "permission"),
    ] {
        let row = TROUBLESHOOTING
            .lines()
            .find(|line| line.starts_with(&format!("| {code} |")));
        let row = row.unwrap_or_else(|| panic!("no row for {code}"));
        assert!(row.contains(&format!("`{kind}`")), "{code} {kind}: {row}");
    }
}
