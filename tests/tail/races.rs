//! Rotation races through one daemon: many files at once, each rotated at random moments in
//! its own way, with and without the daemon dying meanwhile.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use spoolway_test_support::daemon::Daemon;
use spoolway_test_support::skipped;

use super::arrivals::{Arrivals, Broker};
use super::rig::{Death, End, die, from_env, prepare, rng, stats};
use super::rotate::{KINDS, Kind, Program, Written, logrotate};

/// Races of each kind.
const RACES: u64 = 200;
/// Files of each kind.
const FILES: u32 = 20;
/// Longest life of a daemon, in milliseconds.
const LIFE_MS: u64 = 1200;
/// Longest time in which a running daemon reads what a deleted file still holds.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Longest time for the last lines to arrive.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);
/// Events of one batch, and batches in flight.
const BATCH_EVENTS: u64 = 100;
const IN_FLIGHT: u64 = 5;
/// What was acknowledged within this time may not be recorded yet when the daemon is killed.
const UNRECORDED: Duration = Duration::from_millis(250);

struct Race {
    name: &'static str,
    kinds: Vec<Kind>,
    races: u32,
    files: u32,
    deaths: bool,
}

fn races() -> u32 {
    from_env("SPOOLWAY_TAIL_RACES").unwrap_or(RACES) as u32
}

/// The kinds that were asked for by name, or all; those that can be had without logrotate.
fn kinds(test: &str) -> Vec<Kind> {
    let has = logrotate().is_some();
    if !has {
        skipped(&format!("{test} with logrotate"), "it is not installed");
    }
    let asked = std::env::var("SPOOLWAY_TAIL_KINDS").unwrap_or_default();
    let is_asked =
        |kind: &Kind| asked.is_empty() || asked.split(',').any(|name| name == format!("{kind:?}"));
    let all = KINDS.into_iter().filter(is_asked);
    let kinds: Vec<Kind> = all.filter(|kind| has || !kind.needs_logrotate()).collect();
    assert!(
        !kinds.is_empty(),
        "no kind of {KINDS:?} is called {asked:?}"
    );
    kinds
}

fn run(race: &Race, broker: Broker) {
    let mut rng = rng(race.name);
    let more = "max_open_files = 1024\nmax_deleted_files = 1024";
    let (mut daemon, logs) = prepare(&broker.bootstrap(), more);
    let arrivals = Arc::new(Arrivals::watch(broker));
    daemon.start().unwrap();
    let began = Instant::now();
    let mut programs = Vec::new();
    for (group, kind) in race.kinds.iter().enumerate() {
        for file in 0..race.files {
            let number = group as u32 * 1000 + file;
            let folder = logs.join(format!("{kind:?}"));
            let seed = fastrand::Rng::with_seed(rng.u64(..));
            let program = Program::new(*kind, number, &folder, arrivals.clone(), seed);
            let races = race.races.div_ceil(race.files);
            programs.push(thread::spawn(move || program.run(races)));
        }
    }
    let mut deaths = Vec::new();
    let mut kills = 0;
    while programs.iter().any(|program| !program.is_finished()) {
        thread::park_timeout(Duration::from_millis(rng.u64(0..LIFE_MS)));
        if race.deaths {
            let end = if rng.u32(0..4) == 0 {
                End::Stopped
            } else {
                End::Killed
            };
            kills += u64::from(end == End::Killed);
            deaths.push(die(&mut daemon, end, &mut rng));
        }
    }
    let written: Vec<Written> = programs
        .into_iter()
        .map(|program| program.join().unwrap())
        .collect();
    let took = began.elapsed();
    eprintln!(
        "{}: {} lines written in {took:.1?}, {} deaths, {kills} of them by SIGKILL",
        race.name,
        written.iter().map(|w| w.lines).sum::<u32>(),
        deaths.len()
    );
    settle(race, &daemon, &arrivals, &written, &deaths);
    arrivals.look(|table| {
        // A backlog is delivered faster than lines are written: twice as fast, say.
        let rate = 2.0 * table.records as f64 / took.as_secs_f64();
        let unrecorded = (rate * UNRECORDED.as_secs_f64()) as u64;
        let most = kills * (IN_FLIGHT * BATCH_EVENTS + unrecorded);
        assert!(
            table.resent <= most,
            "{} resent, {most} allowed",
            table.resent
        );
    });
    if !race.deaths {
        let stats = stats(&daemon);
        assert_eq!(stats["lost_bytes"], 0, "{stats:#}");
    }
}

