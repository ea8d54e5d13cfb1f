//! `listener.behind`: a balancer of AWS in front, which sets defaults and questions what contradicts
//! them. The figures are the balancers' own defaults.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::read::{Place, Table, Value};
use crate::config::units;
use crate::config::{Behind, Mode, ProxyProtocol, TcpKeepalive};

/// What tcp(7) lets TCP_KEEPIDLE be.
const KEEPALIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);

/// The key as it was written.
#[derive(Debug, Clone)]
pub(super) struct Preset<'r, 'a> {
    /// Which balancer.
    pub(super) kind: Behind,
    place: Place<'r, 'a>,
}

/// Reads `behind`, and whether `mode` is anything that balancer can be in front of.
pub(super) fn behind<'r, 'a>(table: &mut Table<'r, 'a>, mode: Mode) -> Option<Preset<'r, 'a>> {
    let value = table.take("behind")?;
    let place = value.place.clone();
    let kinds = [
        ("clb", Behind::Clb),
        ("nlb", Behind::Nlb),
        ("alb", Behind::Alb),
    ];
    let kind = value.choice(&kinds)?;
    if kind == Behind::Alb && mode != Mode::Http {
        place.warn("\"alb\" speaks HTTP to its targets, which mode = \"http\" is for");
    }
    Some(Preset { kind, place })
}

impl Preset<'_, '_> {
    /// Returns the PROXY mode of a listener that does not name one.
    pub(super) fn proxy_protocol(&self, nobody_is_trusted: bool) -> ProxyProtocol {
        match self.kind {
            Behind::Clb | Behind::Nlb => {
                if nobody_is_trusted {
                    self.place.reject(format!(
                        "{:?} requires a PROXY header, and empty trusted_proxies refuses every \
                         connection; name the balancers in trusted_proxies",
                        self.kind.as_str()
                    ));
                }
                ProxyProtocol::Require
            }
            Behind::Alb => ProxyProtocol::Off,
        }
    }

    /// Questions a PROXY mode that was written.
    pub(super) fn question_proxy_protocol(&self, mode: ProxyProtocol, place: &Place<'_, '_>) {
        match (self.kind, mode) {
            (Behind::Clb | Behind::Nlb, ProxyProtocol::Off) => place.warn(format!(
                "\"off\" takes the PROXY header that behind = {:?} stands for as the client's bytes",
                self.kind.as_str()
            )),
            (Behind::Alb, ProxyProtocol::Optional | ProxyProtocol::Require) => place.warn(
                "behind = \"alb\" is a balancer that never sends a PROXY header; it names the \
                 client in X-Forwarded-For",
            ),
            (Behind::Clb | Behind::Nlb, ProxyProtocol::Optional | ProxyProtocol::Require)
            | (Behind::Alb, ProxyProtocol::Off) => {}
        }
    }

    /// Says that nobody is believed, where that makes the balancer look like the client.
    pub(super) fn question_trust(&self, nobody_is_trusted: bool) {
        if self.kind == Behind::Alb && nobody_is_trusted {
            self.place.warn(
                "\"alb\" with empty trusted_proxies takes the balancer for the client; name its \
                 subnets in trusted_proxies",
            );
        }
    }

    /// Questions a `keep_alive` that was written.
    pub(super) fn question_keep_alive(&self, keep_alive: Duration, place: &Place<'_, '_>) {
        let idle = self.kind.idle();
        let reuses = match self.kind {
            Behind::Clb | Behind::Alb => true,
            Behind::Nlb => false,
        };
        if reuses && keep_alive <= idle {
            place.warn(format!(
                "{} is not longer than the {} after which behind = {:?} closes an idle connection: \
                 a request may meet our close, and its client gets a 502 of the balancer",
                units::duration_text(keep_alive),
                units::duration_text(idle),
                self.kind.as_str()
            ));
        }
    }

    fn question_tcp_keepalive(&self, keepalive: TcpKeepalive, place: &Place<'_, '_>) {
        let idle = self.kind.idle();
        let probes = matches!(keepalive, TcpKeepalive::After(pause) if pause < idle);
        match self.kind {
            Behind::Nlb if !probes => place.warn(format!(
                "behind = \"nlb\" forgets a connection that is silent for {}; a shorter time keeps \
                 it in mind",
                units::duration_text(idle)
            )),
            Behind::Clb | Behind::Nlb | Behind::Alb => {}
        }
    }
}

/// Reads `tcp_keepalive`.
pub(super) fn tcp_keepalive(
    table: &mut Table<'_, '_>,
    preset: Option<&Preset<'_, '_>>,
) -> TcpKeepalive {
    let default = preset.map_or(TcpKeepalive::System, |preset| preset.kind.tcp_keepalive());
    let Some(value) = table.take("tcp_keepalive") else {
        return default;
    };
    let place = value.place.clone();
    let Some(keepalive) = keepalive(value) else {
        return default;
    };
    if let Some(preset) = preset {
        preset.question_tcp_keepalive(keepalive, &place);
    }
    keepalive
}

fn keepalive(value: Value<'_, '_>) -> Option<TcpKeepalive> {
    value.parse(
        "off, system, or a whole number and a unit such as \"60s\"",
        |text| match text {
            "off" => Ok(TcpKeepalive::Off),
            "system" => Ok(TcpKeepalive::System),
            text => {
                let pause = units::duration(text, &KEEPALIVE)?;
                if pause.subsec_millis() == 0 {
                    Ok(TcpKeepalive::After(pause))
                } else {
                    Err("is no whole number of seconds".to_owned())
                }
            }
        },
    )
}
