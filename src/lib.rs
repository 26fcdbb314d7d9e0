//! Wayleave.
