//! The commands: each puts the parts together and says what happens.

pub(crate) mod debug;
