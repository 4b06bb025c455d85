//! The .rpm through its life: installed, upgraded with events in the spool, erased.
//!
//! There is no RPM distribution here: rpm itself runs in the Debian of `machine.rs`, with a
//! database of its own, so dependencies are named by the package, and not resolved.

use anyhow::Result;
use spoolway_test_support::daemon::Writer;

use crate::machine::Machine;
use crate::{
    CONFIG, DROP_INS, NOWHERE, SAMPLE, SOCKET, UNIT, adapted, next, package, spool_has_data, step,
};

const FIRST: &str = "/spoolway.rpm";
const NEXT: &str = "/spoolway-next.rpm";

/// In what the administrator writes, and in no package.
const MARK: &str = "# not of the package\n";

#[test]
fn the_rpm_is_installed_upgraded_and_erased() -> Result<()> {
    let Some(rpm) = package("SPOOLWAY_RPM") else {
        return Ok(());
    };
    let machine = Machine::boot()?;
    machine.put(&rpm, FIRST)?;
    machine.put(next::rpm()?.path(), NEXT)?;
    let life = Life { machine };
    step("rpm: installed as it says, not started", || life.install())?;
    step(
        "rpm: an upgrade keeps configuration, spool and connections",
        || life.upgrade(),
    )?;
    step(
        "rpm: erased, the spool and a changed configuration stay",
        || life.erase(),
    )
}

struct Life {
    machine: Machine,
}

impl Life {
    fn rpm(&self, words: &[&str]) -> Result<String> {
        self.machine
            .run(&[&["rpm", "--force-debian"], words].concat())
    }

    fn systemctl(&self, words: &[&str]) -> Result<String> {
        self.machine.run(&[&["systemctl"], words].concat())
    }

    fn install(&self) -> Result<()> {
        self.rpm(&["--install", "--nodeps", FIRST])?;
        // Owners, modes, sizes and digests as the package has them.
        self.rpm(&["--verify", "--nodeps", "spoolway"])?;
        let owners = "[%{FILEUSERNAME}:%{FILEGROUPNAME} %{FILEMODES:perms} %{FILENAMES}\n]";
        let files = self.rpm(&["--query", "--queryformat", owners, "spoolway"])?;
        assert!(
            files.lines().all(|l| l.starts_with("root:root -rw")),
            "{files}"
        );
        assert!(files.contains("-rwxr-xr-x /usr/bin/spoolway"), "{files}");
        let sample = "-rw-r--r-- /usr/share/doc/spoolway/examples/spoolway.toml";
        assert!(files.contains(sample), "{files}");
        let needs = self.rpm(&["--query", "--requires", "spoolway"])?;
        assert!(needs.lines().any(|need| need == "systemd"), "{needs}");
        let flags = "[%{FILEFLAGS:fflags} %{FILENAMES}\n]";
        let flags = self.rpm(&["--query", "--queryformat", flags, "spoolway"])?;
        assert!(flags.contains(&format!("cn {CONFIG}\n")), "{flags}");
        for unit in [UNIT, "spoolway.socket"] {
            assert!(self.systemctl(&["is-enabled", unit]).is_err(), "{unit}");
            assert!(self.systemctl(&["is-active", unit]).is_err(), "{unit}");
        }
        let owned = ["stat", "-c", "%U:%G %a", "/run/spoolway"];
        assert_eq!(self.machine.run(&owned)?, "spoolway:spoolway 755");
        self.machine.run(&["test", "-d", DROP_INS])?;
        self.machine.run(&["spoolway", "check"])?;
        Ok(())
    }

    fn status(&self) -> Result<serde_json::Value> {
        let status = self.machine.run(&["spoolway", "status", "--json"])?;
        Ok(serde_json::from_str(&status)?)
    }

    fn upgrade(&self) -> Result<()> {
        let text = adapted(SAMPLE, NOWHERE, "") + MARK;
        self.machine.write(CONFIG, &text)?;
        self.systemctl(&["enable", "--now", "spoolway.socket", UNIT])?;
        let mut writer = Writer::connect(&self.machine.inside(SOCKET))?;
        writer.send_acked(b"before")?;
        self.rpm(&["--upgrade", "--nodeps", NEXT])?;
        let version = self.rpm(&["--query", "spoolway"])?;
        assert!(version.contains(next::SUFFIX), "{version}");
        writer.send_acked(b"after")?;
        assert_eq!(self.systemctl(&["show", "-P", "NRestarts", UNIT])?, "0");
        assert_eq!(std::fs::read_to_string(self.machine.inside(CONFIG))?, text);
        assert!(self.machine.inside(&format!("{CONFIG}.rpmnew")).exists());
        let status = self.status()?;
        assert_eq!(status["ledger"]["in_spool"], 2, "{status}");
        assert_eq!(status["ledger"]["lost"], 0, "{status}");
        Ok(())
    }

    fn erase(&self) -> Result<()> {
        let told = self.rpm(&["--erase", "--nodeps", "spoolway"])?;
        assert!(
            told.contains("was kept") && told.contains("/var/lib/spoolway"),
            "{told}"
        );
        assert!(self.systemctl(&["is-active", UNIT]).is_err());
        for gone in [SOCKET, CONFIG, "/usr/bin/spoolway", "/run/spoolway"] {
            assert!(!self.machine.inside(gone).exists(), "{gone}");
        }
        let saved = self.machine.inside(&format!("{CONFIG}.rpmsave"));
        assert!(std::fs::read_to_string(saved)?.ends_with(MARK));
        assert!(spool_has_data(&self.machine.spool()));
        // Without a spool nothing stays.
        self.machine.run(&["umount", "/var/lib/spoolway"])?;
        self.rpm(&["--install", "--nodeps", FIRST])?;
        self.rpm(&["--erase", "--nodeps", "spoolway"])?;
        // The configuration that was changed before stays under its other name.
        for gone in ["/var/lib/spoolway", DROP_INS] {
            assert!(!self.machine.inside(gone).exists(), "{gone}");
        }
        Ok(())
    }
}
