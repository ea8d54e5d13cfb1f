//! `listener.behind`: an AWS load balancer in front, which sets defaults and checks other keys against them.
//! The figures are the balancers' own defaults.

use std::time::Duration;

use super::drafts::ListenerDraft;
use crate::config::read::Scope;
use crate::config::units;
use crate::config::{Behind, Mode, ProxyProtocol, TcpKeepalive};

/// Sets the balancer's defaults for keys that are not written.
pub(super) fn sets_defaults(draft: &mut ListenerDraft, scope: &Scope<'_, '_>) {
    let listener = &mut draft.listener;
    let Some(behind) = listener.behind else {
        return;
    };
    if !scope.has("proxy_protocol") {
        listener.proxy_protocol = match behind {
            Behind::Clb | Behind::Nlb => ProxyProtocol::Require,
            Behind::Alb => ProxyProtocol::Off,
        };
        let trusts_none = !scope.names_any("trusted_proxies");
        if trusts_none && listener.proxy_protocol == ProxyProtocol::Require {
            scope.place_of("behind").reject(format!(
                "{:?} requires a PROXY header, and empty trusted_proxies refuses every connection; \
                 name the balancers in trusted_proxies",
                behind.as_str()
            ));
        }
    }
    if !scope.has("tcp_keepalive") {
        listener.tcp_keepalive = tcp_keepalive(behind);
    }
    if !scope.has("timeouts.keep_alive") {
        listener.timeouts.keep_alive = behind.keep_alive();
    }
}

/// Returns when silent clients are asked. Probes count as life for a network balancer; the other two
/// count data only, and close by themselves.
fn tcp_keepalive(behind: Behind) -> TcpKeepalive {
    match behind {
        Behind::Nlb => TcpKeepalive::After(Duration::from_mins(1)),
        Behind::Clb | Behind::Alb => TcpKeepalive::System,
    }
}

/// Warns of settings that do not fit the balancer.
pub(super) fn question_balancer(draft: &mut ListenerDraft, scope: &Scope<'_, '_>) {
    let listener = &draft.listener;
    let Some(behind) = listener.behind else {
        return;
    };
    if behind == Behind::Alb && listener.mode != Mode::Http {
        scope
            .place_of("behind")
            .warn("\"alb\" speaks HTTP to its targets, which mode = \"http\" is for");
    }
    if behind == Behind::Alb && !scope.names_any("trusted_proxies") {
        scope.place_of("behind").warn(
            "\"alb\" with empty trusted_proxies takes the balancer for the client; name its subnets \
             in trusted_proxies",
        );
    }
    if scope.has("proxy_protocol") {
        question_proxy_protocol(behind, listener.proxy_protocol, scope);
    }
    if scope.has("tcp_keepalive") {
        question_tcp_keepalive(behind, listener.tcp_keepalive, scope);
    }
    if scope.has("timeouts.keep_alive") {
        question_keep_alive(behind, listener.timeouts.keep_alive, scope);
    }
}

fn question_proxy_protocol(behind: Behind, mode: ProxyProtocol, scope: &Scope<'_, '_>) {
    let place = scope.place_of("proxy_protocol");
    match (behind, mode) {
        (Behind::Clb | Behind::Nlb, ProxyProtocol::Off) => place.warn(format!(
            "\"off\" takes the PROXY header that behind = {:?} stands for as the client's bytes",
            behind.as_str()
        )),
        (Behind::Alb, ProxyProtocol::Optional | ProxyProtocol::Require) => place.warn(
            "behind = \"alb\" is a balancer that never sends a PROXY header; it names the client in \
             X-Forwarded-For",
        ),
        (Behind::Clb | Behind::Nlb, ProxyProtocol::Optional | ProxyProtocol::Require)
        | (Behind::Alb, ProxyProtocol::Off) => {}
    }
}

fn question_tcp_keepalive(behind: Behind, keepalive: TcpKeepalive, scope: &Scope<'_, '_>) {
    let idle = behind.idle();
    let probes = matches!(keepalive, TcpKeepalive::After(pause) if pause < idle);
    match behind {
        Behind::Nlb if !probes => scope.place_of("tcp_keepalive").warn(format!(
            "behind = \"nlb\" forgets a connection that is silent for {}; a shorter time keeps it in \
             mind",
            units::duration_text(idle)
        )),
        Behind::Clb | Behind::Nlb | Behind::Alb => {}
    }
}

fn question_keep_alive(behind: Behind, keep_alive: Duration, scope: &Scope<'_, '_>) {
    let idle = behind.idle();
    let reuses = match behind {
        Behind::Clb | Behind::Alb => true,
        Behind::Nlb => false,
    };
    if reuses && keep_alive <= idle {
        scope.place_of("timeouts.keep_alive").warn(format!(
            "{} is not longer than the {} after which behind = {:?} closes an idle connection: a \
             request may meet our close, and its client gets a 502 of the balancer",
            units::duration_text(keep_alive),
            units::duration_text(idle),
            behind.as_str()
        ));
    }
}
