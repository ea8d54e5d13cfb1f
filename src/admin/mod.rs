//! What operators read.
