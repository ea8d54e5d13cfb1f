//! A tunnel as a pure state machine.
