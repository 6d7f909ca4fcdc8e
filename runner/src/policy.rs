//! A policy for debug containers, as Kubernetes' own admission has it (ValidatingAdmissionPolicy, 1.30 and later): a pure
//! function of the tools that there are and of what its user wants. What it says is in [`expressions`].

mod expressions;

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, Validation,
    Variable,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::ObjectMeta;

use crate::image::Registry;
use crate::inventory::Inventory;

/// What both objects are called.
const NAME: &str = "kitbag-debug-containers";

/// What is wanted of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Where images come from.
    pub(crate) registry: &'a Registry,
    /// Who may add debug containers; everybody whom RBAC lets, where there is none.
    pub(crate) groups: &'a [String],
    /// Labels of the namespaces that it is for; all, where there is none.
    pub(crate) namespaces: &'a [(String, String)],
    /// Containers that drop no capabilities are let in.
    pub(crate) default_capabilities: bool,
}

/// The policy and its binding.
pub(crate) fn objects(
    wanted: &Wanted<'_>,
    inventory: &Inventory,
) -> (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding) {
    let rule = NamedRuleWithOperations {
        api_groups: Some(vec![String::new()]),
        api_versions: Some(vec!["v1".to_owned()]),
        operations: Some(vec!["UPDATE".to_owned()]),
        resources: Some(vec!["pods/ephemeralcontainers".to_owned()]),
        ..NamedRuleWithOperations::default()
    };
    let constraints = MatchResources { resource_rules: Some(vec![rule]), ..MatchResources::default() };
    let condition = MatchCondition {
        name: "ephemeral-containers".to_owned(),
        expression: "request.subResource == 'ephemeralcontainers'".to_owned(),
    };
    let spec = ValidatingAdmissionPolicySpec {
        // Where it cannot be told whether a container is one of these, it is not let in.
        failure_policy: Some("Fail".to_owned()),
        match_constraints: Some(constraints),
        match_conditions: Some(vec![condition]),
        variables: Some(variables(inventory)),
        validations: Some(validations(wanted)),
        ..ValidatingAdmissionPolicySpec::default()
    };
    let metadata = || ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
    let policy = ValidatingAdmissionPolicy { metadata: metadata(), spec: Some(spec), ..Default::default() };
    let labels = wanted.namespaces.iter().cloned().collect();
    let selector = LabelSelector { match_labels: Some(labels), ..LabelSelector::default() };
    let selected = MatchResources { namespace_selector: Some(selector), ..MatchResources::default() };
    let binding = ValidatingAdmissionPolicyBindingSpec {
        policy_name: Some(NAME.to_owned()),
        validation_actions: Some(vec!["Deny".to_owned()]),
        match_resources: (!wanted.namespaces.is_empty()).then_some(selected),
        ..ValidatingAdmissionPolicyBindingSpec::default()
    };
    (policy, ValidatingAdmissionPolicyBinding { metadata: metadata(), spec: Some(binding) })
}

fn variables(inventory: &Inventory) -> Vec<Variable> {
    let variable = |name: &str, expression: String| Variable { name: name.to_owned(), expression };
    vec![variable("added", expressions::ADDED.to_owned()), variable("needs", expressions::needs(inventory))]
}

fn validations(wanted: &Wanted<'_>) -> Vec<Validation> {
    let prefix = format!("{}/", wanted.registry);
    let validation = |expression: String, message: String| Validation {
        expression,
        message: Some(message),
        reason: Some("Forbidden".to_owned()),
        ..Validation::default()
    };
    let groups = (!wanted.groups.is_empty()).then(|| {
        let message = format!("debug containers may be added by {} only", wanted.groups.join(", "));
        validation(expressions::by(wanted.groups), message)
    });
    let dropped = (!wanted.default_capabilities).then(|| {
        let message = "debug containers must drop ALL capabilities and add those that their tools need";
        validation(expressions::DROPPED.to_owned(), message.to_owned())
    });
    let always = [
        validation(
            expressions::from(&prefix),
            format!("images of debug containers must come from `{}`", wanted.registry),
        ),
        validation(expressions::UNPRIVILEGED.to_owned(), "debug containers must not be privileged".to_owned()),
        validation(
            expressions::needed(&prefix),
            "debug containers may have the capabilities that the tools in their image's name need, and no other: \
             `kubectl kitbag needs TOOL` lists them"
                .to_owned(),
        ),
    ];
    groups.into_iter().chain(always).chain(dropped).collect()
}

#[cfg(test)]
mod tests;