/// Lines that are not there, and of them those that the death of the daemon took away with
/// their deleted file.
fn missing(arrivals: &Arrivals, written: &[Written], deaths: &[Death]) -> (Vec<String>, u32) {
    let (mut lost, mut excused) = (Vec::new(), 0);
    arrivals.look(|table| {
        for of_file in written {
            for number in (0..of_file.lines).filter(|n| !table.has(of_file.file, *n)) {
                if is_excused(of_file, number, deaths) {
                    excused += 1;
                } else {
                    lost.push(format!("{}:{number}", of_file.file));
                }
            }
        }
    });
    (lost, excused)
}

fn is_excused(written: &Written, number: u32, deaths: &[Death]) -> bool {
    let mut at_risk = written.at_risk.iter();
    let Some(risk) = at_risk.find(|risk| risk.lines.contains(&number)) else {
        return false;
    };
    let read_by = risk.until + READ_WITHIN;
    deaths
        .iter()
        .any(|death| death.until >= risk.from && death.from <= read_by)
}

/// Of a deleted file its end may be missing, never a part before a part that is there.
fn holes(arrivals: &Arrivals, written: &[Written]) -> Vec<String> {
    let has = |file, number: &u32| arrivals.look(|table| table.has(file, *number));
    let risks = written
        .iter()
        .flat_map(|of_file| of_file.at_risk.iter().map(|risk| (of_file.file, risk)));
    risks
        .filter(|(file, risk)| {
            let there = risk.lines.clone().take_while(|number| has(*file, number));
            let end = risk.lines.start + there.count() as u32;
            (end..risk.lines.end).any(|number| has(*file, &number))
        })
        .map(|(file, risk)| format!("{file}:{:?}", risk.lines))
        .collect()
}

fn settle(
    race: &Race,
    daemon: &Daemon,
    arrivals: &Arrivals,
    written: &[Written],
    deaths: &[Death],
) {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let (lost, excused) = loop {
        let (lost, excused) = missing(arrivals, written, deaths);
        if lost.is_empty() || Instant::now() > deadline {
            break (lost, excused);
        }
        thread::park_timeout(Duration::from_millis(100));
    };
    let holes = holes(arrivals, written);
    assert!(holes.is_empty(), "holes in deleted files: {holes:?}");
    let name = race.name;
    let all: u32 = written.iter().map(|w| w.races).sum();
    arrivals.look(|table| {
        eprintln!(
            "{name}: {all} races, {} records, {} resent, {} read twice, {} strange, {excused} \
             lost with a deleted file",
            table.records, table.resent, table.read_twice, table.strange
        );
        assert!(
            lost.is_empty() && table.read_twice == 0 && table.strange == 0,
            "{name}: {} lost, {:?}; {} read twice, {} strange, {:?}; in {}\n{}",
            lost.len(),
            lost.iter().take(20).collect::<Vec<_>>(),
            table.read_twice,
            table.strange,
            table.examples,
            daemon.folder().display(),
            daemon.log()
        );
    });
}

#[test]
fn no_rotation_at_any_moment_loses_or_doubles_a_line() {
    let race = Race {
        name: "rotation",
        kinds: kinds("rotation"),
        races: races().div_ceil(4),
        files: FILES,
        deaths: false,
    };
    run(&race, Broker::scripted());
}

#[test]
fn no_rotation_with_the_daemon_dying_at_any_moment_loses_or_doubles_a_line() {
    let race = Race {
        name: "rotation and death",
        kinds: kinds("rotation and death"),
        races: races(),
        files: FILES,
        deaths: true,
    };
    run(&race, Broker::scripted());
}

#[test]
fn rotation_and_death_through_to_a_real_kafka_lose_and_double_nothing() {
    let race = Race {
        name: "real Kafka",
        kinds: kinds("real Kafka"),
        races: races().div_ceil(20),
        files: 2,
        deaths: true,
    };
    run(&race, Broker::real());
}
