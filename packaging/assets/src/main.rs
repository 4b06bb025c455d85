//! Writes what a package holds besides the binary, from the one definition of the command
//! line, the one table of configuration keys, and Cargo.lock.
//!
//! usage: spoolway-assets DIR                      what a package holds
//!        spoolway-assets --reference FILE         the tables of docs/configuration.md
//!
//! DIR gets `man/*.1`, `completions/` for bash, zsh and fish, `spoolway.schema.json`, and
//! `THIRD-PARTY.txt` with the licences of the crates.

/// Which crates are in the binary.
mod linked;
/// What their licences ask to be said.
mod notices;

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap_complete::Shell;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.as_slice() {
        [flag, file] if flag == "--reference" => refresh(Path::new(file)),
        [dir] if !dir.starts_with('-') => write_all(Path::new(dir)),
        _ => {
            eprintln!("usage: spoolway-assets DIR | --reference FILE");
            return ExitCode::from(64);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spoolway-assets: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refresh(file: &Path) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(file)?;
    Ok(fs::write(file, spoolway::config::refresh_reference(&text))?)
}

fn write_all(dir: &Path) -> Result<(), Box<dyn Error>> {
    let man = dir.join("man");
    fs::create_dir_all(&man)?;
    // One page for each command and subcommand, as git has them.
    clap_mangen::generate_to(spoolway::cli::definition(), &man)?;
    for page in fs::read_dir(&man)? {
        tidy(&page?.path())?;
    }
    let completions = dir.join("completions");
    fs::create_dir_all(&completions)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(
            shell,
            &mut spoolway::cli::definition(),
            "spoolway",
            &completions,
        )?;
    }
    let schema = format!("{:#}\n", spoolway::config::schema());
    fs::write(dir.join("spoolway.schema.json"), schema)?;
    Ok(fs::write(
        dir.join("THIRD-PARTY.txt"),
        notices::third_party()?,
    )?)
}

/// `help` pages repeat what the others say; a date would make no two builds alike.
fn tidy(page: &Path) -> io::Result<()> {
    let name = page.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    if name.split('-').any(|word| word == "help") {
        fs::remove_file(page)?;
    }
    Ok(())
}
