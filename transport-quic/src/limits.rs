//! Every bound of a transport, and what a peer can cost at most.
//!
//! None of quinn's own defaults is relied on: they allow 250 MB per peer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use synod_core::{Envelope, EventId, TransportError, WireEvent};

use crate::frame::Sizes;
use crate::session::{Bounds, CHUNK_BYTES, SEGMENT_BYTES};

/// The bounds of one transport. The default suits a cluster in one data centre.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How long an attempt to link may take, from the look-up of the name to the peer's hello; and
    /// how long a dialler may take to say its own.
    pub connect_timeout: Duration,
    /// How long a peer may be silent before its connection is lost. The smaller of both sides
    /// counts. The link goes on without a connection, see [`Limits::session_grace`].
    pub idle_timeout: Duration,
    /// After how much silence a sign of life is sent.
    pub keep_alive: Duration,
    /// After how much silence a new connection is tried beside the one that is silent, and the link's status
    /// tells of it. QUIC sends less and less often into a silence, and would notice its end late.
    pub redial_after: Duration,
    /// How long a link whose connection is lost waits for the next one, from the last sign of life
    /// on. Then the peer is told to be down. With zero, a lost connection is a lost link.
    ///
    /// A peer whose process is gone is noticed sooner where the system of its machine says so.
    pub session_grace: Duration,
    /// How long a frame may stay unfinished.
    pub frame_timeout: Duration,
    /// The largest envelope in bytes of an event that does not [declare](synod_core::Event::BYTES_MAX)
    /// more; [`Envelope::BYTES_MAX`] at most.
    pub frame_bytes_max: u32,
    /// Bytes that one peer has not acknowledged: those that wait, those under way, and those that
    /// are kept for the case that the connection is lost. One more ends the link with `Overflow`.
    pub outbox_bytes_max: usize,
    /// Lanes per peer and direction.
    pub lanes_max: u32,
    /// Bytes on one lane that the receiver has not yet read.
    pub stream_window: u32,
    /// Bytes on all lanes together that the receiver has not yet read.
    pub connection_window: u32,
    /// Bytes that are sent and not yet acknowledged.
    pub send_window: u32,
    /// Bytes of datagrams that wait in each direction; the oldest are dropped.
    pub datagram_bytes_max: usize,
    /// Handshakes under way at once, and connections that wait to be let in; more are refused. Each has
    /// room for a hello, and for [`Limits::datagram_bytes_max`].
    pub handshakes_max: usize,
    /// Handshakes under way at once from one host (64 bits of an address of IPv6); more are refused.
    pub handshakes_per_host_max: usize,
    /// Handshakes under way from which on a dialler must first prove its address.
    pub handshakes_before_retry: usize,
    /// What is asked of the system for each of the socket's buffers, in bytes.
    pub socket_buffer_bytes: usize,
    /// The largest packet in bytes, without the headers of UDP and IP: 1,200 to
    /// [`Limits::PACKET_BYTES_CAP`]. How large one may be on a path is found out by trying; more than
    /// 1,452 pass where frames are large, as within many data centres and on the loopback interface.
    pub packet_bytes_max: u16,
    /// Envelopes of one event type that are handed over at once.
    pub batch_max: usize,
    /// What [`Limits::bytes_per_peer_max`] may come to, in bytes: a transport whose other limits
    /// allow a peer more does not start.
    pub bytes_per_peer_cap: usize,
    /// Whether the system cuts large sends into packets; turn it off for broken network cards.
    pub segmentation_offload: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(8),
            keep_alive: Duration::from_millis(500),
            redial_after: Duration::from_secs(1),
            session_grace: Duration::from_secs(20),
            frame_timeout: Duration::from_secs(10),
            frame_bytes_max: Envelope::BYTES_MAX,
            outbox_bytes_max: 16 * MIB as usize,
            lanes_max: 128,
            stream_window: MIB,
            connection_window: 16 * MIB,
            send_window: 8 * MIB,
            datagram_bytes_max: MIB as usize,
            handshakes_max: 128,
            handshakes_per_host_max: 64,
            handshakes_before_retry: 32,
            socket_buffer_bytes: 4 * MIB as usize,
            packet_bytes_max: Self::PACKET_BYTES_CAP,
            batch_max: 256,
            bytes_per_peer_cap: 128 * MIB as usize,
            segmentation_offload: true,
        }
    }
}

