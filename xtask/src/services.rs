//! Services of Debian packages: tests want the programs, and nothing that runs beside them.
//!
//! Debian starts a service when its package is installed and at every start of the machine. What
//! setup installs does neither; what was installed before is left as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::process::succeeds;

/// The services that packages bring, those of what they depend on included.
const SERVICES: &[(&str, &[&str])] = &[
    ("ejabberd", &["ejabberd.service"]),
    ("haproxy", &["haproxy.service"]),
    ("nginx", &["nginx.service"]),
    (
        "rabbitmq-server",
        &["rabbitmq-server.service", "epmd.service", "epmd.socket"],
    ),
    ("stunnel4", &["stunnel.target"]),
];

/// What invoke-rc.d(8) and deb-systemd-invoke(1p) ask before they start anything.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// 101 = forbidden.
const FORBID: &str = "#!/bin/sh
# Written by `cargo xtask setup` of longsplice, which removes it when it has installed its packages.
exit 101
";

/// No package starts a service for as long as this lives.
pub(crate) struct NoServices {
    /// Where our policy is; none = the machine has its own.
    ours: Option<PathBuf>,
}

impl NoServices {
    /// Forbids it, unless the machine has a policy of its own, as containers do.
    pub(crate) fn begin() -> Self {
        Self::at(Path::new(POLICY))
    }

    fn at(policy: &Path) -> Self {
        let left_over = fs::read_to_string(policy).is_ok_and(|text| text == FORBID);
        let written = !policy.exists()
            && fs::write(policy, FORBID)
                .and_then(|()| fs::set_permissions(policy, fs::Permissions::from_mode(0o755)))
                .is_ok();
        Self {
            ours: (left_over || written).then(|| policy.to_owned()),
        }
    }

    /// Lets the services of a package that was just installed not start with the machine either.
    pub(crate) fn disable(&self, package: &str) {
        let services = SERVICES.iter().find(|(name, _)| *name == package);
        for service in services.map_or(&[][..], |(_, services)| services) {
            // Without systemd there is nothing to disable.
            let _ = succeeds("systemctl", &["disable", service]);
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = &self.ours {
            let _ = fs::remove_file(policy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_there_meanwhile_and_one_of_the_machine_stays() {
        let folder = std::env::temp_dir().join(format!("policy-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let policy = folder.join("policy-rc.d");
        for left_over in [false, true] {
            if left_over {
                fs::write(&policy, FORBID).unwrap();
            }
            let services = NoServices::at(&policy);
            assert_eq!(fs::read_to_string(&policy).unwrap(), FORBID);
            drop(services);
            assert!(!policy.exists());
        }
        fs::write(&policy, "#!/bin/sh\n").unwrap();
        drop(NoServices::at(&policy));
        assert_eq!(fs::read_to_string(&policy).unwrap(), "#!/bin/sh\n");
        fs::remove_dir_all(&folder).unwrap();
    }
}
