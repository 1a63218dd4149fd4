//! `exchanges MODULE`: what an exchange costs in each situation. `exchanges MODULE SITUATION COUNT`: so many exchanges,
//! with the names of the module's functions for `perf`.

use std::path::Path;

use otelmesh_bench::counted::{Compiled, Counted, situation, situations};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [module] => {
            let module = Compiled::new(Path::new(module));
            for situation in situations() {
                println!("{:<32} {}", situation.name, situation.count(&module));
            }
        }
        [module, name, count] => {
            let module = Compiled::for_perf(Path::new(module));
            Counted::new(&module, &situation(name)).exchanges(count.parse().expect("a number"));
        }
        _ => panic!("exchanges MODULE [SITUATION COUNT]"),
    }
}
