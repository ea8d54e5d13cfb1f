//! Drains of servers by an operator, over the admin socket or the dashboard.

use std::sync::Arc;

use super::state::Sources;
use crate::upstream::{Member, Upstream, Wish};

/// Sets or lifts the drain of the servers that `name` (`BACKEND/SERVER`) matches; returns a description of
/// the change.
///
/// # Errors
/// The part of `name` that does not exist.
pub(super) fn mark(sources: &Sources, name: &str, drained: bool) -> Result<String, String> {
    let scene = sources.scene();
    let (upstream, members) = find(&scene.upstreams, name)?;
    let server = name.split_once('/').map(|(_, server)| server);
    for member in &members {
        // The server as configured, or one address of it.
        let whole = Some(&*member.server.name) == server;
        member.traffic.set_wish(match (drained, whole) {
            (false, _) => Wish::Serves,
            (true, true) => Wish::ServerDrained,
            (true, false) => Wish::Drained,
        });
    }
    upstream.alarm.notify_one();
    let state = if drained { "drained" } else { "taken back" };
    Ok(format!("{name} is {state}"))
}

/// Returns the addresses of the server `name`: one of them, or the server as configured.
fn find<'u>(
    upstreams: &'u [Arc<Upstream>],
    name: &str,
) -> Result<(&'u Arc<Upstream>, Vec<Arc<Member>>), String> {
    let backends = || listed(upstreams.iter().map(|it| it.name.to_string()));
    let Some((backend, server)) = name.split_once('/') else {
        return Err(format!(
            "{name:?} is not BACKEND/SERVER; the backends are {}",
            backends()
        ));
    };
    let upstream = upstreams.iter().find(|it| &*it.name == backend);
    let upstream = upstream
        .ok_or_else(|| format!("there is no backend {backend:?}; there is {}", backends()))?;
    let lineup = upstream.lineup();
    let all = || lineup.seats.iter().map(|seat| &seat.member);
    let meant = |member: &&Arc<Member>| {
        &*member.name == server
            || &*member.server.name == server
            || member.address.to_string() == server
    };
    let members: Vec<Arc<Member>> = all().filter(meant).cloned().collect();
    if members.is_empty() {
        let names = listed(all().map(|member| format!("{backend}/{}", member.name)));
        return Err(format!(
            "{backend:?} has no server {server:?}; there is {names}"
        ));
    }
    Ok((upstream, members))
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
