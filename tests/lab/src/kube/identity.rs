//! Who may ask the API server: one static token per program, and what RBAC knows it as.

use std::fmt::Write;

/// A user of the control plane with a token that never changes. What each may do is RBAC's alone.
/// The daemons are told who they are by [`super::rights`]; these two are for questions by hand, and
/// may do nothing until the roles are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Member of `system:masters`: the test itself.
    Admin,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-proxy, bound to `system:node-proxier` from the start.
    Proxy,
    /// The speaker's ServiceAccount, as `etc/kubernetes` names it.
    Speaker,
    /// The router's ServiceAccount, as `etc/kubernetes` names it.
    Router,
}

impl Identity {
    /// Everybody.
    pub const ALL: [Self; 5] =
        [Self::Admin, Self::ControllerManager, Self::Proxy, Self::Speaker, Self::Router];

    /// The name in RBAC's bindings.
    pub fn user(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::ControllerManager => "system:kube-controller-manager",
            Self::Proxy => "system:kube-proxy",
            Self::Speaker => "system:serviceaccount:roadstead-system:roadstead-speaker",
            Self::Router => "system:serviceaccount:roadstead-system:roadstead-router",
        }
    }

    fn groups(self) -> &'static [&'static str] {
        match self {
            Self::Admin => &["system:masters"],
            Self::ControllerManager | Self::Proxy => &[],
            Self::Speaker | Self::Router => {
                &["system:serviceaccounts", "system:serviceaccounts:roadstead-system"]
            }
        }
    }

    /// What it says to be believed: the same in every lab, for it opens nothing else.
    pub fn token(self) -> String {
        format!("token-of-{}", self.user().replace(':', "-"))
    }

    /// The text of kube-apiserver's `--token-auth-file`: token, user, uid, groups.
    pub(crate) fn token_file() -> String {
        let mut text = String::new();
        for identity in Self::ALL {
            let (token, user) = (identity.token(), identity.user());
            let groups = identity.groups().join(",");
            let _ = writeln!(text, "{token},{user},{user},\"{groups}\"");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_token_file_has_four_fields_and_groups_are_one() {
        let text = Identity::token_file();
        let speaker = text.lines().find(|line| line.contains("speaker")).expect("the speaker");
        let (before, groups) = speaker.split_once(",\"").expect("quoted groups");
        assert_eq!(before.split(',').count(), 3);
        assert_eq!(groups, "system:serviceaccounts,system:serviceaccounts:roadstead-system\"");
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        let mut tokens: Vec<String> = Identity::ALL.map(Identity::token).into();
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), Identity::ALL.len());
    }
}
