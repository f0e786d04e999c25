//! What every service needs: a clock that tests can turn, one table of errors, named limits, and a way to reach
//! another service that is the same in one process and over the network.

mod clock;
mod error;
mod limits;
mod transport;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{ErrorCode, ServiceError};
pub use limits::Limits;
pub use transport::{GrpcService, TransportError, bearing, in_process, remote};
