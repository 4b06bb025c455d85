//! The AWS SDKs' shared files: `~/.aws/credentials` and `~/.aws/config`.
//!
//! Reads what is needed here: sections, `name = value`, comments. Nested values are left out.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use super::{AwsFailure, Env};

/// Largest of these files that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The settings of one profile.
pub(super) type Profile = HashMap<String, String>;

/// Every profile of both files.
#[derive(Debug, Default)]
pub(super) struct Profiles(HashMap<String, Profile>);

impl Profiles {
    /// Reads both files; one that is not there holds nothing.
    pub(super) fn load(env: Env) -> Result<Self, AwsFailure> {
        let mut all = Self::default();
        let home = || env("HOME").map(PathBuf::from);
        let place = |variable: &str, name: &str| {
            let given = env(variable).map(PathBuf::from);
            given.or_else(|| home().map(|home| home.join(".aws").join(name)))
        };
        // The credentials file is read last: it wins.
        for (variable, name) in [
            ("AWS_CONFIG_FILE", "config"),
            ("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
        ] {
            if let Some(path) = place(variable, name) {
                all.read(&path)?;
            }
        }
        Ok(all)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Profile> {
        self.0.get(name)
    }

    fn read(&mut self, path: &PathBuf) -> Result<(), AwsFailure> {
        let failed = |reason: String| AwsFailure::Source {
            origin: path.display().to_string(),
            reason,
        };
        let mut text = zeroize::Zeroizing::new(String::new());
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // A home that a hardened unit hides is one without the file.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(failed("this user may not read it".to_owned()));
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| failed(error.to_string()))?;
        self.add(&text);
        Ok(())
    }

    fn add(&mut self, text: &str) {
        let mut profile: Option<&mut Profile> = None;
        for line in text.lines() {
            // An indented line belongs to a nested value.
            if line.starts_with([' ', '\t', '#', ';']) || line.is_empty() {
                continue;
            }
            if let Some(head) = line.strip_prefix('[') {
                let head = head.split(']').next().unwrap_or_default().trim();
                let name = head.strip_prefix("profile ").unwrap_or(head).trim();
                profile = Some(self.0.entry(name.to_owned()).or_default());
            } else if let (Some(profile), Some((name, value))) =
                (&mut profile, line.split_once('='))
            {
                let value = value.split(" #").next().unwrap_or_default().trim();
                profile.insert(name.trim().to_lowercase(), value.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_heading_are_read_and_the_later_file_wins() {
        let mut profiles = Profiles::default();
        profiles.add("[default]\nregion=eu-west-1\n[profile edge]\nrole_arn = arn:x # why\n");
        profiles.add("# c\n[edge]\naws_access_key_id = A\ns3 =\n  nested = 1\nrole_arn = arn:y\n");
        assert_eq!(profiles.get("default").unwrap()["region"], "eu-west-1");
        let edge = profiles.get("edge").unwrap();
        assert_eq!(
            (
                edge["aws_access_key_id"].as_str(),
                edge["role_arn"].as_str()
            ),
            ("A", "arn:y")
        );
        assert!(!edge.contains_key("nested"));
        assert!(profiles.get("other").is_none());
    }
}
