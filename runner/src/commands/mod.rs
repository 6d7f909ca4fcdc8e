//! The commands: each puts the parts together and says what happens.

pub(crate) mod attach;
pub(crate) mod debug;
pub(crate) mod end;
pub(crate) mod list;
