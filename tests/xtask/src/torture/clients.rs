//! Clients as they should not be.

mod http2;
mod rude;
mod slow;

pub(super) use rude::rows as rude_rows;
pub(super) use slow::rows as slow_rows;
