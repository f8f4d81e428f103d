use std::collections::{BTreeMap, BTreeSet};

use super::file::SECTOR;
use super::*;

/// Takes what it is told, by the name of the decision; calm elsewhere.
#[derive(Debug)]
struct Told(BTreeMap<&'static str, u64>);

impl Decide for Told {
    fn choose(&mut self, what: &'static str, options: u64) -> u64 {
        self.0.get(what).map_or(0, |choice| (*choice).min(options - 1))
    }

    fn chance(&mut self, what: &'static str, per_million: u32) -> bool {
        0 < per_million && self.0.contains_key(what)
    }
}

fn told(faults: DiskFaults, told: &[(&'static str, u64)]) -> SimulatedDisk {
    SimulatedDisk::new(faults, Box::new(Told(told.iter().copied().collect())))
}

/// Everything that can be lost is lost.
fn forgetful() -> SimulatedDisk {
    let worst = [("disk.keep", u64::MAX), ("disk.length", u64::MAX), ("disk.name", 1)];
    told(DiskFaults::default(), &worst)
}

fn put(disk: &mut SimulatedDisk, file: &str, bytes: &[u8]) {
    disk.create(file).unwrap();
    disk.write_at(file, 0, bytes).unwrap();
}

#[test]
fn what_is_synced_survives_and_the_rest_may_not() {
    let mut disk = forgetful();
    put(&mut disk, "kept", b"kept");
    put(&mut disk, "lost", b"lost");
    disk.sync("kept").unwrap();
    disk.sync("lost").unwrap();
    disk.rename("lost", "new").unwrap();
    disk.power_cut();
    assert_eq!(disk.list().unwrap(), [""; 0], "a name that was never synced");

    put(&mut disk, "kept", b"kept");
    disk.sync("kept").unwrap();
    disk.sync_names().unwrap();
    disk.write_at("kept", 4, b" or not").unwrap();
    assert_eq!(disk.bytes("kept").unwrap(), b"kept or not");
    disk.rename("kept", "moved").unwrap();
    disk.power_cut();
    assert_eq!(disk.bytes("kept").unwrap(), b"kept");
    assert_eq!(disk.bytes("moved"), None);
}

#[test]
fn a_process_that_dies_loses_nothing_that_was_written() {
    let mut disk = forgetful();
    put(&mut disk, "file", b"written");
    disk.die_after(1);
    disk.write_at("file", 0, b"WRI").unwrap();
    assert!(disk.write_at("file", 3, b"TTEN").is_err());
    assert!(disk.is_off() && disk.read("file").is_err());
    disk.restart();
    assert_eq!(disk.read("file").unwrap(), b"WRITTEN");
}

#[test]
fn sectors_and_length_survive_each_on_its_own() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let mut disk = SimulatedDisk::seeded(DiskFaults::default(), seed);
        put(&mut disk, "file", &[1; 3 * SECTOR]);
        disk.sync("file").unwrap();
        disk.sync_names().unwrap();
        disk.write_at("file", 0, &[2; 3 * SECTOR]).unwrap();
        disk.write_at("file", 3 * SECTOR as u64, &[2; SECTOR]).unwrap();
        disk.power_cut();
        let bytes = disk.bytes("file").unwrap();
        let sectors: Vec<u8> = bytes.chunks(SECTOR).map(|sector| sector[0]).collect();
        assert!(bytes.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        seen.insert(sectors);
    }
    // Two versions of three sectors; the fourth is not there, there and empty, or there.
    assert_eq!(seen.len(), 8 * 3, "{seen:?}");
}

#[test]
fn a_failed_sync_leaves_pages_that_read_well_and_are_never_written() {
    let faults = DiskFaults { sync_fails: 1, ..DiskFaults::default() };
    let mut disk = told(faults, &[("disk.fail", 1), ("disk.keep", 1)]);
    put(&mut disk, "file", b"");
    disk.set_faults(DiskFaults::default());
    disk.sync("file").unwrap();
    disk.sync_names().unwrap();
    disk.write_at("file", 0, b"new").unwrap();
    disk.set_faults(faults);
    assert!(disk.sync("file").is_err());
    disk.set_faults(DiskFaults::default());
    assert_eq!(disk.read("file").unwrap(), b"new");
    disk.sync("file").unwrap();
    disk.power_cut();
    assert_eq!(disk.read("file").unwrap(), [0; 3]);
    assert_eq!(disk.injected().sync_fails, 1);
}

#[test]
fn a_lying_sync_is_found_out_by_the_next_loss_of_power() {
    let faults = DiskFaults { sync_lies: 1, ..DiskFaults::default() };
    let mut disk = told(DiskFaults::default(), &[("disk.lie", 1), ("disk.length", 9)]);
    put(&mut disk, "file", b"old");
    disk.sync("file").unwrap();
    disk.sync_names().unwrap();
    disk.set_faults(faults);
    disk.write_at("file", 3, b" and new").unwrap();
    disk.sync("file").unwrap();
    disk.power_cut();
    assert_eq!((disk.read("file").unwrap(), disk.injected().sync_lies), (b"old".to_vec(), 1));
}

#[test]
fn a_full_disk_takes_what_fits_and_says_so() {
    let mut disk = told(DiskFaults { room: Some(10), ..DiskFaults::default() }, &[]);
    put(&mut disk, "one", b"12345");
    disk.create("two").unwrap();
    let full = disk.write_at("two", 0, b"1234567").unwrap_err();
    assert_eq!(full.to_string(), "cannot write two: no space left on the disk");
    assert_eq!((full.kind, disk.bytes("two").unwrap()), (DiskErrorKind::Full, b"12345".to_vec()));
    disk.write_at("one", 0, b"54321").unwrap();
}

#[test]
fn a_stale_or_misplaced_sector_shows_after_the_power_was_gone() {
    for (fault, expected) in [("disk.stale", [1, 2]), ("disk.misplace", [1, 2])] {
        let mut disk = told(DiskFaults::default(), &[(fault, 1)]);
        put(&mut disk, "file", &[1; 2 * SECTOR]);
        disk.sync("file").unwrap();
        disk.sync_names().unwrap();
        let (sector_stale, sector_misplaced) = (1, 1);
        disk.set_faults(DiskFaults { sector_stale, sector_misplaced, ..DiskFaults::default() });
        disk.write_at("file", 0, &[2; 2 * SECTOR]).unwrap();
        disk.sync("file").unwrap();
        assert_eq!(disk.bytes("file").unwrap(), [2; 2 * SECTOR]);
        disk.power_cut();
        let bytes = disk.bytes("file").unwrap();
        let sectors = [bytes[0], bytes[SECTOR]];
        if fault == "disk.stale" {
            assert_eq!(sectors, expected);
        } else {
            assert_eq!((sectors, disk.injected().misplaced), ([2, 2], 1), "onto itself");
        }
    }
}

#[test]
fn rot_flips_one_bit_of_one_file() {
    for seed in 0..50 {
        let mut disk = SimulatedDisk::seeded(DiskFaults::default(), seed);
        for file in ["a", "b", "empty"] {
            put(&mut disk, file, if file == "empty" { &[] } else { &[0; 100] });
            disk.sync(file).unwrap();
        }
        let (file, byte) = disk.rot().unwrap();
        let flipped: u32 =
            ["a", "b"].iter().flat_map(|file| disk.bytes(file).unwrap()).map(u8::count_ones).sum();
        assert_eq!(flipped, 1);
        assert_ne!(disk.bytes(&file).unwrap()[usize::try_from(byte).unwrap()], 0);
    }
}

#[test]
fn equal_seeds_are_equal_disks() {
    let run = |seed| {
        let mut disk = SimulatedDisk::seeded(DiskFaults::default(), seed);
        put(&mut disk, "file", &[7; 5_000]);
        disk.sync_names().unwrap();
        disk.power_cut();
        disk.bytes("file").unwrap()
    };
    assert_eq!(run(4), run(4));
    assert_ne!(run(4), run(5));
}
