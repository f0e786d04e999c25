//! The services over their own gRPC faces, with a small inference server in place of the real one. Packets come from
//! the simulator and are synthetic.

mod ai;
mod faults;
mod harness;
mod history;
mod lifecycle;
mod session;
mod similar;
mod vectors;
