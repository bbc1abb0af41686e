//! Prints what this machine can do at best, with 1 thread and with all.
use limpid_kernels::{Cpu, isa::Isa, limits::Limits};

fn main() {
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    for isa in Isa::available().skip(1) {
        for n_threads in [1, n_threads] {
            println!("{isa} {n_threads}: {:?}", Limits::measure(&Cpu::new(isa, n_threads)).expect("memory"));
        }
    }
}
