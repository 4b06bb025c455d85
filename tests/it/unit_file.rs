//! The unit as `systemd-analyze` judges it, without any systemd running.

use std::process::Command;

use spoolway_test_support::skipped;

/// Most exposure, in tenths, on systemd-analyze's scale from 0 to 10.
const EXPOSURE: &str = "--threshold=12";

fn analyze(args: &[&str]) -> Option<std::process::Output> {
    let systemd = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");
    let unit = format!("{systemd}/spoolway.service");
    let output = Command::new("systemd-analyze")
        .args(args)
        .arg(unit)
        .output();
    if output.is_err() {
        skipped(
            "the exposure of the unit",
            "there is no systemd-analyze here",
        );
    }
    output.ok()
}

#[test]
fn the_unit_is_exposed_by_no_more_than_1_2() {
    if let Some(output) = analyze(&["security", "--offline=yes", EXPOSURE]) {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("Overall exposure level"), "{text}");
    }
}