impl Limits {
    /// No packet is larger: ten are given to the system together, and it takes 65,507 bytes.
    pub const PACKET_BYTES_CAP: u16 = 6_500;

    /// The most memory in bytes that one peer can make a node hold that handles `events`, whatever
    /// the peer does:
    ///
    /// - what waits for it, and what it has not acknowledged, in buffers that are half full at
    ///   least, and two for each lane that are being filled;
    /// - what it has sent and nobody has read;
    /// - for each lane, one unfinished frame and one read;
    /// - for each event that declares larger ones, one unfinished frame, on whatever lane;
    /// - datagrams in both directions, and one control frame.
    ///
    /// Envelopes that the inbox has taken are the host's to count. They share the memory of the
    /// read that they came in, so a single one that is kept may keep two hundred kilobytes, or a large
    /// one beside it.
    #[must_use]
    pub fn bytes_per_peer_max(&self, events: &[WireEvent]) -> usize {
        let large = declared(self.frame_bytes_max, events).map(|(_, bytes)| bytes as usize);
        let lane = self.frame_bytes_max as usize + READ_BYTES_MAX + SEGMENT_BYTES + CHUNK_BYTES;
        self.outbox_bytes_max
            .saturating_mul(2)
            .saturating_add(self.connection_window as usize)
            .saturating_add(lane.saturating_mul(self.lanes_max as usize))
            .saturating_add(self.datagram_bytes_max.saturating_mul(2))
            .saturating_add(CONTROL_BYTES_MAX)
            .saturating_add(large.sum())
    }

    /// Checks that the bounds fit together, and to a node that handles `events`.
    ///
    /// # Errors
    ///
    /// [`TransportError`] with the bounds that do not, and what is allowed.
    pub fn check(&self, events: &[WireEvent]) -> Result<(), TransportError> {
        let frame = self.frame_bytes_max;
        let too_large = |event: &&WireEvent| self.outbox_bytes_max < event.bytes_max as usize;
        let complaint = if frame == 0 || Envelope::BYTES_MAX < frame {
            format!("`frame_bytes_max` is {frame}, and must be 1 to {}", Envelope::BYTES_MAX)
        } else if self.stream_window < frame || self.connection_window < self.stream_window {
            String::from("a frame must fit into `stream_window`, and that into `connection_window`")
        } else if self.outbox_bytes_max < frame as usize {
            String::from("a frame must fit into `outbox_bytes_max`")
        } else if let Some(WireEvent { name, bytes_max, .. }) = events.iter().find(too_large) {
            format!(
                "event `{name}` declares {bytes_max} bytes, and `outbox_bytes_max` allows {}",
                self.outbox_bytes_max
            )
        } else if self.idle_timeout.min(self.redial_after) <= self.keep_alive {
            String::from("`keep_alive` must be shorter than `idle_timeout` and `redial_after`")
        } else if let Some((name, time)) = self.times().into_iter().find(|it| TIME_MAX < it.1) {
            format!("`{name}` is {time:?}, and must be {TIME_MAX:?} at most")
        } else if self.lanes_max == 0 || self.batch_max == 0 {
            String::from("`lanes_max` and `batch_max` must be 1 at least")
        } else if !(PACKET_BYTES_MIN..=Self::PACKET_BYTES_CAP).contains(&self.packet_bytes_max) {
            format!(
                "`packet_bytes_max` is {}, and must be 1200 to {}",
                self.packet_bytes_max,
                Self::PACKET_BYTES_CAP
            )
        } else if self.handshakes_max == 0 || self.handshakes_per_host_max == 0 {
            String::from("`handshakes_max` and `handshakes_per_host_max` must be 1 at least")
        } else if self.bytes_per_peer_cap < self.bytes_per_peer_max(events) {
            self.tell_excess(events)
        } else {
            return Ok(());
        };
        Err(TransportError(complaint))
    }

