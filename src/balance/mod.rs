//! Choosing a server; pure: load and clock are passed in.
