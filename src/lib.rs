//! longsplice: joins a client's connection to a server's and gets out of the way.
