//! Every input that was kept, and some thousand that were not: bytes from a generator, the same each time.

use std::fs;
use std::path::Path;

fn replay(target: &str, run: fn(&[u8]) -> i64) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let (mut count, mut far) = (0, 0);
    for entry in fs::read_dir(&corpus).unwrap() {
        far += i64::from(run(&fs::read(entry.unwrap().path()).unwrap()) > 0);
        count += 1;
    }
    assert!(count >= 20 && far >= 5, "{far} of {count} inputs in {} get far", corpus.display());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..3000 {
        let len = next() % 512;
        run(&(0..len).map(|_| next() as u8).collect::<Vec<_>>());
    }
}

#[test]
fn configurations() {
    replay("config", otelmesh_fuzz::config);
}

#[test]
fn replies() {
    replay("reply", otelmesh_fuzz::reply);
}

#[test]
fn exchanges() {
    replay("exchange", otelmesh_fuzz::exchange);
}