    /// Those that are added to the time of day, by name.
    fn times(&self) -> [(&'static str, Duration); 5] {
        [
            ("connect_timeout", self.connect_timeout),
            ("keep_alive", self.keep_alive),
            ("redial_after", self.redial_after),
            ("session_grace", self.session_grace),
            ("frame_timeout", self.frame_timeout),
        ]
    }

    fn tell_excess(&self, events: &[WireEvent]) -> String {
        let declared: Vec<String> = declared(self.frame_bytes_max, events)
            .map(|(event, bytes)| format!(", {bytes} of them for `{}`", event.name))
            .collect();
        format!(
            "one peer could make this node hold {} bytes{}, and `bytes_per_peer_cap` allows {}: \
             raise it, or lower `outbox_bytes_max`, `connection_window` or `lanes_max`",
            self.bytes_per_peer_max(events),
            declared.concat(),
            self.bytes_per_peer_cap
        )
    }

    /// How large frames to a node may be, or from it, whose events have such envelopes at most.
    pub(crate) fn sizes(&self, bytes_max: impl Iterator<Item = (EventId, u32)>) -> Sizes {
        let declared = bytes_max.filter(|(_, bytes)| Envelope::BYTES_MAX < *bytes);
        let capped = declared.map(|(event, bytes)| (event, bytes.min(Envelope::BYTES_CAP)));
        Sizes::new(self.frame_bytes_max, capped)
    }

    /// The bounds of each session.
    pub(crate) fn session(&self) -> Bounds {
        Bounds {
            kept_bytes_max: self.outbox_bytes_max,
            lanes_max: usize::try_from(self.lanes_max).unwrap_or(usize::MAX),
        }
    }

    /// The bounds of each connection that this node dials.
    pub(crate) fn dialed(&self) -> Result<ByPath, TransportError> {
        ByPath::of(|bytes| self.dialed_on(bytes))
    }

    /// The same on a path that is taken to let packets of so many bytes pass, until it is known better.
    fn dialed_on(&self, bytes: u16) -> Result<TransportConfig, TransportError> {
        let idle = IdleTimeout::try_from(self.idle_timeout)
            .map_err(|_| TransportError(String::from("`idle_timeout` is too long")))?;
        let mut packets = MtuDiscoveryConfig::default();
        packets.upper_bound(self.packet_bytes_max).minimum_change(PACKET_STEP);
        let mut config = TransportConfig::default();
        config
            .initial_mtu(bytes.min(self.packet_bytes_max))
            .mtu_discovery_config(Some(packets))
            .max_concurrent_bidi_streams(VarInt::from_u32(1))
            .max_concurrent_uni_streams(VarInt::from_u32(self.lanes_max))
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(Some(self.keep_alive))
            .initial_rtt(INITIAL_ROUND_TRIP)
            .stream_receive_window(VarInt::from_u32(self.stream_window))
            .receive_window(VarInt::from_u32(self.connection_window))
            .send_window(u64::from(self.send_window))
            .datagram_receive_buffer_size(Some(self.datagram_bytes_max))
            .datagram_send_buffer_size(self.datagram_bytes_max)
            .crypto_buffer_size(CRYPTO_BYTES_MAX)
            .enable_segmentation_offload(self.segmentation_offload);
        Ok(config)
    }

    /// The bounds of each connection that a peer dials, until it is [let in](Self::let_in): there may be
    /// many at once, and before its hello nobody has anything else to say.
    pub(crate) fn accepted(&self) -> Result<ByPath, TransportError> {
        ByPath::of(|bytes| {
            let mut config = self.dialed_on(bytes)?;
            config
                .max_concurrent_uni_streams(VarInt::from_u32(0))
                .receive_window(VarInt::from_u32(HELLO_WINDOW.min(self.connection_window)));
            Ok(config)
        })
    }

    /// Gives a connection that was accepted the bounds of one that carries a link.
    pub(crate) fn let_in(&self, connection: &Connection) {
        connection.set_receive_window(VarInt::from_u32(self.connection_window));
        connection.set_max_concurrent_uni_streams(VarInt::from_u32(self.lanes_max));
    }
}

/// The bounds of a connection, by where its peer is.
#[derive(Clone, Debug)]
pub(crate) struct ByPath {
    within: Arc<TransportConfig>,
    beyond: Arc<TransportConfig>,
}

impl ByPath {
    /// Within a machine the largest packets pass, so nothing is tried: to read one that is made of padding takes as
    /// long as to check a certificate, and both sides would, before the hello and before its answer. Where they
    /// do not pass after all, as through a relay, their loss is noticed within a second.
    fn of(
        config: impl Fn(u16) -> Result<TransportConfig, TransportError>,
    ) -> Result<Self, TransportError> {
        let (within, beyond) = (config(Limits::PACKET_BYTES_CAP)?, config(PACKET_BYTES_MIN)?);
        Ok(Self { within: Arc::new(within), beyond: Arc::new(beyond) })
    }

