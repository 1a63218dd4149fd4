//! `soak [SECONDS]`: mixed traffic with faults, half of the time over each protocol, ten minutes by default. Prints memory
//! on the way and the accounting; ends with an error where either is wrong.

use std::time::Duration;

use otelmesh_e2e::faults::Wire;
use otelmesh_e2e::soak;

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).map_or(600, |seconds| seconds.parse().expect("a number of seconds"));
    for wire in Wire::ALL {
        soak::run(Duration::from_secs(seconds / 2), wire).await.print(wire);
    }
}
