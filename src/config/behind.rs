//! The AWS load balancers that a listener may be behind, and their defaults.

use std::time::Duration;

/// `listener.behind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// A classic balancer with a TCP or SSL listener and a PROXY protocol policy.
    Clb,
    /// A network balancer whose target group sends PROXY version 2.
    Nlb,
    /// An application balancer, which speaks HTTP and names the client in X-Forwarded-For.
    Alb,
}

impl Behind {
    /// Returns its name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clb => "clb",
            Self::Nlb => "nlb",
            Self::Alb => "alb",
        }
    }

    /// Returns the balancer's default idle timeout, after which it ends or forgets a connection.
    #[must_use]
    pub fn idle(self) -> Duration {
        match self {
            Self::Clb | Self::Alb => Duration::from_mins(1),
            Self::Nlb => Duration::from_secs(350),
        }
    }

    /// Returns how long an idle connection is kept for a further request. A balancer that counts requests
    /// closes first with this value, so that no request meets our close.
    #[must_use]
    pub fn keep_alive(self) -> Duration {
        match self {
            Self::Clb | Self::Alb => Duration::from_secs(75),
            Self::Nlb => Duration::from_secs(65),
        }
    }
}
