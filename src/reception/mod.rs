//! Opening of connections, one runtime per thread: accept, PROXY header, request head, route, connect.