    /// The bounds of a connection with whoever is at `address`.
    pub(crate) fn to(&self, address: SocketAddr) -> Arc<TransportConfig> {
        let is_within = address.ip().to_canonical().is_loopback();
        Arc::clone(if is_within { &self.within } else { &self.beyond })
    }
}

/// The events that declare larger frames than `common`, and how large. Nobody declares more than
/// [`Envelope::BYTES_CAP`].
fn declared(common: u32, events: &[WireEvent]) -> impl Iterator<Item = (&WireEvent, u32)> {
    let declaring = events.iter().filter(|event| Envelope::BYTES_MAX < event.bytes_max);
    let capped = declaring.map(|event| (event, event.bytes_max.min(Envelope::BYTES_CAP)));
    capped.filter(move |(_, bytes)| common < *bytes)
}

const MIB: u32 = 1 << 20;

/// No time is longer than a year.
const TIME_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Every path of QUIC takes packets of so many bytes.
const PACKET_BYTES_MIN: u16 = 1_200;

/// How close the size of packets comes to what a path takes.
const PACKET_STEP: u16 = 20;

/// What a lane's reader takes from quinn at once.
pub(crate) const READ_BYTES_MAX: usize = CHUNKS_MAX * Limits::PACKET_BYTES_CAP as usize;

/// Packets' worth of stream data that a lane's reader takes at once.
pub(crate) const CHUNKS_MAX: usize = 32;

/// The largest control frame: a hello with some thousand event names.
pub(crate) const CONTROL_BYTES_MAX: usize = 256 * 1024;

/// What may come on a connection before the peer is let in and is not yet read: a hello.
const HELLO_WINDOW: u32 = MIB / 4;

/// Handshake bytes out of order; a chain of our certificates has less than one thousand.
const CRYPTO_BYTES_MAX: usize = 16 * 1024;

/// Packets that wait for one handshake to be looked at, in bytes.
pub(crate) const INCOMING_BYTES_MAX: u64 = 16 * 1024;

/// How long both sides keep a doubtful second connection waiting before one of them decides.
pub(crate) const HOLD: Duration = Duration::from_secs(1);

/// The round trip that is assumed before the first one is measured. The first packet of a handshake
/// is sent again after three of them: sooner than quinn would, so that a link comes back soon.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(100);

/// What a peer may say on the control stream of one connection that changes nothing: frames, and counts and
/// entries in them. In a moment,
pub(crate) const IDLE_WORDS_MAX: usize = 32_768;

/// and in the long run. A node that starts in a cluster of thousands says less.
pub(crate) const IDLE_WORDS_PER_SECOND: usize = 4_096;

/// How long an acknowledgement may wait for others.
pub(crate) const ACK_DELAY: Duration = Duration::from_millis(20);

/// How long the last words of a connection may take.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
