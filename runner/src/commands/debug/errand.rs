//! What is wanted, by whom, and what may be done: everything that is found out before a pod is touched, all at once.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Event, Pod};
use kitbag_toolsets::{Catalog, Name, Needs};
use kube::{Api, Client};

use super::CAPTURED;
use crate::access::rules::{self, Doing};
use crate::access::{self, Means, Permissions};
use crate::cli::Debug;
use crate::commands;
use crate::error::Error;
use crate::image::{self, Image};
use crate::plan::Custom;
use crate::privileges::Wishes;
use crate::progress::Progress;
use crate::session::{Output, Streams};
use crate::target::{self, Found, Which};
use crate::tools::Request;
use crate::view::View;

/// What is wanted, by whom, and what may be done.
pub(super) struct Errand {
    pub(super) arguments: Debug,
    pub(super) catalog: Catalog,
    pub(super) request: Request,
    pub(super) streams: Streams,
    pub(super) wishes: Wishes,
    pub(super) custom: Option<Custom>,
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) image: Image,
    /// Who asks, as the cluster knows them.
    pub(super) user: String,
    pub(super) progress: Progress,
    doing: Doing,
    permissions: Permissions,
}

impl Errand {
    /// Asks the registry for the image and the cluster for the pods, the user's permissions and name.
    pub(super) async fn prepare(arguments: Debug) -> Result<(Self, Found), Error> {
        let progress = Progress::new(arguments.common.verbose);
        let catalog = Catalog::builtin()?;
        let request = Request::new(&arguments.tools(), &arguments.command, &catalog)?;
        let reference = arguments.reference()?;
        let custom = arguments.privileges.custom()?;
        let wishes = arguments.privileges.wishes();
        let streams = commands::streams(arguments.stdin, arguments.tty, request.interactive, &progress);
        let which = if arguments.all { Which::All } else { Which::One };
        let doing = Doing::Debug(rules::Found::of(&reference));

        let cluster = crate::cluster::connect(&arguments.common, progress.clock()).await?;
        let (client, namespace) = (cluster.client, cluster.namespace);
        let tools = arguments.image.tools(&arguments.tools())?;
        let wanted = arguments.image.wanted(&request.path, tools.as_ref());
        let (image, found, permissions, user) = tokio::join!(
            image::resolve(&client, wanted, &catalog),
            target::find(&client, &namespace, &reference, which),
            access::review(&client, &namespace),
            access::whoami(&client, cluster.user.as_deref()),
        );
        // What is said first, if several fail, is that the image does not exist; then, what is not permitted at all.
        let image = image?;
        progress.done(&format!("image `{}`, found {}: {}", image.reference, image.resolved, image.tools));
        let found = match found {
            Err(error @ Error::Refused(_)) => {
                access::check(&permissions, &doing.rules(), reference.pod(), &namespace, &user)?;
                return Err(error);
            }
            found => found?,
        };
        progress.done(&format!("user `{user}`"));
        let pod = match &found.pods[..] {
            [pod] => pod.metadata.name.as_deref(),
            _ => None,
        };
        let permissions = access::settle(&client, &namespace, pod, permissions).await;
        let errand = Self {
            arguments,
            catalog,
            request,
            streams,
            wishes,
            custom,
            client,
            namespace,
            image,
            user,
            progress,
            doing,
            permissions,
        };
        Ok((errand, found))
    }

    pub(super) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) fn events(&self) -> Api<Event> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Which ways are open.
    pub(super) fn means(&self, pod: &str) -> Means {
        access::means(&self.permissions, Some(pod))
    }

    /// Whether a container may be added to the pod and entered. What only loses something is said.
    pub(super) fn check(&self, pod: &str, progress: &Progress) -> Result<(), Error> {
        let rules = self.doing.rules();
        access::check(&self.permissions, &rules, Some(pod), &self.namespace, &self.user)?;
        for rule in &rules {
            for loss in access::losses(&self.permissions, &[*rule], Some(pod)) {
                // One session instead of many is the one loss that everybody notices.
                if *rule == rules::EXEC { progress.say(&format!("warning: {loss}")) } else { progress.done(&loss) }
            }
        }
        Ok(())
    }

    pub(super) fn view(&self) -> View {
        View { volumes: !self.arguments.privileges.no_volumes, env: !self.arguments.privileges.no_env }
    }

    /// Where the session's output goes: `prefix` is for one of several.
    pub(super) fn output(&self, prefix: Option<&str>) -> Output {
        match prefix {
            _ if self.arguments.output.format.is_some() => Output::Captured { limit: CAPTURED },
            Some(name) => Output::Prefixed { name: name.to_owned() },
            None => Output::Standard,
        }
    }

    /// The tool that the command runs, where that is one of those that were asked for and not a shell, in which a person
    /// may use any.
    pub(super) fn tool(&self) -> Option<&Name> {
        let tool = self.request.tool(&self.catalog)?;
        self.image.needs.keys().find(|name| **name == tool)
    }

    /// The tools that were named. The shell that comes along for a prompt is not among them.
    pub(super) fn named(&self) -> BTreeMap<Name, Needs> {
        let named = Request::named(&self.arguments.tools(), &self.catalog);
        let needs = self.image.needs.iter();
        needs
            .filter(|(tool, _)| named.as_ref().is_none_or(|named| named.contains(tool.as_str())))
            .map(|(tool, needs)| (tool.clone(), needs.clone()))
            .collect()
    }
}
