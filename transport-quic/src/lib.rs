//! Peers over QUIC.
