//! Java properties files and JAAS login lines: nothing makes their parsers panic, and what
//! was read is read the same after it is written down again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spoolway::config::{jaas, properties};

fuzz_target!(|input: &str| {
    match properties::parse(input) {
        Ok(found) => {
            let written: String = found
                .iter()
                .map(|property| properties::write(&property.key, &property.value))
                .collect();
            if let Ok(again) = properties::parse(&written) {
                let plain = |list: &[properties::Property]| -> Vec<(String, String)> {
                    list.iter().map(|p| (p.key.clone(), p.value.clone())).collect()
                };
                assert_eq!(plain(&found), plain(&again));
            }
        }
        Err(error) => drop(error.to_string()),
    }
    match jaas::parse(input) {
        Ok(found) => {
            if let Ok(again) = jaas::parse(&jaas::write(&found)) {
                assert_eq!(found.options, again.options);
            }
        }
        Err(error) => drop(error.to_string()),
    }
});
