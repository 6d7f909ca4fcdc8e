//! Who the target runs as, and whom the user of this program wants to be: numbers, since names mean nothing in another
//! image's `/etc/passwd`.

use std::fmt;
use std::str::FromStr;

use crate::target::Target;

/// The greatest user and group number that Kubernetes takes.
const LIMIT: u32 = i32::MAX as u32;

/// A user as the command line names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The group, where it is named.
    pub gid: Option<u32>,
}

/// Why a text is not a [`User`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not UID[:GID]: numbers from 0 to {LIMIT} are wanted")]
pub struct UserError {
    text: String,
}

impl FromStr for User {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        let (uid, gid) = text.split_once(':').map_or((text, None), |(uid, gid)| (uid, Some(gid)));
        let error = || UserError { text: text.to_owned() };
        let uid = number(uid).ok_or_else(error)?;
        let gid = gid.map(|gid| number(gid).ok_or_else(error)).transpose()?;
        Ok(Self { uid, gid })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uid)?;
        self.gid.map_or(Ok(()), |gid| write!(f, ":{gid}"))
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= LIMIT)
}

/// Who a target runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group. Where the spec names none, the image may.
    pub gid: u32,
}

/// Who the target runs as, as far as the pod tells: its image may have a user that nobody wrote down.
#[must_use]
pub fn of(target: &Target) -> Option<Identity> {
    measured(target).or_else(|| {
        let uid = own(target, |own| own.run_as_user, |pod| pod.run_as_user)?;
        Some(Identity { uid: u32::try_from(uid).ok()?, gid: group(target).unwrap_or(0) })
    })
}

/// The group that the spec names.
#[must_use]
pub fn group(target: &Target) -> Option<u32> {
    let gid = own(target, |own| own.run_as_group, |pod| pod.run_as_group)?;
    u32::try_from(gid).ok()
}

/// What newer runtimes say of the running container.
fn measured(target: &Target) -> Option<Identity> {
    let user = target.status.as_ref()?.user.as_ref()?.linux.as_ref()?;
    Some(Identity { uid: u32::try_from(user.uid).ok()?, gid: u32::try_from(user.gid).ok()? })
}

/// A setting of the container, else of the pod.
fn own<T>(
    target: &Target,
    of_container: impl Fn(&k8s_openapi::api::core::v1::SecurityContext) -> Option<T>,
    of_pod: impl Fn(&k8s_openapi::api::core::v1::PodSecurityContext) -> Option<T>,
) -> Option<T> {
    let container = target.spec.security_context.as_ref().and_then(of_container);
    container.or_else(|| target.pod_spec.security_context.as_ref().and_then(of_pod))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privileges::testing::target;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn a_user_is_numbers() {
        let lines = ["0", "1000:0", "2147483647:1", "", "app", "1000:", ":0", "+1", "2147483648", "1:2:3", "-1"];
        let lines = lines.map(|text| match text.parse::<User>() {
            Ok(user) => user.to_string(),
            Err(error) => format!("error: {error}"),
        });
        insta::assert_snapshot!(lines.join("\n"), @r"
        0
        1000:0
        2147483647:1
        error: `` is not UID[:GID]: numbers from 0 to 2147483647 are wanted
        error: `app` is not UID[:GID]: numbers from 0 to 2147483647 are wanted
        error: `1000:` is not UID[:GID]: numbers from 0 to 2147483647 are wanted
        error: `:0` is not UID[:GID]: numbers from 0 to 2147483647 are wanted
        error: `+1` is not UID[:GID]: numbers from 0 to 2147483647 are wanted
        error: `2147483648` is not UID[:GID]: numbers from 0 to 2147483647 are wanted
        error: `1:2:3` is not UID[:GID]: numbers from 0 to 2147483647 are wanted
        error: `-1` is not UID[:GID]: numbers from 0 to 2147483647 are wanted
        ");
    }

    #[test]
    fn the_status_tells_exactly_then_the_container_then_the_pod() {
        let identity = |container: Value, pod: Value, user: Value| {
            let mut target = target(container, json!({ "securityContext": pod }));
            target.status = serde_json::from_value(json!({
                "name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0, "user": { "linux": user },
            }))
            .ok();
            of(&target).map(|identity| (identity.uid, identity.gid))
        };
        let none = || json!({});
        assert_eq!(identity(none(), none(), json!({ "uid": 7, "gid": 8 })), Some((7, 8)));
        assert_eq!(identity(json!({ "runAsUser": 1 }), none(), json!({ "uid": 7, "gid": 8 })), Some((7, 8)));
        assert_eq!(identity(json!({ "runAsUser": 1 }), json!({ "runAsUser": 2 }), Value::Null), Some((1, 0)));
        assert_eq!(identity(json!({ "runAsUser": 1 }), json!({ "runAsGroup": 3 }), Value::Null), Some((1, 3)));
        assert_eq!(identity(none(), json!({ "runAsUser": 2, "runAsGroup": 3 }), Value::Null), Some((2, 3)));
        assert_eq!(identity(json!({ "runAsGroup": 3 }), none(), Value::Null), None);
        assert_eq!(identity(none(), none(), Value::Null), None);
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_is_printed(text in "[0-9]{1,11}(:[0-9]{1,11})?|\\PC{0,12}") {
            if let Ok(user) = text.parse::<User>() {
                prop_assert_eq!(user.to_string().parse::<User>().unwrap(), user);
                prop_assert!(user.uid <= LIMIT && user.gid.is_none_or(|gid| gid <= LIMIT));
            }
        }
    }
}
