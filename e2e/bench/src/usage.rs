//! What a process has used. In: a process id. Out: CPU time and memory, as the kernel counts them. Panics where the
//! process is gone.

use std::fs;
use std::time::Duration;

/// CPU time of all threads of a process that are there, which for Envoy is all that there ever were.
///
/// # Panics
/// See the module.
pub fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let nanos = threads.map(|thread| {
        let path = thread.expect("a thread").path().join("schedstat");
        let text = fs::read_to_string(path).expect("a thread that stays");
        text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("nanoseconds")
    });
    Duration::from_nanos(nanos.sum())
}

/// Resident memory of a process in bytes.
///
/// # Panics
/// See the module.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") * 1024
}
