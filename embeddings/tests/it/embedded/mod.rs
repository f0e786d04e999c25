//! What only the embedded store promises.

mod crash;
mod damage;
mod load;
mod running;
