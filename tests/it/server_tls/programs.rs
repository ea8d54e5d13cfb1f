//! Real servers behind the proxy, over TLS.
