//! The opening of a WebSocket (RFC 6455 section 4): the key, and the answer that proves it was read.
