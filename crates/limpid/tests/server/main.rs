//! `limpid serve`, as its clients see it: the program runs, and requests go over a socket.

mod api;
mod bad_requests;
mod ending;
mod exactness;
mod harness;
mod soak;
mod traffic;
