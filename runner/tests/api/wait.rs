//! Waiting for the container.
